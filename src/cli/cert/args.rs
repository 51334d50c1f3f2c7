//! The arguments of `estafette cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Print what rules can see of every certificate in a file, and a rule to paste.
    Show {
        /// PEM with one certificate or several, or DER.
        file: PathBuf,
        /// Print one JSON object per certificate.
        #[arg(long)]
        json: bool,
    },
    /// Refuse a certificate from the next MAIL on, in open sessions too.
    Revoke(RevokeArguments),
    /// Let a certificate in again.
    Restore(Which),
    /// List the certificates that are refused.
    List {
        /// Print one JSON object per entry.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Why; shown by `cert list` and in the log.
    #[arg(long, value_name = "TEXT", default_value = "revoked")]
    pub(crate) reason: String,
    /// The certificate is a certification authority's, and everybody below it shall be refused.
    #[arg(long, requires = "file")]
    pub(crate) ca: bool,
}

/// Which certificate.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The certificate (PEM or DER); of several in a file the first.
    #[arg(required_unless_present_any = ["fingerprint", "serial"], conflicts_with_all = ["fingerprint", "serial"])]
    pub(crate) file: Option<PathBuf>,
    /// Its SHA-256 fingerprint, with or without colons.
    #[arg(long, value_name = "HEX")]
    pub(crate) fingerprint: Option<String>,
    /// Its serial number in hexadecimal.
    #[arg(long, value_name = "HEX", requires = "issuer")]
    pub(crate) serial: Option<String>,
    /// Its issuer in one line: /C=FR/O=CNRS/CN=CNRS-Plus.
    #[arg(long, value_name = "NAME", requires = "serial", conflicts_with = "file")]
    pub(crate) issuer: Option<String>,
}

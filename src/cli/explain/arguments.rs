//! The arguments of `estafette explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::config_argument::ConfigArgument;

#[derive(Debug, Args)]
pub struct ExplainArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS")]
    pub client_address: IpAddr,
    /// The certificate the client shows (PEM; intermediates may follow). Without it the client shows none.
    #[arg(long, value_name = "PEM")]
    pub client_cert: Option<PathBuf>,
    /// The session is not encrypted.
    #[arg(long, conflicts_with_all = ["client_cert", "resumed"])]
    pub plaintext: bool,
    /// The TLS session is resumed: its certificate was shown earlier and is judged anew.
    #[arg(long)]
    pub resumed: bool,
    /// The login that AUTH with a password has proved; the password is not asked for.
    #[arg(long, value_name = "NAME")]
    pub login: Option<String>,
    /// The listener, by name; the first that asks for a certificate, or simply the first, when not given.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// The name in EHLO.
    #[arg(long, value_name = "NAME", default_value = "client.invalid")]
    pub helo: String,
    /// The reverse-path; empty for the null one.
    #[arg(long, value_name = "ADDRESS")]
    pub mail_from: String,
    /// A forward-path; may be given several times.
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub rcpt_to: Vec<String>,
    /// An address in the From header field, for rules with from_header; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub from_header: Vec<String>,
    /// Judge at this time instead of now: a date, or RFC 3339. The files are those of today.
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

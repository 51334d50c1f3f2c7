//! The arguments of `estafette why`.

use clap::{Args, ValueEnum};

use crate::cli::config_argument::ConfigArgument;
use crate::observe::decision::VerdictWord;

#[derive(Debug, Args)]
pub struct WhyArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    /// The reference of a refusal ("[ref 6b0538a3.5-1]", or the whole line it stands in), or a queue id.
    #[arg(value_name = "REFERENCE|QUEUE-ID")]
    pub id: Vec<String>,
    #[command(flatten)]
    pub filters: FilterArguments,
    /// Print at most so many records; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Print one JSON object a line, as it stands in the journal.
    #[arg(long)]
    pub json: bool,
}

/// What a record must be; all that is given must hold.
#[derive(Debug, Args)]
pub struct FilterArguments {
    /// The certificate's subject: an attribute and its whole value (OU=UMR5168), or a part of the one-line text. May be
    /// given several times.
    #[arg(long, value_name = "ATTRIBUTE=VALUE|TEXT", conflicts_with = "id")]
    pub subject: Vec<String>,
    /// The certificate's issuer, likewise.
    #[arg(long, value_name = "ATTRIBUTE=VALUE|TEXT", conflicts_with = "id")]
    pub issuer: Vec<String>,
    /// A mail address that is sender or recipient ("@example.org": any of that domain, "<>": the null sender), or the
    /// peer's address or network.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "id")]
    pub address: Vec<String>,
    /// The login that AUTH with a password proved.
    #[arg(long, value_name = "LOGIN", conflicts_with = "id")]
    pub login: Vec<String>,
    /// How it came out.
    #[arg(long, value_name = "VERDICT", conflicts_with = "id")]
    pub verdict: Option<VerdictArgument>,
    /// Not before this time: how long ago (2h, 3d), a date, or RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub since: Option<String>,
    /// Before this time, likewise.
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    pub until: Option<String>,
}

/// A verdict as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VerdictArgument {
    Permit,
    Reject,
    Defer,
    Hold,
    Discard,
}

impl VerdictArgument {
    pub const fn word(self) -> VerdictWord {
        match self {
            Self::Permit => VerdictWord::Permit,
            Self::Reject => VerdictWord::Reject,
            Self::Defer => VerdictWord::Defer,
            Self::Hold => VerdictWord::Hold,
            Self::Discard => VerdictWord::Discard,
        }
    }
}

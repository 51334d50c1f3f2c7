//! The arguments of `estafette queue`.

use clap::{Args, Subcommand, ValueEnum};

use crate::admin::order::{check_reason, parse_id};
use crate::cli::config_argument::ConfigArgument;
use crate::mail::queue_id::QueueId;
use crate::queue::filter::State;

#[derive(Debug, Args)]
pub struct QueueArguments {
    #[command(flatten)]
    pub config: ConfigArgument,
    #[command(subcommand)]
    pub command: QueueCommand,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List what is queued, oldest first (mailq, postqueue -p, postqueue -j).
    List(ListArguments),
    /// Show a message: envelope, who handed it in, every recipient, the history of attempts, the header (postcat -q).
    Show(ShowArguments),
    /// Try messages now: everything, or what is chosen (postqueue -f, -s, -i).
    Flush(ChangeArguments),
    /// Put messages on hold: nothing is tried until they are released (postsuper -h).
    Hold {
        #[command(flatten)]
        change: ChangeArguments,
        /// Why; shown by `queue list`.
        #[arg(long, value_name = "TEXT", default_value = "by the operator", value_parser = check_reason)]
        reason: String,
    },
    /// Release messages on hold: their recipients are due now (postsuper -H).
    Release(ChangeArguments),
    /// Route messages anew by the present configuration and try them now (postsuper -r).
    Requeue(ChangeArguments),
    /// Delete messages with their data; nobody is told but the log (postsuper -d).
    Delete(ChangeArguments),
    /// Return messages to their senders now.
    Bounce {
        #[command(flatten)]
        change: ChangeArguments,
        /// Why; the sender reads it.
        #[arg(long, value_name = "TEXT", default_value = "the message could not be delivered", value_parser = check_reason)]
        reason: String,
    },
    /// Count the queue by group and age in minutes (qshape).
    Stats(StatsArguments),
    /// Prove that the queue is whole, running or stopped, or name what is not. Exit status 0: clean, 1: findings.
    Verify(VerifyArguments),
}

/// Which messages; all that is given must hold.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArguments {
    /// The sender: an address, a domain, or a pattern with "*" over either; "<>" is the null sender.
    #[arg(long, value_name = "ADDRESS")]
    pub sender: Option<String>,
    /// A recipient, likewise.
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Option<String>,
    /// The destination a recipient waits for, as `queue show` names it, or a pattern with "*".
    #[arg(long, value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// The certificate's subject: an attribute and its whole value (OU=UMR5168), a part of the one-line text, or a pattern
    /// with "*" over all of it. May be given several times.
    #[arg(long, value_name = "ATTRIBUTE=VALUE|TEXT")]
    pub subject: Vec<String>,
    /// The certificate's issuer, likewise.
    #[arg(long, value_name = "ATTRIBUTE=VALUE|TEXT")]
    pub issuer: Vec<String>,
    /// The certificate's SHA-256, or its beginning.
    #[arg(long, value_name = "SHA-256")]
    pub fingerprint: Option<String>,
    /// The state; may be given several times, any of them counts.
    #[arg(long, value_name = "STATE")]
    pub state: Vec<StateArgument>,
    /// Came in longer ago than this (2h, 3d), or before this time (a date, RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub older_than: Option<String>,
    /// Came in since, likewise.
    #[arg(long, value_name = "TIME")]
    pub newer_than: Option<String>,
    /// Has more octets than this (500k, 1M).
    #[arg(long, value_name = "SIZE")]
    pub larger_than: Option<String>,
    /// Has fewer octets than this.
    #[arg(long, value_name = "SIZE")]
    pub smaller_than: Option<String>,
}

/// A state as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StateArgument {
    /// Not tried yet.
    Waiting,
    /// Under delivery; known while the relay runs.
    Delivering,
    /// Tried, and to be tried again.
    Deferred,
    /// On hold.
    Hold,
    /// Held because its data or envelope is damaged.
    Damaged,
}

impl StateArgument {
    pub const fn state(self) -> State {
        match self {
            Self::Waiting => State::Waiting,
            Self::Delivering => State::Delivering,
            Self::Deferred => State::Deferred,
            Self::Hold => State::Hold,
            Self::Damaged => State::Damaged,
        }
    }
}

#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    pub filters: FilterArguments,
    /// Print at most so many messages.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print one JSON object per message.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// A queue id as `queue list` shows it.
    #[arg(value_name = "ID", value_parser = parse_id)]
    pub id: QueueId,
    /// Print the whole message as it is, header and body, and nothing else.
    #[arg(long, conflicts_with = "json")]
    pub body: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Which messages are changed, and how far the command may go.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct ChangeArguments {
    /// Queue ids as `queue list` shows them.
    #[arg(value_name = "ID", value_parser = parse_id)]
    pub ids: Vec<QueueId>,
    #[command(flatten)]
    pub filters: FilterArguments,
    /// Every message that this can be done to.
    #[arg(long)]
    pub all: bool,
    /// Print what would be done and to how many messages, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do it only when it is about exactly N messages, as a dry run counted.
    #[arg(long, value_name = "N")]
    pub confirm: Option<u64>,
    /// Do it to all that match, however many; without this or --confirm, more than one is asked about.
    #[arg(long, conflicts_with = "confirm")]
    pub yes: bool,
    /// Print one JSON object per message, and one with the counts.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct StatsArguments {
    #[command(flatten)]
    pub filters: FilterArguments,
    /// What is counted: recipients by "destination" or "recipient-domain", messages by "sender-domain", or by an attribute
    /// of the certificate's subject: "subject-OU".
    #[arg(long, value_name = "GROUP", default_value = "destination")]
    pub by: String,
    /// Print the N largest groups; 0 prints all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Print one JSON object per group.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Remove files and rows that belong to no message, on a stopped queue only, before it is looked at.
    #[arg(long)]
    pub repair: bool,
    /// Print one JSON object per finding, and one with the sums.
    #[arg(long)]
    pub json: bool,
}

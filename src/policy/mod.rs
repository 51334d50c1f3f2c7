//! The restriction chain: who may relay, decided by a pure function that keeps its reasons.
//!
//! **Implements** `smtpd_relay_restrictions` and `smtpd_recipient_restrictions` of postconf(5) for the words in
//! [`restriction::Restriction`], and Sendmail's CERTISSUER and CERTSUBJECT as regular expressions, and
//! `[[certificate_rule]]` tables.
//! **Does not** ask the outside world: no restriction here needs it.

mod answer;
pub mod certificate_rule;
pub mod chain;
pub mod condition;
pub mod facts;
pub mod glob;
pub mod limits;
pub mod login_failures;
pub mod name_filter;
pub mod question;
pub mod restriction;
pub mod sender_binding;
pub mod stage;
mod usage;
pub mod verdict;
mod wording;

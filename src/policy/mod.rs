//! The restriction chain: who may relay, decided by a pure function that keeps its reasons.
//!
//! **Implements** `smtpd_relay_restrictions` and `smtpd_recipient_restrictions` of postconf(5) for the words in
//! [`restriction::Restriction`], and Sendmail's CERTISSUER and CERTSUBJECT as regular expressions.
//! **Does not** ask the outside world: no restriction here needs it.

pub mod chain;
pub mod facts;
pub mod restriction;
pub mod verdict;

//! The restriction chain: who may relay, decided by a pure function that keeps its reasons.
//!
//! **Implements** the seven `smtpd_*_restrictions` lists of postconf(5) for the words in
//! [`restriction::Restriction`], access(5), and Sendmail's CERTISSUER and CERTSUBJECT as regular expressions, and
//! `[[certificate_rule]]` tables.
//! **Does not** ask the outside world itself: it names a [`question::Question`] and is evaluated again with the answer.

mod access;
mod answer;
mod ask;
mod asker;
pub mod because;
pub mod certificate_rule;
pub mod chain;
pub mod client_rates;
pub mod condition;
pub mod dns_list;
pub mod facts;
pub mod glob;
pub mod limits;
mod list_words;
pub mod login_failures;
pub mod message_memory;
pub mod name_filter;
mod name_words;
pub mod question;
pub mod reached;
pub mod refusal;
pub mod restriction;
pub mod sender_binding;
mod service;
pub mod session_places;
mod session_words;
pub mod stage;
pub mod table;
pub mod table_action;
mod usage;
pub mod verdict;
mod walk;
pub mod word;
mod wording;

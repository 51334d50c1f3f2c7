//! The vocabulary of SMTP: addresses, domains, commands, replies, status codes, lines and mail data.
//!
//! **Implements** RFC 5321 section 4 (grammar), RFC 3463 (status codes), RFC 2034 (their place in a reply).
//! **Does not** hold a dialogue: `session` and `outbound` do.

pub mod base64;
pub mod chunking;
pub mod command;
pub mod data;
pub mod domain;
pub mod dovecot_auth;
pub mod line;
pub mod milter;
pub mod parameters;
pub mod path;
pub mod policy_delegation;
pub mod proxy_header;
pub mod reply;
pub mod sasl;
pub mod status;
pub mod xtext;

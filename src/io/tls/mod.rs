//! TLS with rustls: server, client, the judge of client certificates, PEM files.
//!
//! **Implements** STARTTLS of RFC 3207 below the dialogue: TLS 1.2 and 1.3 with aws-lc-rs, never another provider.
//! **Does not** let a certificate break a handshake: the judge looks at it afterwards.

mod authorities;
pub mod client;
pub mod crl;
pub mod crl_files;
pub mod deny_list;
pub mod deny_list_edit;
pub mod error;
mod file_stamp;
pub mod judge;
pub mod ocsp;
mod ocsp_exchange;
mod path;
pub mod pem;
mod possession;
mod presented;
mod provider;
mod recent;
mod revocation;
pub mod server;
mod server_check;
pub mod settings;
mod signature;
mod trace;
pub mod verifier;

//! X.509 certificates as rules see them: names, contents, identity.
//!
//! **Implements** the name forms of `docs/certificates.md` (RFC 4514 text and the unambiguous one-line text).
//! **Does not** verify a chain: `io::tls` judges it after the handshake and reports an [`identity::Identity`].

pub mod certificate;
pub mod decode;
pub mod denied;
pub mod der;
pub mod examination;
pub mod identity;
pub mod name;
mod name_reading;
pub mod ocsp;
pub mod revocation_list;
pub mod signed;
pub mod usage;

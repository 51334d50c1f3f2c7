//! Eight-bit mail for a next hop that takes seven bits only.
//!
//! **Implements** the conversion of RFC 6152 section 3: [`survey::Surveyor`] reads a message once and says what has to be
//! changed, [`convert::Converter`] reads it again and changes it; both stream. Text becomes quoted-printable, anything else
//! base64; a message that is no MIME is labelled as RFC 1428 section 2 has it.
//! **Does not** convert what is signed, a header with octets above 127, or what is not well-formed: these are faults. A DKIM
//! signature that was made over the message as it was does not hold over what comes out.

pub mod convert;
pub mod encoder;
pub mod entity;
pub mod fault;
pub mod survey;
pub mod walker;

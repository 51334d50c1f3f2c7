//! Why a message cannot be converted to seven bits.

/// Why; always a matter of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Only SMTPUTF8 can carry it.
    #[error("a header field has octets above 127, which cannot be converted")]
    Header,
    /// RFC 1847 section 2.1: the first part "MUST NOT be altered in any fashion".
    #[error("it is signed, and converting it would break the signature")]
    Sealed,
    /// RFC 2046 section 5.2: message/partial and message/external-body are 7bit.
    #[error("a message/partial or message/external-body has octets above 127")]
    Rigid,
    /// Its label says that it is 7-bit already.
    #[error("a part that is labelled base64 or quoted-printable has octets above 127")]
    Mislabelled,
    /// RFC 2046 section 5.1.1: the parameter is required.
    #[error("a multipart has no usable boundary")]
    Boundary,
    /// Parts within parts, more than [`super::walker::NESTING_MAX`].
    #[error("its parts are nested too deeply")]
    Nesting,
    /// More parts than [`super::walker::PARTS_MAX`].
    #[error("it has too many parts")]
    Parts,
    /// A header is longer than [`super::walker::HEADER_OCTETS_MAX`].
    #[error("the header of a part is too long")]
    HeaderTooLong,
}

impl Fault {
    /// RFC 3463 section 3.7, RFC 6531 section 4.3: conversion required but not supported, or a header in UTF-8.
    pub const fn status(self) -> &'static str {
        match self {
            Self::Header => "5.6.9",
            _ => "5.6.3",
        }
    }
}

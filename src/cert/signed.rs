//! The three parts of anything signed: a certificate, a revocation list, an answer of a responder.
//!
//! **Implements** the outer SEQUENCE of RFC 5280 sections 4.1 and 5.1 and of RFC 6960 section 4.2.1.
//! **Does not** verify: `io::tls::signature` does.

use super::der::{BIT_STRING, Reader, SEQUENCE};

/// What is signed, how, and the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What is signed, DER.
    pub message: &'a [u8],
    /// The contents of the AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The signature's octets.
    pub signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes a certificate or a revocation list apart; `None` when it is not made of three parts and nothing more.
    pub fn of(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der);
        let mut parts = outer.expect(SEQUENCE)?.reader();
        let signed = Self::read(&mut parts)?;
        (outer.is_empty() && parts.is_empty()).then_some(signed)
    }

    /// Reads the three parts; what follows them is left.
    pub(super) fn read(parts: &mut Reader<'a>) -> Option<Self> {
        let message = parts.expect(SEQUENCE)?.whole;
        let algorithm = parts.expect(SEQUENCE)?.contents;
        // The first octet of a BIT STRING counts the bits of the last that do not belong to it.
        match parts.expect(BIT_STRING)?.contents.split_first()? {
            (0, signature) => Some(Self {
                message,
                algorithm,
                signature,
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::der::wrap;

    #[test]
    fn three_parts_and_nothing_more_are_taken_apart() {
        let (message, algorithm) = (wrap(SEQUENCE, b"message"), wrap(SEQUENCE, b"algorithm"));
        let der = |bits: &[u8], more: &[u8]| {
            let parts = [message.as_slice(), algorithm.as_slice(), &wrap(BIT_STRING, bits), more];
            wrap(SEQUENCE, &parts.concat())
        };
        let whole = der(b"\0signature", b"");
        let signed = Signed::of(&whole).expect("three parts");
        assert_eq!(signed.message, message);
        assert_eq!(
            (signed.algorithm, signed.signature),
            (&b"algorithm"[..], &b"signature"[..])
        );
        for wrong in [
            der(b"\x01signature", b""),
            der(b"", b""),
            der(b"\0s", b"\x05\0"),
            [whole, vec![0]].concat(),
        ] {
            assert_eq!(Signed::of(&wrong), None, "{wrong:?}");
        }
        for octets in [&b""[..], b"\x30", b"\x30\x00", b"not signed"] {
            assert_eq!(Signed::of(octets), None);
        }
    }
}

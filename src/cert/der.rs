//! DER: just enough to walk through what is signed and the answers of OCSP responders, and to build a question for one.
//!
//! **Implements** definite lengths of X.690 section 8.1, tags below 31.
//! **Does not** interpret values.

/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// ENUMERATED.
pub const ENUMERATED: u8 = 0x0a;
/// GeneralizedTime.
pub const GENERALIZED_TIME: u8 = 0x18;

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The tag octet.
    pub tag: u8,
    /// What is inside.
    pub contents: &'a [u8],
    /// The element with its tag and length.
    pub whole: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads these octets.
    pub const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element; absent at the end, or when its length cannot be right.
    pub fn next_element(&mut self) -> Option<Element<'a>> {
        let (tag, after_tag) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (first, after_first) = after_tag.split_first()?;
        let (length, body) = match first {
            0..=0x7f => (usize::from(*first), after_first),
            0x81..=0x84 => {
                let (octets, body) = after_first.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets
                    .iter()
                    .fold(0_usize, |sum, octet| (sum << 8) | usize::from(*octet));
                (length, body)
            }
            _ => return None,
        };
        let (contents, rest) = body.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len().checked_sub(rest.len())?)?;
        self.0 = rest;
        Some(Element {
            tag: *tag,
            contents,
            whole,
        })
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next_element().filter(|element| element.tag == tag)
    }

    /// The next element if it has this tag; otherwise nothing is read.
    pub fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.expect(tag)?;
        *self = ahead;
        Some(element)
    }
}

impl<'a> Element<'a> {
    /// Reads what is inside.
    pub const fn reader(&self) -> Reader<'a> {
        Reader::new(self.contents)
    }
}

/// Wraps contents in a tag and their length.
pub fn wrap(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len().to_be_bytes();
    match u8::try_from(contents.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let significant: Vec<u8> = length.iter().copied().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0x7f));
            out.extend(significant);
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn wrapped_contents_are_read_again(octet in any::<u8>(), count in 0_usize..70_000) {
            let contents = vec![octet; count];
            let whole = wrap(OCTET_STRING, &contents);
            let mut reader = Reader::new(&whole);
            let element = reader.expect(OCTET_STRING).expect("one element");
            prop_assert_eq!(element.contents, contents.as_slice());
            prop_assert_eq!(element.whole, whole.as_slice());
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_octets_end(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&octets);
            while reader.next_element().is_some() {}
        }
    }

    #[test]
    fn lengths_that_cannot_be_right_end_the_reading() {
        for octets in [
            &[0x30][..],
            &[0x30, 0x80],
            &[0x30, 2, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x1f, 0],
        ] {
            assert_eq!(Reader::new(octets).next_element(), None, "{octets:?}");
        }
    }
}

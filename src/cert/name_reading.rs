//! Reading the one-line text of a name back: `/C=FR/O=CNRS/CN=CNRS-Plus`.
//!
//! **Implements** the inverse of [`DistinguishedName::one_line`]; short names may be any known alias.
//! **Does not** guess: a `/` or `+` that is not followed by an attribute type is refused, since it may be meant as part
//! of a value, where it is written `\2F` or `\2B`.

use std::str::FromStr;

use super::name::{Attribute, DistinguishedName, Rdn, oid_of};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found \"{found}\", expected a name in one line as `estafette cert show` prints it: /C=FR/O=CNRS/CN=CNRS-Plus")]
pub struct NameError {
    /// The part that cannot be read.
    pub found: String,
}

impl FromStr for DistinguishedName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |found: &str| NameError { found: found.into() };
        let rdns = text.strip_prefix('/').ok_or_else(|| error(text))?;
        let attribute = |part: &str| attribute(part).ok_or_else(|| error(part));
        let rdn = |part: &str| part.split('+').map(attribute).collect::<Result<_, _>>().map(Rdn);
        rdns.split('/').map(rdn).collect::<Result<_, _>>().map(Self)
    }
}

fn attribute(part: &str) -> Option<Attribute> {
    let (name, value) = part.split_once('=')?;
    Some(Attribute {
        oid: oid_of(name)?.to_owned(),
        value: unescape(value)?,
    })
}

/// `\HH` is one octet of UTF-8.
fn unescape(value: &str) -> Option<String> {
    let mut parts = value.split('\\');
    let mut octets = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        octets.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal)?);
        octets.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn printed_name_reads_back_as_itself(values in prop::collection::vec(".{0,12}", 1..5), joined in any::<bool>()) {
            let mut rdns: Vec<Rdn> = values
                .iter()
                .map(|value| Rdn(vec![Attribute { oid: "2.5.4.11".into(), value: value.clone() }]))
                .collect();
            if joined {
                rdns[0].0.push(Attribute { oid: "1.2.3".into(), value: values[0].clone() });
            }
            let name = DistinguishedName(rdns);
            prop_assert_eq!(name.one_line().parse::<DistinguishedName>(), Ok(name));
        }
    }

    #[test]
    fn alias_and_small_hexadecimal_are_made_canonical() {
        let name: DistinguishedName = "/c=FR/Email=a\\2fb@c".parse().expect("a name");
        assert_eq!(name.one_line(), "/C=FR/emailAddress=a\\2Fb@c");
    }

    #[test]
    fn what_may_mean_something_else_is_refused() {
        for text in [
            "",
            "C=FR",
            "CN=a,O=b",
            "/",
            "/CN=a/b",
            "/CN=a+b",
            "/XX=a",
            "/CN=\\4",
            "/CN=\\+1a",
            "/CN=\\FF",
        ] {
            assert!(text.parse::<DistinguishedName>().is_err(), "{text}");
        }
    }
}

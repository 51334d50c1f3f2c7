//! Filters over distinguished names, for those who search records and queues.
//!
//! **Implements** an attribute with its whole value (`OU=UMR5168`), or a text: a part of the one-line name, or, with a `*`, a
//! glob over all of it.

use super::glob;
use crate::cert::name::{escaped, oid_of, short_name};

/// No name contains it, so that a `*` runs over everything.
const NO_SEPARATOR: char = '\0';

/// What a name must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFilter {
    /// An attribute has exactly this value.
    Attribute {
        /// Its dotted OID.
        oid: String,
        /// The value.
        value: String,
    },
    /// The one-line text contains this, or is covered by it as a glob.
    Text(String),
}

impl NameFilter {
    /// Reads what somebody typed. It is an attribute only with a known type or a dotted OID before the `=`, and no `*`.
    pub fn of(text: &str) -> Self {
        let attribute = text
            .split_once('=')
            .and_then(|(name, value)| Some((oid_of(name)?, value)));
        match attribute {
            Some((oid, value)) => Self::Attribute {
                oid: oid.to_owned(),
                value: value.to_owned(),
            },
            None => Self::Text(text.to_owned()),
        }
    }

    /// Whether a name given by its one-line text and its attributes (dotted OID, value) has it.
    pub fn matches<'a>(&self, one_line: &str, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        match self {
            Self::Attribute { oid, value } => attributes.into_iter().any(|(o, v)| o == oid && v == value),
            Self::Text(text) => contains(one_line, text),
        }
    }

    /// Whether a name of which only the one-line text is known has it. That text has one reading: separators inside a
    /// value are escaped in it.
    pub fn matches_one_line(&self, one_line: &str) -> bool {
        match self {
            Self::Attribute { oid, value } => {
                let wanted = format!("{}={}", short_name(oid), escaped(value));
                one_line.split(['/', '+']).any(|attribute| attribute == wanted)
            }
            Self::Text(text) => contains(one_line, text),
        }
    }
}

fn contains(one_line: &str, text: &str) -> bool {
    one_line.contains(text) || (text.contains('*') && glob::matches(text, one_line, NO_SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_filter_is_an_attribute_only_with_a_known_type() {
        let name = "/C=FR/OU=UMR5168/CN=x";
        let attributes = [("2.5.4.11", "UMR5168")];
        for (text, is_found) in [
            ("OU=UMR5168", true),
            ("2.5.4.11=UMR5168", true),
            ("OU=UMR516", false),
            ("CN=UMR5168", false),
            ("UMR516", true),
            ("/OU=UMR5168/", true),
            ("*/OU=UMR*/CN=?", false),
            ("*/OU=UMR*/CN=*", true),
            ("/OU=UMR*", false),
            ("alice", false),
        ] {
            let filter = NameFilter::of(text);
            assert_eq!(filter.matches(name, attributes), is_found, "{text}");
            assert_eq!(filter.matches_one_line(name), is_found, "{text}");
        }
    }

    #[test]
    fn attribute_is_found_in_the_one_line_text_as_it_is_escaped_there() {
        let name = "/C=FR/OU=R\\2FD+UID=a\\2Bb";
        for (text, is_found) in [("OU=R/D", true), ("UID=a+b", true), ("OU=R", false), ("UID=b", false)] {
            assert_eq!(NameFilter::of(text).matches_one_line(name), is_found, "{text}");
        }
    }
}

//! Names that strangers hold, or could: what an expression that matches them restricts is nothing.

use regex::Regex;

const NAMES: [&str; 7] = [
    "/CN=anybody.example",
    "/C=US/O=Any Public CA/CN=Any Public CA R1",
    "/C=ZZ/ST=Anywhere/L=Anywhere/O=Anybody/OU=Anything/CN=Anybody/emailAddress=anybody@anybody.example",
    "/DC=example/DC=anybody/UID=anybody",
    "/O=Anybody",
    "/emailAddress=anybody@anybody.example",
    "/1.3.6.1.4.1.99999.1=anything",
];

/// Whether an expression is found in every name.
pub fn matches_every_name(regex: &Regex) -> bool {
    NAMES.iter().all(|name| regex.is_match(name))
}

/// Whether an expression is found in the name of a stranger; a certificate without a subject holds the empty name.
pub fn matches_a_stranger(regex: &Regex) -> bool {
    regex.is_match("") || NAMES.iter().any(|name| regex.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_for_anybody_is_told_from_one_on_names() {
        for pattern in [
            ".*",
            "^/",
            "/CN=",
            "/C=.*$",
            "^(/C=FR/O=CNRS|.*)$",
            "/CN=[^/+]+(/|$)",
            "^$",
        ] {
            assert!(matches_a_stranger(&Regex::new(pattern).unwrap()), "{pattern}");
        }
        for pattern in ["^/C=FR/O=CNRS$", "/OU=UMR5168(/|$)"] {
            assert!(!matches_a_stranger(&Regex::new(pattern).unwrap()), "{pattern}");
        }
        for (pattern, expected) in [("^/", true), ("(/CN=a)?", true), ("/CN=", false), ("^$", false)] {
            assert_eq!(matches_every_name(&Regex::new(pattern).unwrap()), expected, "{pattern}");
        }
    }
}

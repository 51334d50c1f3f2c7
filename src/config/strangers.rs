//! Names that strangers hold, or could: what an expression that matches them restricts is nothing.

use regex::Regex;

use crate::cert::name::{DistinguishedName, oid_of};

const NAMES: [&str; 7] = [
    "/CN=anybody.example",
    "/C=US/O=Any Public CA/CN=Any Public CA R1",
    "/C=ZZ/ST=Anywhere/L=Anywhere/O=Anybody/OU=Anything/CN=Anybody/emailAddress=anybody@anybody.example",
    "/DC=example/DC=anybody/UID=anybody",
    "/O=Anybody",
    "/emailAddress=anybody@anybody.example",
    "/1.3.6.1.4.1.99999.1=anything",
];

/// Names of public authorities that issue to whoever asks, and of roots above them. Far from all: those that people write
/// into a rule in the belief that it says whose certificates are meant.
const PUBLIC_AUTHORITIES: [&str; 11] = [
    "/C=US/O=Let's Encrypt/CN=R12",
    "/C=US/O=Internet Security Research Group/CN=ISRG Root X1",
    "/C=US/O=DigiCert Inc/CN=DigiCert Global G2 TLS RSA SHA256 2020 CA1",
    "/C=US/O=DigiCert Inc/OU=www.digicert.com/CN=DigiCert Global Root G2",
    "/C=GB/ST=Greater Manchester/L=Salford/O=Sectigo Limited/CN=Sectigo RSA Client Authentication and Secure Email CA",
    "/C=US/ST=New Jersey/L=Jersey City/O=The USERTRUST Network/CN=USERTrust RSA Certification Authority",
    "/C=US/O=Google Trust Services/CN=WR1",
    "/C=US/O=Amazon/CN=Amazon RSA 2048 M01",
    "/C=BE/O=GlobalSign nv-sa/CN=GlobalSign GCC R6 SMIME CA 2023",
    "/C=AT/O=ZeroSSL/CN=ZeroSSL RSA Domain Secure Site CA",
    "/C=IT/ST=Bergamo/L=Ponte San Pietro/O=Actalis S.p.A./CN=Actalis Client Authentication CA G3",
];

/// Countries of strangers: so many that an expression on nothing but a country is about one of them.
const COUNTRIES: [&str; 12] = ["FR", "DE", "US", "GB", "IT", "ES", "NL", "BE", "CH", "CA", "JP", "PL"];

/// Whether an expression on the issuer's name is found in that of a public authority.
pub fn matches_a_public_authority(regex: &Regex) -> bool {
    matches_a_stranger(regex) || PUBLIC_AUTHORITIES.iter().any(|name| regex.is_match(name))
}

/// Whether a public authority has one of these values of an attribute; takes a short name or a dotted OID.
pub fn is_of_a_public_authority(attribute: &str, values: &[String]) -> bool {
    let names = PUBLIC_AUTHORITIES
        .iter()
        .flat_map(|name| name.parse::<DistinguishedName>());
    let mut names = names.collect::<Vec<_>>().into_iter();
    names.any(|name| {
        name.values(attribute)
            .any(|own| values.iter().any(|value| value == own))
    })
}

/// Whether an attribute of a subject says no more than where somebody lives.
pub fn is_a_place(attribute: &str) -> bool {
    ["C", "ST", "L"]
        .into_iter()
        .any(|place| oid_of(place) == oid_of(attribute))
}

/// Whether an expression is found in every name.
pub fn matches_every_name(regex: &Regex) -> bool {
    NAMES.iter().all(|name| regex.is_match(name))
}

/// Whether an expression is found in the name of a stranger; a certificate without a subject holds the empty name.
pub fn matches_a_stranger(regex: &Regex) -> bool {
    let mut abroad = COUNTRIES
        .iter()
        .map(|country| format!("/C={country}/ST=Anywhere/L=Anywhere/O=Anybody/CN=Anybody"));
    regex.is_match("") || NAMES.iter().any(|name| regex.is_match(name)) || abroad.any(|name| regex.is_match(&name))
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
            "^/C=FR/",
            "/C=(FR|DE)(/|$)",
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

    #[test]
    fn public_authorities_are_known_by_expression_and_attribute() {
        assert!(
            PUBLIC_AUTHORITIES
                .iter()
                .all(|name| name.parse::<DistinguishedName>().is_ok())
        );
        let regex = |pattern: &str| matches_a_public_authority(&Regex::new(pattern).unwrap());
        assert!(regex("/O=Let's Encrypt(/|$)") && regex("^/C=US/O=DigiCert Inc/"));
        assert!(!regex("^/C=FR/O=CNRS/CN=CNRS-Plus$"));
        let attribute = |oid, value: &str| is_of_a_public_authority(oid, &["CNRS".into(), value.into()]);
        assert!(attribute("O", "Let's Encrypt") && attribute("2.5.4.6", "US"));
        assert!(!attribute("O", "US") && !attribute("CN", "CNRS-Plus"));
        assert!(is_a_place("c") && is_a_place("2.5.4.7") && !is_a_place("OU") && !is_a_place("nonsense"));
    }
}

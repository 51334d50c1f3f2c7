//! Extended key usages by name.
//!
//! **Implements** the names of RFC 5280 section 4.2.1.12 and of a few usages that personal certificates carry.

const USAGES: [(&str, &str); 10] = [
    ("anyExtendedKeyUsage", "2.5.29.37.0"),
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("codeSigning", "1.3.6.1.5.5.7.3.3"),
    ("emailProtection", "1.3.6.1.5.5.7.3.4"),
    ("timeStamping", "1.3.6.1.5.5.7.3.8"),
    ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
    ("documentSigning", "1.3.6.1.5.5.7.3.36"),
    ("smartcardLogon", "1.3.6.1.4.1.311.20.2.2"),
    ("pkinitClientAuth", "1.3.6.1.5.2.3.4"),
];

/// All names that are known.
pub fn names() -> impl Iterator<Item = &'static str> {
    USAGES.iter().map(|(name, _)| *name)
}

/// The name of a dotted OID.
pub fn name_of(oid: &str) -> Option<&'static str> {
    USAGES.iter().find(|(_, known)| *known == oid).map(|(name, _)| *name)
}

/// The dotted OID of a name; letter case counts.
pub fn oid_of(name: &str) -> Option<&'static str> {
    USAGES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

//! The keys of `[[certificate_rule]]`: what each is called, what its value looks like, what it means.
//!
//! **Implements** the list that the checks and the manual come from.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What its value looks like.
    pub value: &'static str,
    /// What it means, in one line.
    pub meaning: &'static str,
}

const fn key(name: &'static str, value: &'static str, meaning: &'static str) -> Key {
    Key { name, value, meaning }
}

/// Conditions: in a rule itself, in `not` and in each element of `any`.
pub const CONDITIONS: &[Key] = &[
    key(
        "issuer",
        "`{ CN = \"CNRS-Plus\" }`",
        "attributes of the issuer: each must have one of the values, exactly; short names or dotted OIDs",
    ),
    key(
        "subject",
        "`{ OU = [\"UMR5168\", \"UMR7638\"] }`",
        "attributes of the subject, likewise",
    ),
    key(
        "issuer_regex",
        "regular expression",
        "found in the issuer's one-line text; must cover whole values, as CERTISSUER",
    ),
    key(
        "subject_regex",
        "regular expression",
        "found in the subject's one-line text, likewise",
    ),
    key(
        "mail_address",
        "globs",
        "a rfc822Name among the subject alternative names; `*` stands for any text before or behind the `@`, letter case is ignored",
    ),
    key(
        "dns_name",
        "globs",
        "a dNSName; `*` stands for any text of one label, letter case is ignored",
    ),
    key("user_principal_name", "globs", "a User Principal Name, as mail_address"),
    key(
        "extended_key_usage",
        "names or dotted OIDs",
        "one of these is listed: clientAuth, emailProtection, serverAuth, codeSigning, timeStamping, OCSPSigning, anyExtendedKeyUsage",
    ),
    key("policy", "dotted OIDs", "one of these certificate policies is listed"),
    key(
        "key_usage",
        "names of RFC 5280",
        "one of these is set: digitalSignature, nonRepudiation, keyEncipherment, ..",
    ),
    key("serial", "hexadecimal", "the serial number, with or without colons"),
    key(
        "fingerprint",
        "SHA-256",
        "of the whole certificate, as in relay_clientcerts",
    ),
    key("public_key_fingerprint", "SHA-256", "of the public key"),
    key(
        "issuer_file",
        "path",
        "issued directly by a CA of this PEM file: its name and its key",
    ),
    key("key_algorithm", "RSA, ECDSA, Ed25519", "the type of the public key"),
    key("key_bits_min", "integer", "least size of the public key, bits"),
    key("valid_for", "time", "validity that must be left"),
    key("not", "`{ conditions }`", "the conditions inside do not all hold"),
    key(
        "any",
        "`[{ conditions }, { conditions }]`",
        "all conditions of one of them hold",
    ),
];

/// What else stands in a rule.
pub const RULE: &[Key] = &[
    key("name", "word", "required, unique; restriction lists refer to it"),
    key(
        "action",
        "`permit`, `reject`, `defer`, `continue`",
        "what happens when all conditions hold; permit when not written; continue: the binding and the limits count, and the next restriction is asked",
    ),
    key(
        "text",
        "printable ASCII",
        "the text of the refusal, with reject and defer only",
    ),
    key(
        "sender",
        "`certificate`",
        "MAIL FROM must be an address of the certificate: a rfc822Name, or emailAddress of the subject; any other is refused (553 5.7.1)",
    ),
    key(
        "sender_domains",
        "list of domains",
        "addresses the holder may send with as well: any in these domains; a leading dot means their sub-domains too",
    ),
    key(
        "sender_addresses",
        "list of addresses",
        "addresses the holder may send with as well",
    ),
    key(
        "from_header",
        "boolean",
        "the From header field must hold such addresses only, too",
    ),
    key(
        "null_sender",
        "`permit`, `reject`",
        "the null reverse-path from the holder; smtpd_certificate_null_sender when not written",
    ),
    key(
        "accepts",
        "list of paths",
        "certificates (PEM) for which all conditions must hold: proved whenever the configuration is loaded",
    ),
    key(
        "refuses",
        "list of paths",
        "certificates for which they must not, likewise",
    ),
    key(
        "limit",
        "`[[certificate_rule.limit]]`",
        "how much a holder may send; each counts by itself",
    ),
];

/// What stands in a limit.
pub const LIMIT: &[Key] = &[
    key(
        "per",
        "`certificate`, `issuer`, `subject.OU`, `issuer.O`",
        "whose usage is added up: a certificate's (when not written), an issuer's, everybody's with the same value of an attribute",
    ),
    key("messages", "integer", "messages per time"),
    key("recipients", "integer", "recipients per time"),
    key("octets", "size", "mail data per time"),
    key("time", "time", "required: the window"),
    key(
        "burst",
        "number from 1 to 100",
        "the amounts times this may come before on_exceed acts; 1 when not written",
    ),
    key(
        "on_exceed",
        "`defer`, `reject`, `hold`",
        "what happens beyond: 450 (when not written), 554, or the message waits on hold",
    ),
];

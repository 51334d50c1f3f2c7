//! A dialogue's settings as directives of main.cf.
//!
//! A `set` key or a line that is not known here is an error that names it: it gets its directive in [`setting`], or its
//! reason in [`NO_COUNTERPART`].

use crate::script::example_certificate;

/// Directives, in order of name; what is not among them is as in [`ALWAYS`].
pub(crate) type Directives = Vec<(String, String)>;

/// Why a dialogue does not run against Postfix.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// There is no counterpart, in words.
    Reason(&'static str),
    /// Nobody has thought of it yet.
    Unknown(String),
}

/// What every dialogue is answered under, unless it says otherwise: `default_settings` of script.rs.
const ALWAYS: &[(&str, &str)] = &[
    ("disable_vrfy_command", "no"),
    ("mynetworks", ""),
    ("relay_domains", ""),
    ("smtpd_forbid_bare_newline", "normalize"),
    ("smtpd_forbid_bare_newline_exclusions", ""),
    ("smtpd_helo_required", "yes"),
    (
        "smtpd_recipient_restrictions",
        "permit_mynetworks, permit_tls_all_clientcerts, reject",
    ),
    ("smtpd_tls_security_level", "may"),
];

/// `set` keys and lines for which Postfix has nothing, and why.
const NO_COUNTERPART: &[(&str, &str)] = &[
    ("rule", "certificate rules, their sender bindings and limits are ours"),
    (
        "judged",
        "Postfix judges a certificate once, at the handshake, and not anew during the session",
    ),
    (
        "queue",
        "the queue is made to fail, which a real Postfix cannot be told to do",
    ),
    (
        "shutdown",
        "Postfix lets a session go on when it stops, and tells the client nothing",
    ),
];

/// Restrictions that Postfix calls by the same name.
const SAME_NAME: &[&str] = &[
    "defer",
    "permit",
    "permit_auth_destination",
    "permit_mynetworks",
    "permit_tls_all_clientcerts",
    "permit_tls_clientcerts",
    "reject",
    "reject_unauth_destination",
];

/// Lines that say what happens, not under which settings.
const STEPS: &[&str] = &[
    "C:", "S:", "tls", "eof", "closed", "nothing", "queued:", "trace:", "envelope", "held:",
];

/// Dialogues whose outcome with Postfix is not the same each time.
const CHANCE: &[&str] = &[
    "close_with_octets_under_way.smtp",
    "close_with_octets_under_way_tls.smtp",
];

/// The directives under which a dialogue is to be answered.
///
/// # Errors
/// It has lines for which there are none.
pub(crate) fn directives(name: &str, text: &str) -> Result<Directives, Refusal> {
    if CHANCE.contains(&name) {
        return Err(Refusal::Reason(
            "Postfix closes at once: whether its last reply outlives the octets under way is chance",
        ));
    }
    let mut found: Directives = owned(ALWAYS);
    let mut has_external = true;
    for line in text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let more = match word {
            "set" => {
                let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                has_external &= (key, value) != ("auth_external", "no");
                setting(key, value.trim())?
            }
            "chain" => restrictions(rest)?,
            "connect" => connection(rest)?,
            "timeout" => owned(&[("smtpd_timeout", "2s"), ("smtpd_starttls_timeout", "2s")]),
            "tls" if rest == "certificate=revoked" => {
                return Err(Refusal::Reason("certs-example has no revocation list"));
            }
            "C:" if has_external && speaks_of_external(rest) => {
                return Err(Refusal::Reason(
                    "AUTH EXTERNAL: Postfix leaves it to a SASL library or Dovecot, and has no directive of its own",
                ));
            }
            other if STEPS.contains(&other) => Vec::new(),
            other => return Err(no_counterpart(other, line)),
        };
        for (key, value) in more {
            found.retain(|(name, _)| *name != key);
            found.push((key, value));
        }
    }
    found.sort();
    Ok(found)
}

fn owned(pairs: &[(&str, &str)]) -> Directives {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn no_counterpart(key: &str, line: &str) -> Refusal {
    match NO_COUNTERPART.iter().find(|(name, _)| *name == key) {
        Some((_, reason)) => Refusal::Reason(reason),
        None => Refusal::Unknown(format!(
            "{line:?}: tests/dialogues_postfix/translate.rs does not know {key:?}: give it its directive, or its reason in NO_COUNTERPART"
        )),
    }
}

/// Whether a client's line is about the mechanism, or about AUTH= of MAIL, which goes with it.
fn speaks_of_external(line: &str) -> bool {
    let line = line.to_ascii_uppercase();
    line.starts_with("AUTH EXTERNAL") || (line.starts_with("MAIL FROM:") && line.contains(" AUTH="))
}

/// The directives of `set KEY VALUE`.
fn setting(key: &str, value: &str) -> Result<Directives, Refusal> {
    let name = match key {
        "auth_external" if value == "no" => return Ok(Vec::new()),
        "bare_newline" if value == "note" => {
            return Err(Refusal::Reason(
                "`smtpd_forbid_bare_newline = note` came with a later Postfix than Debian's",
            ));
        }
        "bare_newline" => "smtpd_forbid_bare_newline",
        "bare_newline_exclusions" => "smtpd_forbid_bare_newline_exclusions",
        "errors_max" => "smtpd_hard_error_limit",
        "hello_required" => "smtpd_helo_required",
        "hops_max" => "hopcount_limit",
        "junk_commands_max" => "smtpd_junk_command_limit",
        "message_size_octets_max" => "message_size_limit",
        "recipients_max" => "smtpd_recipient_limit",
        "relay_domains" => "relay_domains",
        "vrfy_disabled" => "disable_vrfy_command",
        "relay_clientcerts" => {
            let fingerprints = value.split_whitespace().map(fingerprint).collect::<Vec<_>>().join(" ");
            return Ok(owned(&[("relay_clientcerts", &format!("inline:{{ {fingerprints} }}"))]));
        }
        "require_client_certificate" => {
            // Postfix asks for one only where it asks for TLS.
            return Ok(owned(&[
                ("smtpd_tls_req_ccert", value),
                ("smtpd_tls_security_level", "encrypt"),
            ]));
        }
        "tls" => {
            return Ok(match value {
                "implicit" => owned(&[("smtpd_tls_wrappermode", "yes")]),
                level => owned(&[("smtpd_tls_security_level", level)]),
            });
        }
        other => return Err(no_counterpart(other, &format!("set {key} {value}"))),
    };
    Ok(owned(&[(name, value)]))
}

fn fingerprint(name: &str) -> String {
    format!("{{ {} = {name} }}", example_certificate(name).fingerprint)
}

fn restrictions(words: &str) -> Result<Directives, Refusal> {
    if let Some(word) = words.split_whitespace().find(|word| !SAME_NAME.contains(word)) {
        if word.trim_start_matches('!').starts_with("CERT") {
            return Err(Refusal::Reason(
                "Postfix matches fingerprints of certificates, not issuers and subjects",
            ));
        }
        return Err(no_counterpart(word, &format!("chain {words}")));
    }
    let words: Vec<&str> = words.split_whitespace().collect();
    Ok(owned(&[("smtpd_recipient_restrictions", &words.join(", "))]))
}

/// `connect ADDRESS [mynetworks NETWORKS]`.
fn connection(words: &str) -> Result<Directives, Refusal> {
    if words.starts_with("::ffff:") {
        return Err(Refusal::Reason(
            "the peer's address reaches Postfix in a PROXY header, which holds no IPv4 address in IPv6 form",
        ));
    }
    Ok(match words.split_once(" mynetworks ") {
        Some((_, networks)) => owned(&[("mynetworks", networks)]),
        None => Vec::new(),
    })
}

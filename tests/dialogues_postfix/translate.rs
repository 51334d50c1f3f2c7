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
        "dns",
        "the dialogue says what the DNS answers, and Postfix asks the name servers of the machine",
    ),
    (
        "early:",
        "whoever talks before the greeting is a matter of postscreen, not of Postfix's smtpd",
    ),
    (
        "filter",
        "the dialogue says what content filters answer, and Postfix hears that from a real milter only",
    ),
    (
        "greet_wait",
        "waiting before the greeting is a matter of postscreen, not of Postfix's smtpd",
    ),
    (
        "passwords",
        "AUTH with passwords: Postfix leaves it to a SASL library or Dovecot, and has no password file of its own",
    ),
    (
        "policy",
        "the dialogue says what a policy service answers, and Postfix hears that from a real one only",
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
    "permit_sasl_authenticated",
    "permit_tls_all_clientcerts",
    "permit_tls_clientcerts",
    "reject",
    "reject_unauth_destination",
];

/// Lines that say what happens, not under which settings.
const STEPS: &[&str] = &[
    "C:", "S:", "tls", "eof", "closed", "demands", "nothing", "paused", "queued:", "trace:", "envelope", "held:",
    "whole",
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
    let mut configuration = String::new();
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
            "config" => {
                configuration.push_str(rest);
                configuration.push('\n');
                Vec::new()
            }
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
        replace(&mut found, more);
    }
    if !configuration.is_empty() {
        replace(&mut found, configured(&configuration));
    }
    found.sort();
    Ok(found)
}

fn replace(found: &mut Directives, more: Directives) {
    for (key, value) in more {
        found.retain(|(name, _)| *name != key);
        found.push((key, value));
    }
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
        "auth_external" | "require_tls" if value == "no" => return Ok(Vec::new()),
        "bare_newline" if value == "note" => {
            return Err(Refusal::Reason(
                "`smtpd_forbid_bare_newline = note` came with a later Postfix than Debian's",
            ));
        }
        "bare_newline" => "smtpd_forbid_bare_newline",
        "bare_newline_exclusions" => "smtpd_forbid_bare_newline_exclusions",
        "errors_max" => "smtpd_hard_error_limit",
        "error_sleep" => "smtpd_error_sleep_time",
        "forbid_unauth_pipelining" => "smtpd_forbid_unauth_pipelining",
        "header_field_octets_max" => "header_size_limit",
        "hidden" => "smtpd_discard_ehlo_keywords",
        "hidden_from" => {
            let table = format!("cidr:{{ {{ {value} }} }}");
            return Ok(owned(&[("smtpd_discard_ehlo_keyword_address_maps", &table)]));
        }
        "hello_required" => "smtpd_helo_required",
        "hops_max" => "hopcount_limit",
        "junk_commands_max" => "smtpd_junk_command_limit",
        "message_size_octets_max" => "message_size_limit",
        "recipients_max" => "smtpd_recipient_limit",
        "messages_rate" => return Ok(rate("smtpd_client_message_rate_limit", value)),
        "recipients_rate" => return Ok(rate("smtpd_client_recipient_rate_limit", value)),
        "tls_sessions_rate" => return Ok(rate("smtpd_client_new_tls_session_rate_limit", value)),
        "authentications_rate" => return Ok(rate("smtpd_client_auth_rate_limit", value)),
        "rate_exceptions" => "smtpd_client_event_limit_exceptions",
        "relay_domains" => "relay_domains",
        "smtputf8" => "smtputf8_enable",
        "soft_errors_max" => "smtpd_soft_error_limit",
        "xclient_hosts" => "smtpd_authorized_xclient_hosts",
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

/// A limit of anvil, which the whole bench is otherwise excepted from.
fn rate(name: &str, value: &str) -> Directives {
    owned(&[(name, value), ("smtpd_client_event_limit_exceptions", "")])
}

/// The directives of all `config` lines: their names are Postfix's, and the lists are all there is.
fn configured(text: &str) -> Directives {
    let mut found = owned(&[("mynetworks", "127.0.0.0/8"), ("smtpd_recipient_restrictions", "")]);
    let configuration: toml::Table = toml::from_str(text).expect("the configuration was read before");
    for (key, value) in configuration {
        match value {
            toml::Value::Table(classes) if key == "smtpd_restriction_classes" => {
                let names: Vec<&str> = classes.keys().map(String::as_str).collect();
                found.push((key, names.join(", ")));
                found.extend(classes.iter().map(|(name, list)| (name.clone(), main_cf_value(list))));
            }
            value => replace(&mut found, vec![(key, main_cf_value(&value))]),
        }
    }
    found
}

/// A list in one line, a table as `inline:` of DATABASE_README.
fn main_cf_value(value: &toml::Value) -> String {
    let inline = |table: &toml::Table| {
        let entry = |(key, value): (&String, &toml::Value)| format!("{{ {key} = {} }}", main_cf_value(value));
        format!(
            "inline:{{ {} }}",
            table.iter().map(entry).collect::<Vec<_>>().join(", ")
        )
    };
    match value {
        toml::Value::Boolean(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        toml::Value::String(word) => word.clone(),
        toml::Value::Array(items) => items.iter().map(list_item).collect::<Vec<_>>().join(", "),
        toml::Value::Table(table) => inline(table),
        other => panic!("no value of main.cf: {other}"),
    }
}

/// A restriction, or `{ check_sender_access = { .. } }`.
fn list_item(item: &toml::Value) -> String {
    let check = |(name, table): (&String, &toml::Value)| format!("{name} {}", main_cf_value(table));
    match item {
        toml::Value::Table(check_of) => check_of.iter().map(check).collect::<Vec<_>>().join(", "),
        word => main_cf_value(word),
    }
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
    let mut words: Vec<&str> = words.split_whitespace().collect();
    if words == ["permit"] {
        // Postfix does not serve under a list that plainly refuses nobody.
        words = vec!["check_client_access static:OK", "reject"];
    }
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

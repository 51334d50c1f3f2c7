//! Whether a restriction list decides, and whether it opens the relay to everybody.
//!
//! **Implements** the errors that keep a campus relay from becoming an open one.

use ipnet::IpNet;

use super::certificate_rules::breadth::{is_for_anybody, matches_anybody};
use super::error::{Complaint, Findings, Span};
use super::list_openness;
use super::list_reach;
use super::public_bundle::PublicTrust;
use super::restriction_words::Listed;
use super::scope::Scope;
use super::world_networks::is_of_the_world;
use crate::policy::certificate_rule::RuleAction;
use crate::policy::reached::{Named, reached};
use crate::policy::restriction::{Action, Restriction};
use crate::policy::sender_binding::SenderBinding;
use crate::policy::stage::List;
use crate::policy::table_action::TableAction;
use crate::session::settings::TlsOffer;

/// The lists that are asked on a listener.
#[derive(Debug)]
pub struct Lists {
    /// `smtpd_relay_restrictions`.
    pub relay: Vec<Listed>,
    /// `smtpd_recipient_restrictions`.
    pub recipient: Vec<Listed>,
}

/// The name and the elements of one list.
type OfName<'a> = (&'static str, &'a [Listed]);

/// A restriction that is asked, with its list.
type Asked = (&'static str, Listed);

const RELAY: &str = "smtpd_relay_restrictions";
const RECIPIENT: &str = "smtpd_recipient_restrictions";

impl Lists {
    /// As in Postfix 1.1, the recipient list alone does relay control too; the default list stands for neither.
    pub fn of(scope: &Scope) -> Self {
        let recipient = scope.restrictions(RECIPIENT).to_vec();
        let relay = if scope.is_written(RELAY) || recipient.is_empty() {
            scope.restrictions(RELAY).to_vec()
        } else {
            Vec::new()
        };
        Self { relay, recipient }
    }

    /// The list that decides who may relay.
    fn relay_control(&self) -> OfName<'_> {
        if self.relay.is_empty() {
            (RECIPIENT, &self.recipient)
        } else {
            (RELAY, &self.relay)
        }
    }

    /// Every restriction with its list, also those in classes and those that tables name.
    fn all(&self, named: &Named) -> impl Iterator<Item = (&'static str, Listed)> {
        let relay = self.relay.iter().map(|listed| (RELAY, listed));
        let all = relay.chain(self.recipient.iter().map(|listed| (RECIPIENT, listed)));
        all.flat_map(|(key, listed)| {
            let reached = reached(&listed.restriction, named).into_iter();
            reached.map(move |restriction| {
                let span = listed.span.clone();
                (key, Listed { restriction, span })
            })
        })
    }
}

/// Checks both lists of a listener.
pub fn check(lists: &Lists, scope: &Scope, offer: TlsOffer, trust: &PublicTrust, findings: &mut Findings) {
    if !(scope.is_good(RELAY) && scope.is_good(RECIPIENT)) {
        return;
    }
    if lists.relay.is_empty() && lists.recipient.is_empty() {
        let complaint = Complaint::new("both restriction lists are empty", "expected a list that decides");
        let hint = "write [\"permit_mynetworks\", \"permit_auth_destination\", \"reject\"]";
        findings.error(RELAY, scope.span(RELAY), complaint.hint(hint));
    }
    for (key, list) in [(RELAY, lists.relay.as_slice()), (RECIPIENT, lists.recipient.as_slice())] {
        list_reach::check(key, list, scope.span(key), findings);
    }
    let named: Named = scope.named("smtpd_restriction_classes").iter().cloned().collect();
    let (key, list) = lists.relay_control();
    list_openness::check(key, list, &named, findings);
    let all: Vec<_> = lists.all(&named).collect();
    check_networks(&all, scope, findings);
    for (key, listed) in all.iter().filter(|(_, l)| l.restriction.needs_client_certificate()) {
        check_certificate_rule(key, listed, scope, offer, findings);
    }
    check_public_trust(&all, trust, findings);
    check_late_rules(scope, &named, findings);
}

/// What has been done before anybody is asked in `smtpd_end_of_data_restrictions`: the header is written, the From header field
/// read, the message counted.
fn check_late_rules(scope: &Scope, named: &Named, findings: &mut Findings) {
    let key = List::EndOfData.name();
    for listed in scope.restrictions(key) {
        for restriction in reached(&listed.restriction, named) {
            for what in too_late_at_the_end(&restriction) {
                let complaint = Complaint::new(
                    format!("\"{restriction}\" has {what}, which would count too late here"),
                    "expected a restriction without",
                );
                let hint = "put it into smtpd_relay_restrictions or smtpd_data_restrictions";
                findings.error(key, listed.span.clone(), complaint.hint(hint));
            }
        }
    }
}

fn too_late_at_the_end(restriction: &Restriction) -> Vec<&'static str> {
    let reads_from = |binding: &SenderBinding| binding.from_header.then_some("from_header");
    let prepends = |value: &str| matches!(TableAction::parse(value), Ok(TableAction::Prepend(_)));
    match restriction {
        Restriction::Rule(rule) => {
            let limits = (!rule.limits.is_empty()).then_some("limits");
            let from = rule.sender.as_deref().and_then(reads_from);
            from.into_iter().chain(limits).collect()
        }
        Restriction::RejectSenderCertificateMismatch(binding) => reads_from(binding).into_iter().collect(),
        Restriction::Access(_, table) => table.values().any(prepends).then_some("PREPEND").into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Networks that together hold a large part of the Internet, with permission for all of it.
fn check_networks(all: &[Asked], scope: &Scope, findings: &mut Findings) {
    let is_asked = all
        .iter()
        .any(|(_, listed)| matches!(listed.restriction, Restriction::PermitMynetworks));
    let networks = IpNet::aggregate(&scope.networks("mynetworks").to_vec());
    let Some(world) = networks
        .iter()
        .find(|network| is_of_the_world(network))
        .filter(|_| is_asked)
    else {
        return;
    };
    let what = match world.prefix_len() {
        0 => "is every address".to_owned(),
        length => format!("is one in {} of all addresses", 1_u32 << length),
    };
    let complaint = Complaint::new(
        format!("open relay: {world} {what}, and \"permit_mynetworks\" permits it"),
        "expected your own networks",
    );
    let hint = "write the campus networks, such as [\"127.0.0.0/8\", \"192.0.2.0/24\"]";
    findings.error("mynetworks", scope.span("mynetworks"), complaint.hint(hint));
}

fn check_certificate_rule(key: &str, listed: &Listed, scope: &Scope, offer: TlsOffer, findings: &mut Findings) {
    let word = &listed.restriction;
    let span = || listed.span.clone();
    if offer == TlsOffer::None {
        let message = format!("\"{word}\" can never apply: this listener offers no TLS");
        let complaint = Complaint::new(message, "needs TLS");
        findings.error(
            key,
            span(),
            complaint.hint("write smtpd_tls_security_level = \"may\" and smtpd_tls_cert_file"),
        );
    }
    if !(scope.boolean("smtpd_tls_ask_ccert") || scope.boolean("smtpd_tls_req_ccert")) {
        let message = format!("\"{word}\" can never apply: clients are not asked for a certificate");
        let complaint = Complaint::new(message, "needs smtpd_tls_ask_ccert");
        findings.error(key, span(), complaint.hint("write smtpd_tls_ask_ccert = true"));
    }
    if matches!(word, Restriction::PermitTlsClientcerts) {
        if scope.is_good("relay_clientcerts") && scope.words("relay_clientcerts").is_empty() {
            let complaint = Complaint::new(
                format!("\"{word}\" can never permit: relay_clientcerts is empty"),
                "needs relay_clientcerts",
            );
            findings.warning(
                key,
                span(),
                complaint.hint("write relay_clientcerts = [\"<SHA-256 fingerprint>\"]"),
            );
        }
        return;
    }
    let has_ca = scope.text("smtpd_tls_CAfile").is_some()
        || scope.text("smtpd_tls_CApath").is_some()
        || scope.boolean("tls_append_default_CA");
    if !has_ca && scope.is_good("smtpd_tls_CAfile") && scope.is_good("smtpd_tls_CApath") {
        let message = format!("\"{word}\" can never apply: no CA is trusted");
        let complaint = Complaint::new(message, "needs smtpd_tls_CAfile or smtpd_tls_CApath");
        findings.error(
            key,
            span(),
            complaint.hint("write smtpd_tls_CAfile = \"<the CAs whose certificates you accept>\""),
        );
    }
}

/// Anybody can get a certificate of a public CA, so permitting all of them permits everybody.
fn check_public_trust(all: &[Asked], trust: &PublicTrust, findings: &mut Findings) {
    let permits_all = |listed: &Listed| match &listed.restriction {
        Restriction::PermitTlsAllClientcerts => true,
        Restriction::Certificate(rule) => rule.action == Action::Permit && matches_anybody(rule),
        Restriction::Rule(rule) => rule.action == RuleAction::Permit && is_for_anybody(rule),
        _ => false,
    };
    for (key, listed) in all.iter().filter(|(_, listed)| permits_all(listed)) {
        if let Some((directive, count)) = trust.few {
            let message = format!(
                "\"{}\" together with {directive}: {count} of its certificates are in the system's public store as well",
                listed.restriction
            );
            let complaint = Complaint::new(message, "open to the world if one of them is a public CA's");
            let hint = "leave it if it is your own CA that is installed there; take any other out";
            findings.warning(key, listed.span.clone(), complaint.hint(hint));
        }
        let Some((directive, why)) = &trust.because else {
            continue;
        };
        let message = format!(
            "open relay: \"{}\" together with {directive}: {why}, and anybody can get a certificate of a public CA",
            listed.restriction
        );
        let complaint = Complaint::new(message, "permits everybody who holds any public certificate");
        let hint = "write smtpd_tls_CAfile = \"<your own CAs only>\" without tls_append_default_CA, or say which \
                    certificates: \"CERTISSUER:^/C=FR/O=CNRS/CN=CNRS-Plus$\", or issuer = { CN = \"CNRS-Plus\" } in a \
                    [[certificate_rule]]";
        let span: Option<Span> = listed.span.clone();
        findings.error(key, span, complaint.hint(hint));
    }
}

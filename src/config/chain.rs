//! From the directives of one scope to the restriction chain of its sessions.

use super::environment::Environment;
use super::list_checks::Lists;
use super::restriction_words::Listed;
use super::scope::Scope;
use crate::net::CidrSet;
use crate::policy::chain::Chain;
use crate::policy::facts::{DestinationPattern, Lists as PolicyLists, ReplyCodes};
use crate::policy::restriction::Restriction;
use crate::policy::stage::List;

/// The chain of a listener; where it listens is not known here.
pub fn build(scope: &Scope, lists: &Lists, environment: &Environment) -> Chain {
    let restrictions = |list: &[Listed]| list.iter().map(|l| l.restriction.clone()).collect::<Vec<Restriction>>();
    let of = |list: List| restrictions(scope.restrictions(list.name()));
    Chain {
        client: of(List::Client),
        hello: of(List::Hello),
        sender: of(List::Sender),
        relay: restrictions(&lists.relay),
        recipient: restrictions(&lists.recipient),
        data: of(List::Data),
        end_of_data: of(List::EndOfData),
        refuses_early: !scope.boolean("smtpd_delay_reject"),
        recipient_before_relay: !scope.boolean("smtpd_relay_before_recipient_restrictions"),
        lists: PolicyLists {
            mynetworks: CidrSet::new(scope.networks("mynetworks").to_vec()),
            destinations: destinations(scope),
            relay_clientcerts: scope.words("relay_clientcerts").to_vec(),
            local_addresses: environment.interfaces.iter().map(ipnet::IpNet::addr).collect(),
            server: None,
            relay_recipients: scope.tables("relay_recipient_maps").to_vec(),
            sender_logins: scope.tables("smtpd_sender_login_maps").to_vec(),
            rejects_unlisted_recipient: scope.boolean("smtpd_reject_unlisted_recipient"),
            rejects_unlisted_sender: scope.boolean("smtpd_reject_unlisted_sender"),
            subdomains_need_a_dot: !includes_subdomains(scope, "smtpd_access_maps"),
            null_sender_key: scope.text("smtpd_null_access_lookup_key").unwrap_or("<>").to_owned(),
            named: scope.named("smtpd_restriction_classes").iter().cloned().collect(),
            codes: codes(scope),
        },
    }
}

fn codes(scope: &Scope) -> ReplyCodes {
    let code = |name| u16::try_from(scope.number(name)).unwrap_or(450);
    ReplyCodes {
        access_map: code("access_map_reject_code"),
        unknown_client: code("unknown_client_reject_code"),
        unknown_address: code("unknown_address_reject_code"),
        unknown_hostname: code("unknown_hostname_reject_code"),
        dns_list: code("maps_rbl_reject_code"),
        relay_domains: code("relay_domains_reject_code"),
        invalid_hostname: code("invalid_hostname_reject_code"),
        non_fqdn: code("non_fqdn_reject_code"),
        unlisted: code("unknown_relay_recipient_reject_code"),
        plaintext: code("plaintext_reject_code"),
        access_map_defer: code("access_map_defer_code"),
        multi_recipient_bounce: code("multi_recipient_bounce_reject_code"),
        reject: code("reject_code"),
        defer: code("defer_code"),
    }
}

fn includes_subdomains(scope: &Scope, list: &str) -> bool {
    let lists = scope.words("parent_domain_matches_subdomains");
    lists.iter().any(|word| word == list)
}

/// `mydestination` names hosts exactly; `relay_domains` holds sub-domains by default, as in Postfix.
fn destinations(scope: &Scope) -> Vec<DestinationPattern> {
    let parents = scope.words("parent_domain_matches_subdomains");
    let includes_subdomains = parents.iter().any(|list| list == "relay_domains");
    let exact = scope.domains("mydestination").iter().map(|listed| (listed, false));
    let relayed = scope.domains("relay_domains").iter();
    let all = exact.chain(relayed.map(|listed| (listed, includes_subdomains)));
    all.map(|(listed, subdomains)| DestinationPattern {
        domain: listed.domain.clone(),
        subdomains: subdomains || listed.dotted,
    })
    .collect()
}

//! The directives about who stands between a client and its listener.

use super::error::{Complaint, Findings};
use super::scope::Scope;
use crate::net::CidrSet;
use crate::session::settings::UpstreamProxy;

const PROTOCOL: &str = "smtpd_upstream_proxy_protocol";
const HOSTS: &str = "smtpd_upstream_proxy_hosts";

/// The load balancers in front of the listener, when there are any.
pub fn proxy(scope: &Scope) -> Option<UpstreamProxy> {
    scope.text(PROTOCOL).map(|_haproxy| UpstreamProxy {
        hosts: CidrSet::new(scope.networks(HOSTS).to_vec()),
        timeout: scope.time("smtpd_upstream_proxy_timeout"),
    })
}

/// A header from anybody could name any client, so that its senders must be named.
pub fn check(scope: &Scope, findings: &mut Findings) {
    let hosts = scope.networks(HOSTS);
    if scope.text(PROTOCOL).is_some() && hosts.is_empty() && scope.is_good(HOSTS) {
        let complaint = Complaint::new(
            "nobody may send the PROXY header, so that nobody could connect",
            "needs smtpd_upstream_proxy_hosts",
        );
        let hint = "write smtpd_upstream_proxy_hosts = [\"192.0.2.7\"] with the addresses of your load balancers";
        findings.error(PROTOCOL, scope.span(PROTOCOL), complaint.hint(hint));
    }
    if scope.text(PROTOCOL).is_none() && scope.is_good(PROTOCOL) && scope.is_own(HOSTS) {
        let complaint = Complaint::new(
            "has no effect without smtpd_upstream_proxy_protocol",
            "no PROXY header is read",
        );
        findings.warning(
            HOSTS,
            scope.span(HOSTS),
            complaint.hint(format!("write {PROTOCOL} = \"haproxy\"")),
        );
    }
    if let Some(everybody) = hosts.iter().find(|network| network.prefix_len() == 0) {
        let complaint = Complaint::new(
            format!("{everybody} lets everybody pass for any client, and so relay for permit_mynetworks"),
            "expected the addresses of load balancers",
        );
        findings.error(
            HOSTS,
            scope.span(HOSTS),
            complaint.hint("name the load balancers alone"),
        );
    }
}

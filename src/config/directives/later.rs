//! Directives of Postfix that do not work yet: refused in words rather than ignored.

use super::kind::Known;

/// Known, not supported yet.
pub const DIRECTIVES: &[Known] = &[
    known("myorigin", "$myhostname", "domain appended to locally posted addresses"),
    known(
        "append_dot_mydomain",
        "no (compat>=1)",
        "complete user@host -> user@host.$mydomain for local mail",
    ),
    known("compatibility_level", "0", "freezes old defaults after upgrade"),
    known("strict_rfc821_envelopes", "no", "require <> and bare addresses"),
    known(
        "smtpd_log_access_permit_actions",
        "empty",
        "log permits too (off by default)",
    ),
    known("smtpd_reject_footer", "empty", "text appended to 4xx/5xx"),
    known(
        "smtpd_tls_chain_files",
        "empty",
        "key+chain bundles, several algorithms",
    ),
    known("smtpd_tls_loglevel", "0", "TLS logging; CN/fingerprint only at >=2"),
    known("smtpd_tls_ciphers", "medium", "cipher grade, opportunistic"),
    known("smtpd_tls_mandatory_ciphers", "medium", "cipher grade, mandatory"),
    known(
        "smtpd_tls_session_cache_timeout",
        "3600s",
        "resumption lifetime; <=0 disables tickets",
    ),
    known("tls_server_sni_maps", "empty", "SNI name -> chain files"),
    known(
        "tls_eecdh_auto_curves",
        "?X25519MLKEM768:DEFAULT (OpenSSL>=3.5)",
        "key-exchange groups",
    ),
    known(
        "tls_trust_server_ccerts",
        "no",
        "accept serverAuth-only EKU as client cert (3.12)",
    ),
    known("smtpd_tls_enable_rpk", "no", "RFC 7250 raw public keys"),
    known("smtp_tls_policy_maps", "empty", "per-destination level and match"),
    known("smtp_tls_chain_files", "empty", "key+chain bundle"),
    known("smtp_tls_verify_cert_match", "hostname", "names accepted at verify"),
    known(
        "smtp_tls_secure_cert_match",
        "nexthop, dot-nexthop",
        "names accepted at secure",
    ),
    known(
        "smtp_tls_fingerprint_digest",
        "sha256 (compat>=3.6; else md5)",
        "digest for fingerprint level",
    ),
    known("smtp_tls_mandatory_ciphers", "medium", "cipher grade, mandatory"),
    known("smtp_tls_loglevel", "0", "client TLS logging"),
    known("smtp_tls_servername", "empty", "SNI to send"),
    known("smtp_dns_support_level", "empty", "dnssec needed for dane"),
    known("smtp_tlsrpt_enable", "no", "RFC 8460 reporting"),
    known("smtp_sasl_auth_enable", "no", "AUTH to smarthost"),
    known("smtp_sasl_password_maps", "empty", "credentials per next hop"),
    known(
        "smtp_sasl_security_options",
        "noplaintext, noanonymous",
        "mechanism filter (client)",
    ),
    known("sender_dependent_relayhost_maps", "empty", "smarthost per sender"),
    known("transport_maps", "empty", "recipient -> transport:nexthop"),
    known("default_transport", "smtp", "transport for remote mail"),
    known("relay_transport", "relay", "transport for relay_domains"),
    known("smtp_fallback_relay", "empty", "hosts tried last"),
    known("smtp_address_preference", "any", "ipv6/ipv4/any first"),
    known("smtp_mail_timeout", "300s", "MAIL limit"),
    known("smtp_rcpt_timeout", "300s", "RCPT limit"),
    known("smtp_data_init_timeout", "120s", "DATA limit"),
    known("qmgr_message_active_limit", "20000", "active queue size"),
    known("default_destination_rate_delay", "0s", "pause between deliveries"),
    known("enable_long_queue_ids", "no", "non-reused IDs"),
    known("bounce_template_file", "empty", "DSN text templates"),
    known("notify_classes", "resource, software", "what postmaster is told"),
    known("cleanup_replace_stray_cr_lf", "yes", "outbound smuggling guard"),
    known(
        "smtpd_hide_client_session",
        "no",
        "drop client info from Received (3.10)",
    ),
    known("content_filter", "empty", "after-queue filter"),
    known("header_checks", "empty", "header tables"),
    known("always_bcc", "empty", "copy of everything"),
    known("sender_canonical_maps", "empty", "rewrite sender"),
    known("smtp_generic_maps", "empty", "rewrite on the way out"),
    known("virtual_alias_maps", "$virtual_maps", "envelope aliases"),
    known(
        "local_header_rewrite_clients",
        "permit_inet_interfaces",
        "whose headers may be completed",
    ),
    known("maillog_file", "empty", "own logfile"),
    known("syslog_facility", "mail", "facility"),
    known("authorized_submit_users", "static:anyone", "sendmail(1) users"),
    known("authorized_mailq_users", "static:anyone", "mailq users"),
];

const fn known(name: &'static str, postfix: &'static str, meaning: &'static str) -> Known {
    Known { name, postfix, meaning }
}

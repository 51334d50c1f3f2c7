//! The Received header.
//!
//! **Implements** RFC 5321 section 4.4, RFC 3848 (ESMTPS, ESMTPA, ESMTPSA), RFC 6531 section 4.3 (UTF8SMTPS and the like),
//! `smtpd_tls_received_header` and `smtpd_sasl_authenticated_header` of postconf(5): the
//! holder of a misused certificate can be found. A certificate cannot write a header: what is not printable in a
//! name, and `\`, becomes `?`, and parentheses are balanced.

use std::net::IpAddr;

use super::queue_id::QueueId;
use crate::cert::identity::Identity;
use crate::time::Now;
use crate::wire::domain::Domain;
use crate::wire::path::ForwardPath;

/// What TLS negotiated, as far as it is recorded; every text is a constant or a name from a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsDescription {
    /// `TLSv1.3`.
    pub protocol: String,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Key length of the cipher in bits.
    pub cipher_bits: u16,
    /// `X25519MLKEM768`; absent where the library does not say.
    pub key_exchange: Option<String>,
    /// `ECDSA (prime256v1)`, `RSA-PSS (2048 bits)`; absent on resumption.
    pub server_signature: Option<String>,
    /// `SHA256`.
    pub server_digest: Option<String>,
    /// As for the server, when the client proved a key.
    pub client_signature: Option<String>,
    /// As for the server.
    pub client_digest: Option<String>,
    /// The server name the client asked for.
    pub server_name: Option<String>,
    /// Whether the session was resumed.
    pub resumed: bool,
}

/// How much of SMTP the client spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// HELO.
    Plain,
    /// EHLO.
    Extended,
    /// AUTH as well.
    Authenticated,
}

/// What the Received header of one message says.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The name given to HELO or EHLO.
    pub hello: &'a str,
    /// How much of SMTP was spoken.
    pub dialect: Dialect,
    /// Whether SMTPUTF8 was declared: otherwise the header is ASCII.
    pub is_utf8: bool,
    /// The peer.
    pub peer: IpAddr,
    /// Its name, when the DNS says that it has this address.
    pub peer_name: Option<&'a Domain>,
    /// `myhostname`.
    pub myhostname: &'a str,
    /// TLS, if any.
    pub tls: Option<&'a TlsDescription>,
    /// Who holds the session.
    pub identity: &'a Identity,
    /// Whether the certificate lines are written (`smtpd_tls_received_header`).
    pub with_tls_details: bool,
    /// Whether a client certificate was asked for.
    pub certificate_asked: bool,
    /// The login, when it is to be named (`smtpd_sasl_authenticated_header`).
    pub login: Option<&'a str>,
    /// The id.
    pub id: QueueId,
    /// The recipients; named only when there is one.
    pub forward_paths: &'a [ForwardPath],
    /// The time.
    pub now: Now,
}

impl Received<'_> {
    /// The header with its CRLF.
    pub fn to_header(&self) -> String {
        let address = match self.peer {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("IPv6:{address}"),
        };
        let name = self.peer_name.map_or("unknown", Domain::as_str);
        let mut out = format!("Received: from {} ({name} [{address}])\r\n", word_safe(self.hello));
        if let Some(tls) = self.tls.filter(|_| self.with_tls_details) {
            self.push_tls(&mut out, tls);
        }
        if let Some(login) = self.login {
            out.push_str(&format!("\t(Authenticated sender: {})\r\n", comment_safe(login)));
        }
        let protocol = match (self.is_utf8, self.tls.is_some(), self.dialect) {
            (true, true, Dialect::Authenticated) => "UTF8SMTPSA",
            (true, true, _) => "UTF8SMTPS",
            (true, false, Dialect::Authenticated) => "UTF8SMTPA",
            (true, false, _) => "UTF8SMTP",
            (false, true, Dialect::Authenticated) => "ESMTPSA",
            (false, true, _) => "ESMTPS",
            (false, false, Dialect::Authenticated) => "ESMTPA",
            (false, false, Dialect::Extended) => "ESMTP",
            (false, false, Dialect::Plain) => "SMTP",
        };
        out.push_str(&format!(
            "\tby {} (Estafette) with {protocol} id {}",
            self.myhostname, self.id
        ));
        if let [only] = self.forward_paths {
            out.push_str(&format!("\r\n\tfor <{only}>"));
        }
        out.push_str(&format!("; {}\r\n", self.now.wall.rfc5322(self.now.utc_offset_seconds)));
        out
    }

    fn push_tls(&self, out: &mut String, tls: &TlsDescription) {
        let bits = tls.cipher_bits;
        out.push_str(&format!(
            "\t(using {} with cipher {} ({bits}/{bits} bits)",
            tls.protocol, tls.cipher
        ));
        let pairs = [
            ("key-exchange", &tls.key_exchange),
            ("server-signature", &tls.server_signature),
            ("server-digest", &tls.server_digest),
        ];
        push_pairs(out, &pairs);
        push_pairs(
            out,
            &[
                ("client-signature", &tls.client_signature),
                ("client-digest", &tls.client_digest),
            ],
        );
        out.push_str(")\r\n");
        let line = match (self.identity.certificate(), self.identity) {
            (Some(certificate), identity) => {
                let verified = if identity.verified().is_some() {
                    "verified OK"
                } else {
                    "not verified"
                };
                format!(
                    "(Client CN \"{}\", Issuer \"{}\" ({verified}))",
                    comment_safe(certificate.subject.common_name().unwrap_or_default()),
                    comment_safe(certificate.issuer.common_name().unwrap_or_default()),
                )
            }
            (None, Identity::Unverified { .. }) => "(Client certificate could not be read (not verified))".into(),
            (None, _) if self.certificate_asked => "(Client did not present a certificate)".into(),
            (None, _) => "(No client certificate requested)".into(),
        };
        out.push_str(&format!("\t{line}\r\n"));
    }
}

fn push_pairs(out: &mut String, pairs: &[(&str, &Option<String>)]) {
    let known: Vec<String> = pairs
        .iter()
        .filter_map(|(key, value)| Some(format!("{key} {}", value.as_ref()?)))
        .collect();
    if !known.is_empty() {
        out.push_str(&format!("\r\n\t {}", known.join(" ")));
    }
}

/// The longest name written into a comment, characters: a header line stays under 998 octets.
const NAME_CHARACTERS_MAX: usize = 256;

/// The name of HELO or EHLO where a host name belongs. It is the client's word and stands before all that we know, so it
/// must not read like that: a comment with another address, or the `;` before the date. Postfix writes `?` for the same
/// characters.
fn word_safe(text: &str) -> String {
    text.chars()
        .take(NAME_CHARACTERS_MAX)
        .map(|c| match c {
            '<' | '>' | '(' | ')' | '\\' | '"' | ';' | '@' => '?',
            '!'..='~' => c,
            _ => '?',
        })
        .collect()
}

/// What may stand inside a comment or a quoted name: printable ASCII, no `\` or `"`, parentheses balanced.
fn comment_safe(text: &str) -> String {
    let mut depth = 0_usize;
    let mut safe: String = text
        .chars()
        .take(NAME_CHARACTERS_MAX)
        .map(|c| match c {
            '(' => {
                depth += 1;
                c
            }
            ')' if depth == 0 => '?',
            ')' => {
                depth -= 1;
                c
            }
            '\\' | '"' => '?',
            ' '..='~' => c,
            _ => '?',
        })
        .collect();
    safe.extend(std::iter::repeat_n(')', depth));
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(hello: &str, tls: Option<&TlsDescription>) -> String {
        let received = Received {
            hello,
            dialect: Dialect::Extended,
            is_utf8: false,
            peer_name: None,
            peer: IpAddr::from([192, 0, 2, 1]),
            myhostname: "relay.example.org",
            tls,
            identity: &Identity::Plaintext,
            with_tls_details: true,
            certificate_asked: true,
            login: None,
            id: QueueId::from_parts(1, 1),
            forward_paths: &[],
            now: Now {
                monotonic: std::time::Instant::now(),
                wall: crate::time::Timestamp(0),
                utc_offset_seconds: 0,
            },
        };
        received.to_header()
    }

    #[test]
    fn hello_name_cannot_forge_what_follows_it() {
        for (hello, written) in [
            ("a.example(trusted[192.0.2.9])by", "a.example?trusted[192.0.2.9]?by"),
            ("a;<b@c>\"\\", "a??b?c???"),
            ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ] {
            let header = header(hello, None);
            let start = format!("Received: from {written} (unknown [192.0.2.1])\r\n");
            assert!(header.starts_with(&start), "{header}");
        }
    }

    #[test]
    fn names_in_comments_cannot_break_out() {
        assert_eq!(comment_safe("a)b(c\r\nX: \"\\é"), "a?b(c??X: ???)");
    }
}

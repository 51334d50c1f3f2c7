//! Access tables and policy services: which keys are asked for, and what an action leads to.
//!
//! **Implements** the look-up orders and the actions of access(5), and `check_ccert_access` with `search_order`.
//! **Does not** look for addresses without their `recipient_delimiter` part.

use std::net::IpAddr;

use super::answer::Answer;
use super::asker::{Asked, Asker, domain_of, first, not_known, pass};
use super::question::{Found, Question};
use super::refusal::{Denied, Subject, Why};
use super::restriction::{AccessOf, CertificateKey, Restriction};
use super::table::Table;
use super::table_action::{Deferral, TableAction};
use super::verdict::{Because, Obligations, Opinion};
use crate::cert::identity::{self, Identity};
use crate::wire::domain::Domain;
use crate::wire::path::{ForwardPath, Mailbox, ReversePath};

impl Asker<'_> {
    /// Asks a table.
    pub(super) fn ask_table(&self, of: &AccessOf, table: &Table) -> Asked {
        let keys = match of {
            AccessOf::Client => return self.ask_client(table),
            AccessOf::ReverseClient => return self.ask_reverse_client(table),
            AccessOf::Hello => self.keys_of_name(self.facts.hello, table),
            AccessOf::Sender => match self.facts.reverse_path {
                Some(ReversePath::Mailbox(mailbox)) => self.keys_of_address(mailbox, table),
                Some(ReversePath::Null) => vec![self.lists.null_sender_key.clone()],
                None => Vec::new(),
            },
            AccessOf::Recipient => match self.facts.forward_path {
                Some(ForwardPath::Mailbox(mailbox)) => self.keys_of_address(mailbox, table),
                Some(ForwardPath::Postmaster) => vec!["postmaster".to_owned(), "postmaster@".to_owned()],
                None => Vec::new(),
            },
            AccessOf::Certificate(order) => self.keys_of_certificate(order),
            AccessOf::Login => self.facts.login.map(str::to_owned).into_iter().collect(),
        };
        let answer = self.first_of(&keys, subject_of(of), table);
        if *of == AccessOf::Recipient && answer.opinion == Opinion::Permit && self.asks_for_routing() {
            // The next hop might relay it: nothing says that its permission is meant for that, as in Postfix.
            return Ok(Answer {
                opinion: Opinion::Pass,
                ..answer
            });
        }
        Ok(answer)
    }

    /// The name first, then the address, as in Postfix; when the name cannot be found out, the address may still decide.
    fn ask_client(&self, table: &Table) -> Asked {
        let addresses = self.keys_of_peer(table);
        if !table.holds_names() {
            return Ok(self.first_of(&addresses, Subject::Client, table));
        }
        Ok(self.ask_named_client(&self.peer_names()?.verified, addresses, Subject::Client, table))
    }

    /// As for the client, with the name that need not lead back. Whoever has an address can give it any name, so that a
    /// permission is a fault of the configuration, as in Postfix.
    fn ask_reverse_client(&self, table: &Table) -> Asked {
        let subject = Subject::ReverseClient;
        let answer = self.ask_named_client(&self.peer_names()?.reverse, self.keys_of_peer(table), subject, table);
        if answer.opinion == Opinion::Permit {
            return Ok(self.misconfigured("OK of check_reverse_client_hostname_access"));
        }
        Ok(answer)
    }

    /// What becomes of a permission of the restrictions that a table names: it counts no more than one of the table itself.
    pub(super) fn permitted_by_named(&self, by: &Restriction) -> Option<Answer> {
        match by {
            Restriction::Access(AccessOf::Recipient, _) if self.asks_for_routing() => Some(pass(
                Because::DestinationNotAuthorised(self.name_of(Subject::Recipient)),
            )),
            Restriction::Access(AccessOf::ReverseClient, _) => {
                Some(self.misconfigured("a permission of check_reverse_client_hostname_access"))
            }
            _ => None,
        }
    }

    fn ask_named_client(
        &self,
        found: &Found<Domain>,
        addresses: Vec<String>,
        subject: Subject,
        table: &Table,
    ) -> Answer {
        if let Found::Failed(why) = found {
            let answer = self.first_of(&addresses, subject, table);
            if matches!(answer.because, Because::NotInTable(_)) {
                return self.unknown(subject, &self.facts.peer.to_string(), why);
            }
            return answer;
        }
        let name = first(found).map_or("unknown", |name| name.as_str());
        let mut keys = self.keys_of_name(name, table);
        keys.extend(addresses);
        self.first_of(&keys, subject, table)
    }

    fn first_of(&self, keys: &[String], subject: Subject, table: &Table) -> Answer {
        if keys.is_empty() {
            return not_known();
        }
        let found = keys.iter().find_map(|key| Some((key, table.find(key)?)));
        let Some((key, value)) = found else {
            return pass(Because::NotInTable(keys.first().cloned().unwrap_or_default()));
        };
        let because = Because::InTable {
            key: key.clone(),
            action: value.clone(),
        };
        self.act(&value, subject, because)
    }

    /// What an action leads to.
    pub(super) fn act(&self, value: &str, subject: Subject, because: Because) -> Answer {
        let Ok(action) = TableAction::parse(value) else {
            return self.misconfigured(value);
        };
        let with = |obligations| Answer {
            obligations,
            ..pass(because.clone())
        };
        let none = Obligations::default;
        match action {
            TableAction::Permit => Answer::from((Opinion::Permit, because)),
            TableAction::Pass | TableAction::Info(_) => pass(because),
            TableAction::Warn(_) => Answer::from((Opinion::Warn, because)),
            TableAction::Refuse {
                code,
                is_transient,
                status,
                text,
            } => {
                let codes = &self.lists.codes;
                let usual = if is_transient {
                    codes.access_map_defer
                } else {
                    codes.access_map
                };
                let denied = self.denied(code.unwrap_or(usual), (7, 1), subject, own(text, Why::AccessDenied));
                Answer::denied(denied.with_own_status(status), because)
            }
            TableAction::DeferIfPermit(deferral) => {
                Answer::defer_if_permit(self.unavailable(subject, deferral), because)
            }
            TableAction::DeferIfReject(deferral) => {
                Answer::with_refusal(Opinion::DeferIfReject, self.unavailable(subject, deferral), because)
            }
            TableAction::Hold(text) => with(Obligations {
                hold: Some(text),
                ..none()
            }),
            // Nobody gets the message, so that nothing is relayed: it ends the list, as in Postfix.
            TableAction::Discard(text) => Answer {
                opinion: Opinion::Permit,
                ..with(Obligations {
                    discard: Some(text),
                    ..none()
                })
            },
            TableAction::Prepend(field) => with(Obligations {
                prepend: vec![field],
                ..none()
            }),
            TableAction::Redirect(mailbox) => with(Obligations {
                redirect: Some(mailbox),
                ..none()
            }),
            TableAction::Bcc(mailbox) => with(Obligations {
                bcc: vec![mailbox],
                ..none()
            }),
            TableAction::Restrictions(names) => Answer {
                then: names,
                ..pass(because)
            },
        }
    }

    /// An action that means nothing here.
    pub(super) fn misconfigured(&self, action: &str) -> Answer {
        let denied = self.denied(451, (3, 5), self.subject(), Why::Misconfigured);
        Answer::denied(denied, Because::Meaningless(action.to_owned()))
    }

    fn unavailable(&self, subject: Subject, deferral: Deferral) -> Denied {
        let code = self.lists.codes.access_map_defer;
        let why = own(deferral.text, Why::ServiceUnavailable);
        self.denied(code, (7, 1), subject, why).with_own_status(deferral.status)
    }

    /// A name and its parents; of patterns the whole name only.
    fn keys_of_name(&self, name: &str, table: &Table) -> Vec<String> {
        let name = name.trim_end_matches('.');
        let mut keys: Vec<String> = Vec::from_iter((!name.is_empty()).then(|| name.to_owned()));
        if table.has_partial_keys() && !name.starts_with('[') && name.parse::<IpAddr>().is_err() {
            let dot = if self.lists.subdomains_need_a_dot { "." } else { "" };
            let mut rest = name;
            while let Some((_, parent)) = rest.split_once('.') {
                keys.push(format!("{dot}{parent}"));
                rest = parent;
            }
        }
        keys
    }

    /// The whole address, its domain and the parents of that, the local-part with `@`; without quotes, as in Postfix.
    fn keys_of_address(&self, mailbox: &Mailbox, table: &Table) -> Vec<String> {
        let mut keys = vec![format!("{}@{}", mailbox.local_part, mailbox.host)];
        if table.has_partial_keys() {
            match domain_of(mailbox) {
                Some(domain) => keys.extend(self.keys_of_name(domain.as_str(), table)),
                None => keys.push(mailbox.host.to_string()),
            }
            keys.push(format!("{}@", mailbox.local_part));
        }
        keys
    }

    /// The address, and its networks by whole octets.
    fn keys_of_peer(&self, table: &Table) -> Vec<String> {
        let whole = self.facts.peer.to_string();
        let mut keys = vec![whole.clone()];
        if table.has_partial_keys() {
            let separator = if self.facts.peer.is_ipv4() { '.' } else { ':' };
            let mut rest = whole.as_str();
            while let Some((network, _)) = rest.rsplit_once(separator) {
                rest = network;
                // `2001:db8:` comes of `2001:db8::1`: Postfix asks for it before `2001:db8`.
                if !network.trim_end_matches(':').is_empty() {
                    keys.push(network.to_owned());
                }
            }
        }
        keys
    }

    /// As for `relay_clientcerts`, the issuer need not be known: the handshake proves that the peer holds the key.
    fn keys_of_certificate(&self, order: &[CertificateKey]) -> Vec<String> {
        let (Identity::Verified { certificate, .. }
        | Identity::Unverified {
            why: identity::Why::UnknownIssuer,
            certificate: Some(certificate),
        }) = self.facts.identity
        else {
            return Vec::new();
        };
        let key = |key: &CertificateKey| match key {
            CertificateKey::Certificate => certificate.fingerprint.clone(),
            CertificateKey::PublicKey => certificate.public_key_fingerprint.clone(),
        };
        order.iter().map(key).collect()
    }

    /// What a policy service said, or is taken to have said.
    pub(super) fn act_on_service(&self, said: &Result<String, String>, default_action: &str) -> Answer {
        match said {
            Ok(action) => {
                let because = Because::ServiceSaid(action.clone());
                self.act(action, self.subject(), because)
            }
            Err(why) => {
                let because = Because::ServiceFailed {
                    why: why.clone(),
                    action: default_action.to_owned(),
                };
                self.act(default_action, self.subject(), because)
            }
        }
    }

    /// Looks for the peer's names before a policy service is told of them; a failure is told as `unknown`.
    pub(super) fn reverse_name(&self) -> Result<String, Box<Question>> {
        let names = self.peer_names()?;
        Ok(first(&names.reverse).map_or_else(|| "unknown".to_owned(), ToString::to_string))
    }
}

const fn subject_of(of: &AccessOf) -> Subject {
    match of {
        AccessOf::Client => Subject::Client,
        AccessOf::ReverseClient => Subject::ReverseClient,
        AccessOf::Hello => Subject::Hello,
        AccessOf::Sender => Subject::Sender,
        AccessOf::Recipient => Subject::Recipient,
        AccessOf::Certificate(_) => Subject::Certificate,
        AccessOf::Login => Subject::Login,
    }
}

fn own(text: Option<String>, otherwise: Why) -> Why {
    text.map_or(otherwise, Why::Own)
}

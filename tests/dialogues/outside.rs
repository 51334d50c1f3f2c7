//! The outside world of a dialogue: what `dns` and `policy` lines say.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::IpAddr;

use estafette::policy::question::{Answer, Found, PeerNames, Question};
use estafette::wire::domain::Domain;

/// What the DNS and policy services answer.
#[derive(Clone, Default)]
pub(crate) struct Outside {
    /// Name, type, value; `nxdomain` and `fail` are values for every type.
    records: Vec<(String, String, String)>,
    /// What every policy service says; `fail` says nothing.
    policy: Option<String>,
}

impl Outside {
    /// `dns NAME TYPE VALUE`.
    pub(crate) fn dns(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().expect("dns NAME TYPE VALUE");
        self.records.push((word(), word(), word()));
    }

    /// `policy ACTION`.
    pub(crate) fn policy(&mut self, action: &str) {
        self.policy = Some(action.to_owned());
    }

    /// Whether a dialogue has a zone.
    pub(crate) fn has_names(&self) -> bool {
        !self.records.is_empty()
    }

    /// The records of a name and type as they are written; an error with why there are none.
    pub(crate) fn records(&self, name: &str, kind: &str) -> Found<String> {
        self.find(name, &[kind], str::to_owned)
    }

    /// What policy services say; nothing when they fail.
    pub(crate) fn action(&self) -> Option<&str> {
        self.policy.as_deref().filter(|action| *action != "fail")
    }

    fn find<T>(&self, name: &str, types: &[&str], parse: impl Fn(&str) -> T) -> Found<T> {
        let of_name: Vec<_> = self.records.iter().filter(|(known, ..)| known == name).collect();
        if of_name.is_empty() || of_name.iter().any(|(_, _, value)| value == "nxdomain") {
            return Found::NoSuchName;
        }
        let of_type: Vec<_> = of_name
            .iter()
            .filter(|(_, kind, _)| types.contains(&kind.as_str()))
            .collect();
        if of_type.iter().any(|(_, _, value)| value == "fail") {
            return Found::Failed("SERVFAIL".into());
        }
        if of_type.is_empty() {
            return Found::NoRecords;
        }
        Found::Records(of_type.iter().map(|(_, _, value)| parse(value)).collect())
    }

    fn addresses(&self, name: &str, both_families: bool) -> Found<IpAddr> {
        let types: &[&str] = if both_families { &["A", "AAAA"] } else { &["A"] };
        self.find(name, types, |value| value.parse().expect("an address"))
    }

    /// The answer to a question.
    pub(crate) fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Addresses { name, both_families } => Answer::Addresses(self.addresses(name, *both_families)),
            Question::MailExchangers(domain) => Answer::MailExchangers(self.find(domain.as_str(), &["MX"], |value| {
                let (preference, host) = value.split_once(' ').expect("PREFERENCE HOST");
                (preference.parse().expect("a preference"), host.to_owned())
            })),
            Question::Texts(name) => Answer::Texts(self.find(name, &["TXT"], str::to_owned)),
            Question::PeerNames(address) => {
                let domain = |value: &str| Domain::parse(value).expect("a name");
                let reverse = self.find(&address.to_string(), &["PTR"], domain);
                let leads_back = |name: &Domain| match self.addresses(name.as_str(), true) {
                    Found::Records(addresses) if addresses.contains(address) => Found::Records(vec![name.clone()]),
                    Found::Failed(why) => Found::Failed(why),
                    _ => Found::NoRecords,
                };
                let verified = match &reverse {
                    Found::Records(names) => leads_back(&names[0]),
                    other => other.clone(),
                };
                Answer::PeerNames(PeerNames { reverse, verified })
            }
            Question::Service { .. } => Answer::Service(match self.policy.as_deref() {
                None | Some("fail") => Err("connection refused".into()),
                Some(action) => Ok(action.to_owned()),
            }),
        }
    }
}

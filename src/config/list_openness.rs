//! Whether the list that decides who may relay opens the relay to strangers.
//!
//! **Implements** the errors for `permit` without a refusal before it, for tables with an entry for strangers, and the warning
//! for policy services; in classes too, and in what tables name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::error::{Complaint, Findings};
use super::restriction_words::Listed;
use super::table_openness::open_entry;
use crate::policy::reached::{Named, of_name};
use crate::policy::restriction::Restriction;
use crate::policy::table_action::TableAction;

/// Checks one list.
pub fn check(key: &str, list: &[Listed], named: &Named, findings: &mut Findings) {
    let said = Said {
        named,
        known: RefCell::default(),
    };
    for listed in list {
        if check_one(key, listed, &listed.restriction, &said, findings) == Stranger::TurnedAway {
            return;
        }
    }
}

/// What has become of a stranger that asks for the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stranger {
    Stays,
    TurnedAway,
}

fn check_one(
    key: &str,
    listed: &Listed,
    restriction: &Restriction,
    said: &Said<'_>,
    findings: &mut Findings,
) -> Stranger {
    let span = || listed.span.clone();
    match restriction {
        Restriction::RejectUnauthDestination
        | Restriction::DeferUnauthDestination
        | Restriction::CheckRelayDomains
        | Restriction::Reject
        | Restriction::Defer => return Stranger::TurnedAway,
        Restriction::Permit => {
            let complaint = Complaint::new(
                "open relay: \"permit\" lets anybody send anywhere",
                "expected \"reject\", or \"reject_unauth_destination\" before it",
            );
            let hint = "write \"permit_auth_destination\", \"reject\" instead of \"permit\"";
            findings.error(key, span(), complaint.hint(hint));
            return Stranger::TurnedAway;
        }
        Restriction::Class(_, inner) => {
            for one in inner.iter() {
                if check_one(key, listed, one, said, findings) == Stranger::TurnedAway {
                    return Stranger::TurnedAway;
                }
            }
        }
        // A refusal that only warns turns nobody away.
        Restriction::WarnIfReject(inner) => {
            let _ = check_one(key, listed, inner, said, findings);
        }
        Restriction::Access(of, table) => {
            if let Some(why) = open_entry(of, table, &|value| said.may_permit(value)) {
                let message = format!("open relay: \"{restriction}\" lets strangers relay");
                let hint = "put it behind \"reject_unauth_destination\", or into smtpd_sender_restrictions or the like, where \
                            a permission only ends the list";
                findings.error(key, span(), Complaint::new(message, why).hint(hint));
            }
        }
        Restriction::Service(service) if said.may_permit(&service.default_action) => {
            let message = format!("open relay: \"{restriction}\" lets everybody relay while the service is down");
            let complaint = Complaint::new(message, format!("its default action is \"{}\"", service.default_action));
            let hint = "leave smtpd_policy_service_default_action as it is, or write \"DUNNO\"";
            findings.error(key, span(), complaint.hint(hint));
        }
        Restriction::Service(_) => {
            let message = format!(
                "\"{restriction}\" decides who may relay: a service that says OK lets its client send anywhere"
            );
            let complaint = Complaint::new(message, "stands before foreign destinations are refused");
            let hint = "put it behind \"reject_unauth_destination\", or into another list";
            findings.warning(key, span(), complaint.hint(hint));
        }
        _ => {}
    }
    Stranger::Stays
}

/// What a list that a table names does to a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Permitted,
    TurnedAway,
}

/// What tables may say to a stranger.
struct Said<'a> {
    named: &'a Named,
    /// Of names that were looked at: tables have many entries that name the same.
    known: RefCell<BTreeMap<String, bool>>,
}

impl Said<'_> {
    /// Whether it may permit: an action, or a restriction that may.
    fn may_permit(&self, value: &str) -> bool {
        match TableAction::parse(value) {
            Ok(TableAction::Permit) => true,
            Ok(TableAction::Restrictions(_)) | Err(_) if TableAction::is_template(value) => true,
            Ok(TableAction::Restrictions(names)) => {
                if let Some(known) = self.known.borrow().get(value) {
                    return *known;
                }
                let list: Vec<Restriction> = names.iter().flat_map(|name| of_name(name, self.named)).collect();
                let may = self.fate(&list) == Some(Fate::Permitted);
                self.known.borrow_mut().insert(value.to_owned(), may);
                may
            }
            _ => false,
        }
    }

    /// The first decision; nothing when the stranger comes through.
    fn fate(&self, list: &[Restriction]) -> Option<Fate> {
        list.iter().find_map(|restriction| match restriction {
            Restriction::Permit => Some(Fate::Permitted),
            Restriction::RejectUnauthDestination
            | Restriction::DeferUnauthDestination
            | Restriction::CheckRelayDomains
            | Restriction::Reject
            | Restriction::Defer => Some(Fate::TurnedAway),
            Restriction::Class(_, inner) => self.fate(inner),
            Restriction::WarnIfReject(inner) => self
                .fate(std::slice::from_ref(inner))
                .filter(|fate| *fate == Fate::Permitted),
            Restriction::Access(of, table) => {
                open_entry(of, table, &|value| self.may_permit(value)).map(|_| Fate::Permitted)
            }
            _ => None,
        })
    }
}

//! Whether the list that decides who may relay opens the relay to strangers.
//!
//! **Implements** the errors for `permit` without a refusal before it, for tables that believe what a stranger says of
//! itself, and the warning for policy services.

use super::error::{Complaint, Findings};
use super::restriction_words::Listed;
use crate::policy::restriction::{AccessOf, Restriction};
use crate::policy::table::Table;
use crate::policy::table_action::TableAction;

/// Checks one list.
pub fn check(key: &str, list: &[Listed], findings: &mut Findings) {
    for listed in list {
        if check_one(key, listed, &listed.restriction, findings) == Stranger::TurnedAway {
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

fn check_one(key: &str, listed: &Listed, restriction: &Restriction, findings: &mut Findings) -> Stranger {
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
                if check_one(key, listed, one, findings) == Stranger::TurnedAway {
                    return Stranger::TurnedAway;
                }
            }
        }
        // A refusal that only warns turns nobody away.
        Restriction::WarnIfReject(inner) => {
            let _ = check_one(key, listed, inner, findings);
        }
        Restriction::Access(of @ (AccessOf::Sender | AccessOf::Hello | AccessOf::ReverseClient), table)
            if may_permit(table) =>
        {
            let message = format!("open relay: \"{restriction}\" lets everybody relay who says what it permits");
            let complaint = Complaint::new(message, format!("\"{}\" believes the client", of.name()));
            let hint = "put it behind \"reject_unauth_destination\", or into smtpd_sender_restrictions or the like, where a \
                        permission only ends the list";
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

/// Whether something in a table may permit: an action, or a restriction that may.
fn may_permit(table: &Table) -> bool {
    table.values().any(|value| match TableAction::parse(value) {
        Ok(TableAction::Permit) => true,
        Ok(TableAction::Restrictions(names)) => names.iter().any(|name| is_permissive(name)),
        _ => TableAction::is_template(value),
    })
}

/// Of a class it is not asked here what is in it.
fn is_permissive(name: &str) -> bool {
    match Restriction::simple(name) {
        Some(restriction) => matches!(restriction, Restriction::Permit),
        None => true,
    }
}

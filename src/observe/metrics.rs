//! Counters and gauges in the OpenMetrics text format.
//!
//! **Implements** `estafette metrics`. Labels come from enums, but the issuer's, of which there are as many as revocation
//! lists configured.
//! **Does not** listen: the text goes over the admin socket.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::cert::revocation_list::RevocationList;
use crate::mail::outcome::Outcome;
use crate::policy::verdict::Opinion;
use crate::session::event::Event;

type Label = [(&'static str, &'static str); 1];
type IssuerLabel = [(&'static str, String); 1];

/// Counted since the process started, wherever an event is logged.
#[derive(Default)]
struct Counters {
    recipients: Family<Label, Counter>,
    messages_queued: Counter,
    deliveries: Family<Label, Counter>,
}

static COUNTERS: LazyLock<Counters> = LazyLock::new(Counters::default);

/// Counts what a session told.
pub(super) fn session_event(event: &Event) {
    match event {
        Event::RecipientDecided { verdict, .. } => {
            let verdict = match verdict.opinion {
                Opinion::Permit => "permitted",
                Opinion::Defer => "deferred",
                _ => "rejected",
            };
            COUNTERS.recipients.get_or_create(&[("verdict", verdict)]).inc();
        }
        Event::MessageQueued { .. } => {
            COUNTERS.messages_queued.inc();
        }
        _ => {}
    }
}

/// A recipient was tried.
pub(super) fn delivery(outcome: &Outcome) {
    let outcome = match outcome {
        Outcome::Relayed(_) => "relayed",
        Outcome::Deferred(_) => "deferred",
        Outcome::Failed(_) => "failed",
    };
    COUNTERS.deliveries.get_or_create(&[("outcome", outcome)]).inc();
}

/// The revocation lists of one issuer together.
#[derive(Clone, Copy)]
struct Lists {
    oldest_this_update: i64,
    next_update: Option<i64>,
    entries: i64,
}

/// Everything counted, and the age of these revocation lists at that time.
pub fn text<'a>(lists: impl Iterator<Item = &'a RevocationList>, now_unix_seconds: i64) -> String {
    let mut registry = Registry::default();
    register_counters(&mut registry);
    register_lists(&mut registry, &by_issuer(lists), now_unix_seconds);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

fn register_counters(registry: &mut Registry) {
    let counters = &*COUNTERS;
    registry.register(
        "estafette_recipients",
        "Recipients by what the restrictions said",
        counters.recipients.clone(),
    );
    registry.register(
        "estafette_messages_queued",
        "Messages on disk and answered 250",
        counters.messages_queued.clone(),
    );
    registry.register(
        "estafette_deliveries",
        "Attempts to deliver to a recipient, by outcome",
        counters.deliveries.clone(),
    );
}

/// An issuer can have several lists, of two keys or of parts of its certificates: its oldest one matters, and the one
/// that is due first. A list that stands in several files counts once.
fn by_issuer<'a>(lists: impl Iterator<Item = &'a RevocationList>) -> BTreeMap<String, Lists> {
    let unique: BTreeMap<&str, &RevocationList> = lists.map(|list| (list.fingerprint.as_str(), list)).collect();
    let mut issuers: BTreeMap<String, Lists> = BTreeMap::new();
    for list in unique.values() {
        let entries = i64::try_from(list.entries()).unwrap_or(i64::MAX);
        let together = issuers.entry(list.issuer.one_line()).or_insert(Lists {
            oldest_this_update: i64::MAX,
            next_update: None,
            entries: 0,
        });
        together.oldest_this_update = together.oldest_this_update.min(list.this_update_seconds);
        together.next_update = [together.next_update, list.next_update_seconds]
            .into_iter()
            .flatten()
            .min();
        together.entries = together.entries.saturating_add(entries);
    }
    issuers
}

fn register_lists(registry: &mut Registry, issuers: &BTreeMap<String, Lists>, now: i64) {
    let (age, next_update, entries) = (
        Family::<IssuerLabel, Gauge>::default(),
        Family::<IssuerLabel, Gauge>::default(),
        Family::<IssuerLabel, Gauge>::default(),
    );
    for (issuer, lists) in issuers {
        let label = [("issuer", issuer.clone())];
        age.get_or_create(&label)
            .set(now.saturating_sub(lists.oldest_this_update));
        entries.get_or_create(&label).set(lists.entries);
        if let Some(seconds) = lists.next_update {
            next_update.get_or_create(&label).set(seconds);
        }
    }
    registry.register(
        "estafette_crl_age_seconds",
        "Time since the thisUpdate of the issuer's oldest revocation list in force",
        age,
    );
    registry.register(
        "estafette_crl_next_update_timestamp_seconds",
        "The first nextUpdate of the issuer's revocation lists in force, seconds since 1970",
        next_update,
    );
    registry.register(
        "estafette_crl_entries",
        "Certificates on the issuer's revocation lists in force",
        entries,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_without_lists_are_counters_with_an_end() {
        let text = text(std::iter::empty(), 0);
        assert!(
            text.contains("# TYPE estafette_messages_queued counter\nestafette_messages_queued_total 0\n"),
            "{text}"
        );
        assert!(!text.contains("issuer="), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}

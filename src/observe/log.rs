//! One function per event, one line per call.
//!
//! **Does not** escape: certificate names come in their unambiguous text, replies are printable already.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::metrics;
use crate::cert::ocsp::{Answer, Said};
use crate::cert::revocation_list::RevocationList;
use crate::mail::outcome::Outcome;
use crate::mail::queue_id::QueueId;
use crate::queue::StoreError;
use crate::queue::entry::{Entry, Lease, LeasedRecipient};
use crate::time::Timestamp;

/// The daemon listens.
pub fn daemon_started(listening: &[String]) {
    info!(
        listening = listening.join(", "),
        version = env!("CARGO_PKG_VERSION"),
        "daemon.started"
    );
}

/// The daemon was told to stop.
pub fn daemon_stopping() {
    info!("daemon.stopping");
}

/// The daemon is done.
pub fn daemon_stopped() {
    info!("daemon.stopped");
}

/// The daemon cannot start.
pub fn start_failed(why: &str) {
    error!(because = why, "daemon.start_failed");
}

/// New settings are in force.
pub fn configuration_reloaded(message: &str) {
    info!(message_text = message, "configuration.reloaded");
}

/// The new configuration is wrong; the old one stays.
pub fn reload_refused(why: &str) {
    error!(because = why, "configuration.reload_refused");
}

/// The configuration works but should be changed.
pub fn configuration_warned(warning: &str) {
    warn!(warning, "configuration.warned");
}

/// A connection could not be accepted.
pub fn accept_failed(why: &str) {
    warn!(because = why, "connection.accept_failed");
}

/// A TLS handshake failed; the session ends.
pub fn tls_failed(session_id: &str, listener: &str, peer: SocketAddr, why: &str) {
    info!(session_id, listener, %peer, because = why, "tls.failed");
}

/// A load balancer names its client.
pub fn proxy_accepted(session_id: &str, listener: &str, proxy: SocketAddr, peer: SocketAddr) {
    debug!(session_id, listener, %proxy, %peer, "proxy.accepted");
}

/// A connection without the PROXY header that its listener wants, or from a stranger; it is closed without a greeting.
pub fn proxy_refused(session_id: &str, listener: &str, peer: SocketAddr, why: &str) {
    info!(session_id, listener, %peer, because = why, "proxy.refused");
}

/// A peer was refused before any session: the directive, and how many there were of how many there may be.
pub fn connection_refused(listener: &str, peer: SocketAddr, limit: &'static str, (count, most): (u64, u64)) {
    metrics::connection_refused(limit);
    info!(listener, %peer, limit, count, most, "connection.refused");
}

/// The queue did not take a message.
pub fn queue_refused(session_id: &str, peer: SocketAddr, why: &StoreError) {
    warn!(session_id, %peer, because = why.to_string(), "queue.refused");
}

/// A content filter failed and is not asked any more in this session; `milter_default_action` says what follows.
pub fn milter_failed(session_id: &str, peer: SocketAddr, filter: &str, stage: &str, why: &str) {
    warn!(session_id, %peer, filter, stage, because = why, "milter.failed");
}

/// A content filter changed a message, or put it on hold.
pub fn milter_changed(session_id: &str, peer: SocketAddr, filter: &str, id: Option<QueueId>, what: &str) {
    let queue_id = id.map(|id| id.to_string()).unwrap_or_default();
    info!(session_id, %peer, filter, queue_id, changed = what, "milter.changed");
}

/// systemd handed over a socket that no listener takes: whoever connects to it waits for ever.
pub fn socket_unused(name: &str, address: &str) {
    warn!(name, address, "socket.unused");
}

/// The store failed at something that is tried again.
pub fn store_failed(step: &'static str, why: &StoreError) {
    error!(step, because = why.to_string(), "queue.store_failed");
}

/// The store failed once: it refuses new mail until a restart and delivers what it has.
pub fn queue_refuses_mail(why: &str) {
    error!(because = why, "queue.refuses_mail");
}

/// The store failed for good; the daemon ends.
pub fn queue_failed(why: &str) {
    error!(because = why, "queue.failed");
}

/// The queue works but its promise may not hold.
pub fn queue_warning(warning: &str) {
    warn!(warning, "queue.warned");
}

/// A revocation list is in force.
pub fn crl_loaded(path: &Path, list: &RevocationList) {
    let (issuer, number, this_update, next_update) = describe(list);
    let (path, entries) = (path.display().to_string(), list.entries());
    info!(path, issuer, number, this_update, next_update, entries, "crl.loaded");
}

/// A file of revocation lists is not used; what was read from it before stays.
pub fn crl_refused(path: &Path, why: &str) {
    warn!(path = path.display().to_string(), because = why, "crl.refused");
}

/// A revocation list goes stale soon.
pub fn crl_expiring(path: &Path, list: &RevocationList) {
    let (issuer, number, this_update, next_update) = describe(list);
    let path = path.display().to_string();
    warn!(path, issuer, number, this_update, next_update, "crl.expiring");
}

/// A revocation list is past its nextUpdate.
pub fn crl_stale(path: &Path, list: &RevocationList, counts_until: Timestamp) {
    let (issuer, number, this_update, next_update) = describe(list);
    let path = path.display().to_string();
    error!(path, issuer, number, this_update, next_update, %counts_until, "crl.stale");
}

fn describe(list: &RevocationList) -> (String, &str, String, String) {
    let time = |seconds| Timestamp::from_seconds(seconds).to_string();
    (
        list.issuer.one_line(),
        list.number.as_deref().unwrap_or_default(),
        time(list.this_update_seconds),
        list.next_update_seconds.map(time).unwrap_or_default(),
    )
}

/// The deny-list is another one now.
pub fn deny_list_changed(path: &Path) {
    info!(path = path.display().to_string(), "deny_list.changed");
}

/// The deny-list cannot be read; what was read before stays.
pub fn deny_list_refused(path: &Path, why: &str) {
    warn!(path = path.display().to_string(), because = why, "deny_list.refused");
}

/// What became of one recipient in one attempt; `reused` says whether the connection had carried a message before.
pub fn delivery(lease: &Lease, number: u32, outcome: &Outcome, tls: Option<&str>, reused: bool, took: Duration) {
    metrics::delivery(outcome);
    let recipient = lease.recipients.iter().find(|recipient| recipient.number == number);
    let forward_path = recipient
        .map(|recipient| recipient.forward_path.to_string())
        .unwrap_or_default();
    let attempts = recipient.map_or(0, |recipient| recipient.attempts + 1);
    let (report, queue_id, reverse_path) = (outcome.report(), lease.id, lease.reverse_path.to_string());
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let session_id = &lease.submitter.session_id;
    let issuer = lease.submitter.issuer.as_deref().unwrap_or_default();
    let subject = lease.submitter.subject.as_deref().unwrap_or_default();
    let decided_by = &lease.submitter.decided_by;
    macro_rules! line {
        ($level:ident, $name:literal) => {
            $level!(%queue_id, session_id, reverse_path, forward_path, issuer, subject, decided_by, remote = report.remote,
                status = report.status, reply = report.text, tls = tls.unwrap_or("none"), reused, attempts, duration_ms, $name)
        };
    }
    match outcome {
        Outcome::Relayed(_) => line!(info, "delivery.relayed"),
        Outcome::Deferred(_) => line!(info, "delivery.deferred"),
        Outcome::Failed(_) => line!(warn, "delivery.failed"),
    }
}

/// A destination was not reached and rests.
pub fn destination_suspended(destination: &str, until: Timestamp, reply: &str) {
    info!(destination, until = %until, reply, "destination.suspended");
}

/// A probe has reached a destination that rested.
pub fn destination_resumed(destination: &str) {
    info!(destination, "destination.resumed");
}

/// A delivery panicked: a defect of this program. The message is tried again later.
pub fn delivery_panicked(queue_id: QueueId, destination: &str) {
    error!(%queue_id, destination, "delivery.panicked");
}

/// The operator has put a message on hold.
pub fn message_held(queue_id: QueueId, reason: &str) {
    info!(%queue_id, because = reason, "message.held");
}

/// The operator has released a message on hold.
pub fn message_released(queue_id: QueueId) {
    info!(%queue_id, "message.released");
}

/// The operator has had a message routed anew.
pub fn message_requeued(queue_id: QueueId) {
    info!(%queue_id, "message.requeued");
}

/// The operator has deleted a message: nobody is told but this log.
pub fn message_deleted(entry: &Entry) {
    message_removed(entry, "message.deleted", "");
}

/// The operator has returned a message.
pub fn message_bounced(entry: &Entry, reason: &str) {
    message_removed(entry, "message.bounced", reason);
}

/// Recipients named in one line at most.
const FORWARD_PATHS_MAX: usize = 50;

fn message_removed(entry: &Entry, event: &'static str, because: &str) {
    let recipients = entry.recipients.len();
    let paths = entry
        .recipients
        .iter()
        .take(FORWARD_PATHS_MAX)
        .map(|r| r.forward_path.to_string());
    let forward_paths = paths.collect::<Vec<_>>().join(", ");
    let (submitter, size_octets) = (&entry.submitter, entry.size_octets);
    let peer = submitter.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let issuer = submitter.issuer.as_deref().unwrap_or_default();
    let subject = submitter.subject.as_deref().unwrap_or_default();
    let fingerprint = submitter.fingerprint.as_deref().unwrap_or_default();
    let (session_id, decided_by) = (&submitter.session_id, &submitter.decided_by);
    let reverse_path = entry.reverse_path.to_string();
    warn!(queue_id = %entry.id, session_id, peer, issuer, subject, fingerprint, decided_by, reverse_path, forward_paths,
        recipients, size_octets, because, "{event}");
}

/// A bounce is queued.
pub fn bounce_queued(lease: &Lease, bounce: QueueId) {
    let session_id = &lease.submitter.session_id;
    info!(queue_id = %lease.id, session_id, bounce_queue_id = %bounce, reverse_path = lease.reverse_path.to_string(), "bounce.queued");
}

/// The sender is told that a message still waits.
pub fn delay_told(lease: &Lease, warning: QueueId) {
    let session_id = &lease.submitter.session_id;
    info!(queue_id = %lease.id, session_id, warning_queue_id = %warning, reverse_path = lease.reverse_path.to_string(), "delay.told");
}

/// The sender, who asked to be told, is told that a message was relayed.
pub fn success_told(lease: &Lease, report: QueueId) {
    let session_id = &lease.submitter.session_id;
    info!(queue_id = %lease.id, session_id, report_queue_id = %report, reverse_path = lease.reverse_path.to_string(), "success.told");
}

/// Mail with the null reverse-path failed; nobody is told but this log.
pub fn bounce_dropped(lease: &Lease) {
    warn!(queue_id = %lease.id, "bounce.dropped");
}

/// A recipient has failed whose sender did not want to know (NOTIFY); nobody is told but this log.
pub fn bounce_unwanted(lease: &Lease, recipient: &LeasedRecipient) {
    let session_id = &lease.submitter.session_id;
    info!(queue_id = %lease.id, session_id, reverse_path = lease.reverse_path.to_string(),
        forward_path = recipient.forward_path.to_string(), "bounce.unwanted");
}

/// An OCSP responder gave an answer that counts.
pub fn ocsp_answered(subject: &str, responder: &str, answer: Answer) {
    let until = Timestamp::from_seconds(answer.until_unix_seconds).to_string();
    macro_rules! line {
        ($level:ident, $status:literal) => {
            $level!(subject, responder, status = $status, until, "ocsp.answered")
        };
    }
    match answer.said {
        Said::Good => line!(debug, "good"),
        Said::Revoked => line!(info, "revoked"),
        Said::Unknown => line!(info, "unknown"),
    }
}

/// An OCSP responder gave none; nobody is asked about this certificate for a while.
pub fn ocsp_failed(subject: &str, responder: &str, why: &str) {
    warn!(subject, responder, because = why, "ocsp.failed");
}

/// The decision journal lost records: it could not keep up, or the disk had no room for them.
pub fn journal_overflowed(lost: u64) {
    warn!(lost, "journal.overflowed");
}

/// The decision journal cannot be written; mail goes on.
pub fn journal_failed(why: &str) {
    error!(because = why, "journal.failed");
}

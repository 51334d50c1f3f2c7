//! The books kept over a session: what it may not do in any order of events.

use std::collections::HashSet;

use estafette::mail::envelope::Envelope;
use estafette::session::event::Event;

/// What is known of the transaction and the draft.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) has_draft: bool,
    pub(crate) is_closed: bool,
    pub(crate) in_handshake: bool,
    /// Commits that the queue said yes to.
    pub(crate) committed: usize,
    /// Replies that promise a message.
    promised: usize,
    /// Recipients permitted since the last message.
    permitted: HashSet<String>,
}

impl Ledger {
    /// Keeps what was decided.
    pub(crate) fn record(&mut self, event: &Event) {
        if let Event::RecipientDecided {
            forward_path, verdict, ..
        } = event
            && verdict.is_permit()
        {
            self.permitted.insert(forward_path.to_string());
        }
    }

    /// A content filter has added a recipient.
    pub(crate) fn permit(&mut self, path: &str) {
        self.permitted.insert(path.to_owned());
    }

    /// Replies are whole lines, printable, short; none is said in a handshake or at the end; none promises too much.
    pub(crate) fn say(&mut self, octets: &[u8]) {
        assert!(!self.in_handshake, "said in the midst of a handshake");
        assert!(octets.ends_with(b"\r\n"), "a reply without its end");
        for line in octets.split(|octet| *octet == b'\n') {
            let Some(line) = line.strip_suffix(b"\r") else {
                assert!(line.is_empty(), "a bare LF in a reply");
                continue;
            };
            assert!(line.len() <= 510, "a reply line of {} octets", line.len());
            assert!(
                !line.iter().any(|octet| octet.is_ascii_control()),
                "a control character in a reply"
            );
            assert!(
                line.len() >= 4 && line[..3].iter().all(u8::is_ascii_digit),
                "no reply code"
            );
            self.promised += usize::from(line.starts_with(b"250 2.0.0 Ok: queued as"));
        }
        assert!(self.promised <= self.committed, "a promise before the commit");
    }

    /// A draft begins: somebody must be permitted, and no other draft is open.
    pub(crate) fn open(&mut self) {
        assert!(!self.has_draft, "two drafts");
        assert!(!self.permitted.is_empty(), "mail data of nobody permitted");
        self.has_draft = true;
    }

    /// A message is handed over: every recipient was permitted.
    pub(crate) fn commit(&mut self, envelope: &Envelope) {
        assert!(std::mem::take(&mut self.has_draft), "a commit without a draft");
        assert!(!envelope.forward_paths.is_empty(), "a message to nobody");
        for path in &envelope.forward_paths {
            assert!(self.permitted.contains(&path.to_string()), "{path} was never permitted");
        }
        let requests = envelope.demands.recipients.len();
        assert!(
            requests == 0 || requests == envelope.forward_paths.len(),
            "requests of somebody else"
        );
    }
}

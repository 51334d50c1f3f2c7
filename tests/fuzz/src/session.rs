//! The whole session: octets and events in any order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use estafette::cert::decode::decode;
use estafette::cert::identity::{Identity, Why};
use estafette::config::load_text;
use estafette::mail::dsn::{MessageRequest, RecipientRequest, Return};
use estafette::mail::queue_id::QueueId;
use estafette::mail::trace_header::TlsDescription;
use estafette::policy::client_rates::RateExceeded;
use estafette::policy::limits::Counters;
use estafette::policy::question::{Answer, Found, PeerNames, Question};
use estafette::policy::stage::Stage;
use estafette::session::filter::{EnvelopeChanges, FilterFault, FilterRefusal, FilterVerdict, RecipientChange};
use estafette::session::password::{PasswordFault, Verification};
use estafette::session::settings::SessionSettings;
use estafette::session::{Action, QueueRefusal, Session};
use estafette::time::{Now, Timestamp};
use estafette::wire::domain::Domain;
use estafette::wire::path::{ForwardPath, ReversePath};
use estafette::wire::reply::Reply;

use crate::ledger::Ledger;
use crate::{PEER, nowhere};

/// The operations of an input, each one octet.
pub(crate) mod op {
    pub(crate) const OCTETS: u8 = 0;
    pub(crate) const PHRASE: u8 = 1;
    pub(crate) const TLS: u8 = 2;
    pub(crate) const QUEUE: u8 = 3;
    pub(crate) const TIMEOUT: u8 = 4;
    pub(crate) const EOF: u8 = 5;
    pub(crate) const SHUTDOWN: u8 = 6;
    pub(crate) const RENEW: u8 = 7;
    pub(crate) const WAIT: u8 = 8;
    pub(crate) const GO_ON: u8 = 9;
    pub(crate) const STRAY: u8 = 10;
    pub(crate) const CLOCK: u8 = 11;
    pub(crate) const NAME: u8 = 12;
    pub(crate) const ANSWER: u8 = 13;
    pub(crate) const COUNT: u8 = 14;
}

/// What a client says, so that the fuzzer need not find the words.
const PHRASES: &[&str] = &[
    "EHLO a.example\r\n",
    "HELO b\r\n",
    "MAIL FROM:<alice.martin@cnrs.example>\r\n",
    "MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\n",
    "RCPT TO:<b@relayed.example>\r\n",
    "RCPT TO:<c@elsewhere.example>\r\n",
    "DATA\r\n",
    "Subject: x\r\n\r\nbody\r\n.\r\n",
    "\r\n.\r\n",
    "RSET\r\n",
    "STARTTLS\r\n",
    "AUTH EXTERNAL =\r\n",
    "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
    "AUTH LOGIN\r\n",
    "*\r\n",
    "YWxpY2U=\r\n",
    "BDAT 10\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 6 LAST\r\nx: y\r\n",
    "XCLIENT ADDR=198.51.100.1 NAME=x.example\r\n",
    "MAIL FROM:<\u{e9}@cnrs.example> SMTPUTF8 RET=HDRS ENVID=x\r\n",
    "RCPT TO:<b@relayed.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@relayed.example\r\n",
    "MAIL FROM:<a@b.example> REQUIRETLS\r\n",
    "AUTH PLAIN\r\n",
    "AUTH LOGIN YWxpY2U=\r\n",
    "AGFsaWNlAHNlY3JldA==\r\n",
    "XCLIENT LOGIN=alice HELO=h.example PROTO=ESMTP\r\n",
    "BDAT 3\r\nx: BDAT 2 LAST\r\ny\n",
    "BDAT 9000\r\n",
    "BDAT x\r\n",
    "NONSENSE\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "GET / HTTP/1.1\r\n",
];

/// Listeners, as a postmaster writes them.
pub(crate) const CONFIGURATIONS: &[&str] = &[
    "relay_domains = [\"relayed.example\"]\nsmtpd_tls_security_level = \"may\"\nsmtpd_tls_ask_ccert = true\n\
     smtpd_tls_cert_file = \"s.pem\"\nsmtpd_tls_CAfile = \"ca.pem\"\nsmtpd_tls_auth_external = true\n\
     smtpd_relay_restrictions = [\"permit_tls_all_clientcerts\", \"permit_auth_destination\", \"reject\"]\n",
    "mynetworks = [\"192.0.2.0/24\"]\nmessage_size_limit = 4000\nsmtpd_recipient_limit = 3\nsmtpd_hard_error_limit = 4\n\
     smtpd_forbid_bare_newline = \"reject\"\n",
    "relay_domains = [\"relayed.example\"]\nsmtpd_tls_security_level = \"encrypt\"\nsmtpd_tls_req_ccert = true\n\
     smtpd_tls_cert_file = \"s.pem\"\nsmtpd_tls_CAfile = \"ca.pem\"\n",
    // Filters, passwords, rates, proxies.
    "relay_domains = [\"relayed.example\"]\nsmtpd_tls_security_level = \"may\"\nsmtpd_tls_ask_ccert = true\n\
     smtpd_tls_cert_file = \"s.pem\"\nsmtpd_tls_CAfile = \"ca.pem\"\nsmtpd_tls_auth_external = true\n\
     smtpd_sasl_auth_enable = true\nsmtpd_sasl_path = \"/run/dovecot/auth\"\nsmtpd_tls_auth_only = false\n\
     smtpd_milters = [\"inet:127.0.0.1:8891\"]\nsmtpd_authorized_xclient_hosts = [\"192.0.2.0/24\"]\n\
     smtpd_client_message_rate_limit = 3\nsmtpd_client_recipient_rate_limit = 5\nsmtpd_client_auth_rate_limit = 2\n\
     smtpd_client_new_tls_session_rate_limit = 2\n\
     smtpd_relay_restrictions = [\"permit_sasl_authenticated\", \"permit_auth_destination\", \"reject\"]\n",
    // Every list, with words that ask.
    "relay_domains = [\"relayed.example\"]\nsmtpd_delay_reject = false\nsmtpd_milters = [\"inet:127.0.0.1:8891\"]\n\
     smtpd_authorized_xclient_hosts = [\"192.0.2.0/24\"]\nsmtpd_soft_error_limit = 1\n\
     smtpd_client_restrictions = [\"reject_unknown_client_hostname\", \"reject_rbl_client bl.example\"]\n\
     smtpd_helo_restrictions = [\"reject_unknown_helo_hostname\", \"reject_rhsbl_helo dbl.example\"]\n\
     smtpd_sender_restrictions = [\"reject_unknown_sender_domain\", \"check_policy_service inet:127.0.0.1:10040\"]\n\
     smtpd_relay_restrictions = [\"permit_mynetworks\", \"permit_auth_destination\", \"reject\"]\n\
     smtpd_recipient_restrictions = [\"reject_unknown_recipient_domain\", \"check_policy_service inet:127.0.0.1:10040\", \
     \"permit_mynetworks\", \"permit_auth_destination\", \"reject\"]\n\
     smtpd_data_restrictions = [\"reject_unauth_pipelining\", \"check_policy_service inet:127.0.0.1:10040\"]\n\
     smtpd_end_of_data_restrictions = [\"check_policy_service inet:127.0.0.1:10040\"]\n",
    // The same behind RCPT, for a proxy of trust.
    "relay_domains = [\"relayed.example\"]\nmynetworks = [\"198.51.100.0/24\"]\npostscreen_greet_wait = \"6s\"\n\
     smtpd_authorized_xclient_hosts = [\"192.0.2.0/24\"]\nsmtpd_client_message_rate_limit = 2\n\
     smtpd_client_restrictions = [\"reject_unknown_client_hostname\"]\n\
     smtpd_helo_restrictions = [\"reject_unknown_helo_hostname\"]\n\
     smtpd_sender_restrictions = [\"reject_unknown_sender_domain\"]\n\
     smtpd_end_of_data_restrictions = [\"check_policy_service inet:127.0.0.1:10040\"]\n",
];

/// The settings of every configuration above.
fn settings() -> &'static [Arc<SessionSettings>] {
    static SETTINGS: OnceLock<Vec<Arc<SessionSettings>>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let load = |text: &&str| {
            let loaded = load_text(Path::new("/etc/estafette/estafette.toml"), text, &nowhere());
            let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
            Arc::clone(&loaded.settings.listeners[0].session)
        };
        CONFIGURATIONS.iter().map(load).collect()
    })
}

/// The identities a handshake may lead to.
fn identity(number: u8) -> Identity {
    static ALICE: OnceLock<Vec<u8>> = OnceLock::new();
    let der = ALICE.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../certs-example/alice.pem");
        let pem = std::fs::read(path).expect("the example certificates");
        let der = rustls_pemfile::certs(&mut pem.as_slice()).next();
        der.expect("a certificate").expect("PEM").to_vec()
    });
    let certificate = Arc::new(decode(der).expect("a certificate"));
    match number % 4 {
        0 => Identity::Plaintext,
        1 => Identity::NoCertificate,
        2 => Identity::Verified {
            certificate,
            chain: Vec::new(),
        },
        _ => Identity::Unverified {
            why: Why::Expired,
            certificate: Some(certificate),
        },
    }
}

/// The session with a driver that may be slow, fail, and say things nobody asked.
struct World<'a> {
    session: Session,
    settings: Arc<SessionSettings>,
    ledger: Ledger,
    counters: Counters,
    now: Now,
    rest: &'a [u8],
    /// What the queue does next, one bit for each step that fails.
    queue: u8,
    answer: u8,
    is_slow: bool,
    /// What was asked and not yet answered.
    asked: VecDeque<Action>,
}

/// Octets and events in any order; the books must balance.
pub fn session(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    let all = settings();
    let settings = &all[usize::from(*which) % all.len()];
    let now = Now {
        monotonic: Instant::now(),
        wall: Timestamp(1_795_510_800_000),
        utc_offset_seconds: 0,
    };
    let mut world = World {
        session: Session::new(Arc::clone(settings), SocketAddr::new(PEER, 40000), "s1".into(), now),
        settings: Arc::clone(settings),
        ledger: Ledger::default(),
        counters: Counters::default(),
        now,
        rest,
        queue: 0,
        answer: 0,
        is_slow: false,
        asked: VecDeque::new(),
    };
    world.drive();
    while let Some(operation) = world.next() {
        world.perform(operation);
        world.drive();
        assert!(
            world.ledger.is_closed == world.session.poll_timeout().is_none() || !world.asked.is_empty(),
            "an open session has a deadline"
        );
    }
    world.is_slow = false;
    world.release();
    world.session.handle_eof(world.now);
    world.drive();
    assert!(world.ledger.is_closed, "the session outlives its connection");
    assert!(!world.ledger.has_draft, "a draft is left open");
}

impl World<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn perform(&mut self, operation: u8) {
        match operation % op::COUNT {
            op::OCTETS => {
                let length = usize::from(self.next().unwrap_or_default()).min(self.rest.len());
                let (octets, rest) = self.rest.split_at(length);
                self.rest = rest;
                self.session.handle_bytes(octets, self.now);
            }
            op::PHRASE => {
                let phrase = PHRASES[usize::from(self.next().unwrap_or_default()) % PHRASES.len()];
                self.session.handle_bytes(phrase.as_bytes(), self.now);
            }
            op::TLS => {
                let number = self.next().unwrap_or_default();
                if self.ledger.in_handshake && !number.is_multiple_of(4) {
                    self.ledger.in_handshake = false;
                    let tls = TlsDescription {
                        protocol: "TLSv1.3".into(),
                        cipher: "TLS_AES_256_GCM_SHA384".into(),
                        cipher_bits: 256,
                        key_exchange: None,
                        server_signature: None,
                        server_digest: None,
                        client_signature: None,
                        client_digest: None,
                        server_name: None,
                        resumed: false,
                    };
                    self.session.handle_tls(identity(number), tls, self.now);
                }
            }
            op::QUEUE => {
                self.queue = self.next().unwrap_or_default();
                self.session.handle_space(u64::from(255 - self.queue) << 10);
            }
            op::TIMEOUT => self.session.handle_timeout(self.now),
            op::EOF => self.session.handle_eof(self.now),
            op::SHUTDOWN => self.session.handle_shutdown(self.now),
            op::RENEW => {
                let number = self.next().unwrap_or_default();
                let chain = Arc::clone(&self.settings.chain);
                self.session.handle_identity(identity(number), chain);
            }
            op::WAIT => self.is_slow = true,
            op::GO_ON => {
                self.is_slow = false;
                self.release();
            }
            op::STRAY => self.stray(),
            op::CLOCK => {
                let seconds = u64::from(self.next().unwrap_or_default());
                let later = self.now.monotonic.checked_add(Duration::from_secs(seconds));
                self.now.monotonic = later.unwrap_or(self.now.monotonic);
            }
            op::NAME => self
                .session
                .handle_peer_name(Domain::parse("peer.example").expect("a domain")),
            op::ANSWER => self.answer = self.next().unwrap_or_default(),
            other => unreachable!("{other} is below {}", op::COUNT),
        }
    }

    /// Answers to questions that may not have been asked: they must change nothing, or what they were for.
    fn stray(&mut self) {
        let number = self.next().unwrap_or_default();
        if !self.asked.is_empty() {
            return;
        }
        match number % 6 {
            0 => self.session.handle_answer(Answer::Texts(Found::NoRecords), self.now),
            1 => self.session.handle_filtered(FilterVerdict::Continue, self.now),
            4 => self.session.handle_counted(None, self.now),
            5 => {
                let right = Verification::Right("mallory".into());
                self.session.handle_authenticated(right, self.now);
            }
            2 => self.session.handle_draft(Err(QueueRefusal::Failed), self.now),
            _ => self.session.handle_append_failed(QueueRefusal::NoSpace, self.now),
        }
    }

    fn drive(&mut self) {
        loop {
            while let Some(event) = self.session.poll_event() {
                self.ledger.record(&event);
            }
            let Some(action) = self.session.poll_action() else {
                return;
            };
            assert!(!self.ledger.is_closed, "nothing follows the close, but {action:?}");
            self.take(action);
        }
    }

    fn take(&mut self, action: Action) {
        match &action {
            Action::Send(octets) => self.ledger.say(octets),
            Action::UpgradeTls => self.ledger.in_handshake = true,
            Action::Close => self.ledger.is_closed = true,
            Action::Discard => self.ledger.has_draft = false,
            Action::Append(_) => {
                assert!(self.ledger.has_draft, "mail data without a draft");
                if self.queue & 2 != 0 {
                    self.ledger.has_draft = false;
                    self.session.handle_append_failed(QueueRefusal::Failed, self.now);
                }
            }
            _ if self.is_slow => self.asked.push_back(action),
            _ => self.answer(&action),
        }
    }

    fn release(&mut self) {
        while let Some(action) = self.asked.pop_front() {
            self.answer(&action);
            self.drive();
        }
    }

    fn answer(&mut self, action: &Action) {
        let id = QueueId::from_parts(self.now.wall.0, 1);
        if self.ledger.is_closed && !matches!(action, Action::Commit(_)) {
            return;
        }
        match action {
            Action::OpenDraft => {
                let answer = if self.queue & 1 == 0 {
                    self.ledger.open();
                    Ok(id)
                } else {
                    Err(QueueRefusal::NoSpace)
                };
                self.session.handle_draft(answer, self.now);
            }
            Action::Commit(envelope) => {
                self.ledger.commit(envelope);
                let answer = if self.queue & 4 == 0 {
                    Ok(id)
                } else {
                    Err(QueueRefusal::Closed)
                };
                self.ledger.committed += usize::from(answer.is_ok());
                self.session.handle_committed(answer, self.now);
            }
            Action::Charge(charge) => {
                let allowance = self.counters.charge(charge, self.now.wall);
                self.session.handle_charged(allowance, self.now);
            }
            Action::Ask(question) => self.session.handle_answer(self.said(question), self.now),
            Action::Filter(consultation) => {
                let verdict = self.filtered(consultation.stage == Stage::EndOfData);
                self.session.handle_filtered(verdict, self.now);
            }
            Action::Count(event) => {
                let exceeded = (self.answer % 4 == 3).then_some(RateExceeded {
                    event: *event,
                    count: 4,
                    limit: 3,
                });
                self.session.handle_counted(exceeded, self.now);
            }
            Action::Authenticate(credentials) => {
                let verification = match self.answer % 4 {
                    0 => Verification::Right(credentials.login.clone()),
                    1 => Verification::Wrong(PasswordFault::Credentials(Some("no\r\n".into()))),
                    2 => Verification::Wrong(PasswordFault::Unavailable("gone".into())),
                    _ => Verification::Wrong(PasswordFault::AddressExceeded),
                };
                self.session.handle_authenticated(verification, self.now);
            }
            _ => {}
        }
    }

    /// What content filters say; the end of data is where they may change something.
    fn filtered(&mut self, is_end: bool) -> FilterVerdict {
        let refuse = |code, status, text| {
            FilterVerdict::Refuse(Box::new(FilterRefusal {
                filter: "inet:127.0.0.1:8891".into(),
                because: FilterFault::Refused,
                reply: Reply::new(code, status, text),
            }))
        };
        let path = |text| ForwardPath::parse(text).expect("a path");
        match self.answer % 6 {
            1 => refuse(550, (5, 7, 1), "no"),
            2 => refuse(421, (4, 7, 0), "go"),
            3 => FilterVerdict::Discard("inet:127.0.0.1:8891".into()),
            4 if is_end => {
                self.ledger.permit("d@elsewhere.example");
                FilterVerdict::Changed(Box::new(EnvelopeChanges {
                    reverse_path: Some(ReversePath::Null),
                    dsn: MessageRequest {
                        ret: Some(Return::Headers),
                        envelope_id: Some("x".into()),
                    },
                    recipients: vec![
                        RecipientChange::Add(path("<d@elsewhere.example>"), RecipientRequest::default()),
                        RecipientChange::Remove(path("<b@relayed.example>")),
                    ],
                    hold: Some("x".into()),
                }))
            }
            5 if is_end => FilterVerdict::Changed(Box::new(EnvelopeChanges {
                recipients: vec![RecipientChange::Remove(path("<b@relayed.example>"))],
                ..EnvelopeChanges::default()
            })),
            _ => FilterVerdict::Continue,
        }
    }

    /// What the world says, which need not fit the question.
    fn said(&self, question: &Question) -> Answer {
        let failed = || String::from("timeout");
        match (self.answer % 5, question) {
            (0, Question::Addresses { .. }) => Answer::Addresses(Found::NoSuchName),
            (1, Question::Addresses { .. }) => Answer::Addresses(Found::Records(vec![PEER])),
            (_, Question::Addresses { .. }) => Answer::Addresses(Found::Failed(failed())),
            (0 | 1, Question::MailExchangers(_)) => Answer::MailExchangers(Found::Records(vec![(0, ".".into())])),
            (_, Question::MailExchangers(_)) => Answer::MailExchangers(Found::NoRecords),
            (2, _) => Answer::Service(Err(failed())),
            (_, Question::PeerNames(_)) => Answer::PeerNames(PeerNames {
                reverse: Found::NoSuchName,
                verified: Found::NoSuchName,
            }),
            (3, Question::Service { .. }) => Answer::Service(Ok("DUNNO".into())),
            (_, Question::Service { .. }) => Answer::Service(Ok("REJECT \r\n no".into())),
            (_, Question::Texts(_)) => Answer::Texts(Found::Records(vec!["listed\r\n".into()])),
        }
    }
}

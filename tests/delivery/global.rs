//! Notifications with what the sender asked for in them, as another program reads them.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use estafette::mail::dsn::RecipientRequest;
use estafette::mail::envelope::Body;
use estafette::mail::outcome::Report;
use estafette::mail::queue_id::QueueId;
use estafette::outbound::bounce::{Bounce, Notice, Told};
use estafette::outbound::original::Original;
use estafette::time::{Now, Timestamp};
use estafette::wire::path::{ForwardPath, Mailbox};

/// Prints the parts and the fields of the status.
const READER: &str = r#"
import email, email.policy, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default.clone(utf8=True))
parts = list(m.iter_parts())
print(m["subject"], m["content-transfer-encoding"], sep="|")
print(*[p.get_content_type() + " " + p["content-transfer-encoding"] for p in parts], sep="|")
status = parts[1].get_payload()
text = status if isinstance(status, str) else "\n".join(str(block) for block in status)
for line in text.splitlines():
    if line.split(":")[0] in ("Original-Envelope-Id", "Original-Recipient", "Final-Recipient", "Action", "Status"): print(line)
last = parts[2]
if last["content-transfer-encoding"] == "base64":
    import base64
    print(base64.b64decode(last.get_payload()[0].as_bytes() if last.is_multipart() else last.get_payload()).decode().strip())
"#;

fn read_by_python(message: &[u8]) -> Vec<String> {
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed by this test");
    python.stdin.take().unwrap().write_all(message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(message));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The notification and the body type it is queued with.
fn notification(notice: Notice, orcpt: &str, header: &str) -> (Vec<u8>, Body) {
    let wall = Timestamp(1_795_510_800_000);
    let told = [Told {
        forward_path: ForwardPath::parse("<bob@example.net>").unwrap(),
        request: RecipientRequest {
            notify: None,
            original_recipient: Some(orcpt.into()),
        },
        report: Report {
            remote: "mx.example.net[192.0.2.1]:25".into(),
            status: "2.0.0".into(),
            text: "250 2.0.0 queued".into(),
            from_remote: true,
        },
    }];
    let bounce = Bounce {
        myhostname: "relay.example.org",
        id: QueueId::from_parts(wall.0, 2),
        original_id: QueueId::from_parts(wall.0, 1),
        arrived: wall,
        to: &Mailbox::parse("alice@example.org").unwrap(),
        envelope_id: Some("QQ+2B314"),
        notice,
        recipients: &told,
        original: Original::header_of(header.as_bytes(), 1000),
        truncated: true,
        now: Now {
            monotonic: Instant::now(),
            wall,
            utc_offset_seconds: 0,
        },
    };
    (bounce.to_message(), bounce.body())
}

#[test]
fn relayed_message_is_reported_with_what_the_sender_knows_it_by() {
    let (message, body) = notification(Notice::Relayed, "rfc822;a+2Bb@x.example", "Subject: hello\r\n");
    assert_eq!(body, Body::SevenBit);
    assert_eq!(
        read_by_python(&message),
        [
            "Successful Mail Delivery Report|7bit",
            "text/plain 7bit|message/delivery-status 7bit|text/rfc822-headers 7bit",
            "Original-Envelope-Id: QQ+314",
            "Original-Recipient: rfc822; a+b@x.example",
            "Final-Recipient: rfc822; bob@example.net",
            "Action: relayed",
            "Status: 2.0.0",
        ]
    );
}

#[test]
fn header_in_utf8_goes_back_packed_to_a_sender_with_an_ascii_address() {
    let (message, body) = notification(Notice::Failed, "utf-8;\\x{E9}@x.example", "Subject: \u{e9}t\u{e9}\r\n");
    assert!(message.is_ascii());
    assert_eq!(body, Body::SevenBit);
    let read = read_by_python(&message);
    assert_eq!(
        read[1],
        "text/plain 7bit|message/delivery-status 7bit|message/global-headers base64"
    );
    assert!(
        read.contains(&"Original-Recipient: utf-8; \\x{E9}@x.example".to_owned()),
        "{read:?}"
    );
    assert_eq!(read.last().unwrap(), "Subject: \u{e9}t\u{e9}");
}

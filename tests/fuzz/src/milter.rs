//! What a content filter says: its packets, and what they change of a message.

use std::sync::OnceLock;

use estafette::io::milter::{Changes, Message};
use estafette::mail::header_fields::HeaderReader;
use estafette::session::filter::RecipientChange;
use estafette::wire::chunking::{Chunk, ChunkDecoder};
use estafette::wire::milter::command::Command;
use estafette::wire::milter::options::{Actions, Negotiation, Steps};
use estafette::wire::milter::packet::{PACKET_OCTETS_MAX, Packet, split};
use estafette::wire::milter::reply_code;
use estafette::wire::milter::response::Response;
use estafette::wire::path::ForwardPath;
use tokio::runtime::{Builder, Runtime};

/// Our trace header, as the session puts it ahead of the content.
const TRACE: &[u8] = b"Received: from x by relay.example\r\n";

/// The packets of either side: what is read is written and read as the same; nothing is read of a packet that is not whole.
pub fn milter(input: &[u8]) {
    let mut rest = input;
    while let Ok(Some((packet, taken))) = split(rest) {
        assert!((5..=PACKET_OCTETS_MAX + 4).contains(&taken) && taken <= rest.len());
        assert_eq!(split(&rest[..taken - 1]), Ok(None), "half a packet");
        assert_eq!(
            split(&rest[..taken]),
            Ok(Some((packet, taken))),
            "it depends on what follows"
        );
        if let Ok(command) = Command::decode(packet) {
            let written = command.encode();
            let (packet, _) = split(&written).expect("a frame").expect("whole");
            assert_eq!(Command::decode(packet), Ok(command));
        }
        if let Ok(response) = Response::decode(packet) {
            let written = response.encode();
            let (packet, _) = split(&written).expect("a frame").expect("whole");
            if let Response::ReplyCode(text) = &response {
                reply(text);
            }
            assert_eq!(Response::decode(packet), Ok(response));
        }
        rest = &rest[taken..];
    }
}

/// A reply in the filter's own words is a refusal of whole, short, printable lines.
fn reply(text: &[u8]) {
    let Some(reply) = reply_code::parse(text) else {
        return;
    };
    assert!(matches!(reply.code, 400..600), "{reply:?}");
    assert_eq!(
        reply.status.map(|status| u16::from(status.class)),
        Some(reply.code / 100)
    );
    let wire = reply.to_wire();
    assert!(wire.ends_with(b"\r\n"));
    let lines: Vec<&[u8]> = wire.split(|octet| *octet == b'\n').collect();
    assert_eq!(
        lines.len(),
        reply.lines.len() + 1,
        "a line that the reply does not have"
    );
    assert!(wire.iter().all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n')));
}

/// What a filter changes of a message: whatever it asks for, the header stays a header and the body lines; our trace header
/// stays; addresses are addresses and reasons one line.
///
/// The input is an octet of choices, the length of the message and the message, then packets: a letter, a length, data.
pub fn milter_changes(input: &[u8]) {
    let [choices, length, rest @ ..] = input else {
        return;
    };
    let (content, packets) = rest.split_at(usize::from(*length).min(rest.len()));
    runtime().block_on(change(*choices, content, packets));
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().build().expect("a runtime"))
}

async fn change(choices: u8, content: &[u8], mut packets: &[u8]) {
    let mut message = Message::new(&std::env::temp_dir());
    message.append(TRACE).await.expect("kept");
    let mut lines = Vec::new();
    let chunk = Chunk {
        size_octets: content.len() as u64,
        is_last: true,
    };
    let _ = ChunkDecoder::new(chunk).decode(content, &mut lines);
    for piece in lines.chunks(usize::from(choices >> 4).max(1)) {
        message.append(piece).await.expect("kept");
    }
    message.finish().expect("a short header");
    let agreed = Negotiation {
        actions: if choices & 1 == 0 { Actions::ALL } else { Actions(0x3f) },
        steps: if choices & 2 == 0 {
            Steps::default()
        } else {
            Steps::LEADING_SPACE
        },
        ..Negotiation::default()
    };
    let octets_max = if choices & 4 == 0 { 0 } else { 100 };
    let mut changes = Changes::new(&message, &agreed, octets_max);
    while let [letter, length, rest @ ..] = packets {
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        packets = rest;
        let packet = Packet { command: *letter, data };
        if let Ok(Response::Change(change)) = Response::decode(packet)
            && changes.take(change, &message).await.is_err()
        {
            return;
        }
    }
    let Ok((envelope, _words)) = changes.apply(&mut message).await else {
        return;
    };
    let mut body = Vec::new();
    loop {
        let piece = message.body_piece(body.len() as u64).await.expect("read");
        if piece.is_empty() {
            break;
        }
        body.extend(piece);
    }
    let header = message.header_octets();
    assert!(
        header.windows(TRACE.len()).any(|octets| octets == TRACE),
        "our trace header is gone"
    );
    let all = [&header[..], &body[..]].concat();
    check_lines(&all);
    let mut reader = HeaderReader::default();
    match reader.take(&all).expect("a short header") {
        Some(rest) => assert_eq!(rest, body, "the header ends elsewhere"),
        None => assert!(body.is_empty(), "a body without an end of the header"),
    }
    for change in &envelope.recipients {
        let (RecipientChange::Add(path, _) | RecipientChange::Remove(path)) = change;
        assert_eq!(ForwardPath::parse(&format!("<{path}>")).as_ref(), Ok(path));
    }
    if let Some(reason) = &envelope.hold {
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }
}

fn check_lines(octets: &[u8]) {
    assert!(octets.is_empty() || octets.ends_with(b"\r\n"), "an open line");
    for line in octets.split(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(line.is_empty() || text.len() < line.len(), "a bare LF");
        assert!(!text.contains(&b'\r'), "a bare CR");
    }
}

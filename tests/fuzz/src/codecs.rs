//! The codecs of what is spoken beside SMTP: BDAT's chunks, PROXY headers, policy services, Dovecot.

use estafette::wire::chunking::{Chunk, ChunkDecoder};
use estafette::wire::data::DataDecoder;
use estafette::wire::dovecot_auth::{Answer, Handshake, Refusal, Request, ServerLine, read_line};
use estafette::wire::policy_delegation::{REPLY_OCTETS_MAX, reply, request};
use estafette::wire::proxy_header::{Progress, ProxyHeader, parse};
use estafette::wire::sasl::{Credentials, PasswordMechanism};

use crate::PEER;

/// PROXY headers: reading as many octets as are asked for ends with the header and not an octet further, with the same verdict
/// as reading everything at once; an address written in either version is read as the same.
pub fn proxy_header(input: &[u8]) {
    let whole = parse(input);
    let mut read = 0;
    let piecewise = loop {
        match parse(&input[..read]) {
            Ok(Progress::Lacks(more)) => {
                assert!(more > 0, "it lacks nothing");
                if read + more > input.len() {
                    assert!(!matches!(whole, Ok(Progress::Whole(..))), "{whole:?} of too few octets");
                    return;
                }
                read += more;
            }
            decided => break decided,
        }
    };
    assert_eq!(piecewise, whole, "the verdict depends on what follows");
    let Ok(Progress::Whole(header, length)) = whole else {
        return;
    };
    assert_eq!(length, read, "octets of what follows were read");
    if let ProxyHeader::Client { source, destination } = header {
        assert_eq!(source.is_ipv4(), destination.is_ipv4());
        let family = if source.is_ipv4() { 4 } else { 6 };
        let line = format!(
            "PROXY TCP{family} {} {} {} {}\r\n",
            source.ip(),
            destination.ip(),
            source.port(),
            destination.port()
        );
        assert_eq!(parse(line.as_bytes()), Ok(Progress::Whole(header, line.len())));
    }
}

/// Policy services: the reply does not depend on the pieces it comes in, is short and printable; no value of a request begins
/// another attribute.
pub fn policy_delegation(input: &[u8]) {
    let decided = (0..=input.len()).find_map(|length| match reply(&input[..length]) {
        Ok(None) => None,
        other => Some((length, other)),
    });
    match (decided, reply(input)) {
        (None, whole) => assert_eq!(whole, Ok(None)),
        (Some((length, Ok(Some(action)))), whole) => {
            assert!(length <= REPLY_OCTETS_MAX && !action.is_empty(), "{action:?}");
            assert!(!action.contains(|c: char| c.is_control() && c != '\t'), "{action:?}");
            assert!(length < input.len() || whole == Ok(Some(action)), "{whole:?}");
        }
        (Some(_), whole) => assert!(whole.is_err(), "{whole:?} of octets that begin no reply"),
    }
    let text = String::from_utf8_lossy(input);
    let attributes: Vec<(&str, String)> = text
        .split('\0')
        .map(|pair| pair.split_once('\u{1}').unwrap_or(("name", pair)))
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    let written = String::from_utf8(request(&attributes)).expect("UTF-8");
    let lines: Vec<&str> = written.strip_suffix("\n\n").expect("an end").split('\n').collect();
    assert_eq!(lines.len(), attributes.len());
    for (line, (name, value)) in lines.iter().zip(&attributes) {
        let (read_name, read_value) = line.split_once('=').expect("an attribute");
        assert_eq!(read_name.chars().count(), name.chars().count());
        assert_eq!(read_value.chars().count(), value.chars().count());
        assert!(!line.contains(char::is_control));
    }
}

/// Dovecot: lines of any kind are read, and a reason is printable and short; a login never makes two lines of a request, or
/// another field.
pub fn dovecot_auth(input: &[u8]) {
    let mut handshake = Handshake::default();
    let mut is_over = false;
    for line in input.split(|octet| *octet == b'\n') {
        let Ok(line) = read_line(line) else {
            continue;
        };
        if !is_over {
            is_over = !matches!(handshake.take(&line), Ok(None));
        }
        if let ServerLine::Answer(_, Answer::Wrong(Refusal::Credentials(Some(why)) | Refusal::Temporary(Some(why)))) =
            line
        {
            assert!(
                why.len() <= 200 && why.bytes().all(|octet| matches!(octet, b' '..=b'~')),
                "{why:?}"
            );
        }
    }
    let Some(credentials) = Credentials::of_plain(input) else {
        return;
    };
    assert_eq!(
        credentials.to_plain().octets(),
        input,
        "what is handed on is what was said"
    );
    for mechanism in [PasswordMechanism::Plain, PasswordMechanism::Login] {
        let request = Request {
            id: 7,
            remote: (PEER, 40000).into(),
            local: None,
            is_secured: false,
            credentials: Credentials {
                mechanism,
                ..credentials.clone()
            },
        };
        let said = request.to_line();
        let fields = if mechanism == PasswordMechanism::Plain { 8 } else { 7 };
        assert_eq!(said.octets().split(|octet| *octet == b'\t').count(), fields);
        for line in [Ok(said), request.response(0), request.response(1)]
            .into_iter()
            .flatten()
        {
            assert_eq!(
                line.octets().iter().position(|octet| *octet == b'\n'),
                Some(line.octets().len() - 1)
            );
        }
        assert!(request.response(2).is_err(), "no mechanism has three challenges");
    }
}

/// BDAT: however octets are cut and however they are divided into chunks, the content is that of one chunk, and that of DATA.
pub fn chunks(input: &[u8]) {
    if let Ok(argument) = std::str::from_utf8(input)
        && let Some(chunk) = Chunk::parse(argument)
    {
        let last = if chunk.is_last { " LAST" } else { "" };
        let again = Chunk::parse(&format!("{}{last}", chunk.size_octets));
        assert_eq!(again, Some(chunk));
    }
    let Some((piece, mut rest)) = input.split_first() else {
        return;
    };
    let mut chunks: Vec<&[u8]> = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let (chunk, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        chunks.push(chunk);
        rest = tail;
    }
    if chunks.is_empty() {
        return;
    }
    let octets = chunks.concat();
    let whole = of_chunks(&[&octets], octets.len().max(1));
    assert_eq!(
        of_chunks(&chunks, usize::from(*piece).max(1)),
        whole,
        "the content depends on the chunks"
    );
    assert!(whole.0.len() <= octets.len() * 2 + 3);
    // Content whose last line is ended is what DATA would make of it.
    let ended = match octets.ends_with(b"\r\n") || octets.is_empty() {
        true => octets,
        false => [&octets[..], b"\r\n"].concat(),
    };
    let whole = of_chunks(&[&ended], ended.len().max(1));
    assert_eq!(of_data(&ended), whole, "DATA has another content");
}

/// Content, and whether it had a bare CR and a bare LF.
type Content = (Vec<u8>, bool, bool);

fn of_chunks(chunks: &[&[u8]], piece: usize) -> Content {
    let announced = |number: usize| Chunk {
        size_octets: chunks[number].len() as u64,
        is_last: number + 1 == chunks.len(),
    };
    let mut decoder = ChunkDecoder::new(announced(0));
    let mut content = Vec::new();
    for number in 0..chunks.len() {
        decoder.begin(announced(number));
        // The octets of what follows come along.
        let mut rest = &chunks[number..].concat()[..];
        loop {
            assert!(!decoder.has_ended(), "it ends before the last chunk does");
            let before = decoder.remaining();
            let offered = &rest[..piece.min(rest.len())];
            let taken = decoder.decode(offered, &mut content);
            assert_eq!(
                taken as u64,
                before.min(offered.len() as u64),
                "octets of another chunk"
            );
            assert_eq!(decoder.remaining(), before - taken as u64);
            rest = &rest[taken..];
            if decoder.remaining() == 0 {
                break;
            }
        }
        assert_eq!(decoder.has_ended(), announced(number).is_last);
    }
    assert!(content.is_empty() || content.ends_with(b"\r\n"), "an open line");
    (content, decoder.saw_bare_cr(), decoder.saw_bare_lf())
}

/// The same octets as a client sends them with DATA: a dot that begins a line is doubled.
fn of_data(octets: &[u8]) -> Content {
    let mut wire = Vec::new();
    let mut begins_line = true;
    for octet in octets {
        if begins_line && *octet == b'.' {
            wire.push(b'.');
        }
        wire.push(*octet);
        begins_line = *octet == b'\n';
    }
    wire.extend_from_slice(b".\r\n");
    let mut decoder = DataDecoder::new();
    let mut content = Vec::new();
    let taken = decoder.decode(&wire, &mut content);
    assert!(decoder.has_ended() && taken == wire.len(), "the data ends elsewhere");
    (content, decoder.saw_bare_cr(), decoder.saw_bare_lf())
}

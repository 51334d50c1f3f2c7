//! The dialogue files of `tests/dialogues`, read for what the client does.

use crate::session::op;

/// What the client says, one entry for each run of `C:` lines.
pub(crate) fn client_blocks(text: &str) -> Vec<Vec<u8>> {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for line in text.lines() {
        match line.strip_prefix("C: ").or_else(|| line.strip_prefix("C:")) {
            Some(said) => {
                if !is_open {
                    blocks.push(Vec::new());
                }
                if let Some(block) = blocks.last_mut() {
                    block.extend(client_line(said));
                }
                is_open = true;
            }
            None => is_open = false,
        }
    }
    blocks
}

/// The dialogue as an input of the session target, with that configuration.
pub(crate) fn session_input(text: &str, configuration: u8) -> Vec<u8> {
    let mut input = vec![configuration];
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "C:" => {
                for piece in client_line(rest).chunks(255) {
                    input.extend([op::OCTETS, u8::try_from(piece.len()).unwrap_or(u8::MAX)]);
                    input.extend_from_slice(piece);
                }
            }
            "tls" => input.extend([op::TLS, u8::from(rest.contains("alice")) + 1]),
            "queue" => input.extend([op::QUEUE, u8::try_from(rest.len() % 8).unwrap_or_default()]),
            // What a filter, the DNS, a policy service or a password service says: any of its answers.
            "filter" | "dns" | "policy" | "passwords" => {
                input.extend([op::ANSWER, u8::try_from(rest.len() % 60).unwrap_or_default()]);
            }
            "timeout" => input.push(op::TIMEOUT),
            "eof" => input.push(op::EOF),
            "shutdown" => input.push(op::SHUTDOWN),
            "judged" => input.extend([op::RENEW, u8::from(rest.contains("untrusted"))]),
            _ => {}
        }
    }
    input
}

fn client_line(text: &str) -> Vec<u8> {
    match text.strip_suffix("\\c") {
        Some(open) => unescape(open),
        None => unescape(&format!("{text}\\r\\n")),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            octets.push(*first);
            continue;
        }
        match tail.split_first() {
            Some((b'r', tail)) => (octets.push(b'\r'), rest = tail).1,
            Some((b'n', tail)) => (octets.push(b'\n'), rest = tail).1,
            Some((b't', tail)) => (octets.push(b'\t'), rest = tail).1,
            Some((b'x', tail)) if tail.len() >= 2 => {
                let digits = std::str::from_utf8(&tail[..2]).unwrap_or("00");
                octets.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                rest = &tail[2..];
            }
            Some((b'*', tail)) => {
                // `\*COUNT*CHARACTER`: few of it will do.
                let end = tail.iter().position(|octet| *octet == b'*').unwrap_or(tail.len());
                let octet = tail.get(end + 1).copied().unwrap_or(b'x');
                octets.extend(std::iter::repeat_n(octet, 600));
                rest = tail.get(end + 2..).unwrap_or_default();
            }
            Some((other, tail)) => (octets.push(*other), rest = tail).1,
            None => octets.push(b'\\'),
        }
    }
    octets
}

//! Eight-bit messages converted to seven bits: another program reads the same out of both.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use estafette::mail::downgrade::convert::Converter;
use estafette::mail::downgrade::fault::Fault;
use estafette::mail::downgrade::survey::Surveyor;

/// Reads pairs of messages, each with its length before it, and compares what each leaf decodes to.
const READER: &str = r#"
import email, email.policy, sys
data = sys.stdin.buffer
def read():
    head = data.readline()
    return data.read(int(head)) if head else None
def leaves(raw):
    m = email.message_from_bytes(raw, policy=email.policy.compat32)
    out = []
    def walk(p):
        if p.is_multipart():
            for q in p.get_payload(): walk(q)
        else:
            body = p.get_payload(decode=True)
            out.append((p.get_content_type(), p.get_filename(), body))
    walk(m)
    return out
count = 0
while (before := read()) is not None:
    after = read()
    assert max(after, default=0) < 128, after
    assert all(len(line) <= 998 for line in after.split(b"\r\n")), after
    a, b = leaves(before), leaves(after)
    assert a == b, (before, after, a, b)
    count += 1
print(count)
"#;

/// The message in pieces of this length.
fn convert(message: &[u8], piece: usize) -> Result<Vec<u8>, Fault> {
    let mut surveyor = Surveyor::default();
    message.chunks(piece).for_each(|octets| surveyor.push(octets));
    let mut converter = Converter::new(Arc::new(surveyor.finish().plan?));
    let mut out = Vec::new();
    for octets in message.chunks(piece) {
        converter.push(octets, &mut out)?;
    }
    converter.finish(&mut out)?;
    Ok(out)
}

/// Numbers of SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn text(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(6) {
            let length = if self.below(10) == 0 { 1200 } else { self.below(120) };
            for _ in 0..length {
                match self.below(12) {
                    0 => out.extend("\u{e9}".as_bytes()),
                    1 => out.extend(b"\xff"),
                    2 => out.push(b' '),
                    3 => out.push(b'='),
                    4 => out.extend(b"--"),
                    5 => out.push(b'\t'),
                    _ => out.push(b'a'),
                }
            }
            out.extend(b"\r\n");
        }
        out
    }

    /// A part: its header, the empty line, its body, which ends in a line end.
    fn part(&mut self, depth: u64) -> Vec<u8> {
        let mut out = Vec::new();
        match self.below(if depth > 4 { 4 } else { 7 }) {
            0 => out.extend(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"),
            1 => out.extend(b"Content-Type: application/octet-stream; name=\"x\"\r\n\r\n"),
            2 => out.extend(b"X-Other: y\r\nContent-Type: text/html\r\nContent-Transfer-Encoding:\r\n 8bit\r\n\r\n"),
            3 => {
                out.extend(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n");
                return out;
            }
            4 => {
                out.extend(
                    b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n",
                );
                out.extend(self.part(depth + 1));
                return out;
            }
            _ => {
                // Some boundaries begin like others.
                let boundary = format!("b{}", "x".repeat(usize::try_from(depth).unwrap()));
                out.extend(format!("Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n").into_bytes());
                for _ in 0..=self.below(3) {
                    out.extend(format!("--{boundary}\r\n").into_bytes());
                    out.extend(self.part(depth + 1));
                }
                if self.below(8) > 0 {
                    out.extend(format!("--{boundary}--\r\n").into_bytes());
                }
                return out;
            }
        }
        out.extend(self.text());
        out
    }
}

#[test]
fn converted_messages_decode_to_the_same() {
    let mut python = Command::new("python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed by this test");
    let mut input = python.stdin.take().unwrap();
    for seed in 0..600 {
        let mut numbers = Numbers(seed);
        let mut message = b"From: a@example.org\r\nMIME-Version: 1.0\r\n".to_vec();
        message.extend(numbers.part(0));
        let converted = convert(&message, message.len()).unwrap();
        assert_eq!(convert(&message, 1), Ok(converted.clone()), "seed {seed}");
        assert_eq!(
            convert(&converted, 7),
            Ok(converted.clone()),
            "seed {seed}: nothing is left to do"
        );
        for octets in [&message, &converted] {
            input.write_all(format!("{}\n", octets.len()).as_bytes()).unwrap();
            input.write_all(octets).unwrap();
        }
    }
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "600");
}

#[test]
fn message_that_is_no_mime_is_labelled() {
    let converted = convert("Subject: x\r\n\r\ncaf\u{e9}\r\n".as_bytes(), 5).unwrap();
    assert_eq!(
        String::from_utf8(converted).unwrap(),
        "Subject: x\r\nContent-Transfer-Encoding: quoted-printable\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=unknown-8bit\r\n\r\ncaf=C3=A9\r\n"
    );
}

#[test]
fn what_cannot_be_converted_says_why() {
    let nested: String = (0..120)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let long = format!("X: {}\r\n\r\n\u{e9}\r\n", "x".repeat(300_000));
    for (message, why) in [
        ("Subject: \u{e9}\r\n\r\nx\r\n", Fault::Header),
        ("Content-Type: multipart/mixed\r\n\r\n\u{e9}\r\n", Fault::Boundary),
        ("Content-Type: message/partial\r\n\r\n\u{e9}\r\n", Fault::Rigid),
        (
            "Content-Transfer-Encoding: base64\r\n\r\n\u{e9}\r\n",
            Fault::Mislabelled,
        ),
        (
            "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\u{e9}\r\n--b--\r\n",
            Fault::Sealed,
        ),
        (&nested, Fault::Nesting),
        (&long, Fault::HeaderTooLong),
    ] {
        assert_eq!(convert(message.as_bytes(), 1000), Err(why));
    }
}

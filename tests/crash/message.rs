//! Messages whose every octet follows from their token, so that the receiver can tell a whole one from a cut one.

use super::random::Random;
use crate::common::sink::Received;

/// A new token: who sends, the how-manieth, and how many octets the body has.
pub fn token(sender: usize, number: u64, random: &mut Random) -> String {
    // Above and below the inline limit of 32 KiB, and close to it.
    let octets = match random.within(0..20) {
        0..14 => random.within(100..4_000),
        14..17 => random.within(28_000..36_000),
        _ => random.within(36_000..90_000),
    };
    format!("token-{sender}-{number}-{octets}")
}

/// The message of a token, lines ending in CRLF, without the final CRLF.
pub fn text(token: &str) -> String {
    let octets: usize = token.rsplit('-').next().and_then(|size| size.parse().ok()).unwrap_or(0);
    let mut text = format!("Subject: {token}\r\nFrom: <a@example.org>\r\n\r\n");
    let end = text.len() + octets;
    let mut line = 0;
    while text.len() < end {
        text.push_str(&format!("{line:06} {token} abcdefghijklmnopqrstuvwxyz 0123456789\r\n"));
        line += 1;
    }
    text.push_str("end");
    text
}

/// Leaves of a message what is to be remembered: its token when it is whole, `cut` and what came when it is not.
pub fn digest(mut received: Received) -> Received {
    let data = String::from_utf8_lossy(&received.data).into_owned();
    let token = data
        .lines()
        .find_map(|line| line.strip_prefix("Subject: "))
        .unwrap_or_default();
    let is_whole = data
        .strip_suffix(&format!("{}\r\n", text(token)))
        .is_some_and(|trace| trace.starts_with("Received: ") && trace.ends_with("\r\n") && !trace.contains("Subject:"));
    received.data = if is_whole {
        token.into()
    } else {
        format!("cut: {data}").into()
    };
    received
}

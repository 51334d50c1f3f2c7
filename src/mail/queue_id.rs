//! Queue ids: unique for ever, sortable by time, short, without vowels.
//!
//! An id is 63 bits: 42 of milliseconds since 2020-01-01, 21 of a number that the maker keeps different within a
//! millisecond; printed in a 32-letter alphabet whose order is that of ASCII, so that text sorts like time.

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789BCDFGHJKLMNPQRSTVWXYZb";
const EPOCH_MILLIS: i64 = 1_577_836_800_000;
const SEQUENCE_BITS: u32 = 21;
const LETTERS: u32 = 13;

/// A queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(i64);

impl QueueId {
    /// The id made at a wall-clock time in milliseconds since 1970, with a number below 2^21.
    pub fn from_parts(unix_millis: i64, sequence: u32) -> Self {
        let millis = unix_millis.saturating_sub(EPOCH_MILLIS).clamp(0, (1 << 42) - 1);
        Self((millis << SEQUENCE_BITS) | i64::from(sequence & ((1 << SEQUENCE_BITS) - 1)))
    }

    /// The number that the store keeps as its key; never negative.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The id of a stored number.
    pub const fn from_number(number: i64) -> Option<Self> {
        if number >= 0 { Some(Self(number)) } else { None }
    }

    /// The next id in order, for a maker whose clock stands still or goes back.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Reads a printed id.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LETTERS as usize {
            return None;
        }
        let mut number: i64 = 0;
        for letter in text.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == letter)?;
            number = number.checked_mul(32)?.checked_add(i64::try_from(digit).ok()?)?;
        }
        Self::from_number(number)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..LETTERS).rev() {
            let digit = usize::try_from((self.0 >> (place * 5)) & 31).unwrap_or_default();
            let letter = ALPHABET.get(digit).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_id_sorts_by_time_and_reads_back() {
        let first = QueueId::from_parts(1_795_510_800_000, 7);
        let later = QueueId::from_parts(1_795_510_800_001, 3);
        assert!(first < later && first.to_string() < later.to_string());
        assert_eq!(QueueId::parse(&first.to_string()), Some(first));
        assert_eq!(QueueId::parse("AEIOU"), None);
        assert_eq!(QueueId::from_number(first.number()), Some(first));
    }
}

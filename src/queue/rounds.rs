//! A queue in which senders take turns.
//!
//! Every sender has a line of its own; each time the one whose key follows the key served last gives its first item. A
//! sender with ten thousand messages so delays another one's by no more than the number of senders that wait.
//!
//! **Does not** know leases or destinations.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound::{Excluded, Unbounded};

/// Stands for a sender. Two senders with the same key share their turns, and nothing else.
pub type SenderKey = u64;

/// The key of who sends: the holder of the certificate when one was shown, the reverse-path otherwise.
pub fn sender_key(fingerprint: Option<&str>, reverse_path: &str) -> SenderKey {
    let mut hasher = DefaultHasher::new();
    fingerprint.ok_or(reverse_path).hash(&mut hasher);
    hasher.finish()
}

/// Items of senders that take turns.
#[derive(Debug)]
pub struct Rounds<T> {
    lines: BTreeMap<SenderKey, VecDeque<T>>,
    last: SenderKey,
    len: usize,
}

impl<T> Rounds<T> {
    /// Nothing; the first turn is that of the sender that follows `last`.
    pub fn after(last: SenderKey) -> Self {
        let lines = BTreeMap::new();
        Self { lines, last, len: 0 }
    }

    /// Puts an item behind the others of its sender.
    pub fn push(&mut self, sender: SenderKey, item: T) {
        self.lines.entry(sender).or_default().push_back(item);
        self.len += 1;
    }

    /// The first item of the sender whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let sender = self.next_sender()?;
        let line = self.lines.get_mut(&sender)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&sender);
        }
        self.last = sender;
        self.len -= usize::from(item.is_some());
        item
    }

    /// What [`Rounds::pop`] would give.
    pub fn first(&self) -> Option<&T> {
        self.lines.get(&self.next_sender()?)?.front()
    }

    /// The sender that was served last.
    pub fn last(&self) -> SenderKey {
        self.last
    }

    /// Items in all lines.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes out the first item that fits, whoever's turn it is.
    pub fn remove(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut lines = self.lines.iter();
        let (sender, place) = lines.find_map(|(sender, line)| Some((*sender, line.iter().position(&fits)?)))?;
        let line = self.lines.get_mut(&sender)?;
        let item = line.remove(place);
        if line.is_empty() {
            self.lines.remove(&sender);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// All items, line by line.
    pub fn into_items(self) -> impl Iterator<Item = T> {
        self.lines.into_values().flatten()
    }

    fn next_sender(&self) -> Option<SenderKey> {
        let behind = self.lines.range((Excluded(self.last), Unbounded)).next();
        behind
            .or_else(|| self.lines.first_key_value())
            .map(|(sender, _)| *sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns_and_newcomers_come_within_one_round() {
        let mut rounds = Rounds::after(0);
        for number in 0..5 {
            rounds.push(7, number);
        }
        assert_eq!(rounds.pop(), Some(0));
        rounds.push(3, 100);
        rounds.push(9, 200);
        assert_eq!(rounds.first(), Some(&200));
        let order: Vec<i32> = std::iter::from_fn(|| rounds.pop()).collect();
        assert_eq!(order, [200, 100, 1, 2, 3, 4]);
        assert!(rounds.is_empty());
    }

    #[test]
    fn item_taken_out_is_not_given() {
        let mut rounds = Rounds::after(0);
        rounds.push(1, "a");
        rounds.push(2, "b");
        assert_eq!(rounds.remove(|item| *item == "a"), Some("a"));
        assert_eq!(rounds.remove(|item| *item == "a"), None);
        assert_eq!(rounds.len(), 1);
        assert_eq!(rounds.into_items().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn certificate_tells_senders_apart_before_the_reverse_path() {
        assert_eq!(sender_key(Some("AB"), "a@x"), sender_key(Some("AB"), "b@x"));
        assert_ne!(sender_key(None, "a@x"), sender_key(None, "b@x"));
        assert_ne!(sender_key(Some("a@x"), "a@x"), sender_key(None, "a@x"));
    }
}

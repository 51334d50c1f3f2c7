//! The queue counted by group and age, as qshape(1) does.
//!
//! **Does not** read a queue: it is told of one message after the other and keeps one row for each group, of which there
//! are at most [`GROUPS_MAX`]; what comes after those is counted together.

use std::collections::HashMap;

use crate::time::Timestamp;

/// Minutes at which a bucket of ages ends, as in qshape; the last bucket has no end.
pub const BUCKET_MINUTES: [i64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
/// Buckets of ages.
pub const BUCKETS: usize = BUCKET_MINUTES.len() + 1;
/// Groups that have a row of their own.
pub const GROUPS_MAX: usize = 100_000;
/// The row of all groups that came after [`GROUPS_MAX`].
pub const OTHERS: &str = "(others)";

/// How many of each age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// All of them.
    pub total: u64,
    /// By age; see [`BUCKET_MINUTES`].
    pub buckets: [u64; BUCKETS],
}

impl Row {
    fn add(&mut self, bucket: usize, count: u64) {
        self.total = self.total.saturating_add(count);
        if let Some(counted) = self.buckets.get_mut(bucket) {
            *counted = counted.saturating_add(count);
        }
    }
}

/// The counts.
#[derive(Debug, Default)]
pub struct Statistics {
    total: Row,
    groups: HashMap<String, Row>,
}

impl Statistics {
    /// Counts `count` of a group that arrived at a time.
    pub fn add(&mut self, group: &str, count: u64, arrived: Timestamp, now: Timestamp) {
        let bucket = bucket(arrived, now);
        self.total.add(bucket, count);
        if !self.groups.contains_key(group) {
            let name = if self.groups.len() < GROUPS_MAX { group } else { OTHERS };
            self.groups.entry(name.to_owned()).or_default().add(bucket, count);
        } else if let Some(row) = self.groups.get_mut(group) {
            row.add(bucket, count);
        }
    }

    /// Everything together.
    pub const fn total(&self) -> &Row {
        &self.total
    }

    /// Groups counted.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The rows, the largest first, equal ones in order of name; at most `limit`.
    pub fn rows(&self, limit: usize) -> Vec<(&str, &Row)> {
        let mut rows: Vec<(&str, &Row)> = self.groups.iter().map(|(name, row)| (name.as_str(), row)).collect();
        rows.sort_unstable_by(|a, b| b.1.total.cmp(&a.1.total).then(a.0.cmp(b.0)));
        rows.truncate(limit);
        rows
    }
}

fn bucket(arrived: Timestamp, now: Timestamp) -> usize {
    let minutes = i64::try_from(now.since(arrived).as_secs().div_euclid(60)).unwrap_or(i64::MAX);
    BUCKET_MINUTES.iter().filter(|end| minutes >= **end).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_group_and_age() {
        let now = Timestamp::from_seconds(1_000_000);
        let at = |minutes: i64| Timestamp::from_seconds(1_000_000 - minutes * 60);
        let mut statistics = Statistics::default();
        for minutes in [0, 4, 5, 9, 10, 1279, 1280, 9_999] {
            statistics.add("b.example", 1, at(minutes), now);
        }
        statistics.add("a.example", 2, at(-5), now);
        statistics.add("c.example", 2, at(39), now);
        let rows = statistics.rows(2);
        assert_eq!(
            rows[0],
            (
                "b.example",
                &Row {
                    total: 8,
                    buckets: [2, 2, 1, 0, 0, 0, 0, 0, 1, 2]
                }
            )
        );
        assert_eq!((rows[1].0, rows[1].1.total, rows.len()), ("a.example", 2, 2));
        assert_eq!((statistics.total().total, statistics.groups()), (12, 3));
        assert_eq!(statistics.total().buckets[0], 4, "what comes from the future is young");
        assert_eq!(statistics.total().buckets[3], 2, "39 minutes are under 40");
    }

    #[test]
    fn groups_beyond_the_bound_share_a_row() {
        let mut statistics = Statistics::default();
        for number in 0..GROUPS_MAX + 5 {
            statistics.add(&number.to_string(), 1, Timestamp(0), Timestamp(0));
        }
        assert_eq!(statistics.groups(), GROUPS_MAX + 1);
        assert_eq!(statistics.rows(1)[0].0, OTHERS);
        assert_eq!(statistics.rows(1)[0].1.total, 5);
    }
}

//! What was typed, as a filter.

use super::arguments::{FilterArguments, StateArgument};
use crate::cli::point::point;
use crate::queue::filter::Filter;
use crate::time::Timestamp;

/// # Errors
/// In words that name the argument.
pub fn filter(arguments: &FilterArguments, now: Timestamp) -> Result<Filter, String> {
    let time = |name: &str, text: &Option<String>| {
        let read = text.as_ref().map(|text| point(text, now).map(|at| at.0));
        read.transpose().map_err(|why| format!("--{name}: {why}"))
    };
    let size = |name: &str, text: &Option<String>| {
        let read = text.as_ref().map(|text| octets(text));
        read.transpose().map_err(|why| format!("--{name}: {why}"))
    };
    Ok(Filter {
        sender: arguments.sender.clone(),
        recipient: arguments.recipient.clone(),
        destination: arguments.destination.clone(),
        subject: arguments.subject.clone(),
        issuer: arguments.issuer.clone(),
        fingerprint: arguments.fingerprint.clone(),
        states: arguments.state.iter().copied().map(StateArgument::state).collect(),
        arrived_before: time("older-than", &arguments.older_than)?,
        arrived_since: time("newer-than", &arguments.newer_than)?,
        larger_than: size("larger-than", &arguments.larger_than)?,
        smaller_than: size("smaller-than", &arguments.smaller_than)?,
    })
}

/// A number of octets; k, M and G are powers of 1024.
fn octets(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok();
    let octets = number.and_then(|number| number.checked_mul(factor));
    octets.ok_or_else(|| format!("{text}: expected a number of octets, such as \"500k\" or \"1M\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_or_named() {
        assert_eq!(octets("500k"), Ok(512_000));
        assert_eq!(octets("1M"), Ok(1_048_576));
        assert_eq!(octets("0"), Ok(0));
        for wrong in ["", "k", "-1", "1T", "1.5M", "99999999999999999999"] {
            assert!(octets(wrong).unwrap_err().contains("500k"), "{wrong}");
        }
        let typed = FilterArguments {
            older_than: Some("2h".into()),
            ..FilterArguments::default()
        };
        let read = filter(&typed, Timestamp(7_200_001)).unwrap();
        assert_eq!(read.arrived_before, Some(1));
        let typed = FilterArguments {
            newer_than: Some("soon".into()),
            ..FilterArguments::default()
        };
        assert!(
            filter(&typed, Timestamp(0))
                .unwrap_err()
                .starts_with("--newer-than: soon")
        );
    }
}

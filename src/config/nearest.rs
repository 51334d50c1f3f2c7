//! The name that somebody meant: the nearest by edit distance.
//!
//! **Does not** guess when nothing is near: a wrong suggestion costs more than none.

/// The candidate with the smallest edit distance, when at most a third of its letters differ.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, row by row.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (n, a) in left.chars().enumerate() {
        let mut diagonal = n;
        let mut before = n + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            before = replaced.min(*cell + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_name_finds_its_neighbour_and_nonsense_finds_none() {
        let names = ["smtpd_tls_cert_file", "smtpd_tls_key_file", "relayhost"];
        assert_eq!(nearest("smtpd_tls_certfile", names), Some("smtpd_tls_cert_file"));
        assert_eq!(nearest("relay_host", names), Some("relayhost"));
        assert_eq!(nearest("xyzzy", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}

//! `smtpd_discard_ehlo_keywords` and `smtpd_discard_ehlo_keyword_address_maps`: which extensions are hidden from whom.
//!
//! **Implements** an array of keywords, and a table from networks to such arrays:
//! `{ "192.0.2.0/24" = ["chunking"] }`.

use ipnet::IpNet;

use super::error::Complaint;
use super::file::{Located, RawValue};
use super::nearest::nearest;
use super::reader::Reader;
use crate::net::parse_network;
use crate::session::extension::{Extensions, HIDING_WORDS};

const EXPECTED_TABLE: &str = "a table such as { \"192.0.2.0/24\" = [\"chunking\"] }";

/// Reads the keywords; their letter case does not matter.
pub fn read(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<String>> {
    let expected = format!("any of {}", HIDING_WORDS.join(", "));
    let mut keywords = Vec::new();
    let mut is_whole = true;
    for word in reader.words(located, &expected)? {
        let keyword = word.text.to_ascii_lowercase();
        if HIDING_WORDS.contains(&keyword.as_str()) {
            keywords.push(keyword);
            continue;
        }
        let near = nearest(&keyword, HIDING_WORDS.iter().copied());
        let hint = near.map(|near| format!("did you mean \"{near}\"?"));
        reader.wrong::<()>(word.span, &word.text, &expected, hint);
        is_whole = false;
    }
    is_whole.then_some(keywords)
}

/// Reads the table from networks to keywords.
pub fn read_maps(reader: &mut Reader<'_>, located: &Located) -> Option<Vec<(IpNet, Extensions)>> {
    let table = match &located.value {
        RawValue::Table(table) => table,
        RawValue::Text(text) if text.trim().is_empty() => return Some(Vec::new()),
        _ => return reader.mismatch(located, EXPECTED_TABLE),
    };
    let mut maps = Vec::new();
    let mut is_whole = true;
    for (key, span, value) in table.iter() {
        let keywords = read(reader, value);
        match (parse_network(key), keywords) {
            (Ok(network), Some(keywords)) => {
                maps.push((network, Extensions::of_words(keywords.iter().map(String::as_str))));
            }
            (Err(error), _) => {
                let complaint = Complaint::new(format!("\"{key}\" is no network"), error.to_string());
                reader.error(
                    reader.place(span),
                    complaint.hint("write a network such as \"192.0.2.0/24\""),
                );
                is_whole = false;
            }
            (Ok(_), None) => is_whole = false,
        }
    }
    is_whole.then_some(maps)
}

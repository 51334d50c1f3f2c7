//! Regular expressions on a distinguished name's one-line text.
//!
//! **Implements** CERTISSUER, CERTSUBJECT, `issuer_regex` and `subject_regex`: an expression that could match inside a
//! longer value is an error.

use regex::Regex;

use super::anchoring::{Gap, gap, names_something, sample};
use super::error::{Complaint, Span};
use super::reader::Reader;
use super::strangers::matches_every_name;

/// Reads an expression; `span` is that of the string it stands in.
pub fn read(reader: &mut Reader<'_>, pattern: &str, span: &Span) -> Option<Regex> {
    if pattern.is_empty() {
        let complaint = Complaint::new(
            "an empty regular expression matches every name",
            "expected a name to match",
        );
        reader.error(
            reader.place(span),
            complaint.hint("write \"permit_tls_all_clientcerts\" if that is meant"),
        );
        return None;
    }
    let regex = match Regex::new(pattern) {
        Ok(regex) => regex,
        Err(error) => {
            complain_of_regex(reader, pattern, span, &error.to_string());
            return None;
        }
    };
    if names_something(pattern) && matches_every_name(&regex) {
        let message = "the regular expression matches every name: what it names is optional";
        let complaint = Complaint::new(message, "matches every name");
        reader.error(
            reader.place(span),
            complaint.hint("take the ? or the empty alternative out"),
        );
        return None;
    }
    if let Some(gap) = gap(pattern) {
        reader.error(reader.place(span), gap_complaint(gap, &regex));
        return None;
    }
    Some(regex)
}

/// What is wrong with an expression that is searched for and found in longer values, with an example where one is true.
fn gap_complaint(gap: Gap, regex: &Regex) -> Complaint {
    let sample = sample(regex.as_str());
    let (what, example, hint) = match gap {
        Gap::Beginning => (
            "the regular expression has an open beginning",
            format!("/CN=Evil-{sample}"),
            "begin it with ^/ for the whole name, or with / and the attribute, as in /OU=UMR5168(/|$)",
        ),
        Gap::End => (
            "the regular expression has an open end",
            format!("{sample}-Evil"),
            "end it in $ for the whole name, or in (/|$) for one whole value",
        ),
        Gap::Within => (
            "a wildcard that runs on across attributes stands beside a part of a value in the regular expression",
            String::new(),
            "write [^/+]* for the rest of one value, or let / stand beside the wildcard: /O=CNRS/.*",
        ),
        Gap::Never => (
            "the regular expression can never match: a name begins with /",
            String::new(),
            "write ^/ and the attributes in certificate order, as in ^/C=FR/O=CNRS(/|$); estafette cert show prints them",
        ),
    };
    let message = if gap == Gap::Never {
        what.to_owned()
    } else if regex.is_match(&example) && !example.is_empty() {
        format!("{what}: it also matches \"{example}\"")
    } else {
        format!("{what}: it could match inside a longer value")
    };
    Complaint::new(message, "matches inside longer values").hint(hint)
}

/// The regex crate draws the pattern with a caret below; the caret's column is the position, its last line the reason.
fn complain_of_regex(reader: &mut Reader<'_>, pattern: &str, span: &Span, drawn: &str) {
    let caret = drawn.lines().find_map(|line| {
        let trimmed = line.trim_start();
        trimmed
            .starts_with('^')
            .then(|| (line.len() - trimmed.len()).saturating_sub(4))
    });
    let reason = drawn.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let message = match caret {
        Some(column) => format!("bad regular expression at character {}: {reason}", column + 1),
        None => format!("bad regular expression: {reason}"),
    };
    let in_file = reader
        .findings
        .text()
        .get(span.clone())
        .and_then(|text| text.find(pattern));
    let place = match (in_file, caret) {
        (Some(offset), Some(column)) if reader.in_file && pattern.is_ascii() => {
            let at = span.start + offset + column;
            Some(at..at + 1)
        }
        _ => reader.place(span),
    };
    let complaint = Complaint::new(
        message,
        "expected a regular expression such as ^/C=FR/O=CNRS/CN=CNRS-Plus$",
    );
    reader.error(
        place,
        complaint.hint("look-around and back-references are not supported"),
    );
}

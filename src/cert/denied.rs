//! The deny-list as text: one certificate a line.
//!
//! **Implements** the lines of `smtpd_tls_deny_list_file` (docs/revocation.md): `key=value` fields between white space, a
//! value with spaces in quotation marks, a quotation mark inside doubled, `#` begins a comment.
//! **Does not** pass over what it does not understand: a mistyped line would deny nobody.

use std::collections::HashMap;
use std::fmt;

use super::certificate::Certificate;
use super::name::DistinguishedName;

/// Octets of a SHA-256.
const FINGERPRINT_OCTETS: usize = 32;
/// Octets of a SHA-1, which people may have at hand.
const SHA1_OCTETS: usize = 20;
/// The most octets of a serial number (RFC 5280 section 4.1.2.2 allows 20; some authorities are generous).
const SERIAL_OCTETS_MAX: usize = 64;

/// Which certificates an entry is about; either form suffices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// SHA-256 of the certificate, as [`Certificate::fingerprint`].
    pub fingerprint: Option<String>,
    /// Serial and issuer, as [`serial`] makes it and in the one-line text.
    pub serial_and_issuer: Option<(String, String)>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whom it denies.
    pub selector: Selector,
    /// Why, in the postmaster's words; may be empty.
    pub reason: String,
    /// When, seconds since 1970.
    pub since_unix_seconds: Option<i64>,
    /// Whose certificate it is, one-line, for the reader's eye.
    pub subject: Option<String>,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct ValueError {
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: &'static str,
}

/// What is wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct LineError {
    /// Counted from 1.
    pub line: usize,
    /// Found and expected.
    pub error: ValueError,
}

impl Selector {
    /// The selector of a certificate: both forms, since a certificate encoded anew has another fingerprint.
    pub fn of(certificate: &Certificate) -> Self {
        let serial = serial(&certificate.serial).unwrap_or_else(|_| certificate.serial.clone());
        Self {
            fingerprint: Some(certificate.fingerprint.clone()),
            serial_and_issuer: Some((serial, certificate.issuer.one_line())),
        }
    }

    /// Whether both are about one certificate: one of the forms they have is the same.
    pub fn meets(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        same(&self.fingerprint, &other.fingerprint)
            || (self.serial_and_issuer.is_some() && self.serial_and_issuer == other.serial_and_issuer)
    }

    /// Whether every form that `other` has is here too.
    pub fn covers(&self, other: &Self) -> bool {
        let fingerprint = other.fingerprint.is_none() || self.fingerprint == other.fingerprint;
        fingerprint && (other.serial_and_issuer.is_none() || self.serial_and_issuer == other.serial_and_issuer)
    }
}

/// All entries, to be asked quickly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    entries: Vec<Entry>,
    by_fingerprint: HashMap<String, usize>,
    by_serial_and_issuer: HashMap<(String, String), usize>,
}

impl Denied {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn read(octets: &[u8]) -> Result<Self, LineError> {
        let mut denied = Self::default();
        for (n, line) in lines(octets).enumerate() {
            let line_error = |error| LineError { line: n + 1, error };
            if let Some(entry) = read_line(line).map_err(line_error)? {
                denied.add(entry);
            }
        }
        Ok(denied)
    }

    fn add(&mut self, entry: Entry) {
        let place = self.entries.len();
        let selector = entry.selector.clone();
        self.entries.push(entry);
        // The first line about a certificate tells when and why.
        if let Some(fingerprint) = selector.fingerprint {
            self.by_fingerprint.entry(fingerprint).or_insert(place);
        }
        if let Some(key) = selector.serial_and_issuer {
            self.by_serial_and_issuer.entry(key).or_insert(place);
        }
    }

    /// The entries in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry that denies this certificate.
    pub fn entry(&self, certificate: &Certificate) -> Option<&Entry> {
        if self.entries.is_empty() {
            return None;
        }
        let Selector {
            fingerprint,
            serial_and_issuer,
        } = Selector::of(certificate);
        let by_fingerprint = self.by_fingerprint.get(&fingerprint?);
        let place = by_fingerprint.or_else(|| self.by_serial_and_issuer.get(&serial_and_issuer?))?;
        self.entries.get(*place)
    }
}

/// The lines of a file; a carriage return at their ends is white space.
pub fn lines(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    let octets = octets.strip_prefix("\u{feff}".as_bytes()).unwrap_or(octets);
    octets.split(|octet| *octet == b'\n')
}

/// One line; nothing when it is empty or a comment.
///
/// # Errors
/// What is wrong with it.
pub fn read_line(line: &[u8]) -> Result<Option<Entry>, ValueError> {
    let text = std::str::from_utf8(line).map_err(|_| wrong("octets that are not UTF-8", "text in UTF-8"))?;
    let fields = fields(text)?;
    if fields.is_empty() {
        return Ok(None);
    }
    let mut entry = Entry::default();
    let (mut serial_text, mut issuer_text) = (None, None);
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in fields {
        if seen.contains(&key) {
            return Err(wrong(&format!("{key} twice"), "each field once"));
        }
        seen.push(key);
        match key {
            "sha256" => entry.selector.fingerprint = Some(fingerprint(&value)?),
            "serial" => serial_text = Some(serial(&value)?),
            "issuer" => issuer_text = Some(name(&value)?),
            "subject" => entry.subject = Some(value),
            "reason" => entry.reason = value,
            "since" => entry.since_unix_seconds = Some(time(&value)?),
            _ => return Err(wrong(&format!("the field {key}"), FIELDS)),
        }
    }
    entry.selector.serial_and_issuer = match (serial_text, issuer_text) {
        (Some(serial), Some(issuer)) => Some((serial, issuer)),
        (None, None) => None,
        (Some(_), None) => return Err(wrong("serial alone", "serial and issuer together")),
        (None, Some(_)) => return Err(wrong("issuer alone", "serial and issuer together")),
    };
    if entry.selector == Selector::default() {
        return Err(wrong("neither sha256 nor serial and issuer", "one of them at least"));
    }
    Ok(Some(entry))
}

const FIELDS: &str = "sha256, serial, issuer, reason, since or subject";

fn wrong(found: &str, expected: &'static str) -> ValueError {
    ValueError {
        found: found.into(),
        expected,
    }
}

/// Splits a line into its fields.
fn fields(text: &str) -> Result<Vec<(&str, String)>, ValueError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (key, tail) = rest
            .split_once('=')
            .filter(|(key, _)| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric()))
            .ok_or_else(|| wrong(&quoted(rest), "key=value"))?;
        let (value, tail) = if let Some(inside) = tail.strip_prefix('"') {
            quoted_value(inside)?
        } else {
            let (value, tail) = tail.split_at(tail.find(char::is_whitespace).unwrap_or(tail.len()));
            (value.to_owned(), tail)
        };
        if !tail.is_empty() && !tail.starts_with(char::is_whitespace) {
            return Err(wrong(&quoted(tail), "white space between fields"));
        }
        found.push((key, value));
        rest = tail.trim_start();
    }
    Ok(found)
}

/// The value up to the closing quotation mark, and what follows.
fn quoted_value(inside: &str) -> Result<(String, &str), ValueError> {
    let mut value = String::new();
    let mut rest = inside;
    loop {
        let (part, tail) = rest
            .split_once('"')
            .ok_or_else(|| wrong("a quotation mark that is not closed", "another one"))?;
        value.push_str(part);
        match tail.strip_prefix('"') {
            Some(tail) => {
                value.push('"');
                rest = tail;
            }
            None => return Ok((value, tail)),
        }
    }
}

/// The beginning of a text, for a message.
fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(40).collect();
    format!("{beginning:?}")
}

/// Hexadecimal digits, with or without colons, as octets.
fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let even = if digits.len().is_multiple_of(2) {
        digits
    } else {
        format!("0{digits}")
    };
    let pairs = even.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn with_colons(octets: &[u8]) -> String {
    let pairs: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    pairs.join(":")
}

/// A SHA-256 fingerprint as [`Certificate::fingerprint`] has it, from hexadecimal with or without colons.
///
/// # Errors
/// Another number of digits, or other characters.
pub fn fingerprint(text: &str) -> Result<String, ValueError> {
    let expected = "a SHA-256 fingerprint of 64 hexadecimal digits (openssl x509 -noout -fingerprint -sha256)";
    match octets(text) {
        Some(octets) if octets.len() == FINGERPRINT_OCTETS => Ok(with_colons(&octets)),
        Some(octets) if octets.len() == SHA1_OCTETS => Err(wrong("a SHA-1 fingerprint", expected)),
        _ => Err(wrong(&quoted(text), expected)),
    }
}

/// A serial number in hexadecimal with colons, from hexadecimal with or without them; leading zeros do not count.
///
/// # Errors
/// Other characters, or far too many.
pub fn serial(text: &str) -> Result<String, ValueError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let octets = octets(digits).filter(|octets| octets.len() <= SERIAL_OCTETS_MAX);
    let octets = octets.ok_or_else(|| wrong(&quoted(text), "a serial number in hexadecimal, such as 0A:1B"))?;
    let significant: Vec<u8> = octets.iter().copied().skip_while(|octet| *octet == 0).collect();
    Ok(if significant.is_empty() {
        "00".into()
    } else {
        with_colons(&significant)
    })
}

/// A name in the one-line text, made canonical.
///
/// # Errors
/// It cannot be read without doubt.
pub fn name(text: &str) -> Result<String, ValueError> {
    let expected = "a name in one line as `estafette cert show` prints it, such as /C=FR/O=CNRS/CN=CNRS-Plus";
    let name = text.parse::<DistinguishedName>();
    name.map(|name| name.one_line())
        .map_err(|error| wrong(&quoted(&error.found), expected))
}

fn time(text: &str) -> Result<i64, ValueError> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(jiff::Timestamp::as_second)
        .map_err(|_| wrong(&quoted(text), "a time such as 2026-11-24T10:00:00Z"))
}

impl fmt::Display for Entry {
    /// The line, which [`read_line`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Vec::new();
        let quote = |value: &str| format!("\"{}\"", value.replace('"', "\"\""));
        if let Some(fingerprint) = &self.selector.fingerprint {
            fields.push(format!("sha256={fingerprint}"));
        }
        if let Some((serial, issuer)) = &self.selector.serial_and_issuer {
            fields.push(format!("serial={serial} issuer={}", quote(issuer)));
        }
        fields.push(format!("reason={}", quote(&self.reason)));
        if let Some(since) = self
            .since_unix_seconds
            .and_then(|s| jiff::Timestamp::from_second(s).ok())
        {
            fields.push(format!("since={since}"));
        }
        if let Some(subject) = &self.subject {
            fields.push(format!("subject={}", quote(subject)));
        }
        f.write_str(&fields.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = "serial=0a1b issuer=\"/C=FR/O=CNRS/CN=A \"\"B\"\"\\2FC\" reason=\"lost, #2\" \
        since=2026-11-24T10:00:00Z # by phone";

    fn read(line: &str) -> Result<Option<Entry>, ValueError> {
        read_line(line.as_bytes())
    }

    #[test]
    fn line_is_read_with_quotation_marks_and_comment() {
        let entry = read(LINE).expect("good").expect("an entry");
        let key = ("0A:1B".to_owned(), "/C=FR/O=CNRS/CN=A \"B\"\\2FC".to_owned());
        assert_eq!(entry.selector.serial_and_issuer, Some(key));
        assert_eq!(entry.reason, "lost, #2");
        assert_eq!(entry.since_unix_seconds, Some(1_795_514_400));
        assert_eq!(read(&entry.to_string()), Ok(Some(entry)));
        assert_eq!(read("  # sha256=00"), Ok(None));
        assert_eq!(read(""), Ok(None));
    }

    #[test]
    fn wrong_line_says_what_was_found_and_expected() {
        let sha1 = format!("sha256={}", "ab".repeat(20));
        for (line, found) in [
            ("sha265=00", "the field sha265"),
            ("sha256=zz", "\"zz\""),
            (sha1.as_str(), "a SHA-1 fingerprint"),
            ("serial=01", "serial alone"),
            ("issuer=/CN=a", "issuer alone"),
            ("reason=lost", "neither sha256 nor serial and issuer"),
            ("serial=01 issuer=CN=a", "\"CN=a\""),
            ("serial=01 serial=02", "serial twice"),
            ("serial=01 issuer=\"/CN=a", "a quotation mark that is not closed"),
            ("serial=01 issuer=\"/CN=a\"reason=x", "\"reason=x\""),
            ("alice", "\"alice\""),
            ("serial=01 issuer=/CN=a since=yesterday", "\"yesterday\""),
        ] {
            assert_eq!(read(line).expect_err(line).found, found);
        }
        let error = Denied::read(b"# a\n\nserial=01\n").expect_err("wrong").to_string();
        assert_eq!(error, "line 3: found serial alone, expected serial and issuer together");
    }

    proptest! {
        #[test]
        fn any_octets_are_read_without_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Denied::read(&octets);
        }

        #[test]
        fn printed_entry_reads_back_as_itself(reason in "[^\\p{C}]{0,20}", serial_octets in any::<u32>(), value in "[^\\p{C}]{1,20}") {
            let issuer = DistinguishedName(vec![super::super::name::Rdn(vec![super::super::name::Attribute {
                oid: "2.5.4.3".into(),
                value: value.clone(),
            }])]);
            let entry = Entry {
                selector: Selector {
                    fingerprint: Some(with_colons(&[7; 32])),
                    serial_and_issuer: Some((serial(&format!("{serial_octets:x}")).expect("a serial"), issuer.one_line())),
                },
                reason,
                since_unix_seconds: Some(i64::from(serial_octets)),
                subject: Some(value),
            };
            prop_assert_eq!(read(&entry.to_string()), Ok(Some(entry)));
        }
    }
}

//! The raw configuration: TOML as it is written, every key and value with its place.
//!
//! **Implements** reading with serde and `toml::Spanned`.
//! **Does not** know any directive.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use toml::de::DeTable;

use super::error::{Complaint, Findings, Span};

/// A TOML value with the places of what is in it.
#[derive(Clone, Debug, PartialEq)]
pub enum RawValue {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A float, which only the `burst` of a limit takes.
    Float(f64),
    /// An array.
    List(Vec<Located>),
    /// A table or inline table.
    Table(RawTable),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The value's octets in the file.
    pub span: Span,
    /// The value.
    pub value: RawValue,
}

/// Keys and values of one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawTable(BTreeMap<String, (Span, Located)>);

impl RawTable {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Located> {
        self.0.get(key).map(|(_, located)| located)
    }

    /// Where the key itself stands.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        self.0.get(key).map(|(span, _)| span.clone())
    }

    /// All keys with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Span, &Located)> {
        self.0
            .iter()
            .map(|(key, (span, located))| (key.as_str(), span, located))
    }

    /// Whether any key is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn remove(&mut self, key: &str) -> Option<Located> {
        self.0.remove(key).map(|(_, located)| located)
    }
}

impl RawValue {
    /// What TOML calls it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Float(_) => "a float",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
        }
    }

    /// The text that `$name` stands for: as main.cf would write it.
    pub fn as_reference(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(true) => "yes".into(),
            Self::Boolean(false) => "no".into(),
            Self::Float(number) => number.to_string(),
            Self::List(elements) => {
                let texts: Vec<String> = elements.iter().map(|e| e.value.as_reference()).collect();
                texts.join(", ")
            }
            Self::Table(_) => String::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<RawValue>::deserialize(deserializer)?;
        Ok(Self {
            span: spanned.span(),
            value: spanned.into_inner(),
        })
    }
}

impl<'de> Deserialize<'de> for RawTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = BTreeMap::<Spanned<String>, Located>::deserialize(deserializer)?;
        let entry = |(key, located): (Spanned<String>, Located)| {
            let span = key.span();
            (key.into_inner(), (span, located))
        };
        Ok(Self(entries.into_iter().map(entry).collect()))
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawValueVisitor)
    }
}

struct RawValueVisitor;

impl<'de> Visitor<'de> for RawValueVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer, a boolean, an array or a table")
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawValue, E> {
        Ok(RawValue::Integer(number))
    }

    // TOML allows any length; what 64 bits do not hold is kept as text, so that the directive says what it expects.
    fn visit_i128<E>(self, number: i128) -> Result<RawValue, E> {
        Ok(i64::try_from(number).map_or_else(|_| RawValue::Text(number.to_string()), RawValue::Integer))
    }

    fn visit_u64<E>(self, number: u64) -> Result<RawValue, E> {
        Ok(i64::try_from(number).map_or_else(|_| RawValue::Text(number.to_string()), RawValue::Integer))
    }

    fn visit_u128<E>(self, number: u128) -> Result<RawValue, E> {
        Ok(RawValue::Text(number.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Boolean(value))
    }

    fn visit_f64<E>(self, number: f64) -> Result<RawValue, E> {
        Ok(RawValue::Float(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawValue, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(RawValue::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawValue, A::Error> {
        RawTable::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(RawValue::Table)
    }
}

/// The file: directives for all listeners, one table per listener, one per certificate rule.
#[derive(Clone, Debug, Default)]
pub struct RawFile {
    /// The flat part.
    pub directives: RawTable,
    /// `[[listener]]`, in the order of the file.
    pub listeners: Vec<RawEntry>,
    /// `[[certificate_rule]]`, in the order of the file.
    pub certificate_rules: Vec<RawEntry>,
}

/// One table of an array of tables.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// The place of the table.
    pub span: Span,
    /// Its keys.
    pub table: RawTable,
}

/// Reads the text; syntax errors go to the findings, all of them, and what could not be read is left out.
pub fn read(findings: &mut Findings) -> Option<RawFile> {
    let text = findings.text().to_owned();
    let (_, errors) = DeTable::parse_recoverable(&text);
    for error in &errors {
        syntax_error(findings, error);
    }
    if !errors.is_empty() {
        return None;
    }
    match toml::from_str::<RawTable>(&text) {
        Ok(table) => Some(split_tables(table, findings)),
        Err(error) => {
            syntax_error(findings, &error);
            None
        }
    }
}

/// Reads one TOML value on its own, as the defaults in the table of directives are written.
pub fn read_value(text: &str) -> Option<Located> {
    let table: RawTable = toml::from_str(&format!("value = {text}")).ok()?;
    table.get("value").cloned()
}

fn syntax_error(findings: &mut Findings, error: &toml::de::Error) {
    let complaint = Complaint::new(format!("not TOML: {}", error.message()), "the syntax of TOML 1.1");
    // What a main.cf looks like to a reader of TOML.
    let is_unquoted = error.message().contains("must be quoted") || error.message().contains("key with no value");
    let hint = "unlike in main.cf, texts are quoted and lists are arrays: relay_domains = [\"example.org\"]";
    let complaint = complaint.maybe_hint(is_unquoted.then(|| hint.into()));
    findings.error("", error.span().or(Some(0..0)), complaint);
}

fn split_tables(mut directives: RawTable, findings: &mut Findings) -> RawFile {
    RawFile {
        listeners: take_tables(&mut directives, "listener", findings),
        certificate_rules: take_tables(&mut directives, "certificate_rule", findings),
        directives,
    }
}

fn take_tables(directives: &mut RawTable, key: &str, findings: &mut Findings) -> Vec<RawEntry> {
    let Some(located) = directives.remove(key) else {
        return Vec::new();
    };
    let complaint = || Complaint::new("not an array of tables", format!("[[{key}]] on a line of its own"));
    let RawValue::List(elements) = located.value else {
        findings.error(key, Some(located.span), complaint());
        return Vec::new();
    };
    let mut entries = Vec::new();
    for element in elements {
        match element.value {
            RawValue::Table(table) => entries.push(RawEntry {
                span: element.span,
                table,
            }),
            _ => findings.error(key, Some(element.span), complaint()),
        }
    }
    entries
}

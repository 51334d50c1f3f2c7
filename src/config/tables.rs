//! Look-up tables as directives and restrictions name them: inline tables of TOML, or files.
//!
//! **Implements** `type:path` of Postfix. The source texts of `hash:`, `lmdb:` and the like are read, not the databases
//! that postmap makes of them.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use super::error::{Complaint, Span};
use super::file::{Located, RawTable, RawValue};
use super::nearest::nearest;
use super::reader::Reader;
use super::table_files::{Form, parse};
use crate::policy::table::{Entries, Table, whole_key};

/// Largest file, octets.
const FILE_OCTETS_MAX: u64 = 64 * 1024 * 1024;
/// Faults of one file that are told.
const FAULTS_MAX: usize = 20;

/// A kind of table: how its text is read, and whether Postfix would read a database made of that text instead.
const KINDS: [(&str, Form, bool); 9] = [
    ("texthash", Form::Keys, false),
    ("cidr", Form::Networks, false),
    ("regexp", Form::Regexp, false),
    ("pcre", Form::Pcre, false),
    ("hash", Form::Keys, true),
    ("lmdb", Form::Keys, true),
    ("btree", Form::Keys, true),
    ("cdb", Form::Keys, true),
    ("dbm", Form::Keys, true),
];

const EXPECTED: &str = "texthash:, cidr:, regexp: or pcre: and the path of a file, or { \"key\" = \"value\" }";

/// What is checked of a value; an error says what is wrong with it.
pub type CheckValue<'a> = &'a dyn Fn(&mut Reader<'_>, &str) -> Result<(), String>;

/// Reads a table: a string or an inline table.
pub fn read(reader: &mut Reader<'_>, located: &Located, check: CheckValue<'_>) -> Option<Arc<Table>> {
    match &located.value {
        RawValue::Text(text) => {
            let text = reader.expanded(text, &located.span)?;
            file(reader, text.trim(), &located.span, check)
        }
        RawValue::Table(table) => inline(reader, table, check),
        _ => reader.mismatch(located, EXPECTED),
    }
}

/// Reads several: an array of these, one of them, or words of main.cf.
pub fn read_all(reader: &mut Reader<'_>, located: &Located, check: CheckValue<'_>) -> Option<Vec<Arc<Table>>> {
    let elements = match &located.value {
        RawValue::List(elements) => elements.as_slice(),
        _ => std::slice::from_ref(located),
    };
    let mut tables = Some(Vec::new());
    for element in elements {
        let found = match &element.value {
            RawValue::Text(text) => {
                let words = reader.split(text, &element.span)?;
                let files = words.iter().map(|word| file(reader, &word.text, &element.span, check));
                files.collect::<Vec<_>>().into_iter().collect()
            }
            _ => read(reader, element, check).map(|table| vec![table]),
        };
        tables = tables.zip(found).map(|(mut all, mut more): (Vec<_>, Vec<_>)| {
            all.append(&mut more);
            all
        });
    }
    tables
}

fn inline(reader: &mut Reader<'_>, table: &RawTable, check: CheckValue<'_>) -> Option<Arc<Table>> {
    let mut entries = HashMap::new();
    let mut is_whole = true;
    for (key, _, located) in table.iter() {
        let RawValue::Text(value) = &located.value else {
            is_whole = false;
            let _: Option<()> = reader.mismatch(located, "a value in a string");
            continue;
        };
        if let Err(why) = check(reader, value) {
            is_whole = false;
            let place = reader.place(&located.span);
            let complaint = Complaint::new(format!("\"{value}\" of \"{key}\": {why}"), "expected another value");
            reader.error(place, complaint);
        }
        entries.insert(whole_key(key), value.clone());
    }
    is_whole.then(|| {
        Arc::new(Table {
            name: "inline".into(),
            entries: Entries::Keys(entries),
        })
    })
}

/// `type:path`.
pub fn file(reader: &mut Reader<'_>, text: &str, span: &Span, check: CheckValue<'_>) -> Option<Arc<Table>> {
    let place = reader.place(span);
    let Some((kind, path)) = text.split_once(':').filter(|(_, path)| !path.is_empty()) else {
        let hint = format!("write \"texthash:{text}\" for a file of keys and values");
        return reader.wrong(place, text, EXPECTED, Some(hint));
    };
    let Some((_, form, is_database)) = KINDS.iter().find(|(known, ..)| *known == kind) else {
        let near = nearest(kind, KINDS.iter().map(|(known, ..)| *known));
        let hint = near.map(|near| format!("did you mean \"{near}:\"?"));
        return reader.wrong(place, text, EXPECTED, hint);
    };
    if *is_database {
        let message = format!("\"{kind}:\" names a database in Postfix; here the text it is made of is read");
        let complaint = Complaint::new(message, "read as texthash:");
        reader.warning(place.clone(), complaint.hint(format!("write \"texthash:{path}\"")));
    }
    let full = reader.directory.join(path);
    let content = match contents(&full) {
        Ok(content) => content,
        Err(why) => {
            let complaint = Complaint::new(format!("{}: {why}", full.display()), "expected a readable file");
            reader.error(place, complaint);
            return None;
        }
    };
    let mut faults: Vec<(usize, String)> = Vec::new();
    let mut expected = form.expected();
    let parsed = match parse(*form, &content) {
        Ok((entries, values)) => {
            expected = "expected another value";
            for (line, value) in values {
                if let Err(why) = check(reader, &value) {
                    faults.push((line, format!("\"{value}\": {why}")));
                }
            }
            Some(entries)
        }
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| (fault.line, fault.message)));
            None
        }
    };
    let more = faults.len().saturating_sub(FAULTS_MAX);
    for (line, message) in faults.iter().take(FAULTS_MAX) {
        let complaint = Complaint::new(format!("{}:{line}: {message}", full.display()), expected);
        reader.error(place.clone(), complaint);
    }
    if more > 0 {
        let complaint = Complaint::new(
            format!("{}: and {more} more faults", full.display()),
            "faults in this table",
        );
        reader.error(place, complaint);
    }
    let entries = parsed.filter(|_| faults.is_empty())?;
    Some(Arc::new(Table {
        name: text.to_owned(),
        entries,
    }))
}

fn contents(path: &std::path::Path) -> Result<String, String> {
    let mut octets = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets))
        .map_err(|why| format!("cannot be read: {why}"))?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(format!("is larger than {FILE_OCTETS_MAX} octets"));
    }
    String::from_utf8(octets).map_err(|_| "is not UTF-8".into())
}

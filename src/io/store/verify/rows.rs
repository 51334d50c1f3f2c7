//! The rows: every message has its data and a recipient, every recipient a message and a destination, and nothing is left
//! over.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::finding::{Finding, Sum, Told};
use crate::io::store::files::{PIECE_OCTETS, data_path};
use crate::io::store::rows::{self, Message};
use crate::io::store::schema::NEVER;
use crate::mail::queue_id::QueueId;
use crate::wire::path::ForwardPath;

/// Rows of one statement: a read transaction ends with it.
const PAGE: i64 = 1_000;

const LOST: &str = "restore it from a backup, or tell the sender: estafette queue bounce";

/// Every message has its data as it was written, and a recipient.
pub(super) fn check_messages(
    directory: &Path,
    connection: &Connection,
    sum: &mut Sum,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let mut after = -1;
    loop {
        let page: Vec<(i64, bool)> = connection
            .prepare_cached(
                "SELECT id, EXISTS (SELECT 1 FROM recipient WHERE message = message.id) FROM message
                     WHERE id > ? ORDER BY id LIMIT ?",
            )?
            .query_map([after, PAGE], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (number, has_recipients) in page {
            let id = rows::id(number)?;
            if !has_recipients {
                let remedy = "nobody will get it: look with estafette queue show --body, then estafette queue delete";
                tell(Told::Finding(Finding::of(id, "message", "it has no recipient", remedy)));
            }
            check_message(directory, connection, id, sum, tell)?;
        }
    }
}

fn check_message(
    directory: &Path,
    connection: &Connection,
    id: QueueId,
    sum: &mut Sum,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let Some(message) = rows::message(connection, id)? else {
        // Gone meanwhile.
        return Ok(());
    };
    sum.messages += 1;
    if message.reverse_path.is_none() {
        let what = "its reverse-path cannot be read";
        tell(Told::Finding(Finding::of(
            id,
            "message",
            what,
            "it cannot be bounced: estafette queue delete",
        )));
    }
    let found = check_data(directory, connection, &message)?;
    match found {
        Ok(octets) => sum.octets += octets,
        // A message that is gone meanwhile takes its data with it; its row goes first.
        Err(what) if rows::message(connection, id)?.is_some() => {
            tell(Told::Finding(Finding::of(id, "data", what, LOST)));
        }
        Err(_) => {}
    }
    Ok(())
}

/// The octets of its data, or what is wrong with it.
fn check_data(directory: &Path, connection: &Connection, message: &Message) -> rusqlite::Result<Result<u64, String>> {
    let found = if message.inline {
        let octets: Option<Vec<u8>> = connection
            .prepare_cached("SELECT octets FROM data WHERE message = ?")?
            .query_row([message.id.number()], |row| row.get(0))
            .optional()?;
        octets.map(|octets| (octets.len() as u64, crc32c::crc32c(&octets)))
    } else {
        match checksum(&data_path(directory, message.id)) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Ok(Err(format!("its data file cannot be read: {error}"))),
        }
    };
    let place = if message.inline {
        "row in the table data"
    } else {
        "data file"
    };
    Ok(match found {
        None => Err(format!("its {place} is missing")),
        Some((octets, _)) if octets != message.size_octets => {
            Err(format!("its {place} has {octets} octets, not {}", message.size_octets))
        }
        Some((_, crc)) if crc != message.crc32c => Err(format!(
            "its {place} has checksum {crc:08x}, not {:08x}",
            message.crc32c
        )),
        Some((octets, _)) => Ok(octets),
    })
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE_OCTETS];
    let (mut length, mut crc) = (0, 0);
    loop {
        let read = file.read(&mut piece)?;
        let Some(octets) = piece.get(..read).filter(|octets| !octets.is_empty()) else {
            return Ok((length, crc));
        };
        length += octets.len() as u64;
        crc = crc32c::crc32c_append(crc, octets);
    }
}

/// A row of `recipient` with what it hangs on.
#[expect(clippy::struct_excessive_bools, reason = "each is a column")]
struct Recipient {
    key: (i64, i64, i64, i64),
    path: String,
    is_held: bool,
    has_message: bool,
    message_is_held: bool,
    has_destination: bool,
}

/// Every recipient has a message and a destination, can be read, and is held exactly when its message is.
pub(super) fn check_recipients(
    connection: &Connection,
    sum: &mut Sum,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let mut after = (i64::MIN, 0, 0, 0);
    loop {
        let page: Vec<Recipient> = connection
            .prepare_cached(
                "SELECT destination, due, recipient.message, n, forward_path, state, message.id IS NOT NULL,
                        hold IS NOT NULL, EXISTS (SELECT 1 FROM destination WHERE id = recipient.destination)
                     FROM recipient LEFT JOIN message ON message.id = recipient.message
                     WHERE (destination, due, recipient.message, n) > (?, ?, ?, ?)
                     ORDER BY destination, due, recipient.message, n LIMIT ?",
            )?
            .query_map((after.0, after.1, after.2, after.3, PAGE), |row| {
                Ok(Recipient {
                    key: (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?),
                    path: row.get(4)?,
                    is_held: row.get(5)?,
                    has_message: row.get(6)?,
                    message_is_held: row.get(7)?,
                    has_destination: row.get(8)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.key;
        sum.recipients += page.len() as u64;
        for recipient in &page {
            for (what, remedy) in recipient.complaints() {
                let (id, kind) = (
                    rows::id(recipient.key.2)?,
                    if recipient.has_message { "recipient" } else { "orphan" },
                );
                let what = format!("its recipient {} {what}", recipient.key.3);
                tell(Told::Finding(Finding::of(id, kind, what, remedy)));
            }
        }
    }
}

impl Recipient {
    fn complaints(&self) -> Vec<(&'static str, &'static str)> {
        if !self.has_message {
            return vec![("has no message", REPAIR)];
        }
        let never = self.key.1 == NEVER;
        let checks = [
            (
                !self.has_destination,
                "is for no destination",
                "estafette queue requeue routes it anew",
            ),
            (
                ForwardPath::parse(&format!("<{}>", self.path)).is_err(),
                "has an address that cannot be read",
                "the others of the message can be returned: estafette queue bounce",
            ),
            (
                self.is_held != self.message_is_held || self.is_held != never,
                "and its message do not agree whether they are on hold",
                "estafette queue hold or estafette queue release",
            ),
        ];
        let complaints = checks.into_iter().filter(|(is_wrong, ..)| *is_wrong);
        complaints.map(|(_, what, remedy)| (what, remedy)).collect()
    }
}

const REPAIR: &str = "stop the relay and give estafette queue verify --repair";

/// No mail data and no attempt is without its message.
pub(super) fn check_strays(
    connection: &Connection,
    has_attempts: bool,
    tell: &mut dyn FnMut(Told),
) -> rusqlite::Result<()> {
    let tables = [
        ("data", "mail data in the table data", true),
        ("attempt", "an attempt on record", has_attempts),
    ];
    for (table, what, _) in tables.into_iter().filter(|(.., exists)| *exists) {
        let mut after = -1;
        loop {
            let page: Vec<(i64, bool)> = connection
                .prepare_cached(&format!(
                    "SELECT DISTINCT message, EXISTS (SELECT 1 FROM message WHERE id = {table}.message) FROM {table}
                         WHERE message > ? ORDER BY message LIMIT ?"
                ))?
                .query_map([after, PAGE], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (number, _) in page.iter().filter(|(_, has_message)| !has_message) {
                let what = format!("there is {what}, but no message");
                tell(Told::Finding(Finding::of(rows::id(*number)?, "orphan", what, REPAIR)));
            }
        }
    }
    Ok(())
}

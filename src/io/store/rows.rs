//! Rows of the database as the queue's values.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::schema::NEVER;
use super::statements;
use crate::mail::dsn::{MessageRequest, Notify, RecipientRequest, Return};
use crate::mail::envelope::{Body, Demands, Submitter};
use crate::mail::queue_id::QueueId;
use crate::queue::entry::{Entry, EntryRecipient, Lease, LeasedRecipient, OverduePlace, PastAttempt};
use crate::queue::rounds::{SenderKey, sender_key};
use crate::queue::schedule::DestinationNumber;
use crate::time::Timestamp;
use crate::wire::path::{ForwardPath, ReversePath};

/// The columns that [`Message::read`] takes, in its order.
const MESSAGE_COLUMNS: &str = "id, arrived, expires, reverse_path, body, size, crc32c, inline,
    session_id, peer, identity, issuer, subject, fingerprint, decided_by, hold, damaged,
    login, smtputf8, require_tls, dsn_ret, dsn_envid";

/// A row of `message`.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: QueueId,
    pub(super) arrived: Timestamp,
    pub(super) expires: Timestamp,
    /// Absent when the stored text is none.
    pub(super) reverse_path: Option<ReversePath>,
    pub(super) body: Body,
    pub(super) size_octets: u64,
    pub(super) crc32c: u32,
    pub(super) inline: bool,
    pub(super) submitter: Submitter,
    /// Without the recipients'.
    pub(super) demands: Demands,
    /// Why it is held.
    pub(super) hold: Option<String>,
    pub(super) is_damaged: bool,
}

impl Message {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let reverse_path: String = row.get(3)?;
        let body: String = row.get(4)?;
        let size: i64 = row.get(5)?;
        let peer: Option<String> = row.get(9)?;
        Ok(Self {
            id: id(row.get(0)?)?,
            arrived: Timestamp(row.get(1)?),
            expires: Timestamp(row.get(2)?),
            reverse_path: ReversePath::parse(&format!("<{reverse_path}>")).ok(),
            body: if body == "8bitmime" {
                Body::EightBitMime
            } else {
                Body::SevenBit
            },
            size_octets: u64::try_from(size).unwrap_or_default(),
            crc32c: row.get(6)?,
            inline: row.get(7)?,
            submitter: Submitter {
                session_id: row.get(8)?,
                peer: peer.and_then(|peer| peer.parse().ok()),
                identity: row.get(10)?,
                issuer: row.get(11)?,
                subject: row.get(12)?,
                fingerprint: row.get(13)?,
                login: row.get(17)?,
                decided_by: row.get(14)?,
            },
            demands: demands(row)?,
            hold: row.get(15)?,
            is_damaged: row.get(16)?,
        })
    }
}

fn demands(row: &Row<'_>) -> rusqlite::Result<Demands> {
    Ok(Demands {
        smtputf8: row.get::<_, Option<bool>>(18)?.unwrap_or_default(),
        require_tls: row.get::<_, Option<bool>>(19)?.unwrap_or_default(),
        dsn: MessageRequest {
            ret: row.get_ref(20)?.as_str_or_null()?.and_then(Return::parse),
            envelope_id: row.get(21)?,
        },
        recipients: Vec::new(),
    })
}

/// What RCPT asked, from this column and the next.
fn request(row: &Row<'_>, column: usize) -> rusqlite::Result<RecipientRequest> {
    Ok(RecipientRequest {
        notify: row.get_ref(column)?.as_str_or_null()?.and_then(Notify::parse),
        original_recipient: row.get(column + 1)?,
    })
}

/// The id of a stored number.
pub(super) fn id(number: i64) -> rusqlite::Result<QueueId> {
    QueueId::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// A message, if it is queued.
pub(super) fn message(connection: &Connection, id: QueueId) -> rusqlite::Result<Option<Message>> {
    connection
        .prepare_cached(&format!("SELECT {MESSAGE_COLUMNS} FROM message WHERE id = ?"))?
        .query_row([id.number()], Message::read)
        .optional()
}

/// The lease of a message's recipients that are due at a destination; absent when there are none (any more), or
/// when a stored path cannot be read, which `Err(id)` says.
pub(super) fn lease(
    connection: &Connection,
    number: QueueId,
    destination: (DestinationNumber, &str),
    now: Timestamp,
) -> rusqlite::Result<Result<Option<Lease>, QueueId>> {
    let Some(message) = message(connection, number)? else {
        return Ok(Ok(None));
    };
    let rows: Vec<(u32, String, u32, bool, RecipientRequest)> = connection
        .prepare_cached(statements::DUE_RECIPIENTS)?
        .query_map(params![number.number(), destination.0, now.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, request(row, 4)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    if rows.is_empty() {
        return Ok(Ok(None));
    }
    let recipients = rows.into_iter().map(|(number, path, attempts, warned, request)| {
        let forward_path = ForwardPath::parse(&format!("<{path}>")).ok()?;
        Some(LeasedRecipient {
            number,
            forward_path,
            request,
            attempts,
            warned,
            unreported: false,
        })
    });
    let (Some(recipients), Some(reverse_path)) = (recipients.collect(), message.reverse_path) else {
        return Ok(Err(number));
    };
    Ok(Ok(Some(Lease {
        id: number,
        destination: destination.1.to_owned(),
        reverse_path,
        body: message.body,
        size_octets: message.size_octets,
        arrived: message.arrived,
        expires: message.expires,
        submitter: message.submitter,
        demands: message.demands,
        recipients,
        is_probe: false,
        failures: 0,
    })))
}

/// Recipients in one page of a listing, after which it ends early.
const PAGE_RECIPIENTS_MAX: usize = 10_000;

/// Queued messages after `after`, in order of id: none when none is left, and otherwise at least one. A message whose paths
/// cannot be read is listed without them.
pub(super) fn list(connection: &Connection, after: Option<QueueId>, limit: usize) -> rusqlite::Result<Vec<Entry>> {
    let after = after.map_or(-1, QueueId::number);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM message WHERE id > ? ORDER BY id LIMIT ?"
    ))?;
    let mut entries = Vec::new();
    let mut listed = 0;
    for message in statement.query_map([after, limit], Message::read)? {
        let entry = entry(connection, message?)?;
        listed += entry.recipients.len();
        entries.push(entry);
        if listed >= PAGE_RECIPIENTS_MAX {
            break;
        }
    }
    Ok(entries)
}

/// A message with its recipients.
pub(super) fn entry(connection: &Connection, message: Message) -> rusqlite::Result<Entry> {
    Ok(Entry {
        recipients: recipients(connection, message.id)?,
        id: message.id,
        arrived: message.arrived,
        expires: message.expires,
        size_octets: message.size_octets,
        reverse_path: message.reverse_path.unwrap_or(ReversePath::Null),
        submitter: message.submitter,
        demands: message.demands,
        hold: message.hold,
    })
}

/// Whether a recipient is not settled yet.
pub(super) fn has_recipient(connection: &Connection, id: QueueId, number: u32) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM recipient WHERE message = ? AND n = ?)")?
        .query_row(params![id.number(), number], |row| row.get(0))
}

/// The first messages on hold, in order of id; damaged ones are not among them.
pub(super) fn on_hold(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<QueueId>> {
    connection
        .prepare_cached("SELECT id FROM message WHERE hold IS NOT NULL AND damaged = 0 ORDER BY id LIMIT ?")?
        .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| id(row.get(0)?))?
        .collect()
}

/// Whether the envelope of a message can be read.
pub(super) fn has_readable_paths(connection: &Connection, message: &Message) -> rusqlite::Result<bool> {
    let paths: Vec<String> = connection
        .prepare_cached("SELECT forward_path FROM recipient WHERE message = ?")?
        .query_map([message.id.number()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let is_readable = |path: &String| ForwardPath::parse(&format!("<{path}>")).is_ok();
    Ok(message.reverse_path.is_some() && paths.iter().all(is_readable))
}

pub(super) fn recipients(connection: &Connection, id: QueueId) -> rusqlite::Result<Vec<EntryRecipient>> {
    let rows = connection
        .prepare_cached(
            "SELECT forward_path, coalesce(name, ''), due, attempts, recipient.last_reply, n,
                    dsn_notify, dsn_orcpt
                 FROM recipient LEFT JOIN destination ON destination.id = recipient.destination
                 WHERE message = ? ORDER BY n",
        )?
        .query_map([id.number()], |row| {
            let path: String = row.get(0)?;
            let destination = row.get(1)?;
            let due = Timestamp(row.get(2)?);
            let (attempts, last_reply, number) = (row.get(3)?, row.get(4)?, row.get(5)?);
            let request = request(row, 6)?;
            let forward_path = ForwardPath::parse(&format!("<{path}>")).ok();
            Ok(forward_path.map(|forward_path| EntryRecipient {
                number,
                forward_path,
                request,
                destination,
                due,
                attempts,
                last_reply,
            }))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// The attempts on record, in order of time.
pub(super) fn history(connection: &Connection, id: QueueId) -> rusqlite::Result<Vec<PastAttempt>> {
    connection
        .prepare_cached("SELECT n, at, reply FROM attempt WHERE message = ? ORDER BY at, n, attempt")?
        .query_map([id.number()], |row| {
            Ok(PastAttempt {
                number: row.get(0)?,
                at: Timestamp(row.get(1)?),
                reply: row.get(2)?,
            })
        })?
        .collect()
}

/// A destination's name.
pub(super) fn destination(connection: &Connection, number: DestinationNumber) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached(statements::DESTINATION)?
        .query_row([number], |row| row.get(0))
        .optional()
}

/// Whose turn a message takes.
pub(super) fn sender(connection: &Connection, id: QueueId) -> rusqlite::Result<SenderKey> {
    let key = connection
        .prepare_cached(statements::SENDER)?
        .query_row([id.number()], |row| {
            let fingerprint = row.get_ref(0)?.as_str_or_null()?;
            Ok(sender_key(fingerprint, row.get_ref(1)?.as_str()?))
        })
        .optional()?;
    Ok(key.unwrap_or_default())
}

/// Rows of one message after which its others are passed over by a new search.
const ROWS_PER_MESSAGE: usize = 16;

/// Calls `visit` with (due, message) of what waits at a destination, in order of due, until it says to stop. Each message is
/// visited once for each time at which recipients of it are due: behind `after` and not behind `until`.
pub(super) fn visit_waiting(
    connection: &Connection,
    number: DestinationNumber,
    (after, until): (Timestamp, Timestamp),
    mut visit: impl FnMut(Timestamp, QueueId) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(statements::WAITING)?;
    // Behind every message that is due at `after`.
    let mut last = (after.0, i64::MAX);
    'search: loop {
        let mut rows = statement.query(params![number, last.0, last.1, until.0.min(NEVER - 1)])?;
        let mut repeated = 0;
        while let Some(row) = rows.next()? {
            let found = (row.get(0)?, row.get(1)?);
            if found == last {
                repeated += 1;
                if repeated > ROWS_PER_MESSAGE {
                    continue 'search;
                }
                continue;
            }
            (last, repeated) = (found, 0);
            if !visit(Timestamp(found.0), id(found.1)?) {
                return Ok(());
            }
        }
        return Ok(());
    }
}

/// Calls `visit` with the messages that came due last at a destination by `now`, the latest first, for at most `rows_max` rows.
pub(super) fn visit_latest(
    connection: &Connection,
    number: DestinationNumber,
    now: Timestamp,
    rows_max: usize,
    mut visit: impl FnMut(QueueId),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(statements::LATEST)?;
    let mut rows = statement.query(params![number, now.0])?;
    for _ in 0..rows_max {
        let Some(row) = rows.next()? else { break };
        visit(id(row.get(1)?)?);
    }
    Ok(())
}

/// Calls `visit` with the destination's recipients that are due at `now`, in order of due behind `after`, and whether
/// their message is overdue in the sense of [`crate::queue::Store::overdue`], until it says to stop.
pub(super) fn visit_overdue(
    connection: &Connection,
    number: DestinationNumber,
    (now, arrived_by): (Timestamp, Timestamp),
    after: Option<OverduePlace>,
    mut visit: impl FnMut(OverduePlace, bool) -> bool,
) -> rusqlite::Result<()> {
    let (due, message) = after.map_or((i64::MIN, -1), |place| (place.due.0, place.id.number()));
    let mut statement = connection.prepare_cached(
        "SELECT due, message, expires <= ?2 OR (arrived <= ?3 AND warned = 0 AND reverse_path <> '')
             FROM recipient CROSS JOIN message ON message.id = recipient.message
             WHERE destination = ?1 AND (due, message) > (?4, ?5) AND due <= ?2 AND state = 0
             ORDER BY due, message",
    )?;
    let mut rows = statement.query(params![number, now.0, arrived_by.0, due, message])?;
    while let Some(row) = rows.next()? {
        let place = OverduePlace {
            due: Timestamp(row.get(0)?),
            id: id(row.get(1)?)?,
        };
        if !visit(place, row.get(2)?) {
            break;
        }
    }
    Ok(())
}

/// The number of a destination and when its back-off ends.
pub(super) fn destination_named(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<(DestinationNumber, Timestamp)>> {
    connection
        .prepare_cached("SELECT id, next_try FROM destination WHERE name = ?")?
        .query_row([name], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))
        .optional()
}

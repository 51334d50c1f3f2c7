//! The statements that are carried out for each message and each look-up. A test has the database explain each of them:
//! none may read more than its index leads to.

pub(super) const INSERT_MESSAGE: &str = "INSERT INTO message VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0,?,?,?,?,?)";
pub(super) const INSERT_DATA: &str = "INSERT INTO data VALUES (?, ?)";
pub(super) const INSERT_RECIPIENT: &str =
    "INSERT INTO recipient (destination, due, message, n, forward_path, state, dsn_notify, dsn_orcpt)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
pub(super) const DELETE_RECIPIENT: &str = "DELETE FROM recipient WHERE message = ? AND n = ?";
pub(super) const DELETE_RECIPIENTS: &str = "DELETE FROM recipient WHERE message = ?";
pub(super) const HAS_RECIPIENTS: &str = "SELECT EXISTS (SELECT 1 FROM recipient WHERE message = ?)";
pub(super) const DELETE_MESSAGE: &str = "DELETE FROM message WHERE id = ?";
pub(super) const DELETE_DATA: &str = "DELETE FROM data WHERE message = ?";
pub(super) const DELETE_ATTEMPTS: &str = "DELETE FROM attempt WHERE message = ?";

/// The name of a destination.
pub(super) const DESTINATION: &str = "SELECT name FROM destination WHERE id = ?";
/// What waits at a destination behind a place, in order of due. What is held is due never: the bound on `due` keeps it out.
pub(super) const WAITING: &str = "SELECT due, message FROM recipient
     WHERE destination = ? AND (due, message) > (?, ?) AND due <= ? AND state = 0 ORDER BY due, message, n";
/// What waits at a destination and came due last, in reverse order.
pub(super) const LATEST: &str = "SELECT due, message FROM recipient
     WHERE destination = ? AND due <= ? AND state = 0 ORDER BY due DESC, message DESC, n DESC";
/// Who sent a message.
pub(super) const SENDER: &str = "SELECT fingerprint, reverse_path FROM message WHERE id = ?";
/// The due recipients of a message at a destination. The index is named because the planner would read all that is due at
/// the destination instead.
pub(super) const DUE_RECIPIENTS: &str = "SELECT n, forward_path, attempts, warned, dsn_notify, dsn_orcpt FROM recipient
     INDEXED BY recipient_message
     WHERE message = ? AND destination = ? AND due <= ? AND state = 0 ORDER BY n";

/// The largest id that is stored.
pub(super) const LARGEST: &str = "SELECT coalesce(max(id), 0) FROM message";
/// The messages whose data is in a file of its own.
pub(super) const IN_FILES: &str = "SELECT id FROM message WHERE inline = 0";
/// Forgets destinations that have no recipients and do not rest any more.
pub(super) const FORGET_IDLE: &str = "DELETE FROM destination WHERE next_try <= ?
     AND NOT EXISTS (SELECT 1 FROM recipient WHERE recipient.destination = destination.id) RETURNING id";
/// The destinations, and how they rest.
pub(super) const DESTINATIONS: &str = "SELECT id, next_try, failures FROM destination";

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::io::store::schema;

    /// The plan of a statement, line by line.
    fn plan(connection: &Connection, statement: &str) -> Vec<String> {
        let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        for parameter in 1..=explained.parameter_count() {
            explained.raw_bind_parameter(parameter, 0).unwrap();
        }
        let mut rows = explained.raw_query();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            lines.push(row.get(3).unwrap());
        }
        lines
    }

    fn queue() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(&directory.path().join("queue.db"), None).unwrap();
        (directory, connection)
    }

    #[test]
    fn statements_of_every_message_and_look_up_read_by_index_only() {
        let (_directory, connection) = queue();
        let statements = [
            INSERT_MESSAGE,
            INSERT_DATA,
            INSERT_RECIPIENT,
            DELETE_RECIPIENT,
            DELETE_RECIPIENTS,
            HAS_RECIPIENTS,
            DELETE_MESSAGE,
            DELETE_DATA,
            DELETE_ATTEMPTS,
            DESTINATION,
            WAITING,
            LATEST,
            SENDER,
            DUE_RECIPIENTS,
            LARGEST,
        ];
        for statement in statements {
            for line in plan(&connection, statement) {
                let is_by_index =
                    line.starts_with("SEARCH ") || line == "SCAN CONSTANT ROW" || line.starts_with("SCALAR");
                assert!(is_by_index, "{statement}\n{line}");
            }
        }
        for (statement, index) in [
            (WAITING, "PRIMARY KEY (destination=? AND "),
            (LATEST, "PRIMARY KEY (destination=? AND "),
            (DUE_RECIPIENTS, "INDEX recipient_message (message=?"),
            (DELETE_RECIPIENT, "INDEX recipient_message (message=? AND n=?)"),
            (DELETE_RECIPIENTS, "INDEX recipient_message (message=?)"),
        ] {
            let lines = plan(&connection, statement);
            assert_eq!(lines.len(), 1, "no sorting: {lines:?}");
            assert!(lines[0].contains(index), "{lines:?}");
        }
    }

    #[test]
    fn statements_of_the_start_read_destinations_but_never_all_messages() {
        let (_directory, connection) = queue();
        let files = plan(&connection, IN_FILES);
        assert_eq!(
            files,
            ["SCAN message USING COVERING INDEX message_in_file"],
            "only those"
        );
        for statement in [FORGET_IDLE, DESTINATIONS] {
            for line in plan(&connection, statement) {
                let is_bounded = line == "SCAN destination"
                    || line.starts_with("SEARCH ")
                    || line.starts_with("CORRELATED SCALAR SUBQUERY");
                assert!(is_bounded, "{statement}\n{line}");
            }
        }
    }
}

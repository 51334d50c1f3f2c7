//! The embedded store: SQLite in groups.

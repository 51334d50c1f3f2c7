//! Routes and targets, as a table.

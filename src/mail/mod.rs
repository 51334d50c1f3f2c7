//! A message on its way: envelope, queue id, outcome of a delivery, trace header, From header.
//!
//! **Does not** hold mail data: the queue streams it.

pub mod address_list;
pub mod downgrade;
pub mod dsn;
pub mod dsn_parameters;
pub mod envelope;
pub mod from_header;
pub mod header_edit;
pub mod header_fields;
pub mod outcome;
pub mod queue_id;
pub mod trace_header;

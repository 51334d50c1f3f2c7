//! `estafette check --open-relay`.
pub(super) mod arguments;

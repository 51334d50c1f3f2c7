//! The table of directives: what each is called, what it means, what it is when nobody writes it.
//!
//! **Implements** the list that the reference configuration, the manual table and the checks all come from.

pub mod certificate_side;
pub mod common;
pub mod extensions_out;
pub mod kind;
pub mod later;
pub mod outbound_side;
pub mod server_side;

use kind::Directive;

/// Every directive that works.
pub fn implemented() -> impl Iterator<Item = &'static Directive> {
    common::DIRECTIVES
        .iter()
        .chain(server_side::DIRECTIVES)
        .chain(certificate_side::DIRECTIVES)
        .chain(outbound_side::DIRECTIVES)
        .chain(extensions_out::DIRECTIVES)
}

/// The directive of that name, when it works.
pub fn find(name: &str) -> Option<&'static Directive> {
    implemented().find(|directive| directive.name == name)
}

/// Names that work and names that are known, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    implemented()
        .map(|directive| directive.name)
        .chain(later::DIRECTIVES.iter().map(|known| known.name))
}

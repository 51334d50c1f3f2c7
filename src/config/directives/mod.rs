//! The table of directives: what each is called, what it means, what it is when nobody writes it.
//!
//! **Implements** the list that the reference configuration, the manual table and the checks all come from.

pub mod access;
pub mod certificate_side;
pub mod common;
pub mod defence;
pub mod extensions;
pub mod extensions_out;
pub mod kind;
pub mod later;
pub mod memory;
pub mod milter;
pub mod outbound_side;
pub mod policy_side;
pub mod sasl;
pub mod server_side;
pub mod world;

use kind::Directive;

/// Every directive that works.
pub fn implemented() -> impl Iterator<Item = &'static Directive> {
    common::DIRECTIVES
        .iter()
        .chain(server_side::DIRECTIVES)
        .chain(certificate_side::DIRECTIVES)
        .chain(milter::DIRECTIVES)
        .chain(policy_side::DIRECTIVES)
        .chain(access::DIRECTIVES)
        .chain(sasl::DIRECTIVES)
        .chain(outbound_side::DIRECTIVES)
        .chain(world::DIRECTIVES)
        .chain(extensions::DIRECTIVES)
        .chain(defence::DIRECTIVES)
        .chain(memory::DIRECTIVES)
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

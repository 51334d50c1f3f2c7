//! Which restrictions a list may come to ask: those that stand in it, and those that its classes and tables name.
//!
//! **Does not** know what policy services will name, nor values of regular expressions with groups in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::restriction::Restriction;
use super::table::Table;
use super::table_action::TableAction;

/// What tables may name: classes, and certificate rules.
pub type Named = BTreeMap<String, Arc<[Restriction]>>;

/// The restriction itself, what is in it, and what its tables name; each named list once.
pub fn reached(from: &Restriction, named: &Named) -> Vec<Restriction> {
    let mut all = Vec::new();
    visit(from, named, &mut BTreeSet::new(), &mut all);
    all
}

/// Of a name that a table gives: the list of that name, or the restriction that is this one word.
pub fn of_name(name: &str, named: &Named) -> Vec<Restriction> {
    match named.get(name) {
        Some(list) => list.to_vec(),
        None => Restriction::simple(name).into_iter().collect(),
    }
}

/// The names in a table's values.
pub fn names_in(table: &Table) -> BTreeSet<String> {
    let names = |value| match TableAction::parse(value) {
        Ok(TableAction::Restrictions(names)) if !TableAction::is_template(value) => names,
        _ => Vec::new(),
    };
    table.values().flat_map(names).collect()
}

fn visit(restriction: &Restriction, named: &Named, known: &mut BTreeSet<String>, all: &mut Vec<Restriction>) {
    all.push(restriction.clone());
    match restriction {
        Restriction::Class(_, list) => {
            for one in list.iter() {
                visit(one, named, known, all);
            }
        }
        Restriction::WarnIfReject(inner) => visit(inner, named, known, all),
        Restriction::Access(_, table) => {
            for name in names_in(table) {
                if known.insert(name.clone()) {
                    for one in of_name(&name, named) {
                        visit(&one, named, known, all);
                    }
                }
            }
        }
        _ => {}
    }
}

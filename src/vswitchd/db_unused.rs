//! Columns that are read but not in force yet: a row that uses one is named, so that nobody waits for an effect.
//!
//! What a later version implements leaves [`UNUSED`] in the same change.

use ovsdb::{Atom, Datum, Replica};
use std::collections::BTreeSet;

/// Tables, and their columns without effect.
const UNUSED: &[(&str, &str)] = &[
    (
        "Port",
        "bond_mode bond_updelay bond_downdelay bond_fake_iface lacp fake_bridge mac",
    ),
    ("Interface", "bfd cfm_mpid lldp"),
];

/// The columns named above, for what is monitored.
pub(crate) fn columns(table: &str) -> impl Iterator<Item = &'static str> {
    let rows = UNUSED.iter().filter(move |(t, _)| *t == table);
    rows.flat_map(|(_, columns)| columns.split_whitespace())
}

/// `Port p0: lacp` and the like, for every use. Rows that no bridge refers to do not exist.
pub(crate) fn uses(replica: &Replica) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for (table, columns) in UNUSED {
        for (_, row) in replica.rows(table) {
            let name = row.get("name").and_then(Datum::str).unwrap_or_default();
            for column in columns.split_whitespace() {
                if row.get(column).is_some_and(is_used) {
                    out.insert(format!("{table} {name}: {column}"));
                }
            }
        }
    }
    out
}

/// False for what a column has when nobody wrote to it.
fn is_used(value: &Datum) -> bool {
    match value {
        Datum::Map(m) => !m.is_empty(),
        Datum::Set(s) => s.iter().any(|a| match a {
            Atom::Integer(n) => *n != 0,
            Atom::Boolean(b) => *b,
            Atom::Real(r) => *r != 0.0,
            Atom::String(s) => !s.is_empty(),
            Atom::Uuid(_) | Atom::Named(_) => true,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_no_use() {
        assert!(!is_used(&Datum::default()) && !is_used(&Datum::one(0)));
        assert!(!is_used(&Datum::one(false)) && !is_used(&Datum::map(Vec::<(&str, &str)>::new())));
        assert!(is_used(&Datum::one("active")) && is_used(&Datum::one(5)));
        assert!(is_used(&Datum::map([("enable", "true")])));
    }
}

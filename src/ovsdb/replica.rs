//! A copy of the monitored part of a database, kept by `update`, `update2` and `update3` messages.

use crate::schema::Schema;
use crate::value::Datum;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A row: its monitored columns.
pub type Row = BTreeMap<String, Datum>;

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Table.
    pub table: String,
    /// Row.
    pub uuid: Uuid,
    /// Its columns before; `None` when it is new.
    pub old: Option<Row>,
    /// True when the row is there now.
    pub exists: bool,
}

/// The copy.
#[derive(Debug, Clone, Default)]
pub struct Replica {
    tables: BTreeMap<String, BTreeMap<Uuid, Row>>,
}

impl Replica {
    /// An empty copy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rows of a table, by id.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Row)> {
        self.tables
            .get(table)
            .into_iter()
            .flatten()
            .map(|(u, r)| (*u, r))
    }
    /// One row.
    #[must_use]
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table)?.get(&uuid)
    }
    /// The only row of a table such as `Open_vSwitch`.
    #[must_use]
    pub fn singleton(&self, table: &str) -> Option<(Uuid, &Row)> {
        self.rows(table).next()
    }
    /// True when there is no row at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(BTreeMap::is_empty)
    }
    /// Forgets everything: before a fresh copy arrives.
    pub fn clear(&mut self) {
        self.tables.clear();
    }

    /// Applies a `<table-updates2>`, or a `<table-updates>` of RFC 7047. What does not fit the schema is skipped; the rest is kept.
    pub fn apply(&mut self, schema: &Schema, updates: &Value) -> Vec<Change> {
        let mut changes = Vec::new();
        for (table, rows) in updates.as_object().into_iter().flatten() {
            let Some(columns) = schema.tables.get(table) else {
                continue;
            };
            let store = self.tables.entry(table.clone()).or_default();
            for (id, update) in rows.as_object().into_iter().flatten() {
                let Ok(uuid) = id.parse::<Uuid>() else {
                    continue;
                };
                let old = store.get(&uuid).cloned();
                if let Some(fresh) = fresh(update) {
                    let mut row: Row = columns
                        .iter()
                        .map(|(n, c)| (n.clone(), c.default_value()))
                        .collect();
                    fill(&mut row, fresh);
                    store.insert(uuid, row);
                } else if let Some(diff) = update.get("modify") {
                    let Some(row) = store.get_mut(&uuid) else {
                        continue;
                    };
                    for (name, value) in diff.as_object().into_iter().flatten() {
                        let (Some(c), Some(d)) = (columns.get(name), Datum::from_json(value))
                        else {
                            continue;
                        };
                        let slot = row.entry(name.clone()).or_insert_with(|| c.default_value());
                        *slot = if c.is_scalar() {
                            d
                        } else {
                            slot.apply_diff(&d)
                        };
                    }
                } else if update.get("delete").is_some() || update.get("old").is_some() {
                    store.remove(&uuid);
                } else {
                    continue;
                }
                let exists = store.contains_key(&uuid);
                changes.push(Change {
                    table: table.clone(),
                    uuid,
                    old,
                    exists,
                });
            }
        }
        changes
    }
}

/// A row's whole contents: of a new row, and in RFC 7047's updates also of a changed one.
fn fresh(update: &Value) -> Option<&Value> {
    ["initial", "insert", "new"]
        .iter()
        .find_map(|k| update.get(k))
}

fn fill(row: &mut Row, columns: &Value) {
    for (name, value) in columns.as_object().into_iter().flatten() {
        if let Some(d) = Datum::from_json(value) {
            // An empty set is also how an empty map is written: keep the default's kind.
            let empty = d.atoms().next().is_none() && matches!(d, Datum::Set(_));
            if !(empty && matches!(row.get(name), Some(Datum::Map(_)))) {
                row.insert(name.clone(), d);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn insert_modify_delete() {
        let schema = Schema::from_json(&json!({"name": "D", "tables": {"T": {"columns": {
            "name": {"type": "string"},
            "kv": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
        }}}}))
        .unwrap();
        let mut r = Replica::new();
        let id = "550e8400-e29b-41d4-a716-446655440000";
        let uuid: Uuid = id.parse().unwrap();
        r.apply(
            &schema,
            &json!({"T": {id: {"initial": {"name": "a", "tags": ["set", [1, 2]]}}}}),
        );
        let c = r.apply(
            &schema,
            &json!({"T": {id: {"modify": {"name": "b", "tags": ["set", [2, 3]],
                                            "kv": ["map", [["x", "y"]]]}}}}),
        );
        assert_eq!(c[0].old.as_ref().unwrap()["name"], Datum::one("a"));
        let row = r.row("T", uuid).unwrap();
        assert_eq!(row["name"].str(), Some("b"));
        assert_eq!(row["tags"], Datum::set([1, 3]));
        assert_eq!(row["kv"].string_map()["x"], "y");
        let c = r.apply(&schema, &json!({"T": {id: {"delete": null}}, "U": 5}));
        assert!(!c[0].exists && r.is_empty());
    }

    use proptest::prelude::*;

    /// JSON of any shape, with the words of the protocol in it.
    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("T".to_owned()),
            Just("tags".to_owned()),
            Just("insert".to_owned()),
            Just("modify".to_owned()),
            Just("old".to_owned()),
            Just("set".to_owned()),
            Just("map".to_owned()),
            Just("uuid".to_owned()),
            Just("550e8400-e29b-41d4-a716-446655440000".to_owned()),
            any::<String>(),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_update_is_survived(updates in prop::collection::vec(any_json(), 1..4)) {
            let schema = Schema::from_json(&json!({"name": "D", "tables": {"T": {"columns": {
                "tags": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
            }}}}))
            .unwrap();
            let mut r = Replica::new();
            for update in updates {
                r.apply(&schema, &update);
                r.apply(&schema, &json!({"T": {"550e8400-e29b-41d4-a716-446655440000": update}}));
            }
        }
    }
}

//! Building a transaction: operations of RFC 7047 section 5.2 in order.

use crate::replica::Row;
use serde_json::{Value, json};
use uuid::Uuid;

/// Operations to be done all or not at all.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    ops: Vec<Value>,
}

impl Transaction {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Writes columns of a row.
    pub fn update(&mut self, table: &str, uuid: Uuid, row: &Row) {
        let columns: serde_json::Map<String, Value> =
            row.iter().map(|(n, d)| (n.clone(), d.to_json())).collect();
        self.ops
            .push(json!({"op": "update", "table": table, "where": is(uuid), "row": columns}));
    }
    /// Makes a row; it can be referred to by `name` (`Atom::Named`) in the same transaction.
    pub fn insert(&mut self, table: &str, name: &str, row: &Row) {
        let columns: serde_json::Map<String, Value> =
            row.iter().map(|(n, d)| (n.clone(), d.to_json())).collect();
        self.ops
            .push(json!({"op": "insert", "table": table, "uuid-name": name, "row": columns}));
    }
    /// Removes a row.
    pub fn delete(&mut self, table: &str, uuid: Uuid) {
        self.ops
            .push(json!({"op": "delete", "table": table, "where": is(uuid)}));
    }
    /// Fails the transaction when this client does not hold the lock.
    pub fn assert_lock(&mut self, lock: &str) {
        self.ops.insert(0, json!({"op": "assert", "lock": lock}));
    }
    /// Parameters of the `transact` request.
    #[must_use]
    pub fn params(&self, database: &str) -> Value {
        let mut all = vec![Value::from(database)];
        all.extend(self.ops.iter().cloned());
        Value::Array(all)
    }
}

fn is(uuid: Uuid) -> Value {
    json!([["_uuid", "==", ["uuid", uuid.to_string()]]])
}

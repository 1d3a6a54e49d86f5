//! The part of a database schema (RFC 7047 section 3.2) that a client needs: which tables and columns
//! exist, whether a column is a scalar, and what default a missing value has.

use crate::value::{Atom, Datum};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Type of an atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the five atomic types")]
pub enum BaseType {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Type of keys, or of the elements of a set.
    pub key: BaseType,
    /// Type of values, for maps.
    pub value: Option<BaseType>,
    /// Fewest elements, 0 or 1.
    pub min: u64,
    /// Most elements (`u64::MAX` for unlimited).
    pub max: u64,
}

/// A table: its columns by name.
pub type Table = BTreeMap<String, Column>;

/// A schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    /// Name of the database.
    pub name: String,
    /// Version, `x.y.z`.
    pub version: String,
    /// Tables by name.
    pub tables: BTreeMap<String, Table>,
}

impl Schema {
    /// Reads a schema; `None` when it is not one. Columns of unknown types are left out.
    #[must_use]
    pub fn from_json(v: &Value) -> Option<Self> {
        let mut tables = BTreeMap::new();
        for (name, table) in v.get("tables")?.as_object()? {
            let columns = table.get("columns")?.as_object()?;
            let columns = columns
                .iter()
                .filter_map(|(n, c)| Some((n.clone(), Column::from_json(c.get("type")?)?)))
                .collect();
            tables.insert(name.clone(), columns);
        }
        let text = |k: &str| {
            v.get(k)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            name: text("name"),
            version: text("version"),
            tables,
        })
    }

    /// True when the table has the column.
    #[must_use]
    pub fn has(&self, table: &str, column: &str) -> bool {
        self.tables
            .get(table)
            .is_some_and(|t| t.contains_key(column))
    }
}

impl Column {
    fn from_json(v: &Value) -> Option<Self> {
        if let Some(key) = base_type(v) {
            return Some(Self {
                key,
                value: None,
                min: 1,
                max: 1,
            });
        }
        let max = match v.get("max") {
            None => 1,
            Some(Value::String(s)) if s == "unlimited" => u64::MAX,
            Some(n) => n.as_u64()?,
        };
        Some(Self {
            key: base_type(v.get("key")?)?,
            value: v.get("value").and_then(base_type),
            min: v.get("min").map_or(Some(1), Value::as_u64)?,
            max,
        })
    }

    /// True when the column holds at most one element and is not a map.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.max == 1
    }

    /// The value of a column that was not given.
    #[must_use]
    pub fn default_value(&self) -> Datum {
        if self.value.is_some() {
            return Datum::Map(BTreeMap::new());
        }
        if self.min == 0 {
            return Datum::default();
        }
        Datum::one(match self.key {
            BaseType::Integer => Atom::Integer(0),
            BaseType::Real => Atom::Real(0.0),
            BaseType::Boolean => Atom::Boolean(false),
            BaseType::String => Atom::String(String::new()),
            BaseType::Uuid => Atom::Uuid(Uuid::nil()),
        })
    }
}

fn base_type(v: &Value) -> Option<BaseType> {
    let name = v.as_str().or_else(|| v.get("type")?.as_str())?;
    Some(match name {
        "integer" => BaseType::Integer,
        "real" => BaseType::Real,
        "boolean" => BaseType::Boolean,
        "string" => BaseType::String,
        "uuid" => BaseType::Uuid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_read() {
        let s = Schema::from_json(
            &json!({"name": "D", "version": "1.0.0", "tables": {"T": {"columns": {
                "a": {"type": "string"},
                "b": {"type": {"key": {"type": "integer", "minInteger": 0}, "min": 0, "max": 1}},
                "c": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            }}}}),
        )
        .unwrap();
        let t = &s.tables["T"];
        assert!(t["a"].is_scalar() && t["b"].is_scalar() && !t["c"].is_scalar());
        assert_eq!(t["a"].default_value(), Datum::one(""));
        assert_eq!(t["b"].default_value(), Datum::default());
        assert!(s.has("T", "c") && !s.has("T", "d") && !s.has("U", "a"));
    }
}

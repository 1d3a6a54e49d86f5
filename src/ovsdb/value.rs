//! Values of RFC 7047 section 5.1: atoms, sets (an atom alone is a set of one) and maps.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One atom.
#[derive(Debug, Clone, PartialEq)]
pub enum Atom {
    /// 64-bit integer.
    Integer(i64),
    /// Finite real number.
    Real(f64),
    /// Boolean.
    Boolean(bool),
    /// String.
    String(String),
    /// Row reference.
    Uuid(Uuid),
    /// Row reference by a name that exists only inside one transaction.
    Named(String),
}

impl Eq for Atom {}
impl PartialOrd for Atom {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Atom {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) | (Self::Named(a), Self::Named(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            // Sets and maps hold atoms of one type; between types any fixed order will do.
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// A set, possibly of exactly one.
    Set(BTreeSet<Atom>),
    /// A map.
    Map(BTreeMap<Atom, Atom>),
}

impl Default for Datum {
    fn default() -> Self {
        Self::Set(BTreeSet::new())
    }
}

impl Atom {
    /// Reads an atom; `None` when the JSON is not one.
    #[must_use]
    pub fn from_json(v: &Value) -> Option<Self> {
        match v {
            Value::Bool(b) => Some(Self::Boolean(*b)),
            Value::String(s) => Some(Self::String(s.clone())),
            Value::Number(n) => n
                .as_i64()
                .map(Self::Integer)
                .or_else(|| n.as_f64().map(Self::Real)),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(tag), Value::String(id)] if tag == "uuid" => {
                    id.parse().ok().map(Self::Uuid)
                }
                [Value::String(tag), Value::String(id)] if tag == "named-uuid" => {
                    Some(Self::Named(id.clone()))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The atom as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Integer(n) => Value::from(*n),
            Self::Real(r) => Value::from(*r),
            Self::Boolean(b) => Value::from(*b),
            Self::String(s) => Value::from(s.as_str()),
            Self::Uuid(u) => Value::from(vec!["uuid".to_owned(), u.to_string()]),
            Self::Named(n) => Value::from(vec!["named-uuid", n.as_str()]),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Integer(_) => 0,
            Self::Real(_) => 1,
            Self::Boolean(_) => 2,
            Self::String(_) => 3,
            Self::Uuid(_) => 4,
            Self::Named(_) => 5,
        }
    }

    /// The string, when it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(s) = self {
            Some(s)
        } else {
            None
        }
    }
}

impl From<i64> for Atom {
    fn from(n: i64) -> Self {
        Self::Integer(n)
    }
}
impl From<bool> for Atom {
    fn from(b: bool) -> Self {
        Self::Boolean(b)
    }
}
impl From<&str> for Atom {
    fn from(s: &str) -> Self {
        Self::String(s.to_owned())
    }
}
impl From<String> for Atom {
    fn from(s: String) -> Self {
        Self::String(s)
    }
}
impl From<Uuid> for Atom {
    fn from(u: Uuid) -> Self {
        Self::Uuid(u)
    }
}

impl Datum {
    /// Reads a value; `None` when the JSON is not one.
    #[must_use]
    pub fn from_json(v: &Value) -> Option<Self> {
        if let Value::Array(parts) = v
            && let [Value::String(tag), Value::Array(items)] = parts.as_slice()
        {
            if tag == "set" {
                return items
                    .iter()
                    .map(Atom::from_json)
                    .collect::<Option<_>>()
                    .map(Self::Set);
            }
            if tag == "map" {
                return items
                    .iter()
                    .map(pair_from_json)
                    .collect::<Option<_>>()
                    .map(Self::Map);
            }
        }
        Atom::from_json(v).map(|a| Self::Set(BTreeSet::from([a])))
    }

    /// The value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Set(s) if s.len() == 1 => s.first().map_or(Value::Null, Atom::to_json),
            Self::Set(s) => tagged("set", s.iter().map(Atom::to_json).collect()),
            Self::Map(m) => tagged(
                "map",
                m.iter()
                    .map(|(k, v)| Value::Array(vec![k.to_json(), v.to_json()]))
                    .collect(),
            ),
        }
    }

    /// A set of one.
    pub fn one(a: impl Into<Atom>) -> Self {
        Self::Set(BTreeSet::from([a.into()]))
    }
    /// A set of one or none.
    pub fn optional(a: Option<impl Into<Atom>>) -> Self {
        Self::Set(a.map(Into::into).into_iter().collect())
    }
    /// A set.
    pub fn set<A: Into<Atom>>(items: impl IntoIterator<Item = A>) -> Self {
        Self::Set(items.into_iter().map(Into::into).collect())
    }
    /// A map.
    pub fn map<K: Into<Atom>, V: Into<Atom>>(items: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(
            items
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        )
    }

    /// The atoms of a set (of a map: none).
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        match self {
            Self::Set(s) => Some(s.iter()),
            Self::Map(_) => None,
        }
        .into_iter()
        .flatten()
    }
    /// The first atom of a set.
    #[must_use]
    pub fn first(&self) -> Option<&Atom> {
        self.atoms().next()
    }
    /// The first string.
    #[must_use]
    pub fn str(&self) -> Option<&str> {
        self.first()?.as_str()
    }
    /// The first integer.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        if let Some(Atom::Integer(n)) = self.first() {
            Some(*n)
        } else {
            None
        }
    }
    /// The first boolean.
    #[must_use]
    pub fn bool(&self) -> Option<bool> {
        if let Some(Atom::Boolean(b)) = self.first() {
            Some(*b)
        } else {
            None
        }
    }
    /// The row references of a set.
    #[must_use]
    pub fn uuids(&self) -> Vec<Uuid> {
        self.atoms()
            .filter_map(|a| {
                if let Atom::Uuid(u) = a {
                    Some(*u)
                } else {
                    None
                }
            })
            .collect()
    }
    /// A map of strings to strings; pairs of other types are left out.
    #[must_use]
    pub fn string_map(&self) -> BTreeMap<String, String> {
        let Self::Map(m) = self else {
            return BTreeMap::new();
        };
        m.iter()
            .filter_map(|(k, v)| Some((k.as_str()?.to_owned(), v.as_str()?.to_owned())))
            .collect()
    }

    /// A map of numbers to rows; pairs of other types are left out.
    #[must_use]
    pub fn row_map(&self) -> BTreeMap<i64, Uuid> {
        let Self::Map(m) = self else {
            return BTreeMap::new();
        };
        m.iter()
            .filter_map(|(k, v)| match (k, v) {
                (Atom::Integer(n), Atom::Uuid(u)) => Some((*n, *u)),
                _ => None,
            })
            .collect()
    }

    /// Applies an `update2` difference: for sets symmetric difference, for maps removal of equal pairs
    /// and replacement of others. Scalars (columns with `max` 1) are replaced by the caller.
    #[must_use]
    pub fn apply_diff(&self, diff: &Self) -> Self {
        match (self, diff) {
            (Self::Set(a), Self::Set(d)) => Self::Set(a.symmetric_difference(d).cloned().collect()),
            (Self::Map(a), Self::Map(d)) => {
                let mut out = a.clone();
                for (k, v) in d {
                    if out.get(k) == Some(v) {
                        out.remove(k);
                    } else {
                        out.insert(k.clone(), v.clone());
                    }
                }
                Self::Map(out)
            }
            // An empty set and an empty map look the same on the wire.
            (Self::Set(a), Self::Map(_)) if a.is_empty() => diff.clone(),
            (_, _) => diff.clone(),
        }
    }
}

fn pair_from_json(v: &Value) -> Option<(Atom, Atom)> {
    match v.as_array()?.as_slice() {
        [k, v] => Some((Atom::from_json(k)?, Atom::from_json(v)?)),
        _ => None,
    }
}

fn tagged(tag: &str, items: Vec<Value>) -> Value {
    Value::Array(vec![Value::from(tag), Value::Array(items)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_go_both_ways() {
        for v in [
            json!(5),
            json!("x"),
            json!(["set", []]),
            json!(["set", [1, 2]]),
            json!(["map", [["a", "b"], ["c", "d"]]]),
            json!(["uuid", "550e8400-e29b-41d4-a716-446655440000"]),
        ] {
            assert_eq!(Datum::from_json(&v).unwrap().to_json(), v);
        }
        for v in [
            json!(null),
            json!({}),
            json!(["set", [[1]]]),
            json!(["map", [[1]]]),
        ] {
            assert_eq!(Datum::from_json(&v), None);
        }
    }

    #[test]
    fn differences_apply() {
        let a = Datum::set([1, 2, 3]);
        assert_eq!(a.apply_diff(&Datum::set([3, 4])), Datum::set([1, 2, 4]));
        let m = Datum::map([("a", "1"), ("b", "2")]);
        let d = Datum::map([("a", "1"), ("b", "3"), ("c", "4")]);
        assert_eq!(m.apply_diff(&d), Datum::map([("b", "3"), ("c", "4")]));
    }
}

//! Columns, and keys in them, that are read but not in force yet: a row that uses one is named, so that nobody waits for an effect.
//!
//! What a later version implements leaves [`UNUSED`] or [`UNUSED_KEYS`] in the same change.

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

/// Tables, their columns of keys and values, and the keys without effect.
const UNUSED_KEYS: &[(&str, &str, &str)] = &[
    (
        "Open_vSwitch",
        "other_config",
        "enable-statistics ipsec_skb_mark offload-rebalance userspace-tso-enable vhost-iommu-support vhost-sock-dir",
    ),
    (
        "Bridge",
        "other_config",
        "dp-desc dp-sn mcast-snooping-aging-time mcast-snooping-table-size rstp-address rstp-force-protocol-version \
         rstp-forward-delay rstp-max-age rstp-priority rstp-transmit-hold-count stp-max-age stp-priority stp-system-id",
    ),
    (
        "Port",
        "other_config",
        "all-members-active bond-detect-mode bond-hash-basis bond-miimon-interval bond-primary lacp-fallback-ab \
         lacp-system-id lacp-system-priority lacp-time lb-output-action rstp-enable rstp-path-cost \
         rstp-port-auto-edge rstp-port-mcheck rstp-port-priority stp-enable stp-port-num",
    ),
    (
        "Interface",
        "other_config",
        "cfm_ccm_pcp cfm_ccm_vlan cfm_demand cfm_extended cfm_interval cfm_opstate lacp-aggregation-key lacp-port-id \
         lacp-port-priority",
    ),
    (
        "Interface",
        "options",
        "dpdk-vf-mac flow-ctrl-autoneg rx-flow-ctrl tx-flow-ctrl",
    ),
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
    for (table, column, keys) in UNUSED_KEYS {
        for (_, row) in replica.rows(table) {
            let name = row.get("name").and_then(Datum::str).unwrap_or_default();
            let said = row.get(*column).map(Datum::string_map).unwrap_or_default();
            for key in keys.split_whitespace().filter(|k| said.contains_key(&**k)) {
                out.insert(format!("{table} {name}: {column}:{key}"));
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
    fn keys_are_named_with_their_rows() {
        let schema = std::fs::read_to_string("/usr/share/openvswitch/vswitch.ovsschema");
        let schema = schema.expect("openvswitch-common is installed by scripts/test");
        let schema = ovsdb::Schema::from_json(&serde_json::from_str(&schema).unwrap()).unwrap();
        let mut replica = Replica::new();
        let config = serde_json::json!(["map", [["lacp-time", "fast"], ["x", "y"]]]);
        let row = serde_json::json!({"initial": {"name": "p0", "other_config": config}});
        let id = "00000000-0000-0000-0000-000000000001";
        replica.apply(&schema, &serde_json::json!({"Port": {id: row}}));
        let used: Vec<String> = uses(&replica).into_iter().collect();
        assert_eq!(used, ["Port p0: other_config:lacp-time"]);
        for (table, column, _) in UNUSED_KEYS {
            assert!(schema.has(table, column), "{table}.{column}");
        }
    }

    #[test]
    fn defaults_are_no_use() {
        assert!(!is_used(&Datum::default()) && !is_used(&Datum::one(0)));
        assert!(!is_used(&Datum::one(false)) && !is_used(&Datum::map(Vec::<(&str, &str)>::new())));
        assert!(is_used(&Datum::one("active")) && is_used(&Datum::one(5)));
        assert!(is_used(&Datum::map([("enable", "true")])));
    }
}

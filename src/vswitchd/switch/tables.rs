//! Configuration of flow tables: names, limits, eviction, prefix lookups.

use crate::model::{BridgeModel, FlowTableModel};
use base::clock::Nanos;
use base::log::RateLimit;
use classifier::{PREFIXES_MAX, default_prefixes, is_prefix_field};
use flow::{FieldId, Subfield};
use ofproto::{Ofproto, TableSettings};

static LOG: RateLimit = RateLimit::new(1, 5);

/// Puts the configuration of a bridge's tables in force, where it differs from what it was.
pub(super) fn apply(
    (bridge, ofproto): (&str, &mut Ofproto),
    before: Option<&BridgeModel>,
    wanted: &BridgeModel,
    now: Nanos,
) {
    let before = before.map(|b| &b.flow_tables);
    for table in before.into_iter().flat_map(|b| b.keys()) {
        if !wanted.flow_tables.contains_key(table) {
            ofproto.unconfigure_table(*table, now);
        }
    }
    for (number, table) in &wanted.flow_tables {
        if before.and_then(|b| b.get(number)) != Some(table) {
            ofproto.configure_table(*number, &settings(bridge, *number, table), now);
        }
    }
}

fn settings(bridge: &str, number: u8, table: &FlowTableModel) -> TableSettings {
    let prefixes = prefixes(bridge, &table.prefixes);
    if let Some(fields) = &prefixes {
        let names: Vec<&str> = fields.iter().map(|f| f.name()).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(",")
        };
        tracing::info!(target: "bridge", "bridge {bridge} table {number}: Prefix lookup with: {names}.");
    }
    TableSettings {
        name: table.name.clone(),
        max_flows: table.flow_limit,
        eviction: table.evict.then(|| groups(bridge, number, &table.groups)),
        prefixes: prefixes.unwrap_or_else(default_prefixes),
    }
}

/// The subfields that can be understood; the others are named in the log.
fn groups(bridge: &str, number: u8, texts: &[String]) -> Vec<Subfield> {
    let mut out = Vec::new();
    for text in texts {
        match Subfield::parse_prefix(text) {
            Ok((field, "")) => out.push(field),
            Ok(_) => base::log_rl!(
                LOG,
                WARN,
                "bridge",
                "bridge {bridge} table {number}: 'groups' element '{text}' contains trailing garbage"
            ),
            Err(e) => base::log_rl!(
                LOG,
                WARN,
                "bridge",
                "bridge {bridge} table {number}: error parsing 'groups' ({e})"
            ),
        }
    }
    out
}

/// The fields named; `None` when nothing usable is named, so that the usual ones hold.
fn prefixes(bridge: &str, names: &[String]) -> Option<Vec<FieldId>> {
    if names.iter().any(|n| n == "none") {
        return Some(Vec::new());
    }
    let mut out = Vec::new();
    for name in names {
        let why = match FieldId::from_name(name) {
            None => "with unknown field",
            Some(f) if !is_prefix_field(f) => "with incompatible field",
            Some(_) if out.len() == PREFIXES_MAX => "with too many fields, field not used",
            Some(f) => {
                out.push(f);
                continue;
            }
        };
        tracing::warn!(target: "bridge", "bridge {bridge}: 'prefixes' {why}: {name}");
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_settings() {
        let table = FlowTableModel {
            name: Some("main".to_owned()),
            flow_limit: Some(4),
            evict: true,
            groups: vec!["NXM_OF_IN_PORT[]".to_owned(), "nonsense".to_owned()],
            prefixes: vec!["ipv6_dst".to_owned(), "nw_dst".to_owned()],
        };
        let s = settings("br0", 0, &table);
        assert_eq!(s.max_flows, Some(4));
        assert_eq!(s.eviction.map(|g| g.len()), Some(1));
        assert_eq!(s.prefixes, [FieldId::Ipv6Dst, FieldId::Ipv4Dst]);
        assert_eq!(prefixes("br0", &["none".to_owned()]), Some(Vec::new()));
        assert_eq!(prefixes("br0", &["eth_src".to_owned()]), None);
    }
}

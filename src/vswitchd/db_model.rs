//! The database source of the model: which columns are read, and how rows become a [`Model`].
//!
//! Columns that the switch itself writes are not monitored, or every write would come back as news.

use crate::db_unused;
use crate::model::{
    BridgeModel, ControllerModel, FlowTableModel, InterfaceModel, MirrorModel, Model, PortModel,
    QosModel, QueueModel, TlsModel,
};
use dpif::conntrack::Timers;
use ovsdb::{Address, Atom, Datum, Replica, Row};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Tables and columns that are read.
const WANTED: &[(&str, &str)] = &[
    (
        "Open_vSwitch",
        "bridges datapaths other_config external_ids next_cfg manager_options ssl",
    ),
    (
        "Bridge",
        "name datapath_type fail_mode ports controller protocols other_config external_ids mirrors flow_tables \
         flood_vlans stp_enable rstp_enable mcast_snooping_enable netflow sflow ipfix auto_attach",
    ),
    (
        "Port",
        "name interfaces tag trunks vlan_mode cvlans protected qos other_config external_ids",
    ),
    (
        "Interface",
        "name type options ofport_request mac mtu_request ingress_policing_rate ingress_policing_burst \
         ingress_policing_kpkts_rate ingress_policing_kpkts_burst other_config external_ids",
    ),
    (
        "Controller",
        "target connection_mode max_backoff inactivity_probe controller_rate_limit controller_burst_limit \
         controller_queue_size enable_async_messages type local_ip local_netmask local_gateway other_config external_ids",
    ),
    ("Manager", "target connection_mode"),
    (
        "Mirror",
        "name select_all select_src_port select_dst_port select_vlan output_port output_vlan snaplen external_ids",
    ),
    ("QoS", "type queues other_config external_ids"),
    ("Queue", "dscp other_config external_ids"),
    (
        "Flow_Table",
        "name flow_limit overflow_policy groups prefixes external_ids",
    ),
    ("SSL", "private_key certificate ca_cert bootstrap_ca_cert"),
    (
        "NetFlow",
        "targets engine_type engine_id add_id_to_interface active_timeout external_ids",
    ),
    (
        "sFlow",
        "agent header polling sampling targets external_ids",
    ),
    (
        "IPFIX",
        "targets sampling obs_domain_id obs_point_id cache_active_timeout cache_max_flows other_config",
    ),
    ("Flow_Sample_Collector_Set", "id bridge ipfix external_ids"),
    ("Datapath", "datapath_version ct_zones"),
    ("CT_Zone", "timeout_policy"),
    ("CT_Timeout_Policy", "timeouts"),
];

/// What to monitor.
pub(crate) fn wanted() -> BTreeMap<String, Vec<String>> {
    WANTED
        .iter()
        .map(|(t, c)| {
            (
                (*t).to_owned(),
                c.split_whitespace()
                    .chain(db_unused::columns(t))
                    .map(str::to_owned)
                    .collect(),
            )
        })
        .collect()
}

/// Where rows of the model stand in the database, for writing status back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowIds {
    pub(crate) bridges: BTreeMap<String, Uuid>,
    pub(crate) ports: BTreeMap<String, Uuid>,
    pub(crate) interfaces: BTreeMap<String, Uuid>,
    /// Mirrors by bridge and name.
    pub(crate) mirrors: BTreeMap<(String, String), Uuid>,
    /// Controllers by bridge and target.
    pub(crate) controllers: BTreeMap<(String, String), Uuid>,
    /// Datapaths by their type, as we know it.
    pub(crate) datapaths: Vec<(String, Uuid)>,
}

/// A row's columns by typed access; a missing column is empty.
struct Columns<'a>(&'a Row);

impl Columns<'_> {
    fn get(&self, column: &str) -> Option<&Datum> {
        self.0.get(column)
    }
    fn text(&self, column: &str) -> Option<String> {
        self.get(column)?.str().map(str::to_owned)
    }
    fn number<T: TryFrom<i64>>(&self, column: &str) -> Option<T> {
        T::try_from(self.get(column)?.int()?).ok()
    }
    fn flag(&self, column: &str) -> bool {
        self.get(column).and_then(Datum::bool).unwrap_or(false)
    }
    fn map(&self, column: &str) -> BTreeMap<String, String> {
        self.get(column).map(Datum::string_map).unwrap_or_default()
    }
    fn refs(&self, column: &str) -> Vec<Uuid> {
        self.get(column).map(Datum::uuids).unwrap_or_default()
    }
    fn texts(&self, column: &str) -> Vec<String> {
        let atoms = self.get(column).into_iter().flat_map(Datum::atoms);
        atoms
            .filter_map(|a| a.as_str().map(str::to_owned))
            .collect()
    }
    fn vlans(&self, column: &str) -> Vec<u16> {
        let atoms = self.get(column).into_iter().flat_map(Datum::atoms);
        let number = |a: &Atom| match a {
            Atom::Integer(n) => u16::try_from(*n).ok().filter(|n| *n < 4096),
            _ => None,
        };
        atoms.filter_map(number).collect()
    }
}

/// The model that the database describes, and where its rows are. Rows that nothing refers to do not count.
pub(crate) fn read(replica: &Replica) -> (Model, RowIds) {
    let mut model = Model::default();
    let mut ids = RowIds::default();
    let Some((_, root)) = replica.singleton("Open_vSwitch") else {
        return (model, ids);
    };
    let root = Columns(root);
    model.settings = root.map("other_config");
    model.tls = read_tls(replica, &root);
    model.managers = read_managers(replica, &root);
    model.not_in_force = db_unused::uses(replica);
    model.ct_timeouts = read_ct_timeouts(replica, &root);
    ids.datapaths = datapaths(&root);
    for uuid in root.refs("bridges") {
        let Some(row) = replica.row("Bridge", uuid) else {
            continue;
        };
        let row = Columns(row);
        let Some(name) = row.text("name") else {
            continue;
        };
        // Names with a path in them would make files elsewhere.
        if name.contains('/') {
            tracing::warn!(target: "bridge", "ignoring bridge with invalid name '{name}'");
            continue;
        }
        let bridge = read_bridge(replica, (&name, &row), &mut ids);
        if model.bridges.contains_key(&name) {
            tracing::warn!(target: "bridge", "bridge {name} specified twice");
            continue;
        }
        ids.bridges.insert(name.clone(), uuid);
        model.bridges.insert(name, bridge);
    }
    (model, ids)
}

/// Port of the database protocol (IANA).
pub(crate) const OVSDB_PORT: u16 = 6640;

/// Managers that are reached in-band.
fn read_managers(replica: &Replica, root: &Columns<'_>) -> Vec<Address> {
    let rows = root.refs("manager_options").into_iter();
    let in_band = rows.filter_map(|uuid| {
        let m = replica.row("Manager", uuid).map(Columns)?;
        let target = m.text("target")?;
        (m.text("connection_mode").as_deref() != Some("out-of-band")).then_some(target)
    });
    let address = |t: String| Address::parse(&t, OVSDB_PORT, Path::new("/")).ok();
    in_band.filter_map(address).collect()
}

fn read_tls(replica: &Replica, root: &Columns<'_>) -> Option<TlsModel> {
    let uuid = root.refs("ssl").pop()?;
    let ssl = replica.row("SSL", uuid).map(Columns)?;
    let file = |column| {
        ssl.text(column)
            .filter(|f| !f.is_empty())
            .map(PathBuf::from)
    };
    Some(TlsModel {
        private_key: file("private_key"),
        certificate: file("certificate"),
        ca_cert: file("ca_cert"),
        bootstrap: ssl.flag("bootstrap_ca_cert"),
        ..TlsModel::default()
    })
}

/// The datapaths of the root row; the names of a type are the same datapath here.
fn datapaths(root: &Columns<'_>) -> Vec<(String, Uuid)> {
    let Some(Datum::Map(datapaths)) = root.get("datapaths") else {
        return Vec::new();
    };
    let one = |(type_name, uuid): (&Atom, &Atom)| match (type_name.as_str(), uuid) {
        (Some(t), Atom::Uuid(uuid)) => Some((dpif::normalize_type(t).to_owned(), *uuid)),
        _ => None,
    };
    datapaths.iter().filter_map(one).collect()
}

/// Timeouts of zones, by the type of their datapath.
fn read_ct_timeouts(
    replica: &Replica,
    root: &Columns<'_>,
) -> BTreeMap<String, BTreeMap<u16, Timers>> {
    let mut all = BTreeMap::new();
    for (type_name, uuid) in datapaths(root) {
        let row = replica.row("Datapath", uuid).map(Columns);
        let Some(Datum::Map(zones)) = row.as_ref().and_then(|r| r.get("ct_zones")) else {
            continue;
        };
        let zone = |(number, uuid): (&Atom, &Atom)| {
            let (Atom::Integer(number), Atom::Uuid(uuid)) = (number, uuid) else {
                return None;
            };
            let policy = Columns(replica.row("CT_Zone", *uuid)?).refs("timeout_policy");
            let policy = replica.row("CT_Timeout_Policy", *policy.first()?)?;
            Some((u16::try_from(*number).ok()?, read_timers(&Columns(policy))))
        };
        let zones: BTreeMap<u16, Timers> = zones.iter().filter_map(zone).collect();
        let of_type: &mut BTreeMap<u16, Timers> = all.entry(type_name).or_default();
        of_type.extend(zones);
    }
    all
}

fn read_timers(policy: &Columns<'_>) -> Timers {
    let mut timers = Timers::default();
    if let Some(Datum::Map(timeouts)) = policy.get("timeouts") {
        for (name, seconds) in timeouts {
            if let (Some(name), Atom::Integer(n)) = (name.as_str(), seconds)
                && let Ok(n) = u32::try_from(*n)
            {
                timers.set_named(name, n);
            }
        }
    }
    timers
}

fn read_bridge(
    replica: &Replica,
    (name, row): (&str, &Columns<'_>),
    ids: &mut RowIds,
) -> BridgeModel {
    let mut b = BridgeModel {
        datapath_type: row.text("datapath_type").unwrap_or_default(),
        fail_mode: row.text("fail_mode"),
        settings: row.map("other_config"),
        flood_vlans: row.vlans("flood_vlans"),
        protocols: row.texts("protocols"),
        ..BridgeModel::default()
    };
    for column in ["netflow", "sflow", "ipfix", "auto_attach"] {
        if !row.refs(column).is_empty() {
            b.not_in_force.push(column.to_owned());
        }
    }
    for column in ["stp_enable", "rstp_enable", "mcast_snooping_enable"] {
        if row.flag(column) {
            b.not_in_force.push(column.to_owned());
        }
    }
    for uuid in row.refs("controller") {
        let Some(c) = replica.row("Controller", uuid).map(Columns) else {
            continue;
        };
        let Some(target) = c.text("target") else {
            continue;
        };
        ids.controllers
            .insert((name.to_owned(), target.clone()), uuid);
        if may_be_used(name, &target) {
            b.controllers.insert(target, read_controller(&c));
        }
    }
    for uuid in row.refs("mirrors") {
        let Some(m) = replica.row("Mirror", uuid).map(Columns) else {
            continue;
        };
        let mirror = read_mirror(replica, &m);
        ids.mirrors
            .insert((name.to_owned(), mirror.name.clone()), uuid);
        b.mirrors.push(mirror);
    }
    b.flow_tables = read_flow_tables(replica, name, row);
    for uuid in row.refs("ports") {
        let Some(p) = replica.row("Port", uuid).map(Columns) else {
            continue;
        };
        let Some(name) = p.text("name") else { continue };
        let port = read_port(replica, &p, ids);
        ids.ports.insert(name.clone(), uuid);
        b.ports.insert(name, port);
    }
    b
}

fn read_mirror(replica: &Replica, m: &Columns<'_>) -> MirrorModel {
    let ports = |column| -> Vec<String> {
        let rows = m.refs(column).into_iter();
        rows.filter_map(|uuid| Columns(replica.row("Port", uuid)?).text("name"))
            .collect()
    };
    MirrorModel {
        name: m.text("name").unwrap_or_default(),
        select_all: m.flag("select_all"),
        select_src: ports("select_src_port"),
        select_dst: ports("select_dst_port"),
        vlans: m.vlans("select_vlan"),
        output_port: ports("output_port").pop(),
        output_vlan: m.number("output_vlan"),
        snaplen: m.number("snaplen"),
    }
}

fn read_flow_tables(
    replica: &Replica,
    bridge: &str,
    row: &Columns<'_>,
) -> BTreeMap<u8, FlowTableModel> {
    let mut out = BTreeMap::new();
    let rows = row.get("flow_tables").map(Datum::row_map);
    for (number, uuid) in rows.unwrap_or_default() {
        let Some(t) = replica.row("Flow_Table", uuid).map(Columns) else {
            continue;
        };
        let Some(number) = u8::try_from(number).ok().filter(|n| *n < ofproto::N_TABLES) else {
            tracing::warn!(
                target: "bridge",
                "bridge {bridge}: ignoring configuration for flow table {number} not supported by this datapath"
            );
            continue;
        };
        let table = FlowTableModel {
            name: t.text("name"),
            flow_limit: t.number("flow_limit"),
            evict: t.text("overflow_policy").as_deref() == Some("evict"),
            groups: t.texts("groups"),
            prefixes: t.texts("prefixes"),
        };
        out.insert(number, table);
    }
    out
}

static REFUSED: base::log::RateLimit = base::log::RateLimit::new(1, 5);

/// False for a unix socket that somebody who can only write to the database must not make or use: it would be
/// outside the run-time directory.
fn may_be_used(bridge: &str, target: &str) -> bool {
    let rundir = crate::paths::rundir();
    let rundir = rundir.display();
    let (allowed, fine) = if let Some(path) = target.strip_prefix("unix:") {
        let allowed = format!("{rundir}/");
        let fine = !path.contains('/') || path.starts_with(&allowed) && !path.contains("..");
        (allowed, fine)
    } else if let Some(path) = target.strip_prefix("punix:") {
        let allowed = format!("{rundir}/{bridge}.");
        let rest = path.strip_prefix(&allowed);
        let fine = rest.is_some_and(|rest| !rest.contains('/'));
        (allowed, fine)
    } else {
        return true;
    };
    if !fine && target.starts_with("unix:") {
        base::log_rl!(
            REFUSED,
            ERROR,
            "bridge",
            "bridge {bridge}: Not connecting to socket controller \"{target}\" due to possibility for remote exploit.  \
             Instead, specify socket in permitted directory \"unix:{allowed}\" or connect to \
             \"unix:{rundir}/{bridge}.mgmt\" (which is always available without special configuration)."
        );
    } else if !fine {
        base::log_rl!(
            REFUSED,
            ERROR,
            "bridge",
            "bridge {bridge}: Not adding Unix domain socket controller \"{target}\" due to possibility of overwriting \
             local files. Instead, specify path in permitted format \"punix:{allowed}*\" or connect to \
             \"unix:{rundir}/{bridge}.mgmt\" (which is always available without special configuration)."
        );
    }
    fine
}

fn read_controller(c: &Columns<'_>) -> ControllerModel {
    ControllerModel {
        connection_mode: c.text("connection_mode"),
        max_backoff_ms: c.number("max_backoff"),
        inactivity_probe_ms: c.number("inactivity_probe"),
        rate_limit: c
            .number("controller_rate_limit")
            .map(|rate| (rate, c.number("controller_burst_limit").unwrap_or(0))),
        dscp: c
            .map("other_config")
            .get("dscp")
            .and_then(|d| d.parse().ok()),
        queue_size: c.number("controller_queue_size"),
        local_net: ["local_ip", "local_netmask", "local_gateway"].map(|column| c.text(column)),
        kind: c.text("type"),
        enable_async: c
            .get("enable_async_messages")
            .and_then(Datum::bool)
            .unwrap_or(true),
    }
}

fn read_port(replica: &Replica, row: &Columns<'_>, ids: &mut RowIds) -> PortModel {
    let mut p = PortModel {
        vlan_mode: row.text("vlan_mode"),
        tag: row.number("tag"),
        trunks: row.vlans("trunks"),
        cvlans: row.vlans("cvlans"),
        settings: row.map("other_config"),
        protected: row.flag("protected"),
        qos: row
            .refs("qos")
            .first()
            .and_then(|&uuid| read_qos(replica, uuid)),
        interfaces: BTreeMap::new(),
    };
    for uuid in row.refs("interfaces") {
        let Some(i) = replica.row("Interface", uuid).map(Columns) else {
            continue;
        };
        let Some(name) = i.text("name") else { continue };
        ids.interfaces.insert(name.clone(), uuid);
        let interface = InterfaceModel {
            class: i.text("type").unwrap_or_default(),
            options: i.map("options"),
            number: i.number("ofport_request"),
            mtu: i.number("mtu_request"),
            mac: i.text("mac"),
            policing: read_policing(&i),
            settings: i.map("other_config"),
        };
        p.interfaces.insert(name, interface);
    }
    p
}

/// A row of the QoS table with its queues.
fn read_qos(replica: &Replica, uuid: Uuid) -> Option<QosModel> {
    let row = replica.row("QoS", uuid).map(Columns)?;
    let mut queues = BTreeMap::new();
    for (id, uuid) in row.get("queues").map(Datum::row_map).unwrap_or_default() {
        let queue = replica.row("Queue", uuid).map(Columns);
        if let (Some(queue), Ok(id)) = (queue, u32::try_from(id)) {
            let queue = QueueModel {
                dscp: queue.number("dscp").filter(|n| *n < 64),
                settings: queue.map("other_config"),
            };
            queues.insert(id, queue);
        }
    }
    Some(QosModel {
        kind: row.text("type").unwrap_or_default(),
        settings: row.map("other_config"),
        queues,
    })
}

/// Rates above what 32 bits hold are as good as the largest.
fn read_policing(row: &Columns<'_>) -> [u32; 4] {
    ["rate", "burst", "kpkts_rate", "kpkts_burst"].map(|what| {
        let n: Option<u64> = row.number(&format!("ingress_policing_{what}"));
        n.map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovsdb::Schema;
    use serde_json::{Value, json};

    fn schema() -> Schema {
        let text = std::fs::read_to_string("/usr/share/openvswitch/vswitch.ovsschema");
        let text = text.expect("openvswitch-common is installed by scripts/test");
        Schema::from_json(&serde_json::from_str(&text).unwrap()).unwrap()
    }

    fn id(n: u8) -> String {
        format!("00000000-0000-0000-0000-0000000000{n:02}")
    }

    fn uuid(n: u8) -> Value {
        json!(["uuid", id(n)])
    }

    /// Every value within a value: the ways to it.
    fn ways(v: &Value, way: &str, all: &mut Vec<String>) {
        all.push(way.to_owned());
        match v {
            Value::Array(items) => {
                for (n, v) in items.iter().enumerate() {
                    ways(v, &format!("{way}/{n}"), all);
                }
            }
            Value::Object(m) => {
                for (k, v) in m {
                    ways(v, &format!("{way}/{k}"), all);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn any_value_in_any_column_is_survived() {
        let schema = schema();
        let row = |columns: Value| json!({"initial": columns});
        let sound = json!({
            "Open_vSwitch": {id(1): row(json!({"bridges": uuid(2), "other_config": ["map", [["max-idle", "5"]]],
                "manager_options": uuid(10), "ssl": uuid(11), "datapaths": ["map", [["netdev", uuid(12)]]]}))},
            "Bridge": {id(2): row(json!({"name": "br0", "ports": uuid(3), "fail_mode": "secure", "controller": uuid(8),
                "mirrors": uuid(9), "flow_tables": ["map", [[0, uuid(15)]]], "flood_vlans": ["set", [1, 2]],
                "protocols": ["set", ["OpenFlow10", "OpenFlow15"]]}))},
            "Port": {id(3): row(json!({"name": "p", "qos": uuid(5), "interfaces": uuid(4), "tag": 5, "trunks": 7,
                "vlan_mode": "trunk"}))},
            "Interface": {id(4): row(json!({"name": "p", "type": "afxdp", "ofport_request": 7, "mtu_request": 1500,
                "options": ["map", [["n_rxq", "2"]]], "ingress_policing_rate": 1, "mac": "aa:aa:aa:aa:aa:aa"}))},
            "QoS": {id(5): row(json!({"type": "linux-htb", "queues": ["map", [[0, uuid(6)]]]}))},
            "Queue": {id(6): row(json!({"dscp": 10, "other_config": ["map", [["max-rate", "1"]]]}))},
            "Controller": {id(8): row(json!({"target": "tcp:h:1", "max_backoff": 1000, "controller_rate_limit": 100}))},
            "Mirror": {id(9): row(json!({"name": "m", "select_all": true, "output_vlan": 5, "snaplen": 100}))},
            "Manager": {id(10): row(json!({"target": "ptcp:6640"}))},
            "SSL": {id(11): row(json!({"private_key": "/k", "certificate": "/c", "ca_cert": "/a"}))},
            "Datapath": {id(12): row(json!({"ct_zones": ["map", [[1, uuid(13)]]]}))},
            "CT_Zone": {id(13): row(json!({"timeout_policy": uuid(14)}))},
            "CT_Timeout_Policy": {id(14): row(json!({"timeouts": ["map", [["tcp_syn_sent", 5]]]}))},
            "Flow_Table": {id(15): row(json!({"name": "t", "flow_limit": 5, "overflow_policy": "evict",
                "groups": "NXM_OF_IN_PORT[]"}))},
        });
        let mut replica = Replica::new();
        replica.apply(&schema, &sound);
        assert_eq!(read(&replica).0.bridges["br0"].ports.len(), 1);
        let kinds = json!([
            null,
            true,
            -1,
            i64::MAX,
            i64::MIN,
            1e300,
            "",
            "a/../b",
            "x".repeat(70_000),
            [],
            {},
            ["set", []],
            ["set", [["uuid", id(2)], "b", 3]],
            ["map", [["a", "b"], [3, 4], 5]],
            ["uuid", id(2)],
            ["uuid", id(77)],
            ["map", [["n_rxq", "-1"], ["remote_ip", "x"], ["", ""]]]
        ]);
        let mut all = Vec::new();
        ways(&sound, "", &mut all);
        for way in all.iter().filter(|w| !w.is_empty()) {
            for kind in kinds.as_array().unwrap() {
                let mut odd = sound.clone();
                *odd.pointer_mut(way).unwrap() = kind.clone();
                let mut replica = Replica::new();
                replica.apply(&schema, &odd);
                // Whatever is left of it is a model.
                drop(read(&replica));
            }
        }
    }

    #[test]
    fn rows_become_a_model() {
        let schema = schema();
        for (table, columns) in wanted() {
            for c in columns {
                assert!(schema.has(&table, &c), "{table}.{c}");
            }
        }
        let mut replica = Replica::new();
        replica.apply(&schema, &json!({
            "Open_vSwitch": {id(1): {"initial": {"bridges": uuid(2), "other_config": ["map", [["max-idle", "5"]]]}}},
            "Bridge": {id(2): {"initial": {"name": "br0", "ports": ["set", [uuid(3), uuid(9)]], "fail_mode": "secure",
                                           "stp_enable": true}}},
            "QoS": {id(5): {"initial": {"type": "linux-htb", "queues": ["map", [[0, uuid(6)], [7, uuid(7)]]],
                                        "other_config": ["map", [["max-rate", "1000"]]]}}},
            "Queue": {id(6): {"initial": {"dscp": 10}}},
            "Port": {id(3): {"initial": {"name": "p", "qos": uuid(5), "interfaces": uuid(4), "tag": 5, "trunks": ["set", [1, 2]]}}},
            "Interface": {id(4): {"initial": {"name": "p", "type": "afxdp", "ofport_request": 7, "ingress_policing_rate": 5000000000u64,
                                              "options": ["map", [["n_rxq", "2"]]]}}},
        }));
        let (model, ids) = read(&replica);
        let b = &model.bridges["br0"];
        assert_eq!(model.settings["max-idle"], "5");
        assert_eq!(
            (
                b.fail_mode.as_deref(),
                b.not_in_force.len(),
                b.rules.is_none()
            ),
            (Some("secure"), 1, true)
        );
        let p = &b.ports["p"];
        assert_eq!((p.tag, p.trunks.as_slice()), (Some(5), &[1u16, 2][..]));
        assert_eq!(p.interfaces["p"].number, Some(7));
        assert_eq!(p.interfaces["p"].policing, [u32::MAX, 0, 0, 0]);
        let qos = p.qos.as_ref().unwrap();
        assert_eq!((qos.kind.as_str(), qos.queues.len()), ("linux-htb", 1));
        assert_eq!(qos.queues[&0].dscp, Some(10));
        assert_eq!(ids.interfaces["p"].to_string(), id(4));
    }
}

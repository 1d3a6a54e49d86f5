//! Status for the database: what is in force, port numbers, device states, counters.

use super::Switch;
use super::reconcile::datapath_id;
use crate::db_status::Shown;
use crate::{status, system_stats};
use backer::Backer;
use netdev::Device;
use ovsdb::{Datum, Row};

impl Switch {
    /// Shows everything; false when the database cannot take it now.
    pub(super) fn publish(&mut self) -> bool {
        let mut rows = Vec::new();
        let Some(database) = &self.database else {
            return true;
        };
        let ids = database.ids();
        for (name, uuid) in &ids.interfaces {
            rows.push(Shown {
                table: "Interface",
                uuid: *uuid,
                row: self.interface_row(name),
            });
        }
        for (name, uuid) in &ids.bridges {
            rows.push(Shown {
                table: "Bridge",
                uuid: *uuid,
                row: self.bridge_row(name),
            });
        }
        for ((bridge, name), uuid) in &ids.mirrors {
            rows.push(Shown {
                table: "Mirror",
                uuid: *uuid,
                row: self.mirror_row(bridge, name),
            });
        }
        for ((bridge, target), uuid) in &ids.controllers {
            if let Some(row) = self.controller_row(bridge, target) {
                rows.push(Shown {
                    table: "Controller",
                    uuid: *uuid,
                    row,
                });
            }
        }
        for (type_name, uuid) in &ids.datapaths {
            // One that is of no use yet says nothing.
            let backer = self.backers.get(type_name);
            let known = backer.map(Backer::capabilities).unwrap_or_default();
            rows.push(Shown {
                table: "Datapath",
                uuid: *uuid,
                row: Row::from([("capabilities".to_owned(), Datum::map(known))]),
            });
        }
        let stats = self.host_statistics();
        let root = self.root_row(stats);
        self.database.as_mut().is_some_and(|d| d.show(rows, root))
    }

    fn interface_row(&self, name: &str) -> Row {
        let iface = self
            .backers
            .values()
            .flat_map(|b| b.bridges().values())
            .find_map(|b| b.iface(name));
        let Some(iface) = iface else {
            return status::interface_row(
                None,
                Some(-1),
                self.errors.get(name).map(String::as_str),
            );
        };
        let device: &dyn Device = &*iface.device;
        let error = device.error();
        let mut row =
            status::interface_row(Some(device), Some(i64::from(iface.ofp.0)), error.as_deref());
        row.insert("statistics".to_owned(), status::statistics(&device.stats()));
        row
    }

    fn bridge_row(&self, name: &str) -> Row {
        let mut row = Row::new();
        let bridge = self.backer_of(name).and_then(|b| b.bridge(name).ok());
        let id = bridge
            .zip(self.model.bridges.get(name))
            .and_then(|(b, wanted)| datapath_id(name, b, wanted))
            .map(|id| format!("{id:016x}"));
        row.insert("datapath_id".to_owned(), Datum::optional(id));
        row.insert("datapath_version".to_owned(), Datum::one("<built-in>"));
        row
    }

    fn mirror_row(&self, bridge: &str, name: &str) -> Row {
        let bridge = self.backer_of(bridge).and_then(|b| b.bridge(bridge).ok());
        let mirror = bridge.and_then(|b| b.mirrors.iter().find(|m| m.config.name == name));
        let counts = mirror.map(|m| {
            let n = |c: &base::sync::Counter| i64::try_from(c.get()).unwrap_or(i64::MAX);
            [
                ("tx_bytes", n(&m.counts.bytes)),
                ("tx_packets", n(&m.counts.packets)),
            ]
        });
        Row::from([(
            "statistics".to_owned(),
            Datum::map(counts.into_iter().flatten()),
        )])
    }

    fn controller_row(&self, bridge: &str, target: &str) -> Option<Row> {
        let shown = self.conversations.get(bridge)?.show(self.clock.now());
        // A passive target has no connection of its own.
        let Some(c) = shown.iter().find(|c| c.target == target) else {
            return Some(Row::from([
                ("is_connected".to_owned(), Datum::one(false)),
                ("role".to_owned(), Datum::set(Vec::<String>::new())),
                (
                    "status".to_owned(),
                    Datum::map(Vec::<(&str, String)>::new()),
                ),
            ]));
        };
        let mut status = vec![("state".to_owned(), c.state.to_owned())];
        status.extend(c.last_error.clone().map(|e| ("last_error".to_owned(), e)));
        let (connect, disconnect) = c.since;
        let since = [
            ("sec_since_connect", connect),
            ("sec_since_disconnect", disconnect),
        ];
        for (key, s) in since {
            status.extend(s.map(|s| (key.to_owned(), s.to_string())));
        }
        for (which, counts) in ["action", "miss"].iter().zip(c.paced) {
            let names = ["backlog", "bypassed", "queued", "dropped"];
            for (name, n) in names.iter().zip(counts.into_iter().flatten()) {
                status.push((format!("packet-in-{which}-{name}"), n.to_string()));
            }
        }
        Some(Row::from([
            ("is_connected".to_owned(), Datum::one(c.connected)),
            ("role".to_owned(), Datum::optional(c.role)),
            ("status".to_owned(), Datum::map(status)),
        ]))
    }

    /// Nothing, unless somebody asks for it.
    fn host_statistics(&mut self) -> system_stats::Map {
        let wanted = self.model.settings.get("enable-statistics");
        if wanted.is_some_and(|w| w == "true") {
            self.system_stats.run(self.clock.now())
        } else {
            self.system_stats.stop();
            system_stats::Map::new()
        }
    }

    fn root_row(&self, stats: system_stats::Map) -> Row {
        let mut types = self.dpifs.types();
        // The name that Open vSwitch has for a datapath in the kernel is taken as one of ours.
        types.push("system".to_owned());
        types.sort();
        let dpdk = netdev::dpdk::status();
        Row::from([
            ("datapath_types".to_owned(), Datum::set(types)),
            ("iface_types".to_owned(), Datum::set(self.registry.types())),
            ("ovs_version".to_owned(), Datum::one("3.1.0")),
            ("dpdk_initialized".to_owned(), Datum::one(dpdk.initialized)),
            (
                "dpdk_version".to_owned(),
                Datum::one(dpdk.version.unwrap_or_else(|| "none".to_owned())),
            ),
            ("statistics".to_owned(), Datum::map(stats)),
        ])
    }
}

//! Text for people, as Open vSwitch 3.1 prints it.

use crate::backer::Backer;
use crate::error::BackerError;
use crate::flow_text::{self, PortNames};
use base::clock::Clock;
use base::sync::{Arc, read, write};
use dpif::{FlowDump, FlowInfo, FlowSelect};
use flow::{OdpPort, OfPort};
use std::fmt::Write;
use udpif::world::facts;
use wire::EthAddr;
use xlate::{BridgeId, BundleId, Snapshot};

/// How to print flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpOptions {
    /// `-m`: ufids and fields that are not matched too.
    pub verbose: bool,
    /// Port names instead of numbers; `None`: when verbose.
    pub names: Option<bool>,
}

/// Flows looked at for one piece of [`FlowLines`].
const PIECE: usize = 256;

/// `dpif/dump-flows` under way: see [`Backer::flow_lines`].
#[derive(Debug)]
pub struct FlowLines {
    flows: Box<dyn FlowDump>,
    some: Vec<FlowInfo>,
    bridge: BridgeId,
    /// Says which ports are whose.
    snapshot: Arc<Snapshot>,
    names: PortNames,
    verbose: bool,
    clock: Clock,
}

impl FlowLines {
    /// Appends the lines of a bounded number of further flows. False when there are no more.
    pub fn more(&mut self, out: &mut String) -> bool {
        let more = self.flows.thread().next(&mut self.some, PIECE);
        let now = self.clock.now();
        for f in &self.some {
            let odp = OdpPort(f.key.in_port.get());
            let owner = self.snapshot.by_odp.get(&odp).map(|(id, _)| *id);
            let recirc = &self.snapshot.recirc;
            let frozen = || recirc.get(f.key.recirc_id.get()).map(|s| s.bridge);
            if owner.or_else(frozen) == Some(self.bridge) {
                *out += &flow_text::line(f, self.verbose, &self.names, now);
                out.push('\n');
            }
        }
        more
    }
}

impl Backer {
    /// `dpif/show`, this datapath's part.
    #[must_use]
    pub fn show(&self) -> String {
        let mut out = String::new();
        let stats = self.dpif().stats();
        let mut line = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a String takes everything");
        };
        line(format_args!(
            "{}: hit:{} missed:{}\n",
            self.datapath_name(),
            stats.n_hit,
            stats.n_missed
        ));
        for bridge in self.bridges().values() {
            line(format_args!("  {}:\n", bridge.name));
            let mut ifaces: Vec<_> = bridge.ifaces().collect();
            ifaces.sort_by(|a, b| a.name().cmp(b.name()));
            for i in ifaces {
                let odp = if i.odp == OdpPort::NONE {
                    "none".to_owned()
                } else {
                    i.odp.to_string()
                };
                line(format_args!(
                    "    {} {}/{odp}: ({}",
                    i.name(),
                    i.ofp.0,
                    i.device.class()
                ));
                for (n, (key, value)) in i.device.get_config().iter().enumerate() {
                    let sep = if n == 0 { ':' } else { ',' };
                    line(format_args!("{sep} {key}={value}"));
                }
                line(format_args!(")\n"));
            }
        }
        out
    }

    /// `dpif/dump-dps`, this datapath's part.
    #[must_use]
    pub fn dump_dps(&self) -> String {
        let names = self.bridges().keys();
        names.map(|n| format!("{}@{n}\n", self.type_name)).collect()
    }

    /// `ofproto/list`, this datapath's part.
    #[must_use]
    pub fn list(&self) -> String {
        self.bridges().keys().map(|n| format!("{n}\n")).collect()
    }

    /// Begins `dpif/dump-flows`: the datapath's flows of packets that came in on a bridge.
    ///
    /// # Errors
    /// NoBridge.
    pub fn flow_lines(&self, bridge: &str, options: DumpOptions) -> Result<FlowLines, BackerError> {
        let names = if options.names.unwrap_or(options.verbose) {
            self.port_names()
        } else {
            PortNames::default()
        };
        Ok(FlowLines {
            bridge: self.bridge(bridge)?.id,
            snapshot: self.snapshot(),
            names,
            verbose: options.verbose,
            clock: self.clock.clone(),
            flows: self.dpif().flow_dump(FlowSelect::default()),
            some: Vec::new(),
        })
    }

    /// All of [`Self::flow_lines`].
    ///
    /// # Errors
    /// NoBridge.
    pub fn dump_flows(&self, bridge: &str, options: DumpOptions) -> Result<String, BackerError> {
        let mut lines = self.flow_lines(bridge, options)?;
        let mut out = String::new();
        while lines.more(&mut out) {}
        Ok(out)
    }

    /// Names of datapath ports.
    #[must_use]
    pub fn port_names(&self) -> PortNames {
        let ports = self.dpif().ports();
        PortNames::new(ports.into_iter().map(|p| (p.number, p.name)).collect())
    }

    // ---- MAC tables

    /// `fdb/show`.
    ///
    /// # Errors
    /// NoBridge.
    pub fn fdb_show(&self, bridge: &str) -> Result<String, BackerError> {
        let b = self.bridge(bridge)?;
        let name = |key| {
            let port = b.a_port_of(BundleId::of(key)).unwrap_or(OfPort::NONE);
            port.to_string()
        };
        Ok(read(&b.macs).show(self.clock.now(), name))
    }

    /// `fdb/stats-show`.
    ///
    /// # Errors
    /// NoBridge.
    pub fn fdb_stats(&self, bridge: &str) -> Result<String, BackerError> {
        let b = self.bridge(bridge)?;
        Ok(read(&b.macs).show_stats(bridge))
    }

    /// `fdb/stats-clear [BRIDGE]`.
    ///
    /// # Errors
    /// NoBridge.
    pub fn fdb_stats_clear(&self, bridge: Option<&str>) -> Result<&'static str, BackerError> {
        for b in self.chosen(bridge)? {
            write(&b.macs).clear_stats();
        }
        Ok("statistics successfully cleared")
    }

    /// `fdb/flush [BRIDGE]`.
    ///
    /// # Errors
    /// NoBridge.
    pub fn fdb_flush(&self, bridge: Option<&str>) -> Result<&'static str, BackerError> {
        for b in self.chosen(bridge)? {
            let changes = {
                let mut macs = write(&b.macs);
                macs.flush();
                macs.take_changes()
            };
            self.udpif().post(facts::of_macs(b.id, &changes));
        }
        Ok("table successfully flushed")
    }

    fn chosen(&self, bridge: Option<&str>) -> Result<Vec<&crate::bridge::Bridge>, BackerError> {
        match bridge {
            Some(name) => Ok(vec![self.bridge(name)?]),
            None => Ok(self.bridges().values().collect()),
        }
    }

    /// `fdb/add BRIDGE PORT VLAN MAC`: the answer's text; an inner error when there is no room.
    ///
    /// # Errors
    /// NoBridge, NoPort.
    pub fn fdb_add(
        &self,
        bridge: &str,
        port: &str,
        vlan: u16,
        mac: EthAddr,
    ) -> Result<Result<String, String>, BackerError> {
        let b = self.bridge(bridge)?;
        let no_port = || BackerError::NoPort {
            bridge: bridge.to_owned(),
            port: port.to_owned(),
        };
        let owner = b.ports.values().find(|p| p.ifaces.contains_key(port));
        let bundle = owner.ok_or_else(no_port)?.bundle;
        let mut macs = write(&b.macs);
        let old = macs.entry(vlan, mac, self.clock.now());
        let mut text = String::new();
        if let Some(old) = old {
            let is_static = old.age == l2::MacAge::Static;
            if old.port != bundle.key() || !is_static {
                let at = b.a_port_of(BundleId::of(old.port)).unwrap_or(OfPort::NONE);
                let kind = if is_static { "static" } else { "dynamic" };
                writeln!(text, "Overriding already existing {kind} entry on {at}")
                    .expect("a String takes everything");
            }
        }
        let added = macs.add_static(vlan, mac, bundle.key());
        let changes = macs.take_changes();
        drop(macs);
        self.udpif().post(facts::of_macs(b.id, &changes));
        Ok(if added {
            Ok(text)
        } else {
            Err("could not add static mac entry\n".to_owned())
        })
    }

    /// `fdb/del BRIDGE VLAN MAC`: false when there is no such static entry.
    ///
    /// # Errors
    /// NoBridge.
    pub fn fdb_del(&self, bridge: &str, vlan: u16, mac: EthAddr) -> Result<bool, BackerError> {
        let b = self.bridge(bridge)?;
        let (gone, changes) = {
            let mut macs = write(&b.macs);
            (macs.del_static(vlan, mac), macs.take_changes())
        };
        self.udpif().post(facts::of_macs(b.id, &changes));
        Ok(gone)
    }
}

//! Mirrors: as they are asked for, and as translation sees them.

use crate::backer::Backer;
use crate::bridge::Bridge;
use crate::error::BackerError;
use base::sync::{Arc, write};
use udpif::world::{Fact, facts};
use xlate::{BundleId, MirrorCounts, VlanSet, XMirror};

/// Mirrors of one bridge: the number of bits in a set of them.
pub const MIRRORS_MAX: usize = 32;

/// A mirror, by the names of ports. Ports that the bridge does not have select nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorConfig {
    /// Name.
    pub name: String,
    /// Every port is selected, both ways.
    pub select_all: bool,
    /// Ports whose received packets are copied.
    pub select_src: Vec<String>,
    /// Ports whose sent packets are copied.
    pub select_dst: Vec<String>,
    /// VLANs that are copied; empty: all.
    pub vlans: Vec<u16>,
    /// Where copies go.
    pub output: MirrorOutput,
    /// Bytes of a copy; 0: all.
    pub snaplen: u16,
}

/// Where copies go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorOutput {
    /// Out of this port, which is used for nothing else.
    Port(String),
    /// To a VLAN.
    Vlan(u16),
}

/// A mirror that is in force.
#[derive(Debug)]
pub struct Mirror {
    /// What was asked for.
    pub config: MirrorConfig,
    /// What it copied.
    pub counts: Arc<MirrorCounts>,
}

impl Mirror {
    pub(crate) fn image(&self, bridge: &Bridge) -> Option<XMirror> {
        let c = &self.config;
        let bundle = |name: &String| bridge.ports.get(name).map(|p| p.bundle);
        let selected = |names: &[String]| -> Option<Vec<BundleId>> {
            (!c.select_all).then(|| names.iter().filter_map(bundle).collect())
        };
        let (out_bundle, out_vlan) = match &c.output {
            // Without its port a mirror copies nothing.
            MirrorOutput::Port(name) => (Some(bundle(name)?), None),
            MirrorOutput::Vlan(vlan) => (None, Some(*vlan)),
        };
        Some(XMirror {
            name: c.name.clone(),
            select_src: selected(&c.select_src),
            select_dst: selected(&c.select_dst),
            vlans: (!c.vlans.is_empty()).then(|| c.vlans.iter().copied().collect::<VlanSet>()),
            out_bundle,
            out_vlan,
            snaplen: c.snaplen,
            counts: self.counts.clone(),
        })
    }
}

impl Backer {
    /// Makes a bridge's mirrors these, at most [`MIRRORS_MAX`]. Counts go on under a mirror's name.
    ///
    /// # Errors
    /// NoBridge.
    pub fn mirrors_set(
        &mut self,
        bridge: &str,
        mut wanted: Vec<MirrorConfig>,
    ) -> Result<(), BackerError> {
        let b = self.bridge_mut(bridge)?;
        if let Some(first) = wanted.get(MIRRORS_MAX) {
            tracing::warn!(target: "ofproto_dpif_mirror",
                "maximum of {MIRRORS_MAX} port mirrors reached, cannot create {}", first.name);
            wanted.truncate(MIRRORS_MAX);
        }
        if b.mirrors.iter().map(|m| &m.config).eq(&wanted) {
            return Ok(());
        }
        let old = std::mem::take(&mut b.mirrors);
        let counts = |name: &str| {
            let known = old.iter().find(|m| m.config.name == name);
            known.map(|m| m.counts.clone()).unwrap_or_default()
        };
        b.mirrors = wanted
            .into_iter()
            .map(|config| Mirror {
                counts: counts(&config.name),
                config,
            })
            .collect();
        // Who was learned on a port that now only takes copies is not there any more.
        let id = b.id;
        let changes = {
            let mut macs = write(&b.macs);
            macs.flush();
            macs.take_changes()
        };
        self.udpif().post(facts::of_macs(id, &changes));
        self.publish(&[Fact::Bridge(id), Fact::Untracked]);
        Ok(())
    }
}

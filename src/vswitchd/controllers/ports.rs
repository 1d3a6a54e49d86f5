//! Ports as controllers see them: told to `ofproto` whenever a device changed.

use crate::status::speed_kbps;
use backer::{Backer, Iface};
use base::clock::Nanos;
use flow::OfPort;
use ofproto::Ofproto;
use openflow::{PortConfig, PortDesc, PortState};
use std::collections::BTreeSet;

/// Makes a bridge's OpenFlow ports those of its interfaces. Controllers are told of what changed.
pub(super) fn sync(backer: &Backer, bridge: &str, of: &mut Ofproto, now: Nanos) {
    let Ok(b) = backer.bridge(bridge) else { return };
    let here: BTreeSet<OfPort> = b.ifaces().map(|i| i.ofp).collect();
    let gone: Vec<OfPort> = of
        .ports()
        .map(|p| p.desc.port_no)
        .filter(|n| !here.contains(n))
        .collect();
    for number in gone {
        of.remove_port(number, now);
    }
    for iface in b.ifaces() {
        let up = iface.device.carrier();
        of.put_port(describe(iface), now);
        of.set_port_enabled(iface.ofp, up);
    }
}

/// A number that changes whenever a port came, went or changed.
pub(super) fn changes(backer: &Backer, bridge: &str) -> u64 {
    let Ok(b) = backer.bridge(bridge) else {
        return 0;
    };
    b.ifaces().fold(0, |sum: u64, i| {
        let this = i.device.change_seq().wrapping_add(u64::from(i.ofp.0) << 32);
        sum.wrapping_add(this.wrapping_mul(0x9e37_79b9_7f4a_7c15 | 1))
    })
}

fn describe(iface: &Iface) -> PortDesc {
    let d = &iface.device;
    let f = d.features().unwrap_or_default();
    let mut config = PortConfig::empty();
    config.set(PortConfig::PORT_DOWN, !d.flags().up);
    let mut state = PortState::empty();
    state.set(PortState::LINK_DOWN, !d.carrier());
    PortDesc {
        port_no: iface.ofp,
        hw_addr: d.etheraddr(),
        name: iface.name().to_owned(),
        config,
        state,
        curr: f.current,
        advertised: f.advertised,
        supported: f.supported,
        peer: f.peer,
        curr_speed: speed_kbps(f.current),
        max_speed: speed_kbps(f.supported),
    }
}

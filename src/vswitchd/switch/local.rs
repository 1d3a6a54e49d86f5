//! What a bridge's own ports have from the others: the local port's address and internal ports' MTU.
//!
//! The local port has the address that is configured (`other_config:hwaddr`), else the lowest universally
//! administered one among the bridge's other ports, else its own. An internal port without `mtu_request` has the
//! smallest MTU of the bridge's other ports.

use super::Switch;
use crate::model::{BridgeModel, Model};
use backer::{Bridge, Iface, MirrorOutput};
use netdev::{DeviceFlags, NetdevError};
use std::net::{IpAddr, Ipv4Addr};
use wire::EthAddr;

/// MTU where nothing says otherwise, bytes.
const MTU_DEFAULT: u32 = 1500;

impl Switch {
    /// Gives local and internal ports what they should have.
    pub(super) fn settle_local_ports(&self, model: &Model) {
        for (name, bridge) in self.backers.values().flat_map(|b| b.bridges()) {
            let wanted = model.bridges.get(name);
            let text = wanted.and_then(|b| b.settings.get("hwaddr"));
            if text.and_then(|t| parse(t).ok()).is_none() {
                settle_address(name, bridge);
            }
            settle_mtu(bridge);
        }
    }

    /// Gives local ports the addresses that their controllers' rows say.
    pub(super) fn settle_networks(&self, model: &Model) {
        for (name, bridge) in self.backers.values().flat_map(|b| b.bridges()) {
            let controllers = model.bridges.get(name).map(|b| b.controllers.values());
            for c in controllers.into_iter().flatten() {
                settle_network(name, bridge, &c.local_net);
            }
        }
    }

    /// A number that changes whenever a device of any bridge does.
    pub(super) fn device_changes(&self) -> u64 {
        let bridges = self.backers.values().flat_map(|b| b.bridges().values());
        bridges
            .flat_map(Bridge::ifaces)
            .fold(0, |sum: u64, i| sum.wrapping_add(i.device.change_seq()))
    }
}

/// The configured address of a bridge; one that cannot be used is named in the log.
pub(super) fn hwaddr(wanted: &BridgeModel) -> Option<EthAddr> {
    let text = wanted.settings.get("hwaddr")?;
    parse(text)
        .inspect_err(|why| {
            tracing::error!(target: "bridge", "other_config:hwaddr: {text:.40}: {why}");
        })
        .ok()
}

fn parse(text: &str) -> Result<EthAddr, &'static str> {
    match text.parse::<EthAddr>() {
        Ok(mac) if mac.is_multicast() => Err("cannot set mac address to multicast address"),
        Ok(EthAddr::ZERO) => Err("cannot set mac address to all zeros"),
        Ok(mac) => Ok(mac),
        Err(()) => Err("not an Ethernet address"),
    }
}

/// Gives the local port what a controller's row says: address, netmask and gateway, so that the switch can reach it
/// in-band. Done again at every configuration, as in Open vSwitch; what is in force already is not touched.
fn settle_network(name: &str, bridge: &Bridge, [ip, netmask, gateway]: &[Option<String>; 3]) {
    let parse = |text: &Option<String>| text.as_ref()?.parse::<Ipv4Addr>().ok();
    let given = |ip: &Ipv4Addr| !ip.is_unspecified();
    let (Some(local), Some(ip)) = (bridge.iface(name), parse(ip)) else {
        return;
    };
    let device = &local.device;
    let up = DeviceFlags {
        up: true,
        ..DeviceFlags::default()
    };
    let said = |e: NetdevError| tracing::warn!(target: "bridge", "bridge {name}: {e}");
    if !device.flags().up
        && let Err(e) = device.update_flags(up, DeviceFlags::default())
    {
        said(e);
    }
    let mask = parse(netmask)
        .filter(given)
        .unwrap_or_else(|| class_mask(ip));
    let len = u32::from(mask).leading_ones();
    if u32::from(mask).count_ones() != len {
        tracing::warn!(target: "bridge", "bridge {name}: {mask}: not a netmask");
        return;
    }
    let wanted = (IpAddr::V4(ip), len as u8);
    if !device.addresses().contains(&wanted) {
        match device.set_in4((ip, len as u8)) {
            Ok(()) => {
                tracing::info!(target: "bridge", "bridge {name}: configured IP address {ip}, netmask {mask}");
            }
            Err(e) => return said(e),
        }
    }
    if let Some(gateway) = parse(gateway).filter(given) {
        match device.set_gateway(gateway) {
            Ok(()) => {
                tracing::info!(target: "bridge", "bridge {name}: configured gateway {gateway}")
            }
            Err(e) => said(e),
        }
    }
}

/// The netmask of an address by its class (RFC 791 section 3.2).
fn class_mask(ip: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from(match ip.octets()[0] {
        0..=127 => 0xff00_0000u32,
        128..=191 => 0xffff_0000,
        192..=223 => 0xffff_ff00,
        _ => 0xffff_ffff,
    })
}

fn is_internal(iface: &Iface) -> bool {
    iface.config.class == "internal"
}

fn settle_address(name: &str, bridge: &Bridge) {
    let Some(local) = bridge.iface(name) else {
        return;
    };
    let is_output = |port: &str| {
        let to =
            |m: &backer::Mirror| matches!(&m.config.output, MirrorOutput::Port(p) if p == port);
        bridge.mirrors.iter().any(to)
    };
    let others = bridge.ports.iter().filter(|(n, _)| !is_output(n));
    let ifaces = others
        .flat_map(|(_, p)| p.ifaces.values())
        .filter(|i| !is_internal(i));
    let lowest = ifaces
        .map(|i| i.device.etheraddr())
        .filter(may_be_taken)
        .min();
    if let Some(mac) = lowest.filter(|mac| *mac != local.device.etheraddr())
        && let Err(e) = local.device.set_etheraddr(mac)
    {
        tracing::error!(target: "bridge", "bridge {name}: failed to set bridge Ethernet address: {e}");
    }
}

/// An address that somebody gave to one device in the world.
fn may_be_taken(mac: &EthAddr) -> bool {
    const LOCAL: u8 = 2;
    !mac.is_multicast() && mac.0[0] & LOCAL == 0 && *mac != EthAddr::ZERO
}

fn settle_mtu(bridge: &Bridge) {
    let follows = |i: &&Iface| is_internal(i) && i.config.mtu_request.is_none();
    let leads = |i: &&Iface| !follows(i) && i.device.patch_peer().is_none();
    let smallest = bridge
        .ifaces()
        .filter(leads)
        .filter_map(|i| i.device.mtu())
        .min();
    let mtu = smallest.unwrap_or(MTU_DEFAULT);
    for iface in bridge.ifaces().filter(follows) {
        if iface.device.mtu().is_some_and(|now| now != mtu)
            && let Err(e) = iface.device.set_mtu(mtu)
        {
            tracing::debug!(target: "bridge", "{}: {e}", iface.name());
        }
    }
}

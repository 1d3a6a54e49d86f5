//! Port mods.

use super::Cx;
use crate::event::ConnId;
use openflow::{PortConfig, PortMod};

/// Carries out a port mod that was checked.
pub(crate) fn apply_port_mod(cx: &mut Cx<'_>, pm: &PortMod, by: ConnId) {
    let Some(port) = cx.of.port(pm.port_no) else {
        return;
    };
    let mut mask = pm.mask;
    let toggle = (pm.config ^ port.desc.config) & mask;
    if toggle.contains(PortConfig::PORT_DOWN) {
        let up = !pm.config.contains(PortConfig::PORT_DOWN);
        if !cx.provider.set_port_up(pm.port_no, up) {
            mask -= PortConfig::PORT_DOWN;
        }
    }
    let changed = cx.of.set_port_config(pm.port_no, pm.config, mask, Some(by));
    if !changed.is_empty() {
        cx.provider.port_reconfigured(pm.port_no);
    }
    if pm.advertise != 0 {
        cx.provider.advertise(pm.port_no, pm.advertise);
    }
}

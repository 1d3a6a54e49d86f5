//! Mirrors: from the model to what the backer wants.

use crate::model::{BridgeModel, MirrorModel};
use backer::{MirrorConfig, MirrorOutput};

/// The mirrors of a bridge. Those that cannot be are named in the log and left out.
pub(super) fn configs(bridge: &str, model: &BridgeModel) -> Vec<MirrorConfig> {
    let mirrors = model.mirrors.iter();
    mirrors.filter_map(|m| config(bridge, model, m)).collect()
}

fn config(bridge: &str, model: &BridgeModel, m: &MirrorModel) -> Option<MirrorConfig> {
    let name = &m.name;
    let exists = |port: &String| port == bridge || model.ports.contains_key(port);
    let output = match (&m.output_port, m.output_vlan) {
        (Some(port), _) if !exists(port) => {
            tracing::error!(target: "bridge",
                "bridge {bridge}: mirror {name} outputs to port not on bridge");
            return None;
        }
        (Some(port), vlan) => {
            if vlan.is_some() {
                tracing::error!(target: "bridge",
                    "bridge {bridge}: mirror {name} specifies both output port and output vlan; \
                     ignoring output vlan");
            }
            MirrorOutput::Port(port.clone())
        }
        (None, Some(vlan)) => MirrorOutput::Vlan(vlan),
        (None, None) => {
            tracing::error!(target: "bridge",
                "bridge {bridge}: mirror {name} does not specify output; ignoring");
            return None;
        }
    };
    let existing = |ports: &[String]| {
        let (here, gone): (Vec<_>, Vec<_>) = ports.iter().cloned().partition(exists);
        for port in gone.iter().filter(|_| !m.select_all) {
            tracing::warn!(target: "bridge",
                "bridge {bridge}: mirror {name} cannot match on nonexistent port {port}");
        }
        here
    };
    Some(MirrorConfig {
        name: name.clone(),
        select_all: m.select_all,
        select_src: existing(&m.select_src),
        select_dst: existing(&m.select_dst),
        vlans: m.vlans.clone(),
        output,
        snaplen: m.snaplen.unwrap_or(0),
    })
}

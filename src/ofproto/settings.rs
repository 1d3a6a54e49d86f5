//! [`Settings`]: what the configuration says of a bridge as controllers see it.

use crate::switch::Ofproto;
use base::sync::Arc;
use classifier::MiniMatch;
use flow::{Match, TunTable};
use openflow::{Capabilities, Desc};

/// Capabilities that controllers are told of.
pub(crate) const CAPABILITIES: Capabilities = Capabilities::FLOW_STATS
    .union(Capabilities::TABLE_STATS)
    .union(Capabilities::PORT_STATS)
    .union(Capabilities::QUEUE_STATS)
    .union(Capabilities::GROUP_STATS)
    .union(Capabilities::BUNDLES)
    .union(Capabilities::ARP_MATCH_IP);

/// See the file's essay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Datapath id.
    pub datapath_id: u64,
    /// Words about the switch.
    pub desc: Desc,
    /// Fragments: 0 normal, 1 drop, 2 reassemble, 3 match. Controllers change it.
    pub fragments: u16,
    /// The debug actions may be used.
    pub debug_actions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let none = || "None".to_owned();
        Self {
            datapath_id: 0,
            desc: Desc {
                mfr_desc: "Nicira, Inc.".to_owned(),
                hw_desc: "Open vSwitch".to_owned(),
                sw_desc: "3.1.0".to_owned(),
                serial_num: none(),
                dp_desc: none(),
            },
            fragments: 0,
            debug_actions: false,
        }
    }
}

impl Ofproto {
    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes settings.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Where tunnel options stand in flows.
    #[must_use]
    pub fn tun_table(&self) -> &Arc<TunTable> {
        &self.tun_table
    }

    /// A rule's match at full size.
    #[must_use]
    pub fn expand(&self, matching: &MiniMatch) -> Match {
        let (flow, mask) = matching.expand();
        Match {
            tun: Some(Arc::clone(&self.tun_table)),
            ..Match::new(&flow, &mask)
        }
    }
}

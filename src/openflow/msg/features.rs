//! Features of a switch.

use super::port::PortDesc;
use crate::codec::raw::Raw;
use crate::codec::{Decode, MESSAGE_MAX, Put, Reader};
use crate::version::Version;

/// What a switch is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Datapath id.
    pub datapath_id: u64,
    /// Packets it can buffer.
    pub n_buffers: u32,
    /// Tables.
    pub n_tables: u8,
    /// Auxiliary connection; 0: main.
    pub auxiliary_id: u8,
    /// [`Capabilities`].
    pub capabilities: Capabilities,
    /// OpenFlow 1.0: bit n is action type n.
    pub actions: u32,
    /// OpenFlow 1.0 to 1.2: the ports.
    pub ports: Vec<PortDesc>,
}

bitflags::bitflags! {
    /// Abilities of a switch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u32 {
        /// Flow statistics.
        const FLOW_STATS = 1;
        /// Table statistics.
        const TABLE_STATS = 1 << 1;
        /// Port statistics.
        const PORT_STATS = 1 << 2;
        /// Group statistics (1.1 and up).
        const GROUP_STATS = 1 << 4;
        /// Reassembles fragments.
        const IP_REASM = 1 << 5;
        /// Queue statistics.
        const QUEUE_STATS = 1 << 6;
        /// Matches addresses in ARP (1.0, 1.1).
        const ARP_MATCH_IP = 1 << 7;
        /// Blocks ports against loops (1.2 and up).
        const PORT_BLOCKED = 1 << 8;
        /// Bundles (1.4 and up).
        const BUNDLES = 1 << 9;
        /// Flow monitors (1.4 and up).
        const FLOW_MONITORING = 1 << 10;
        /// 802.1D spanning tree (1.0).
        const STP = 1 << 31;
    }
}

impl Capabilities {
    /// In OpenFlow 1.0 spanning tree, since then group statistics.
    const BIT_3: u32 = 1 << 3;

    fn mask(version: Version) -> Self {
        let common = Self::FLOW_STATS
            | Self::TABLE_STATS
            | Self::PORT_STATS
            | Self::IP_REASM
            | Self::QUEUE_STATS;
        common
            | match version {
                Version::V10 | Version::V11 => Self::ARP_MATCH_IP,
                Version::V12 | Version::V13 => Self::PORT_BLOCKED,
                _ => Self::PORT_BLOCKED | Self::BUNDLES | Self::FLOW_MONITORING,
            }
    }
    fn from_wire(bits: u32, version: Version) -> Self {
        let third = match version {
            Version::V10 => Self::STP,
            _ => Self::GROUP_STATS,
        };
        let all = Self::from_bits_truncate(bits) & Self::mask(version);
        match bits & Self::BIT_3 {
            0 => all,
            _ => all | third,
        }
    }
    fn to_wire(self, version: Version) -> u32 {
        let third = match version {
            Version::V10 => Self::STP,
            _ => Self::GROUP_STATS,
        };
        let bits = (self & Self::mask(version)).bits();
        bits | if self.contains(third) { Self::BIT_3 } else { 0 }
    }
}

impl Features {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let (datapath_id, n_buffers) = (r.u64()?, r.u32()?);
        let (n_tables, auxiliary_id) = (r.u8()?, r.u8()?);
        r.skip(2)?;
        let (capabilities, actions) = (r.u32()?, r.u32()?);
        let old = version < Version::V13;
        let mut ports = Vec::new();
        while old && !r.is_empty() {
            ports.push(PortDesc::decode(version, r)?);
        }
        Ok(Self {
            datapath_id,
            n_buffers,
            n_tables,
            auxiliary_id: if old { 0 } else { auxiliary_id },
            capabilities: Capabilities::from_wire(capabilities, version),
            actions: if version == Version::V10 { actions } else { 0 },
            ports,
        })
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V10 => Raw::Ofpt10FeaturesReply,
            Version::V11 | Version::V12 => Raw::Ofpt11FeaturesReply,
            _ => Raw::Ofpt13FeaturesReply,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        let v13 = version >= Version::V13;
        b.u64(self.datapath_id);
        b.u32(self.n_buffers);
        b.u8(self.n_tables);
        b.u8(if v13 { self.auxiliary_id } else { 0 });
        b.u16(0);
        b.u32(self.capabilities.to_wire(version));
        b.u32(if version == Version::V10 {
            self.actions
        } else {
            0
        });
        for port in self.ports.iter().filter(|_| !v13) {
            let at = b.len();
            port.put(b, version);
            if b.len() > MESSAGE_MAX {
                // There is another message to ask for ports.
                return b.truncate(at);
            }
        }
    }
}

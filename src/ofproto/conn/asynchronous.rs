//! Which messages a controller wants without asking for each: by type, by reason, and by its own role.

use openflow::{Version, reason};

/// Types of asynchronous messages, in the order of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum AsyncType {
    PacketIn,
    PortStatus,
    FlowRemoved,
    RoleStatus,
    TableStatus,
    RequestForward,
}

/// Types there are.
pub(crate) const ASYNC_TYPES: usize = 6;

/// What a controller is to the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// One of several with full access.
    Equal,
    /// The one with full access.
    Primary,
    /// One that may only look.
    Secondary,
}

/// Reasons by type, bit n for reason n: as primary or equal, and as secondary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AsyncConfig {
    pub(crate) primary: [u32; ASYNC_TYPES],
    pub(crate) secondary: [u32; ASYNC_TYPES],
}

/// Reasons of OpenFlow 1.4 that "action" was split into.
const ACTION_BITS: u32 = 1 << reason::ACTION_SET | 1 << reason::GROUP | 1 << reason::PACKET_OUT;

impl AsyncConfig {
    /// What a controller gets that did not say what it wants.
    pub(crate) fn initial(version: Version) -> Self {
        let mut pin = 1 << reason::NO_MATCH | 1 << reason::ACTION | ACTION_BITS;
        pin |= 1 << reason::EXPLICIT_MISS;
        if version < Version::V13 {
            pin |= 1 << reason::IMPLICIT_MISS;
        }
        let removed = match version {
            Version::V10 | Version::V11 | Version::V12 => 0x07,
            Version::V13 => 0x0f,
            _ => 0x3f,
        };
        Self {
            primary: [pin, 0x7, removed, 0, 0, 0],
            secondary: [0, 0x7, 0, 0, 0, 0],
        }
    }

    pub(crate) fn wants(&self, what: AsyncType, reason: u8, secondary: bool) -> bool {
        let masks = if secondary {
            &self.secondary
        } else {
            &self.primary
        };
        masks[what as usize] >> (reason & 31) & 1 != 0
    }

    /// Before 1.4 "action" means all that it was split into later.
    pub(crate) fn widen(mut self, version: Version) -> Self {
        if version < Version::V14 {
            for masks in [&mut self.primary, &mut self.secondary] {
                if masks[AsyncType::PacketIn as usize] >> reason::ACTION & 1 != 0 {
                    masks[AsyncType::PacketIn as usize] |= ACTION_BITS;
                }
            }
        }
        self
    }

    /// Packets whose TTL ran out, on or off.
    pub(crate) fn set_invalid_ttl(&mut self, on: bool) {
        let mask = &mut self.primary[AsyncType::PacketIn as usize];
        *mask = *mask & !(1 << reason::INVALID_TTL) | u32::from(on) << reason::INVALID_TTL;
    }

    pub(crate) fn invalid_ttl(&self) -> bool {
        self.wants(AsyncType::PacketIn, reason::INVALID_TTL, false)
    }
}

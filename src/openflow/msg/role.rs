//! Roles of controllers, and which messages each role is sent unasked.

use super::EncodeCx;
use crate::codec::prop;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::reason;
use crate::version::Version;

/// Role of a controller (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// In requests: do not change it.
    NoChange = 0,
    /// As all others.
    Equal = 1,
    /// The one that changes things.
    Primary = 2,
    /// Only looks on.
    Secondary = 3,
}

impl Role {
    fn from_wire(n: u32) -> Decode<Self> {
        Ok(match n {
            0 => Self::NoChange,
            1 => Self::Equal,
            2 => Self::Primary,
            3 => Self::Secondary,
            _ => return Err(OfpError::OFPRRFC_BAD_ROLE),
        })
    }
    /// The name as `ovs-ofctl` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoChange => "nochange",
            Self::Equal => "equal",
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

/// Asks for a role, or says which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleMessage {
    /// The role.
    pub role: Role,
    /// Age of the request, against those that come late.
    pub generation_id: Option<u64>,
}

impl RoleMessage {
    pub(super) fn decode(raw: Raw, r: &mut Reader<'_>) -> Decode<Self> {
        if matches!(raw, Raw::NxtRoleRequest | Raw::NxtRoleReply) {
            // Nicira's numbers are one lower, and there is no "no change".
            let role = Role::from_wire(r.u32()?.saturating_add(1))?;
            return Ok(Self {
                role,
                generation_id: None,
            });
        }
        let role = Role::from_wire(r.u32()?)?;
        r.skip(4)?;
        let generation = r.u64()?;
        let none = match raw {
            Raw::Ofpt12RoleRequest => role == Role::NoChange,
            _ => generation == u64::MAX,
        };
        Ok(Self {
            role,
            generation_id: (!none).then_some(generation),
        })
    }

    pub(super) fn raw(request: bool, version: Version) -> Raw {
        match (request, version < Version::V12) {
            (true, true) => Raw::NxtRoleRequest,
            (true, false) => Raw::Ofpt12RoleRequest,
            (false, true) => Raw::NxtRoleReply,
            (false, false) => Raw::Ofpt12RoleReply,
        }
    }

    pub(super) fn put(self, b: &mut Vec<u8>, raw: Raw) {
        match raw {
            Raw::NxtRoleRequest | Raw::NxtRoleReply => b.u32((self.role as u32).saturating_sub(1)),
            _ => {
                b.u32(self.role as u32);
                b.zeros(4);
                let none = match raw {
                    Raw::Ofpt12RoleRequest => 0,
                    _ => u64::MAX,
                };
                b.u64(self.generation_id.unwrap_or(none));
            }
        }
    }
}

/// Why a controller's role changed (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoleReason {
    /// Another controller became primary.
    PrimaryRequest = 0,
    /// The configuration changed.
    Config = 1,
    /// Something of an experimenter's changed.
    Experimenter = 2,
}

/// A controller's role changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleStatus {
    /// What it is now.
    pub role: Role,
    /// Why.
    pub reason: RoleReason,
    /// Age of the primary's request; `u64::MAX`: none.
    pub generation_id: u64,
}

impl RoleStatus {
    pub(super) fn decode(r: &mut Reader<'_>) -> Decode<Self> {
        let role = Role::from_wire(r.u32()?)?;
        let reason = match r.u8()? {
            0 => RoleReason::PrimaryRequest,
            1 => RoleReason::Config,
            2 => RoleReason::Experimenter,
            _ => return Err(OfpError::NXBRC_BAD_REASON),
        };
        r.skip(3)?;
        Ok(Self {
            role,
            reason,
            generation_id: r.u64()?,
        })
    }
    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V13 => Raw::Onft13RoleStatus,
            _ => Raw::Ofpt14RoleStatus,
        }
    }
    pub(super) fn put(self, b: &mut Vec<u8>) {
        b.u32(self.role as u32);
        b.u8(self.reason as u8);
        b.zeros(3);
        b.u64(self.generation_id);
    }
}

/// Messages that a switch sends unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AsyncType {
    PacketIn = 0,
    PortStatus = 1,
    FlowRemoved = 2,
    RoleStatus = 3,
    TableStatus = 4,
    RequestForward = 5,
}

impl AsyncType {
    const ALL: [Self; 6] = [
        Self::PacketIn,
        Self::PortStatus,
        Self::FlowRemoved,
        Self::RoleStatus,
        Self::TableStatus,
        Self::RequestForward,
    ];
    /// Reasons there can be.
    fn allowed(self, version: Version) -> u32 {
        match self {
            Self::PacketIn if version >= Version::V14 => 0x3f,
            Self::FlowRemoved => 0x3f,
            Self::PacketIn | Self::PortStatus | Self::RoleStatus => 0x7,
            Self::TableStatus => 0x18,
            Self::RequestForward => 0x3,
        }
    }
}

/// What a controller is sent: bit n of a mask stands for messages with reason n. Masks are by
/// [`AsyncType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsyncConfig {
    /// While it is primary or equal.
    pub primary: [u32; 6],
    /// While it is secondary.
    pub secondary: [u32; 6],
}

impl AsyncConfig {
    /// What connections of a version begin with.
    #[must_use]
    pub fn initial(version: Version) -> Self {
        let mut packet_in = 0x3f & !(1 << reason::INVALID_TTL) | 1 << reason::EXPLICIT_MISS;
        if version <= Version::V12 {
            packet_in |= 1 << reason::IMPLICIT_MISS;
        }
        let removed = match version {
            Version::V14 | Version::V15 => 0x3f,
            Version::V13 => 0xf,
            _ => 0x7,
        };
        Self {
            primary: [packet_in, 0x7, removed, 0, 0, 0],
            secondary: [0, 0x7, 0, 0, 0, 0],
        }
    }
    /// True when messages of this type and reason are sent.
    #[must_use]
    pub fn wants(&self, secondary: bool, ty: AsyncType, reason: u8) -> bool {
        let masks = if secondary {
            &self.secondary
        } else {
            &self.primary
        };
        masks[ty as usize] & 1_u32.checked_shl(reason.into()).unwrap_or(0) != 0
    }

    fn mask(&self, ty: AsyncType, primary: bool, version: Version) -> u32 {
        let masks = if primary {
            &self.primary
        } else {
            &self.secondary
        };
        masks[ty as usize] & ty.allowed(version)
    }

    pub(super) fn decode(raw: Raw, version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        Ok(SetAsync::decode(raw, version, r, true)?.apply(&Self::default()))
    }

    pub(super) fn raw(version: Version) -> Raw {
        match version {
            Version::V14 | Version::V15 => Raw::Ofpt14GetAsyncReply,
            _ => Raw::Ofpt13GetAsyncReply,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        if version >= Version::V14 {
            for ty in AsyncType::ALL {
                for primary in [false, true] {
                    prop::put_u32(b, prop_type(ty, primary), self.mask(ty, primary, version));
                }
            }
        } else {
            self.put_old(b, version);
        }
    }

    fn put_old(&self, b: &mut Vec<u8>, version: Version) {
        for ty in &AsyncType::ALL[..3] {
            for primary in [true, false] {
                b.u32(self.mask(*ty, primary, version));
            }
        }
    }
}

fn prop_type(ty: AsyncType, primary: bool) -> u16 {
    2 * ty as u16 + u16::from(primary)
}

/// Changes what a controller is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAsync {
    /// What is not said becomes nothing (before 1.4), instead of staying as it is.
    pub replace: bool,
    /// Type, primary role (else secondary), mask.
    pub masks: Vec<(AsyncType, bool, u32)>,
}

impl SetAsync {
    /// What a configuration becomes.
    #[must_use]
    pub fn apply(&self, old: &AsyncConfig) -> AsyncConfig {
        let mut new = if self.replace {
            AsyncConfig::default()
        } else {
            *old
        };
        for &(ty, primary, mask) in &self.masks {
            let masks = if primary {
                &mut new.primary
            } else {
                &mut new.secondary
            };
            masks[ty as usize] = mask;
        }
        new
    }

    pub(super) fn decode(
        raw: Raw,
        version: Version,
        r: &mut Reader<'_>,
        loose: bool,
    ) -> Decode<Self> {
        let old = [
            Raw::Ofpt13SetAsync,
            Raw::NxtSetAsyncConfig,
            Raw::Ofpt13GetAsyncReply,
        ];
        let replace = old.contains(&raw);
        let mut masks = Vec::new();
        if replace {
            for ty in &AsyncType::ALL[..3] {
                for primary in [true, false] {
                    let mask = decode_mask(r.u32()?, *ty, version, true)?;
                    masks.push((*ty, primary, mask));
                }
            }
        }
        while !r.is_empty() {
            let p = prop::pull(r, 0xfffe)?;
            let ty = AsyncType::ALL.get(usize::from(p.ty / 2));
            let Some(&ty) = ty else {
                if loose {
                    continue;
                }
                return Err(match p.unknown() {
                    OfpError::OFPBPC_BAD_TYPE => OfpError::OFPACFC_UNSUPPORTED,
                    other => other,
                });
            };
            let mask = decode_mask(p.u32()?, ty, version, loose)?;
            masks.push((ty, p.ty % 2 == 1, mask));
        }
        Ok(Self { replace, masks })
    }

    pub(super) fn raw(cx: &EncodeCx<'_>) -> Raw {
        match cx.version() {
            Version::V14 | Version::V15 => Raw::Ofpt14SetAsync,
            Version::V13 => Raw::Ofpt13SetAsync,
            _ => Raw::NxtSetAsyncConfig,
        }
    }

    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        if version < Version::V14 {
            return self.apply(&AsyncConfig::default()).put_old(b, version);
        }
        for &(ty, primary, mask) in &self.masks {
            prop::put_u32(b, prop_type(ty, primary), mask & ty.allowed(version));
        }
    }
}

fn decode_mask(mask: u32, ty: AsyncType, version: Version, loose: bool) -> Decode<u32> {
    let allowed = ty.allowed(version);
    if mask & !allowed != 0 && !loose {
        return Err(OfpError::OFPACFC_INVALID);
    }
    let mut mask = mask & allowed;
    // The switch tells two kinds of misses apart.
    if ty == AsyncType::PacketIn && mask & 1 << reason::NO_MATCH != 0 {
        mask |= 1 << reason::EXPLICIT_MISS;
        if version < Version::V13 {
            mask |= 1 << reason::IMPLICIT_MISS;
        }
    }
    Ok(mask)
}

//! Groups: statistics, descriptions, features.

use super::group::{Bucket, GroupCommand, GroupProps, GroupType, desc_type, is_old, put_buckets};
use super::port::{duration, put_duration};
use super::sets::ActionKinds;
use super::{DecodeCx, EncodeCx};
use crate::codec::header::Multipart;
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader};
use crate::error::OfpError;
use crate::flow_mod::Duration;
use crate::version::{Protocols, Version};
use flow::TunTable;

/// Statistics of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStats {
    /// The group.
    pub group_id: u32,
    /// Flows and groups that use it.
    pub ref_count: u32,
    /// Packets.
    pub packet_count: u64,
    /// Octets.
    pub byte_count: u64,
    /// Age; not known in 1.1 and 1.2.
    pub duration: Duration,
    /// Packets and octets of each bucket.
    pub buckets: Vec<(u64, u64)>,
}

impl GroupStats {
    pub(super) fn decode(raw: Raw, r: &mut Reader<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let len = usize::from(r.u16()?);
        let mut body = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        body.skip(2)?;
        let (group_id, ref_count) = (body.u32()?, body.u32()?);
        body.skip(4)?;
        let (packet_count, byte_count) = (body.u64()?, body.u64()?);
        let duration = match raw {
            Raw::Ofpst11GroupReply => Duration::UNKNOWN,
            _ => duration(&mut body)?,
        };
        let mut buckets = Vec::new();
        while body.len() >= 16 {
            buckets.push((body.u64()?, body.u64()?));
        }
        Ok(Self {
            group_id,
            ref_count,
            packet_count,
            byte_count,
            duration,
            buckets,
        })
    }

    fn put(&self, b: &mut Vec<u8>, raw: Raw) {
        let at = b.len();
        b.zeros(4);
        b.u32(self.group_id);
        b.u32(self.ref_count);
        b.zeros(4);
        b.u64(self.packet_count);
        b.u64(self.byte_count);
        if raw != Raw::Ofpst11GroupReply {
            put_duration(b, self.duration);
        }
        for &(packets, bytes) in &self.buckets {
            b.u64(packets);
            b.u64(bytes);
        }
        let len = b.len() - at;
        b.set_u16(at, len);
    }
}

/// What a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDesc {
    /// What it does with its buckets.
    pub kind: GroupType,
    /// Its number.
    pub group_id: u32,
    /// Its buckets.
    pub buckets: Vec<Bucket>,
    /// How it picks (1.5, and 1.0 with extensions).
    pub props: GroupProps,
}

impl GroupDesc {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Self> {
        let bad = OfpError::OFPBRC_BAD_LEN;
        let len = usize::from(r.u16()?);
        let mut body = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
        let kind = body.u8()?;
        body.skip(1)?;
        let group_id = body.u32()?;
        let kind = desc_type(kind)?;
        let (buckets, props) = if is_old(version) {
            (Bucket::decode11(version, body, cx)?, GroupProps::default())
        } else {
            let len = body.u16()?;
            body.skip(6)?;
            let buckets = Reader::new(body.take(len.into())?);
            (
                Bucket::decode15(version, Some(kind), buckets, cx)?,
                GroupProps::decode(body, Some(kind), Some(GroupCommand::Add))?,
            )
        };
        Ok(Self {
            kind,
            group_id,
            buckets,
            props,
        })
    }

    fn put(&self, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
        let at = b.len();
        let old = is_old(cx.version());
        b.u16(0);
        b.u8(self.kind as u8);
        b.u8(0);
        b.u32(self.group_id);
        b.zeros(if old { 0 } else { 8 });
        let start = b.len();
        put_buckets(b, &self.buckets, self.kind, cx);
        let len = b.len() - start;
        if !old {
            b.set_u16(at + 8, len);
            self.props.put(b, cx.version());
        }
        let len = b.len() - at;
        b.set_u16(at, len);
    }
}

bitflags::bitflags! {
    /// Abilities of groups.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct GroupCapabilities: u32 {
        /// Select groups have weights.
        const SELECT_WEIGHT = 1;
        /// Select groups look at liveness.
        const SELECT_LIVENESS = 1 << 1;
        /// Groups can use groups.
        const CHAINING = 1 << 2;
        /// Loops of groups are refused.
        const CHAINING_CHECKS = 1 << 3;
    }
}

/// What groups can do. Lists are by [`GroupType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupFeatures {
    /// Bit n: group type n.
    pub types: u32,
    /// Abilities.
    pub capabilities: GroupCapabilities,
    /// Groups there can be.
    pub max_groups: [u32; 4],
    /// Actions in buckets.
    pub actions: [ActionKinds; 4],
}

impl GroupFeatures {
    pub(super) fn decode(version: Version, r: &mut Reader<'_>) -> Decode<Self> {
        let (types, capabilities) = (r.u32()?, r.u32()?);
        let mut f = Self {
            types,
            capabilities: GroupCapabilities::from_bits_retain(capabilities),
            ..Self::default()
        };
        for n in &mut f.max_groups {
            *n = r.u32()?;
        }
        for kinds in &mut f.actions {
            *kinds = ActionKinds::from_wire(r.u32()?, version);
        }
        Ok(f)
    }
    pub(super) fn put(&self, b: &mut Vec<u8>, version: Version) {
        b.u32(self.types);
        b.u32(self.capabilities.bits());
        for &n in &self.max_groups {
            b.u32(n);
        }
        for kinds in &self.actions {
            b.u32(kinds.to_wire(version));
        }
    }
}

impl Multipart {
    /// Adds a group's statistics.
    pub fn push_group_stats(&mut self, stats: &GroupStats) {
        let raw = self.raw();
        self.push(|b| stats.put(b, raw));
    }
    /// Adds a group's description. False when it does not fit into a message at all.
    pub fn push_group_desc(&mut self, desc: &GroupDesc, tun: Option<&TunTable>) -> bool {
        let cx = EncodeCx {
            tun,
            ..EncodeCx::new(Protocols::initial(self.version()))
        };
        self.push(|b| desc.put(b, &cx))
    }
}

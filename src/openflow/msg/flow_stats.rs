//! Flow statistics and their sums: requests and replies.

use super::flow_mod::{decode_flags, encode_flags};
use super::port::{duration, put_duration};
use super::{DecodeCx, EncodeCx};
use crate::codec::header::Multipart;
use crate::codec::nxm::{self, MatchRules};
use crate::codec::oxs::{self, Oxs};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, inst, match10, match11, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::{
    ALL_TABLES, ANY_GROUP, AggregateStats, Duration, FlowFlags, FlowStats, FlowStatsRequest,
};
use crate::version::{Protocols, Version};
use flow::{Match, OfPort, TunTable};

pub(super) fn decode_request(
    raw: Raw,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<FlowStatsRequest> {
    let aggregate = matches!(
        raw,
        Raw::Ofpst10AggregateRequest
            | Raw::Ofpst11AggregateRequest
            | Raw::Ofpst15AggregateRequest
            | Raw::NxstAggregateRequest
    );
    let mut req = FlowStatsRequest {
        aggregate,
        match_: Match::catchall(),
        cookie: 0,
        cookie_mask: 0,
        out_port: OfPort::NONE,
        out_group: ANY_GROUP,
        table_id: ALL_TABLES,
    };
    match raw {
        Raw::Ofpst10FlowRequest | Raw::Ofpst10AggregateRequest => {
            req.match_ = match10::decode(r)?;
            req.table_id = r.u8()?;
            r.skip(1)?;
            req.out_port = OfPort(r.u16()?);
        }
        Raw::NxstFlowRequest | Raw::NxstAggregateRequest => {
            req.out_port = OfPort(r.u16()?);
            let len = usize::from(r.u16()?);
            req.table_id = r.u8()?;
            r.skip(3)?;
            let rules = MatchRules {
                cookie: true,
                ..cx.match_rules()
            };
            (req.match_, (req.cookie, req.cookie_mask)) = nxm::decode_padded(r, len, rules)?;
            if !r.is_empty() {
                return Err(OfpError::OFPBRC_BAD_LEN);
            }
        }
        _ => {
            req.table_id = r.u8()?;
            r.skip(3)?;
            req.out_port = port_from_11(r.u32()?)?;
            req.out_group = r.u32()?;
            r.skip(4)?;
            (req.cookie, req.cookie_mask) = (r.u64()?, r.u64()?);
            req.match_ = match11::decode(r, cx.match_rules())?;
        }
    }
    Ok(req)
}

pub(super) fn request_raw(aggregate: bool, cx: &EncodeCx<'_>) -> Raw {
    let nxm = cx.protocol.intersects(Protocols::NXM_ANY);
    match (cx.version(), nxm, aggregate) {
        (Version::V10, true, false) => Raw::NxstFlowRequest,
        (Version::V10, true, true) => Raw::NxstAggregateRequest,
        (Version::V10, false, false) => Raw::Ofpst10FlowRequest,
        (Version::V10, false, true) => Raw::Ofpst10AggregateRequest,
        (_, _, false) => Raw::Ofpst11FlowRequest,
        (Version::V15, _, true) => Raw::Ofpst15AggregateRequest,
        (_, _, true) => Raw::Ofpst11AggregateRequest,
    }
}

pub(super) fn put_request(req: &FlowStatsRequest, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
    match request_raw(req.aggregate, cx) {
        Raw::Ofpst10FlowRequest | Raw::Ofpst10AggregateRequest => {
            match10::put(b, &req.match_);
            b.u8(req.table_id);
            b.u8(0);
            b.u16(req.out_port.0);
        }
        Raw::NxstFlowRequest | Raw::NxstAggregateRequest => {
            b.u16(req.out_port.0);
            let at = b.len();
            b.u16(0);
            b.u8(req.table_id);
            b.zeros(3);
            let len = nxm::put_nxm(b, &req.match_, (req.cookie, req.cookie_mask));
            b.set_u16(at, len);
        }
        _ => {
            b.u8(req.table_id);
            b.zeros(3);
            b.u32(req.out_port.to_ofp11());
            b.u32(req.out_group);
            b.zeros(4);
            b.u64(req.cookie);
            b.u64(req.cookie_mask);
            match11::put(b, cx.version(), &req.match_);
        }
    }
}

fn blank_stats() -> FlowStats {
    FlowStats {
        match_: Match::catchall(),
        priority: 0,
        cookie: 0,
        table_id: 0,
        duration: Duration { sec: 0, nsec: 0 },
        idle_timeout: 0,
        hard_timeout: 0,
        idle_age: None,
        hard_age: None,
        packet_count: 0,
        byte_count: 0,
        flags: FlowFlags::empty(),
        importance: 0,
        acts: Vec::new(),
    }
}

/// Takes one flow of a statistics reply.
pub(super) fn decode(
    raw: Raw,
    version: Version,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<FlowStats> {
    let bad = OfpError::OFPBRC_BAD_LEN;
    let len = usize::from(r.u16()?);
    let mut r = Reader::new(len.checked_sub(2).and_then(|n| r.try_take(n)).ok_or(bad)?);
    let r = &mut r;
    let mut fs = blank_stats();
    match raw {
        Raw::Ofpst15FlowReply => stats15(&mut fs, version, r, cx)?,
        Raw::Ofpst10FlowReply => stats10(&mut fs, r)?,
        Raw::NxstFlowReply => stats_nx(&mut fs, r, cx)?,
        _ => stats11(&mut fs, raw, version, r, cx)?,
    }
    let len = r.len();
    fs.acts = inst::decode(r, len, &cx.act_rules(version))?;
    Ok(fs)
}

fn stats10(fs: &mut FlowStats, r: &mut Reader<'_>) -> Decode<()> {
    fs.table_id = r.u8()?;
    r.skip(1)?;
    fs.match_ = match10::decode(r)?;
    fs.duration = duration(r)?;
    fs.priority = r.u16()?;
    (fs.idle_timeout, fs.hard_timeout) = (r.u16()?, r.u16()?);
    r.skip(6)?;
    fs.cookie = r.u64()?;
    (fs.packet_count, fs.byte_count) = (r.u64()?, r.u64()?);
    Ok(())
}

fn stats_nx(fs: &mut FlowStats, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<()> {
    fs.table_id = r.u8()?;
    r.skip(1)?;
    fs.duration = duration(r)?;
    fs.priority = r.u16()?;
    (fs.idle_timeout, fs.hard_timeout) = (r.u16()?, r.u16()?);
    let len = usize::from(r.u16()?);
    // 0: not known; else one more than it is.
    fs.idle_age = u32::from(r.u16()?).checked_sub(1);
    fs.hard_age = u32::from(r.u16()?).checked_sub(1);
    fs.cookie = r.u64()?;
    (fs.packet_count, fs.byte_count) = (r.u64()?, r.u64()?);
    fs.match_ = nxm::decode_padded(r, len, cx.match_rules())?.0;
    Ok(())
}

fn stats11(
    fs: &mut FlowStats,
    raw: Raw,
    version: Version,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<()> {
    fs.table_id = r.u8()?;
    r.skip(1)?;
    fs.duration = duration(r)?;
    fs.priority = r.u16()?;
    (fs.idle_timeout, fs.hard_timeout) = (r.u16()?, r.u16()?);
    let (flags, importance) = (r.u16()?, r.u16()?);
    r.skip(2)?;
    if raw == Raw::Ofpst13FlowReply {
        fs.flags = decode_flags(flags, version)?;
    }
    if version >= Version::V14 {
        fs.importance = importance;
    }
    fs.cookie = r.u64()?;
    (fs.packet_count, fs.byte_count) = (r.u64()?, r.u64()?);
    fs.match_ = match11::decode(r, cx.match_rules())?;
    Ok(())
}

fn stats15(
    fs: &mut FlowStats,
    version: Version,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<()> {
    r.skip(2)?;
    fs.table_id = r.u8()?;
    r.skip(1)?;
    fs.priority = r.u16()?;
    (fs.idle_timeout, fs.hard_timeout) = (r.u16()?, r.u16()?);
    fs.flags = decode_flags(r.u16()?, version)?;
    fs.importance = r.u16()?;
    fs.cookie = r.u64()?;
    fs.match_ = match11::decode(r, cx.match_rules())?;
    let oxs = oxs::decode(r)?;
    fs.duration = oxs.duration.unwrap_or(Duration::UNKNOWN);
    fs.idle_age = oxs.idle_age;
    fs.packet_count = oxs.packets.unwrap_or(u64::MAX);
    fs.byte_count = oxs.bytes.unwrap_or(u64::MAX);
    Ok(())
}

/// Where OpenFlow has no word for "not known".
pub(super) fn known(n: u64) -> u64 {
    if n == u64::MAX { 0 } else { n }
}

impl Multipart {
    /// Adds a flow's statistics. False when it does not fit into a message at all.
    pub fn push_flow_stats(&mut self, fs: &FlowStats, tun: Option<&TunTable>) -> bool {
        let (raw, version) = (self.raw(), self.version());
        self.push(|b| {
            let at = b.len();
            b.u16(0);
            match raw {
                Raw::Ofpst15FlowReply => put_stats15(fs, b, version),
                Raw::Ofpst10FlowReply => put_stats10(fs, b),
                Raw::NxstFlowReply => put_stats_nx(fs, b),
                _ => put_stats11(fs, b, raw, version),
            }
            inst::put(b, &fs.acts, version, tun);
            let len = b.len() - at;
            b.set_u16(at, len);
        })
    }
}

fn put_stats10(fs: &FlowStats, b: &mut Vec<u8>) {
    b.u8(fs.table_id);
    b.u8(0);
    match10::put(b, &fs.match_);
    put_duration(b, fs.duration);
    b.u16(fs.priority);
    b.u16(fs.idle_timeout);
    b.u16(fs.hard_timeout);
    b.zeros(6);
    b.u64(fs.cookie);
    b.u64(known(fs.packet_count));
    b.u64(known(fs.byte_count));
}

fn put_stats_nx(fs: &FlowStats, b: &mut Vec<u8>) {
    let age = |age: Option<u32>| match age {
        None => 0,
        Some(age) => u16::try_from(age).map_or(u16::MAX, |age| age.saturating_add(1)),
    };
    b.u8(fs.table_id);
    b.u8(0);
    put_duration(b, fs.duration);
    b.u16(fs.priority);
    b.u16(fs.idle_timeout);
    b.u16(fs.hard_timeout);
    let at = b.len();
    b.u16(0);
    b.u16(age(fs.idle_age));
    b.u16(age(fs.hard_age));
    b.u64(fs.cookie);
    b.u64(fs.packet_count);
    b.u64(fs.byte_count);
    let len = nxm::put_nxm(b, &fs.match_, (0, 0));
    b.set_u16(at, len);
}

fn put_stats11(fs: &FlowStats, b: &mut Vec<u8>, raw: Raw, version: Version) {
    b.u8(fs.table_id);
    b.u8(0);
    put_duration(b, fs.duration);
    b.u16(fs.priority);
    b.u16(fs.idle_timeout);
    b.u16(fs.hard_timeout);
    let flags = raw == Raw::Ofpst13FlowReply;
    b.u16(if flags {
        encode_flags(fs.flags, version)
    } else {
        0
    });
    b.u16(if version >= Version::V14 {
        fs.importance
    } else {
        0
    });
    b.u16(0);
    b.u64(fs.cookie);
    b.u64(known(fs.packet_count));
    b.u64(known(fs.byte_count));
    // OXM in every version: what asks for statistics understands it.
    match11::put_oxm(b, version, &fs.match_);
}

fn put_stats15(fs: &FlowStats, b: &mut Vec<u8>, version: Version) {
    b.u16(0);
    b.u8(fs.table_id);
    b.u8(0);
    b.u16(fs.priority);
    b.u16(fs.idle_timeout);
    b.u16(fs.hard_timeout);
    b.u16(encode_flags(fs.flags, version));
    b.u16(fs.importance);
    b.u64(fs.cookie);
    match11::put_oxm(b, version, &fs.match_);
    oxs::put(
        b,
        &Oxs {
            duration: Some(fs.duration).filter(|d| d.sec != u32::MAX),
            idle_age: fs.idle_age,
            packets: Some(fs.packet_count).filter(|&n| n != u64::MAX),
            bytes: Some(fs.byte_count).filter(|&n| n != u64::MAX),
            flows: None,
        },
    );
}

pub(super) fn decode_aggregate(raw: Raw, r: &mut Reader<'_>) -> Decode<AggregateStats> {
    if raw == Raw::Ofpst15AggregateReply {
        let oxs = oxs::decode(r)?;
        return Ok(AggregateStats {
            packet_count: oxs.packets.unwrap_or(u64::MAX),
            byte_count: oxs.bytes.unwrap_or(u64::MAX),
            flow_count: oxs.flows.unwrap_or(u32::MAX),
        });
    }
    Ok(AggregateStats {
        packet_count: r.u64()?,
        byte_count: r.u64()?,
        flow_count: r.u32()?,
    })
}

pub(super) fn put_aggregate(stats: &AggregateStats, b: &mut Vec<u8>, raw: Raw, version: Version) {
    if raw == Raw::Ofpst15AggregateReply {
        let known = |n: u64| Some(n).filter(|&n| n != u64::MAX);
        return oxs::put(
            b,
            &Oxs {
                packets: known(stats.packet_count),
                bytes: known(stats.byte_count),
                flows: Some(stats.flow_count),
                ..Oxs::default()
            },
        );
    }
    let n = |n: u64| match (raw, version) {
        (Raw::OfpstAggregateReply, Version::V10) => known(n),
        _ => n,
    };
    b.u64(n(stats.packet_count));
    b.u64(n(stats.byte_count));
    b.u32(stats.flow_count);
    b.zeros(4);
}

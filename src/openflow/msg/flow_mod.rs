//! Flow mods.

use super::{DecodeCx, EncodeCx};
use crate::check::{CheckParams, check_consistency};
use crate::codec::acts::ActRules;
use crate::codec::nxm::{self, MatchRules};
use crate::codec::raw::Raw;
use crate::codec::{Decode, Put, Reader, inst, match10, match11, port_from_11};
use crate::error::OfpError;
use crate::flow_mod::{ALL_TABLES, ANY_GROUP, FlowFlags, FlowMod, FlowModCommand};
use crate::version::{Protocols, Version};
use flow::{Match, OfPort};

/// Flags on the wire, with the versions (counted from 1.0) that have them.
const FLAGS: [(u16, u8, u8, FlowFlags); 6] = [
    (1, 0, 5, FlowFlags::SEND_FLOW_REM),
    (1 << 1, 0, 5, FlowFlags::CHECK_OVERLAP),
    (1 << 2, 0, 0, FlowFlags::EMERG),
    (1 << 2, 2, 5, FlowFlags::RESET_COUNTS),
    (1 << 3, 3, 5, FlowFlags::NO_PKT_COUNTS),
    (1 << 4, 3, 5, FlowFlags::NO_BYT_COUNTS),
];

pub(super) fn decode_flags(mut bits: u16, version: Version) -> Decode<FlowFlags> {
    let mut flags = FlowFlags::empty();
    for (bit, lo, hi, flag) in FLAGS {
        if bits & bit != 0 && (lo..=hi).contains(&version.minor()) {
            bits &= !bit;
            flags |= flag;
        }
    }
    if bits == 0 {
        Ok(flags)
    } else {
        Err(OfpError::OFPFMFC_BAD_FLAGS)
    }
}

pub(super) fn encode_flags(flags: FlowFlags, version: Version) -> u16 {
    let has = |(_, lo, hi, flag): &&(u16, u8, u8, FlowFlags)| {
        flags.contains(*flag) && (*lo..=*hi).contains(&version.minor())
    };
    FLAGS.iter().filter(has).map(|f| f.0).sum()
}

impl DecodeCx<'_> {
    pub(super) fn match_rules(&self) -> MatchRules<'_> {
        MatchRules {
            tun: self.tun,
            strict: true,
            cookie: false,
            pipeline_only: false,
        }
    }
    pub(super) fn act_rules(&self, version: Version) -> ActRules<'_> {
        ActRules {
            version,
            tun: self.tun.map(|t| &**t),
            debug: self.debug,
            depth: 0,
        }
    }
}

/// A flow mod with the flags as they came.
type Unfinished = (FlowMod, u16);

pub(super) fn decode(
    raw: Raw,
    version: Version,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
) -> Decode<FlowMod> {
    let protocol = cx.protocol_for(version);
    let (mut fm, flags) = match raw {
        Raw::Ofpt11FlowMod => flow_mod11(version, r, cx)?,
        raw => flow_mod10(raw, r, cx, protocol)?,
    };
    check_ct_addresses(&fm.match_)?;
    let len = r.len();
    fm.acts = inst::decode(r, len, &cx.act_rules(version))?;
    fm.flags = decode_flags(flags, version)?;
    if version <= Version::V11 && fm.command == FlowModCommand::Add {
        fm.flags |= FlowFlags::RESET_COUNTS;
    }
    if fm.flags.contains(FlowFlags::EMERG) {
        // There are no emergency flows; OpenFlow 1.0 has an error only for those with timeouts.
        return Err(if fm.hard_timeout != 0 || fm.idle_timeout != 0 {
            OfpError::OFPFMFC_BAD_EMERG_TIMEOUT
        } else {
            OfpError::OFPFMFC_TABLE_FULL
        });
    }
    let params = CheckParams {
        flow: &fm.match_.flow,
        mask: &fm.match_.mask,
        max_ports: cx.max_ports,
        table_id: fm.table_id,
        n_tables: cx.n_tables,
    };
    check_consistency(&mut fm.acts, protocol, &params)?;
    Ok(fm)
}

/// Conntrack addresses must be of the IP version of the flow.
fn check_ct_addresses(m: &Match) -> Decode<()> {
    let k = &m.mask.0;
    let set = |a: &[u8]| a.iter().any(|&b| b != 0);
    let dl_type = m.flow.dl_type.get();
    let v4 = set(&k.ct_nw_src.0) || set(&k.ct_nw_dst.0);
    let v6 = set(&k.ct_ipv6_src.0) || set(&k.ct_ipv6_dst.0);
    if (v4 && dl_type != 0x0800) || (v6 && dl_type != 0x86dd) {
        return Err(OfpError::OFPBAC_MATCH_INCONSISTENT);
    }
    Ok(())
}

fn command(n: u8) -> Decode<FlowModCommand> {
    FlowModCommand::from_wire(n).ok_or(OfpError::OFPFMFC_BAD_COMMAND)
}

fn flow_mod11(version: Version, r: &mut Reader<'_>, cx: &DecodeCx<'_>) -> Decode<Unfinished> {
    let (cookie, cookie_mask) = (r.u64()?, r.u64()?);
    let (table_id, wire_command) = (r.u8()?, r.u8()?);
    let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
    let (buffer_id, out_port, out_group) = (r.u32()?, r.u32()?, r.u32()?);
    let (flags, importance) = (r.u16()?, r.u16()?);
    let match_ = match11::decode(r, cx.match_rules())?;
    let is_delete = matches!(wire_command, 3 | 4);
    if table_id == ALL_TABLES && (version == Version::V11 || !is_delete) {
        return Err(OfpError::OFPFMFC_BAD_TABLE_ID);
    }
    let out_port = port_from_11(out_port)?;
    check_ct_addresses(&match_)?;
    let command = command(wire_command)?;
    // OpenFlow 1.1 only: a modify without cookie mask adds the flow when there is none.
    let adds = command == FlowModCommand::Add
        || (version == Version::V11 && command.is_modify() && cookie_mask == 0);
    let add = command == FlowModCommand::Add;
    Ok((
        FlowMod {
            command,
            match_,
            priority,
            cookie: if adds { 0 } else { cookie },
            cookie_mask: if adds { 0 } else { cookie_mask },
            new_cookie: if adds { cookie } else { u64::MAX },
            modify_cookie: false,
            table_id,
            idle_timeout,
            hard_timeout,
            buffer_id,
            out_port,
            out_group: if is_delete { out_group } else { ANY_GROUP },
            flags: FlowFlags::empty(),
            importance: if add && version >= Version::V14 {
                importance
            } else {
                0
            },
            acts: Vec::new(),
        },
        flags,
    ))
}

fn flow_mod10(
    raw: Raw,
    r: &mut Reader<'_>,
    cx: &DecodeCx<'_>,
    protocol: Protocols,
) -> Decode<Unfinished> {
    let std = raw == Raw::Ofpt10FlowMod;
    let mut exact = false;
    let mut match_ = Match::catchall();
    if std {
        exact = match10::wildcards(r.peek()) == 0;
        match_ = match10::decode(r)?;
        let _ = match_.normalize();
    }
    let (new_cookie, wire_command) = (r.u64()?, r.u16()?);
    let (idle_timeout, hard_timeout, priority) = (r.u16()?, r.u16()?, r.u16()?);
    let (buffer_id, out_port, flags) = (r.u32()?, OfPort(r.u16()?), r.u16()?);
    let mut cookie = (0, 0);
    if !std {
        let len = usize::from(r.u16()?);
        r.skip(6)?;
        let rules = MatchRules {
            cookie: true,
            ..cx.match_rules()
        };
        (match_, cookie) = nxm::decode_padded(r, len, rules)?;
        if wire_command & 0xff == 0 && cookie.1 != 0 {
            return Err(OfpError::NXBRC_NXM_INVALID);
        }
    }
    check_ct_addresses(&match_)?;
    let tid = protocol.intersects(Protocols::TID);
    let [table, low] = wire_command.to_be_bytes();
    let (table_id, low) = match tid {
        true => (table, low),
        // Without the extension the number has 16 bits.
        false if table != 0 => return Err(OfpError::OFPFMFC_BAD_COMMAND),
        false => (ALL_TABLES, low),
    };
    Ok((
        FlowMod {
            command: command(low)?,
            match_,
            // OpenFlow 1.0: exact matches have the highest priority.
            priority: if exact { u16::MAX } else { priority },
            cookie: cookie.0,
            cookie_mask: cookie.1,
            new_cookie,
            modify_cookie: new_cookie != u64::MAX,
            table_id,
            idle_timeout,
            hard_timeout,
            buffer_id,
            out_port,
            out_group: ANY_GROUP,
            flags: FlowFlags::empty(),
            importance: 0,
            acts: Vec::new(),
        },
        flags,
    ))
}

pub(super) fn raw(cx: &EncodeCx<'_>) -> Raw {
    if cx.version() >= Version::V11 {
        Raw::Ofpt11FlowMod
    } else if cx.protocol.intersects(Protocols::NXM_ANY) {
        Raw::NxtFlowMod
    } else {
        Raw::Ofpt10FlowMod
    }
}

pub(super) fn put(fm: &FlowMod, b: &mut Vec<u8>, cx: &EncodeCx<'_>) {
    let version = cx.version();
    match raw(cx) {
        Raw::Ofpt11FlowMod => put_flow_mod11(fm, b, version),
        raw => put_flow_mod10(fm, b, raw, cx),
    }
    inst::put(b, &fm.acts, version, cx.tun);
}

fn put_flow_mod11(fm: &FlowMod, b: &mut Vec<u8>, version: Version) {
    let v11 = version == Version::V11;
    let adds =
        fm.command == FlowModCommand::Add || (v11 && fm.command.is_modify() && fm.cookie_mask == 0);
    b.u64(if adds {
        fm.new_cookie
    } else {
        fm.cookie & fm.cookie_mask
    });
    b.u64(fm.cookie_mask);
    let all = fm.table_id == ALL_TABLES && (v11 || !fm.command.is_delete());
    b.u8(if all { 0 } else { fm.table_id });
    b.u8(fm.command as u8);
    b.u16(fm.idle_timeout);
    b.u16(fm.hard_timeout);
    b.u16(fm.priority);
    b.u32(fm.buffer_id);
    b.u32(fm.out_port.to_ofp11());
    b.u32(fm.out_group);
    b.u16(encode_flags(fm.flags, version));
    let important = version >= Version::V14 && fm.command == FlowModCommand::Add;
    b.u16(if important { fm.importance } else { 0 });
    match11::put(b, version, &fm.match_);
}

fn put_flow_mod10(fm: &FlowMod, b: &mut Vec<u8>, raw: Raw, cx: &EncodeCx<'_>) {
    let std = raw == Raw::Ofpt10FlowMod;
    if std {
        match10::put(b, &fm.match_);
    }
    b.u64(fm.new_cookie);
    let tid = cx.protocol.intersects(Protocols::TID);
    b.u8(if tid { fm.table_id } else { 0 });
    b.u8(fm.command as u8);
    b.u16(fm.idle_timeout);
    b.u16(fm.hard_timeout);
    b.u16(fm.priority);
    b.u32(fm.buffer_id);
    b.u16(fm.out_port.0);
    b.u16(encode_flags(fm.flags, Version::V10));
    if !std {
        let at = b.len();
        b.zeros(8);
        let len = nxm::put_nxm(b, &fm.match_, (fm.cookie, fm.cookie_mask));
        b.set_u16(at, len);
    }
}

//! Actions with lists inside: controller, bundle, multipath, ct, nat, encap, decap.

use super::decode::{ActRules, nested};
use super::encode::{Out, close, nx, put_actions};
use super::fields::{pack, unpack};
use super::table::RawAct as R;
use crate::action::{
    Act, BundleAct, CtAct, EncapHeader, HashFields, MultipathAct, MultipathAlg, NatAct,
};
use crate::check::{check_bundle, check_dst, check_src};
use crate::codec::{Decode, Put, Reader, oxm, prop};
use crate::error::OfpError;
use crate::props::{CLASS_NSH, NSH_MDTYPE, NSH_TLV, USE_NEXT_PROTO};
use crate::reason;
use crate::verify::Outer;
use flow::{FieldId, OfPort};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BAD: OfpError = OfpError::OFPBAC_BAD_ARGUMENT;
/// Members a bundle may have.
const MEMBERS_MAX: u16 = 2048;

pub(super) fn decode(raw: R, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    match raw {
        R::Controller2 => controller2(b),
        R::DecTtlCntIds => dec_ttl(b),
        R::Bundle => bundle(false, b, rules),
        R::BundleLoad => bundle(true, b, rules),
        R::Multipath => multipath(b, rules),
        R::Ct => ct(b, rules),
        R::Nat => nat(b),
        R::Encap => encap(b),
        R::Decap => decap(b),
        _ => Err(OfpError::OFPBAC_BAD_TYPE),
    }
}

pub(super) fn put(o: &mut Out<'_>, act: &Act) {
    match act {
        Act::Controller { .. } => put_controller(o, act),
        Act::DecTtl { ids } => {
            let at = nx(o, 21);
            o.b.u16(ids.len() as u16);
            o.b.zeros(4);
            for &id in ids {
                o.b.u16(id);
            }
            close(o, at);
        }
        Act::Bundle(bundle) => put_bundle(o, bundle),
        Act::Multipath(m) => put_multipath(o, m),
        Act::Sample { .. } => put_sample(o, act),
        Act::Ct(ct) => put_ct(o, ct),
        Act::Nat(nat) => put_nat(o, nat),
        Act::Clone(acts) => {
            let at = nx(o, 42);
            o.b.zeros(6);
            put_actions(o.b, acts, o.version, o.tun);
            close(o, at);
        }
        Act::Encap { header, props } => put_encap(o, *header, props),
        Act::Decap { new_type } => {
            let at = nx(o, 47);
            o.b.zeros(2);
            o.b.u32(new_type.unwrap_or(USE_NEXT_PROTO));
            close(o, at);
        }
        // The rest are instructions, which are not written here.
        _ => {}
    }
}

const PROP_MAX_LEN: u16 = 0;
const PROP_CONTROLLER_ID: u16 = 1;
const PROP_REASON: u16 = 2;
const PROP_USERDATA: u16 = 3;
const PROP_PAUSE: u16 = 4;
const PROP_METER_ID: u16 = 5;

fn controller2(b: &mut Reader<'_>) -> Decode<Act> {
    if b.take(6)?.iter().any(|&x| x != 0) {
        return Err(OfpError::NXBRC_MUST_BE_ZERO);
    }
    let (mut max_len, mut controller_id, mut reason) = (u16::MAX, 0, reason::ACTION);
    let (mut userdata, mut meter_id, mut pause) = (Vec::new(), None, false);
    while !b.is_empty() {
        let p = prop::pull(b, prop::EXPERIMENTER)?;
        match p.ty {
            PROP_MAX_LEN => max_len = p.u16()?,
            PROP_CONTROLLER_ID => controller_id = p.u16()?,
            PROP_REASON => reason = p.u8()?,
            PROP_USERDATA => userdata = p.data.to_vec(),
            PROP_PAUSE => pause = true,
            PROP_METER_ID => meter_id = Some(p.u32()?).filter(|&id| id != 0),
            _ => return Err(p.unknown()),
        }
    }
    Ok(Act::Controller {
        max_len,
        controller_id,
        reason,
        userdata,
        meter_id,
        pause,
    })
}

fn put_controller(o: &mut Out<'_>, act: &Act) {
    let Act::Controller {
        max_len,
        controller_id,
        reason,
        userdata,
        meter_id,
        pause,
    } = act
    else {
        return;
    };
    if userdata.is_empty() && !pause && meter_id.is_none() {
        let at = nx(o, 20);
        o.b.u16(*max_len);
        o.b.u16(*controller_id);
        o.b.u8(*reason);
        return close(o, at);
    }
    let at = nx(o, 37);
    o.b.zeros(6);
    if *max_len != u16::MAX {
        prop::put_u16(o.b, PROP_MAX_LEN, *max_len);
    }
    if *controller_id != 0 {
        prop::put_u16(o.b, PROP_CONTROLLER_ID, *controller_id);
    }
    if *reason != reason::ACTION {
        prop::put(o.b, PROP_REASON, &[*reason]);
    }
    if !userdata.is_empty() {
        prop::put(o.b, PROP_USERDATA, userdata);
    }
    if *pause {
        prop::put(o.b, PROP_PAUSE, &[]);
    }
    if let Some(meter) = meter_id {
        prop::put_u32(o.b, PROP_METER_ID, *meter);
    }
    close(o, at);
}

fn dec_ttl(b: &mut Reader<'_>) -> Decode<Act> {
    let n = b.u16()?;
    if b.u32()? != 0 {
        return Err(OfpError::NXBRC_MUST_BE_ZERO);
    }
    if b.len() < 2 * usize::from(n) {
        return Err(OfpError::OFPBAC_BAD_LEN);
    }
    let ids = (0..n).map(|_| b.u16()).collect::<Decode<_>>()?;
    Ok(Act::DecTtl { ids })
}

fn bundle(load: bool, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let (algorithm, fields, basis) = (b.u16()?, b.u16()?, b.u16()?);
    let (member_type, n, ofs_nbits) = (b.u32()?, b.u16()?, b.u16()?);
    let (dst, zero) = (b.u32()?, b.u32()?);
    let of_port = FieldId::InPort.nxm_header();
    let fields = HashFields::from_wire(fields).ok_or(BAD)?;
    if n > MEMBERS_MAX || algorithm > 1 || Some(member_type) != of_port || zero != 0 {
        return Err(BAD);
    }
    let dst = match load {
        true => {
            let dst = rules.subfield(dst, unpack(ofs_nbits))?;
            if dst.n_bits < 16 {
                return Err(BAD);
            }
            check_dst(&dst)?;
            Some(dst)
        }
        false if ofs_nbits != 0 || dst != 0 => return Err(BAD),
        false => None,
    };
    if b.len() < 2 * usize::from(n) {
        return Err(OfpError::OFPBAC_BAD_LEN);
    }
    let members = (0..n).map(|_| b.u16().map(OfPort)).collect::<Decode<_>>()?;
    let act = BundleAct {
        fields,
        basis,
        hrw: algorithm == 1,
        dst,
        members,
    };
    check_bundle(&act, OfPort::MAX)?;
    Ok(Act::Bundle(Box::new(act)))
}

fn put_bundle(o: &mut Out<'_>, bundle: &BundleAct) {
    let at = nx(o, if bundle.dst.is_some() { 13 } else { 12 });
    o.b.u16(u16::from(bundle.hrw));
    o.b.u16(bundle.fields.wire());
    o.b.u16(bundle.basis);
    o.b.u32(FieldId::InPort.nxm_header().unwrap_or(0));
    o.b.u16(bundle.members.len() as u16);
    o.b.u16(bundle.dst.as_ref().map_or(0, pack));
    let header = bundle
        .dst
        .map_or(0, |dst| oxm::short_header(dst.field, o.tun));
    o.b.u32(header);
    o.b.zeros(4);
    for member in &bundle.members {
        o.b.u16(member.0);
    }
    close(o, at);
}

fn multipath(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let (fields, basis) = (b.u16()?, b.u16()?);
    b.skip(2)?;
    let (algorithm, max_link, arg) = (b.u16()?, b.u16()?, b.u32()?);
    b.skip(2)?;
    let bits = unpack(b.u16()?);
    let dst = rules.subfield(b.u32()?, bits)?;
    let needed = u32::from(max_link).checked_ilog2().map_or(0, |n| n + 1);
    if u32::from(dst.n_bits) < needed {
        return Err(BAD);
    }
    let act = MultipathAct {
        fields: HashFields::from_wire(fields).ok_or(BAD)?,
        basis,
        algorithm: MultipathAlg::from_wire(algorithm).ok_or(BAD)?,
        max_link,
        arg,
        dst,
    };
    check_dst(&act.dst)?;
    Ok(Act::Multipath(Box::new(act)))
}

fn put_multipath(o: &mut Out<'_>, m: &MultipathAct) {
    let at = nx(o, 10);
    o.b.u16(m.fields.wire());
    o.b.u16(m.basis);
    o.b.zeros(2);
    o.b.u16(m.algorithm.wire());
    o.b.u16(m.max_link);
    o.b.u32(m.arg);
    o.b.zeros(2);
    o.b.u16(pack(&m.dst));
    let header = oxm::short_header(m.dst.field, o.tun);
    o.b.u32(header);
    close(o, at);
}

fn put_sample(o: &mut Out<'_>, act: &Act) {
    let Act::Sample {
        probability,
        collector_set_id,
        obs_domain_id,
        obs_point_id,
        sampling_port,
        direction,
    } = act
    else {
        return;
    };
    let subtype = match (*direction, *sampling_port) {
        (0, OfPort::NONE) => 29,
        (0, _) => 38,
        _ => 41,
    };
    let at = nx(o, subtype);
    o.b.u16(*probability);
    for id in [collector_set_id, obs_domain_id, obs_point_id] {
        o.b.u32(*id);
    }
    if subtype != 29 {
        o.b.u16(sampling_port.0);
        o.b.u8(*direction);
    }
    close(o, at);
}

const CT_COMMIT: u16 = 1;
const CT_FORCE: u16 = 2;

fn ct(b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    let (flags, zone_src, zone, table) = (b.u16()?, b.u32()?, b.u16()?, b.u8()?);
    b.skip(3)?;
    let alg = b.u16()?;
    let (commit, force) = (flags & CT_COMMIT != 0, flags & CT_FORCE != 0);
    if force && !commit {
        return Err(BAD);
    }
    let zone_src = match zone_src {
        0 => None,
        header => {
            let src = rules.subfield(header, unpack(zone))?;
            check_src(&src)?;
            if src.n_bits != 16 {
                return Err(OfpError::OFPBAC_BAD_SET_LEN);
            }
            Some(src)
        }
    };
    let actions = nested(b, rules, Outer::Ct)?;
    let bare_nat = |a: &Act| matches!(a, Act::Nat(nat) if *nat == NatAct::default());
    if !commit && !actions.iter().all(bare_nat) {
        return Err(BAD);
    }
    Ok(Act::Ct(Box::new(CtAct {
        commit,
        force,
        zone_imm: if zone_src.is_some() { 0 } else { zone },
        zone_src,
        alg,
        recirc_table: (table != u8::MAX).then_some(table),
        actions,
    })))
}

fn put_ct(o: &mut Out<'_>, ct: &CtAct) {
    let at = nx(o, 35);
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    o.b.u16(flag(ct.commit, CT_COMMIT) | flag(ct.force, CT_FORCE));
    match &ct.zone_src {
        Some(src) => {
            let header = oxm::short_header(src.field, o.tun);
            o.b.u32(header);
            o.b.u16(pack(src));
        }
        None => {
            o.b.u32(0);
            o.b.u16(ct.zone_imm);
        }
    }
    o.b.u8(ct.recirc_table.unwrap_or(u8::MAX));
    o.b.zeros(3);
    o.b.u16(ct.alg);
    put_actions(o.b, &ct.actions, o.version, o.tun);
    close(o, at);
}

const NAT_SRC: u16 = 1;
const NAT_DST: u16 = 2;
const NAT_PERSISTENT: u16 = 4;
const NAT_HASH: u16 = 8;
const NAT_RANDOM: u16 = 16;
const NAT_FLAGS: u16 = 31;

const IPV4_MIN: u16 = 1;
const IPV4_MAX: u16 = 2;
const IPV6_MIN: u16 = 4;
const IPV6_MAX: u16 = 8;
const PORT_MIN: u16 = 16;
const PORT_MAX: u16 = 32;

fn nat(b: &mut Reader<'_>) -> Decode<Act> {
    b.skip(2)?;
    let (flags, present) = (b.u16()?, b.u16()?);
    let both = |pair: u16| flags & pair == pair;
    if flags & !NAT_FLAGS != 0 || both(NAT_SRC | NAT_DST) || both(NAT_HASH | NAT_RANDOM) {
        return Err(BAD);
    }
    let mut nat = NatAct {
        src: flags & NAT_SRC != 0,
        dst: flags & NAT_DST != 0,
        persistent: flags & NAT_PERSISTENT != 0,
        hash: flags & NAT_HASH != 0,
        random: flags & NAT_RANDOM != 0,
        addr: None,
        ports: None,
    };
    nat.addr = nat_addresses(b, present).map_err(|_| BAD)?;
    nat.ports = nat_ports(b, present, nat.addr.is_some()).map_err(|_| BAD)?;
    Ok(Act::Nat(nat))
}

fn nat_addresses(b: &mut Reader<'_>, present: u16) -> Decode<Option<(IpAddr, Option<IpAddr>)>> {
    let v4 = present & (IPV4_MIN | IPV4_MAX);
    let v6 = present & (IPV6_MIN | IPV6_MAX);
    let addr = |b: &mut Reader<'_>| -> Decode<IpAddr> {
        if v4 != 0 {
            b.array::<4>().map(|a| Ipv4Addr::from(a).into())
        } else {
            b.array::<16>().map(|a| Ipv6Addr::from(a).into())
        }
    };
    match (v4, v6) {
        (0, 0) => return Ok(None),
        (0, IPV6_MAX) | (IPV4_MAX, _) => return Err(BAD),
        (v4, v6) if v4 != 0 && v6 != 0 => return Err(BAD),
        _ => {}
    }
    let min = addr(b)?;
    let max = match present & (IPV4_MAX | IPV6_MAX) {
        0 => None,
        _ => Some(addr(b)?),
    };
    if min.is_unspecified() || max.is_some_and(|max| max < min) {
        return Err(BAD);
    }
    Ok(Some((min, max)))
}

fn nat_ports(
    b: &mut Reader<'_>,
    present: u16,
    addresses: bool,
) -> Decode<Option<(u16, Option<u16>)>> {
    match present & (PORT_MIN | PORT_MAX) {
        0 => return Ok(None),
        PORT_MAX => return Err(BAD),
        _ if !addresses => return Err(BAD),
        _ => {}
    }
    let min = b.u16()?;
    let max = match present & PORT_MAX {
        0 => None,
        _ => Some(b.u16()?),
    };
    if min == 0 || max.is_some_and(|max| max < min) {
        return Err(BAD);
    }
    Ok(Some((min, max)))
}

fn put_nat(o: &mut Out<'_>, nat: &NatAct) {
    let at = nx(o, 36);
    let flags = [
        (nat.src, NAT_SRC),
        (nat.dst, NAT_DST),
        (nat.persistent, NAT_PERSISTENT),
        (nat.hash, NAT_HASH),
        (nat.random, NAT_RANDOM),
    ];
    o.b.zeros(2);
    o.b.u16(flags.iter().filter(|(on, _)| *on).map(|(_, bit)| bit).sum());
    let present_at = o.b.len();
    o.b.u16(0);
    let mut present = 0;
    if let Some((min, max)) = nat.addr {
        for (addr, v4, v6) in [(Some(min), IPV4_MIN, IPV6_MIN), (max, IPV4_MAX, IPV6_MAX)] {
            match addr.filter(|a| !a.is_unspecified()) {
                Some(IpAddr::V4(a)) => {
                    o.b.bytes(&a.octets());
                    present |= v4;
                }
                Some(IpAddr::V6(a)) => {
                    o.b.bytes(&a.octets());
                    present |= v6;
                }
                None => {}
            }
        }
        let (min, max) = nat.ports.map_or((0, 0), |(a, b)| (a, b.unwrap_or(0)));
        for (port, bit) in [(min, PORT_MIN), (max, PORT_MAX)] {
            if port != 0 {
                o.b.u16(port);
                present |= bit;
            }
        }
    }
    o.b.set_u16(present_at, present.into());
    close(o, at);
}

fn encap(b: &mut Reader<'_>) -> Decode<Act> {
    b.skip(2)?;
    let header = match b.u32()? {
        0 => EncapHeader::Ethernet,
        0x1_894f => EncapHeader::Nsh,
        0x1_8847 => EncapHeader::Mpls(0x8847),
        0x1_8848 => EncapHeader::Mpls(0x8848),
        _ => return Err(OfpError::NXBAC_BAD_HEADER_TYPE),
    };
    let mut props = Vec::new();
    while !b.is_empty() {
        props.push(encap_prop(b)?);
    }
    Ok(Act::Encap { header, props })
}

fn encap_prop(b: &mut Reader<'_>) -> Decode<(u16, u8, Vec<u8>)> {
    let bad_len = OfpError::OFPBAC_BAD_LEN;
    let &[c0, c1, ty, len, ..] = b.peek() else {
        return Err(bad_len);
    };
    let (class, len) = (u16::from_be_bytes([c0, c1]), usize::from(len));
    if len < 4 {
        return Err(bad_len);
    }
    let all = b.try_take(len.next_multiple_of(8)).ok_or(bad_len)?;
    let data = &all[4..];
    match (class, ty) {
        (CLASS_NSH, NSH_MDTYPE) if len <= 8 => Ok((class, ty, vec![data[0]])),
        (CLASS_NSH, NSH_TLV) => {
            let value_len = usize::from(data[3]);
            if len != 8 + value_len.next_multiple_of(8) {
                return Err(OfpError::NXBAC_BAD_ED_PROP);
            }
            let mut out = data[..3].to_vec();
            out.extend_from_slice(&data[4..4 + value_len]);
            Ok((class, ty, out))
        }
        (CLASS_NSH, NSH_MDTYPE) => Err(OfpError::NXBAC_BAD_ED_PROP),
        _ => Err(OfpError::NXBAC_UNKNOWN_ED_PROP),
    }
}

fn put_encap(o: &mut Out<'_>, header: EncapHeader, props: &[(u16, u8, Vec<u8>)]) {
    let at = nx(o, 46);
    o.b.zeros(2);
    o.b.u32(header.packet_type());
    for (class, ty, data) in props {
        let start = o.b.len();
        o.b.u16(*class);
        o.b.u8(*ty);
        match data.as_slice() {
            &[c0, c1, kind, ref value @ ..] if *ty == NSH_TLV => {
                let padded = value.len().next_multiple_of(8);
                o.b.u8((8 + padded) as u8);
                o.b.bytes(&[c0, c1, kind, value.len() as u8]);
                o.b.bytes(value);
            }
            data => {
                o.b.u8((4 + data.len()) as u8);
                o.b.bytes(data);
            }
        }
        o.b.pad(start, 8);
    }
    close(o, at);
}

fn decap(b: &mut Reader<'_>) -> Decode<Act> {
    b.skip(2)?;
    let new_type = b.u32()?;
    if !b.is_empty() {
        return Err(OfpError::NXBAC_UNKNOWN_ED_PROP);
    }
    Ok(Act::Decap {
        new_type: (new_type != USE_NEXT_PROTO).then_some(new_type),
    })
}

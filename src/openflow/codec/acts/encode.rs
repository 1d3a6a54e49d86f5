//! Actions to bytes.

use super::fields::{
    put_mac, put_move, put_output_reg, put_reg_load, put_set_field, put_short, put_stack,
};
use super::table::VENDOR;
use super::{complex, learn};
use crate::action::{Act, Port};
use crate::codec::{Put, oxm};
use crate::error::NX_VENDOR;
use crate::version::Version;
use flow::{FieldId, OfPort, Subfield, TunTable};

/// Where actions are written.
pub(super) struct Out<'a> {
    pub(super) b: &'a mut Vec<u8>,
    pub(super) version: Version,
    pub(super) tun: Option<&'a TunTable>,
}

/// Appends a list of actions.
pub(crate) fn put_actions(b: &mut Vec<u8>, acts: &[Act], version: Version, tun: Option<&TunTable>) {
    for act in acts {
        put_act(b, act, version, tun);
    }
}

/// Appends one action; instructions only as far as OpenFlow 1.0 has actions for them.
pub(crate) fn put_act(b: &mut Vec<u8>, act: &Act, version: Version, tun: Option<&TunTable>) {
    let mut o = Out { b, version, tun };
    put(&mut o, act);
}

/// Begins an action of OpenFlow.
pub(super) fn of(o: &mut Out<'_>, ty: u16) -> usize {
    let at = o.b.len();
    o.b.u16(ty);
    o.b.u16(0);
    at
}
/// Begins an action of Nicira.
pub(super) fn nx(o: &mut Out<'_>, subtype: u16) -> usize {
    let at = of(o, VENDOR);
    o.b.u32(NX_VENDOR);
    o.b.u16(subtype);
    at
}
/// Begins an action that OpenFlow 1.0 has only as Nicira's.
fn either(o: &mut Out<'_>, subtype: u16, ty: u16) -> usize {
    if o.version == Version::V10 {
        nx(o, subtype)
    } else {
        of(o, ty)
    }
}
/// Ends an action: pads it and writes its length.
pub(super) fn close(o: &mut Out<'_>, at: usize) {
    o.b.pad(at, 8);
    let len = o.b.len() - at;
    o.b.set_u16(at + 2, len);
}

/// An action with a 32-bit argument, aligned.
fn either_u32(o: &mut Out<'_>, subtype: u16, ty: u16, arg: u32) {
    let at = either(o, subtype, ty);
    if o.version == Version::V10 {
        o.b.zeros(2);
    }
    o.b.u32(arg);
    close(o, at);
}
fn either_bytes(o: &mut Out<'_>, subtype: u16, ty: u16, arg: &[u8]) {
    let at = either(o, subtype, ty);
    o.b.bytes(arg);
    close(o, at);
}
/// A vendor action of these bytes.
pub(super) fn nx_bytes(o: &mut Out<'_>, subtype: u16, arg: &[u8]) {
    let at = nx(o, subtype);
    o.b.bytes(arg);
    close(o, at);
}

/// A whole field set to a number: set-field, for versions that have it.
fn set_u64(o: &mut Out<'_>, field: FieldId, value: u64) {
    let at = of(o, 25);
    let n = field.info().n_bytes;
    let bytes = value.to_be_bytes();
    let id = (field, o.version.wire());
    oxm::put_entry(o.b, id, &bytes[8 - n..], None, o.tun);
    close(o, at);
}

fn put(o: &mut Out<'_>, act: &Act) {
    match act {
        Act::Output { port, max_len } => put_output(o, *port, *max_len),
        Act::Group(id) => either_u32(o, 40, 22, *id),
        Act::Enqueue { port, queue } => put_enqueue(o, *port, *queue),
        Act::OutputReg { src, max_len } => put_output_reg(o, src, *max_len),
        Act::OutputTrunc { port, max_len } => {
            let at = nx(o, 39);
            o.b.u16(port.0);
            o.b.u32(*max_len);
            close(o, at);
        }
        Act::SetField { .. } => put_set_field(o, act),
        Act::RegMove { src, dst } => put_move(o, src, dst),
        Act::StackPush(sub) => put_stack(o, 27, sub),
        Act::StackPop(sub) => put_stack(o, 28, sub),
        Act::DeleteField(field) => {
            let at = nx(o, 50);
            oxm::put_header(o.b, *field, 0, o.tun);
            o.b.pad(at, 24);
            close(o, at);
        }
        Act::CheckPktLarger { len, dst } => {
            let at = nx(o, 49);
            o.b.u16(*len);
            o.b.u16(dst.ofs);
            oxm::put_header(o.b, dst.field, 0, o.tun);
            o.b.pad(at, 24);
            close(o, at);
        }
        Act::Learn(l) => learn::put(o, l),
        _ => put_header(o, act),
    }
}

fn put_output(o: &mut Out<'_>, port: Port, max_len: u16) {
    let at = of(o, 0);
    if o.version == Version::V10 {
        o.b.u16(port.0);
        o.b.u16(max_len);
    } else {
        o.b.u32(port.to_ofp11());
        o.b.u16(max_len);
    }
    close(o, at);
}

fn put_enqueue(o: &mut Out<'_>, port: Port, queue: u32) {
    if o.version == Version::V10 {
        let at = of(o, 11);
        o.b.u16(port.0);
        o.b.zeros(6);
        o.b.u32(queue);
        return close(o, at);
    }
    either_u32(o, 4, 21, queue);
    put_output(o, port, u16::MAX);
    nx_bytes(o, 5, &[]);
}

/// Header changes that are actions of their own in old versions and set-fields in new ones.
fn put_header(o: &mut Out<'_>, act: &Act) {
    use FieldId as F;
    let (v10, set) = (o.version == Version::V10, o.version >= Version::V12);
    let ty = |ty10: u16| if v10 { ty10 } else { ty10 - 1 };
    match act {
        Act::SetVlanVid {
            vid,
            push_if_needed,
            flow_has_vlan,
        } => {
            push_vlan_if(o, *push_if_needed && !flow_has_vlan);
            if set {
                set_u64(o, F::VlanVid, u64::from(*vid) | 0x1000);
            } else {
                put_short(o, 1, &vid.to_be_bytes());
            }
        }
        Act::SetVlanPcp {
            pcp,
            push_if_needed,
            flow_has_vlan,
        } => {
            push_vlan_if(o, *push_if_needed && !flow_has_vlan);
            if set {
                set_u64(o, F::VlanPcp, (*pcp).into());
            } else {
                put_short(o, 2, &[*pcp]);
            }
        }
        Act::StripVlan { .. } => put_short(o, if v10 { 3 } else { 18 }, &[]),
        // OpenFlow 1.0 pushes by setting.
        Act::PushVlan { .. } if v10 => {}
        Act::PushVlan { ethertype } => put_short(o, 17, &ethertype.to_be_bytes()),
        Act::SetEthSrc(a) if set => set_u64(o, F::EthSrc, a.to_u64()),
        Act::SetEthDst(a) if set => set_u64(o, F::EthDst, a.to_u64()),
        Act::SetEthSrc(a) => put_mac(o, ty(4), &a.0),
        Act::SetEthDst(a) => put_mac(o, ty(5), &a.0),
        Act::SetIpv4Src(a) if set => set_u64(o, F::Ipv4Src, a.to_u32().into()),
        Act::SetIpv4Dst(a) if set => set_u64(o, F::Ipv4Dst, a.to_u32().into()),
        Act::SetIpv4Src(a) => put_short(o, ty(6), &a.0),
        Act::SetIpv4Dst(a) => put_short(o, ty(7), &a.0),
        Act::SetIpDscp(v) if set => set_u64(o, F::IpDscpShifted, u64::from(v >> 2)),
        Act::SetIpDscp(v) => put_short(o, ty(8), &[*v]),
        Act::SetIpEcn(v) if set => set_u64(o, F::IpEcn, (*v).into()),
        Act::SetIpEcn(v) if v10 => put_reg_load(o, &Subfield::whole(F::IpEcn), (*v).into()),
        Act::SetIpEcn(v) => put_short(o, 8, &[*v]),
        Act::SetIpTtl(v) if v10 => put_reg_load(o, &Subfield::whole(F::IpTtl), (*v).into()),
        Act::SetIpTtl(v) => put_short(o, 23, &[*v]),
        Act::SetL4SrcPort {
            port,
            flow_ip_proto,
        } => {
            let fields = [F::TcpSrc, F::UdpSrc, F::SctpSrc];
            put_l4(o, 9, *port, l4_field(*flow_ip_proto, fields));
        }
        Act::SetL4DstPort {
            port,
            flow_ip_proto,
        } => {
            let fields = [F::TcpDst, F::UdpDst, F::SctpDst];
            put_l4(o, 10, *port, l4_field(*flow_ip_proto, fields));
        }
        Act::SetMplsLabel(v) if set => set_u64(o, F::MplsLabel, (*v).into()),
        Act::SetMplsLabel(v) => either_u32(o, 30, 13, *v),
        Act::SetMplsTc(v) if set => set_u64(o, F::MplsTc, (*v).into()),
        Act::SetMplsTc(v) => either_bytes(o, 31, 14, &[*v]),
        Act::SetTunnel { id, .. } if set => set_u64(o, F::TunId, *id),
        _ => put_rest(o, act),
    }
}

fn push_vlan_if(o: &mut Out<'_>, push: bool) {
    if push && o.version > Version::V10 {
        put_short(o, 17, &0x8100u16.to_be_bytes());
    }
}

fn l4_field(proto: u8, [tcp, udp, sctp]: [FieldId; 3]) -> Option<FieldId> {
    match proto {
        6 => Some(tcp),
        17 => Some(udp),
        132 => Some(sctp),
        _ => None,
    }
}

fn put_l4(o: &mut Out<'_>, ty: u16, port: u16, field: Option<FieldId>) {
    match field.filter(|_| o.version >= Version::V12) {
        Some(field) => set_u64(o, field, port.into()),
        None => put_short(o, ty, &port.to_be_bytes()),
    }
}

fn put_rest(o: &mut Out<'_>, act: &Act) {
    match act {
        Act::SetMplsTtl(v) => either_bytes(o, 25, 15, &[*v]),
        Act::DecMplsTtl => either_bytes(o, 26, 16, &[]),
        Act::PushMpls { ethertype } => either_bytes(o, 23, 19, &ethertype.to_be_bytes()),
        Act::PopMpls { ethertype } => either_bytes(o, 24, 20, &ethertype.to_be_bytes()),
        Act::DecTtl { ids } if ids.is_empty() => either_bytes(o, 18, 24, &[]),
        Act::SetQueue(q) => either_u32(o, 4, 21, *q),
        Act::PopQueue => nx_bytes(o, 5, &[]),
        Act::SetTunnel { id, wide } => match u32::try_from(*id) {
            Ok(id) if !wide => {
                let at = nx(o, 2);
                o.b.zeros(2);
                o.b.u32(id);
                close(o, at);
            }
            _ => {
                let at = nx(o, 9);
                o.b.zeros(6);
                o.b.u64(*id);
                close(o, at);
            }
        },
        Act::FinTimeout { idle, hard } => {
            let at = nx(o, 19);
            o.b.u16(*idle);
            o.b.u16(*hard);
            close(o, at);
        }
        Act::Resubmit { in_port, table, ct } => put_resubmit(o, *in_port, *table, *ct),
        Act::Conjunction {
            id,
            clause,
            n_clauses,
        } => {
            let at = nx(o, 34);
            o.b.u8(*clause);
            o.b.u8(*n_clauses);
            o.b.u32(*id);
            close(o, at);
        }
        Act::Note(data) => nx_bytes(o, 8, data),
        Act::Exit => nx_bytes(o, 17, &[]),
        Act::CtClear => nx_bytes(o, 43, &[]),
        Act::DecNshTtl => nx_bytes(o, 48, &[]),
        Act::DebugSlow => nx_bytes(o, 254, &[]),
        Act::DebugRecirc => nx_bytes(o, 255, &[]),
        Act::Meter(id) if o.version >= Version::V15 => put_short(o, 29, &id.to_be_bytes()),
        Act::WriteMetadata { metadata, mask } if o.version == Version::V10 => {
            let at = nx(o, 22);
            o.b.zeros(6);
            o.b.u64(*metadata);
            o.b.u64(*mask);
            close(o, at);
        }
        Act::GotoTable(table) if o.version == Version::V10 => {
            put_resubmit(o, OfPort::IN_PORT, *table, false);
        }
        _ => complex::put(o, act),
    }
}

fn put_resubmit(o: &mut Out<'_>, in_port: Port, table: u8, ct: bool) {
    if table == u8::MAX && !ct {
        return nx_bytes(o, 1, &in_port.0.to_be_bytes());
    }
    let at = nx(o, if ct { 44 } else { 14 });
    o.b.u16(in_port.0);
    o.b.u8(table);
    close(o, at);
}

//! A packet's context: what travels with it besides its bytes, as a match (for packet-in messages) and
//! back from a flow (for packets that are sent in).

use crate::extract::{CtMeta, CtTuple, Metadata};
use crate::field::{FieldId, ct_valid};
use crate::key::{Flow, TunnelKey};
use crate::matches::Match;
use crate::tun_table::TunTable;
use wire::ethernet::{ETH_TYPE_IP, ETH_TYPE_IPV6};

/// Context fields that are mentioned when they are not zero.
const CONTEXT: [FieldId; 24] = [
    FieldId::TunId,
    FieldId::TunSrc,
    FieldId::TunDst,
    FieldId::TunIpv6Src,
    FieldId::TunIpv6Dst,
    FieldId::TunGbpId,
    FieldId::TunGbpFlags,
    FieldId::TunErspanVer,
    FieldId::TunErspanIdx,
    FieldId::TunErspanDir,
    FieldId::TunErspanHwid,
    FieldId::TunGtpuFlags,
    FieldId::TunGtpuMsgtype,
    FieldId::Metadata,
    FieldId::Xxreg(0),
    FieldId::Xxreg(1),
    FieldId::Xxreg(2),
    FieldId::Xxreg(3),
    FieldId::PktMark,
    FieldId::PacketType,
    FieldId::CtState,
    FieldId::CtZone,
    FieldId::CtMark,
    FieldId::CtLabel,
];

impl Match {
    /// The context of the packet that has `flow`: its port always, the rest when it is not zero. `tun`
    /// places the flow's tunnel metadata.
    #[must_use]
    pub fn of_context(flow: &Flow, tun: Option<&TunTable>) -> Self {
        let mut m = Self::catchall();
        let mut ask = |field: FieldId| {
            // Only tunnel metadata can fail, for want of space or set twice: neither happens here.
            let _ = m.set(field, &field.get(flow, tun), None);
        };
        ask(FieldId::InPort);
        for field in CONTEXT {
            match field {
                // Registers one by one: those that are zero are not mentioned.
                FieldId::Xxreg(n) => (0..4)
                    .map(|i| FieldId::Reg(4 * n + i))
                    .filter(|r| r.is_set(flow))
                    .for_each(&mut ask),
                _ if field.is_set(flow) => ask(field),
                _ => {}
            }
        }
        if flow.tunnel.flags.get() & TunnelKey::F_MATCHABLE != 0 {
            ask(FieldId::TunFlags);
        }
        if flow.ct_state != 0 {
            // The tuple means nothing without the packet's type.
            ask(FieldId::EthType);
            for field in ct_tuple_fields(flow) {
                ask(*field);
            }
        }
        if flow.tunnel.flags.get() & TunnelKey::F_UDPIF == 0 {
            m.add_tun_metadata(flow, tun);
        }
        m
    }

    fn add_tun_metadata(&mut self, flow: &Flow, tun: Option<&TunTable>) {
        let Some(table) = tun else { return };
        for i in (0..64).filter(|i| flow.tunnel.present.get() >> i & 1 == 1) {
            // The match's own table is as large as the switch's.
            let _ = self.set_own_tun_metadata(i, &table.value(i, &flow.tunnel));
        }
    }
}

fn ct_tuple_fields(flow: &Flow) -> &'static [FieldId] {
    use FieldId as I;
    if !ct_valid(flow, None) || flow.ct_nw_proto == 0 {
        return &[];
    }
    match flow.dl_type.get() {
        ETH_TYPE_IP => &[I::CtNwSrc, I::CtNwDst, I::CtNwProto, I::CtTpSrc, I::CtTpDst],
        ETH_TYPE_IPV6 => &[
            I::CtIpv6Src,
            I::CtIpv6Dst,
            I::CtNwProto,
            I::CtTpSrc,
            I::CtTpDst,
        ],
        _ => &[],
    }
}

impl CtMeta {
    /// The conntrack part of a flow; `None` when conntrack has not seen the packet.
    #[must_use]
    pub fn of_flow(flow: &Flow) -> Option<Self> {
        if flow.ct_state == 0 {
            return None;
        }
        let (tp_src, tp_dst) = (flow.ct_tp_src.get(), flow.ct_tp_dst.get());
        let proto = flow.ct_nw_proto;
        let tuple = match flow.dl_type.get() {
            _ if !ct_valid(flow, None) || proto == 0 => CtTuple::None,
            ETH_TYPE_IP => CtTuple::V4 {
                src: flow.ct_nw_src,
                dst: flow.ct_nw_dst,
                tp_src,
                tp_dst,
                proto,
            },
            ETH_TYPE_IPV6 => CtTuple::V6 {
                src: flow.ct_ipv6_src,
                dst: flow.ct_ipv6_dst,
                tp_src,
                tp_dst,
                proto,
            },
            _ => CtTuple::None,
        };
        Some(Self {
            state: flow.ct_state,
            zone: flow.ct_zone.get(),
            mark: flow.ct_mark.get(),
            label: flow.ct_label.get(),
            tuple,
        })
    }
}

impl<'a> Metadata<'a> {
    /// The metadata that a packet with `flow` has; `ct` is [`CtMeta::of_flow`] of the same flow.
    #[must_use]
    pub fn of_flow(flow: &'a Flow, ct: Option<&'a CtMeta>) -> Self {
        Self {
            in_port: flow.in_port.get(),
            recirc_id: flow.recirc_id.get(),
            dp_hash: flow.dp_hash.get(),
            packet_type: flow.packet_type.get(),
            priority: flow.skb_priority.get(),
            mark: flow.pkt_mark.get(),
            ct,
            tunnel: flow.tunnel.is_set().then_some(&flow.tunnel),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ExactFlow, NoNames, TlvMap, extract};

    #[test]
    fn context_says_what_is_not_zero() {
        let text = "in_port=3,tun_id=5,reg5=7,metadata=1,pkt_mark=2,ct_state=0x21,ct_zone=9,tcp,\
                    ct_nw_proto=6,ct_nw_src=1.2.3.4,tcp_dst=80";
        let flow = ExactFlow::parse(text, &NoNames, None).expect("valid").flow;
        assert_eq!(
            Match::of_context(&flow, None).to_string(),
            "pkt_mark=0x2,ct_state=+new-est-rel-rpl-inv+trk-snat-dnat,ct_zone=9,ct_nw_src=1.2.3.4,\
             ct_nw_dst=0.0.0.0,ct_nw_proto=6,ct_tp_src=0,ct_tp_dst=0,ip,reg5=0x7,tun_id=0x5,\
             metadata=0x1,in_port=3"
                .replace("+new-est-rel-rpl-inv+trk-snat-dnat", "new|trk")
        );
    }

    #[test]
    fn tunnel_metadata_moves_to_the_matchs_own_table() {
        let mut table = TunTable::new();
        table
            .add(TlvMap {
                index: 7,
                class: 1,
                kind: 2,
                len: 8,
            })
            .expect("space");
        let mut flow = Flow::zero();
        FieldId::TunMetadata(7).set(&mut flow, &[0, 5], Some(&table));
        let m = Match::of_context(&flow, Some(&table));
        assert_eq!(m.to_string(), "tun_metadata7=0x5,in_port=0");
        assert_eq!(m.tun.and_then(|t| t.len_of(7)), Some(8));
    }

    #[test]
    fn metadata_survives_extraction() {
        let text = "in_port=3,pkt_mark=2,ct_state=0x21,ct_zone=9,tcp,ct_nw_proto=6,ct_nw_src=1.2.3.4,\
                    ct_tp_dst=5,tcp_dst=80";
        let flow = ExactFlow::parse(text, &NoNames, None).expect("valid").flow;
        let ct = CtMeta::of_flow(&flow);
        let packet = crate::compose::compose(&flow, Default::default());
        let mut again = Flow::zero();
        extract(&packet, &Metadata::of_flow(&flow, ct.as_ref()), &mut again);
        assert_eq!(again, flow);
    }
}

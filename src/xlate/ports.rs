//! Output: to one port, to many, to the far end of a patch port, to the controller.

use crate::act::Place;
use crate::ctx::{Ctx, NfOut, Pause};
use crate::effects::Effect;
use crate::headers::{PT_ETH, clear_conntrack, ethertype_packet, is_stp};
use crate::port::{PacketTypeMode, XPort};
use crate::snapshot::XBridge;
use crate::table::{Lookup, Run, reason};
use crate::trace::NodeKind;
use crate::wild::Site;
use flow::{OdpPort, OfPort, Subfield};
use odp::{Action, HashAlg, SlowReason};
use wire::ipv4::DSCP_MASK;
use wire::{U32, U64};

/// A bond's output that goes through the datapath's hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BondRecirc {
    /// Recirculation id of the bond.
    pub(crate) id: u32,
    /// Basis of the hash.
    pub(crate) basis: u32,
    /// Output by `lb_output` instead.
    pub(crate) lb_output: bool,
}

/// Circumstances of an output.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Out {
    /// Through a bond's hash.
    pub(crate) bond: Option<BondRecirc>,
    /// Whatever the spanning tree says.
    pub(crate) ignore_stp: bool,
    /// Nothing happens to the packet afterwards.
    pub(crate) last: bool,
    /// The packet is cut.
    pub(crate) truncate: bool,
}

impl<'a> Ctx<'a> {
    /// The `output` action.
    pub(crate) fn output(&mut self, port: OfPort, max_len: u16, may_packet_in: bool, place: Place) {
        self.output_to(
            port,
            place,
            |ctx| {
                let what = Pause {
                    max_len,
                    controller_id: 0,
                    reason: ctx.output_reason(place.bucket),
                    userdata: Vec::new(),
                };
                match port {
                    OfPort::TABLE => {
                        let l = Lookup {
                            in_port: ctx.in_port(),
                            table: 0,
                            may_packet_in,
                            honor_miss: true,
                            ct_orig: false,
                        };
                        ctx.table_action(l, false, Run::Plain);
                    }
                    _ => ctx.send_to_controller(what, None),
                }
            },
            false,
        );
    }

    fn output_reason(&self, bucket: bool) -> u8 {
        if self.in_packet_out {
            reason::PACKET_OUT
        } else if bucket {
            reason::GROUP
        } else if self.in_action_set {
            reason::ACTION_SET
        } else {
            reason::ACTION
        }
    }

    /// Outputs; `special` does what TABLE and CONTROLLER mean.
    fn output_to(
        &mut self,
        port: OfPort,
        place: Place,
        special: impl FnOnce(&mut Self),
        truncate: bool,
    ) {
        let before = std::mem::replace(&mut self.nf_out, NfOut::Drop);
        let out = Out {
            last: place.last,
            truncate,
            ..Out::default()
        };
        match port {
            OfPort::IN_PORT => self.compose_output(self.in_port(), out),
            OfPort::TABLE | OfPort::CONTROLLER => special(self),
            OfPort::NORMAL => self.normal(),
            OfPort::FLOOD => self.flood(false, place.last),
            OfPort::ALL => self.flood(true, place.last),
            OfPort::NONE => {}
            _ if port == self.in_port() => {
                self.remark(|| "skipping output to input port".into());
            }
            _ => self.compose_output(port, out),
        }
        self.nf_out = match (before, self.nf_out) {
            (NfOut::Flood, _) => NfOut::Flood,
            (before, NfOut::Drop) => before,
            (NfOut::Drop, now) | (_, now @ NfOut::Flood) => now,
            _ => NfOut::Multi,
        };
    }

    /// Outputs to what a register says, or to what `bundle` chose.
    pub(crate) fn output_plain(&mut self, port: OfPort, max_len: u16, place: Place) {
        self.output(port, max_len, false, place);
    }

    pub(crate) fn output_reg(&mut self, src: &Subfield, max_len: u16, place: Place) {
        let tun = self.tun();
        let tun = Some(&*tun);
        let port = src.read_u64(&self.flow, tun);
        let Ok(port16) = u16::try_from(port) else {
            self.note(NodeKind::Warn, || {
                format!("output port {port} is out of range")
            });
            return;
        };
        self.note(NodeKind::Detail, || format!("output port is {port}"));
        self.wc.with(Site::OutputReg, |m| src.mask(m, tun));
        self.output_plain(OfPort(port16), max_len, place);
    }

    pub(crate) fn output_trunc(&mut self, port: OfPort, max_len: u32, place: Place) {
        match port {
            OfPort::TABLE
            | OfPort::NORMAL
            | OfPort::FLOOD
            | OfPort::ALL
            | OfPort::CONTROLLER
            | OfPort::NONE => {
                self.note(NodeKind::Warn, || {
                    format!("output_trunc does not support port: {port}")
                });
                return;
            }
            _ if port == self.in_port() => {
                self.remark(|| "skipping output to input port".into());
                return;
            }
            _ => {}
        }
        if self.port(port).is_none_or(|p| p.odp == OdpPort::NONE) {
            self.complain(|| format!("output_trunc does not support patch port {port}"));
            return;
        }
        self.emit(Action::Trunc { max_len });
        self.output_to(port, place, |_| {}, true);
        if !self.snap.features.trunc {
            self.slow(SlowReason::ACTION);
        }
    }

    pub(crate) fn enqueue(&mut self, port: OfPort, queue: u32, place: Place) {
        self.mark_queue();
        let port = if port == OfPort::IN_PORT {
            self.in_port()
        } else if port == self.in_port() {
            return;
        } else {
            port
        };
        // The userspace datapath's priorities are the queue numbers.
        let before = std::mem::replace(&mut self.flow.skb_priority, U32::new(queue));
        self.compose_output(
            port,
            Out {
                last: place.last,
                ..Out::default()
            },
        );
        self.flow.skb_priority = before;
        self.nf_out = match self.nf_out {
            NfOut::Drop => NfOut::Port(port),
            NfOut::Flood => NfOut::Flood,
            _ => NfOut::Multi,
        };
    }

    /// To all ports but the ingress port; without `all`, not to those that are not flooded.
    fn flood(&mut self, all: bool, is_last: bool) {
        let in_port = self.in_port();
        let ports: Vec<OfPort> = self
            .bridge
            .ports
            .values()
            .filter(|p| p.ofp != in_port && (all || !p.no_flood))
            .map(|p| p.ofp)
            .collect();
        for (i, port) in ports.iter().enumerate() {
            let out = Out {
                ignore_stp: all,
                last: is_last && i + 1 == ports.len(),
                ..Out::default()
            };
            self.compose_output(*port, out);
        }
        self.nf_out = NfOut::Flood;
    }

    // ---- one port

    /// Emits what sends the packet out of a port. The flow is as before afterwards.
    pub(crate) fn compose_output(&mut self, port: OfPort, out: Out) {
        self.out.deps.ports.push((self.bridge.id, port));
        let Some(xport) = self.port(port) else {
            self.note(NodeKind::Warn, || "Nonexistent output port".into());
            return;
        };
        if !self.may_send(xport, out.ignore_stp) {
            return;
        }
        let f = &self.flow;
        let (vlans, nw_tos, packet_type) = (f.vlans, f.nw_tos, f.packet_type);
        let (dl_dst, dl_src, dl_type) = (f.dl_dst, f.dl_src, f.dl_type);
        if packet_type.get() == PT_ETH && xport.packet_type == PacketTypeMode::LegacyL3 {
            self.flow.packet_type = U32::new(ethertype_packet(self.flow.dl_type.get()));
            self.pending.encap = false;
        }
        if let Some(peer) = xport.peer {
            if out.truncate {
                self.complain(|| "Cannot truncate output to patch port".into());
            }
            if let Some(peer_bridge) = self.snap.bridges.get(&peer.0)
                && let Some(peer_port) = peer_bridge.ports.get(&peer.1)
            {
                self.through_patch((self.bridge, xport), (peer_bridge, peer_port), out.last);
            }
            return;
        }
        self.queue_dscp(xport);
        if xport.is_tunnel() {
            self.send_tunnel(xport);
        } else {
            if xport.odp != OdpPort::NONE {
                self.send_plain(xport, out);
            }
            self.mirror_egress(xport);
        }
        let f = &mut self.flow;
        (f.vlans, f.nw_tos, f.packet_type) = (vlans, nw_tos, packet_type);
        (f.dl_dst, f.dl_src, f.dl_type) = (dl_dst, dl_src, dl_type);
    }

    /// Packets of some queues leave with a DSCP of their own.
    fn queue_dscp(&mut self, xport: &XPort) {
        if xport.qdscp.is_empty() {
            return;
        }
        self.wc
            .mark(Site::QueueDscp, |m| m.skb_priority = U32::MAX_VALUE);
        let priority = self.flow.skb_priority.get();
        if let Some((_, dscp)) = xport.qdscp.iter().find(|(q, _)| *q == priority) {
            self.wc.mark(Site::QueueDscp, |m| m.nw_tos |= DSCP_MASK);
            self.flow.nw_tos = self.flow.nw_tos & !DSCP_MASK | dscp;
        }
    }

    fn send_plain(&mut self, xport: &XPort, out: Out) {
        self.commit();
        match out.bond {
            Some(b) if b.lb_output => self.emit(Action::LbOutput(b.id)),
            Some(b) => {
                self.emit(Action::Hash {
                    alg: HashAlg::L4,
                    basis: b.basis,
                });
                self.emit(Action::Recirc(b.id));
            }
            None => {
                self.sample_egress(xport.odp);
                self.cut_mirrored();
                self.emit(Action::Output(xport.odp));
            }
        }
        self.sent(xport.ofp);
    }

    fn cut_mirrored(&mut self) {
        if self.mirror_snaplen > 0 && self.mirror_snaplen < u16::MAX {
            self.emit(Action::Trunc {
                max_len: self.mirror_snaplen.into(),
            });
            if !self.snap.features.trunc {
                self.slow(SlowReason::ACTION);
            }
        }
    }

    /// Remembers an output for sFlow and NetFlow.
    pub(crate) fn sent(&mut self, port: OfPort) {
        self.sflow_port = port;
        self.sflow_outputs += 1;
        self.nf_out = NfOut::Port(port);
    }

    /// What must hold for a packet to leave by a port.
    fn may_send(&mut self, xport: &'a XPort, ignore_stp: bool) -> bool {
        if xport.no_fwd {
            self.note(NodeKind::Detail, || {
                "OFPPC_NO_FWD set, skipping output".into()
            });
            return false;
        }
        if self.mirror_snaplen != 0 && xport.odp == OdpPort::NONE {
            self.note(NodeKind::Warn, || {
                "Mirror truncate to ODPP_NONE, skipping output".into()
            });
            return false;
        }
        if self.between_protected(xport) {
            self.note(NodeKind::Warn, || {
                "Flow is between protected ports, skipping output.".into()
            });
            return false;
        }
        if !ignore_stp && !self.stp_lets_out(xport) {
            return false;
        }
        if xport.packet_type == PacketTypeMode::LegacyL2 && self.flow.packet_type.get() != PT_ETH {
            self.note(NodeKind::Warn, || {
                "Trying to send non-Ethernet packet through legacy L2 port. Dropping packet.".into()
            });
            return false;
        }
        true
    }

    fn between_protected(&self, out: &XPort) -> bool {
        let protected = |p: &XPort| self.bundle_of(p).is_some_and(|b| b.protected);
        self.port(self.in_port()).is_some_and(protected) && protected(out)
    }

    fn stp_lets_out(&mut self, xport: &'a XPort) -> bool {
        let (stp, rstp) = (self.bridge.stp, self.bridge.rstp);
        if xport.forwards() && xport.forwards_bpdu(stp) {
            return true;
        }
        self.mark_stp();
        if is_stp(&self.base) {
            if !xport.forwards_bpdu(stp) {
                self.note(NodeKind::Warn, || {
                    "STP not in listening state, skipping bpdu output".into()
                });
                return false;
            }
            return true;
        }
        // A spanning tree must not stop the detection of link failures.
        if self.is_link_monitoring(xport) || xport.forwards() {
            return true;
        }
        if stp {
            self.note(NodeKind::Warn, || {
                "STP not in forwarding state, skipping output".into()
            });
        } else if rstp {
            self.note(NodeKind::Warn, || {
                "RSTP not in forwarding state, skipping output".into()
            });
        }
        false
    }

    /// Whether a frame is one of the spanning tree's decides.
    fn mark_stp(&mut self) {
        self.wc
            .mark_hidden(Site::StpFrame, |m| m.dl_dst.0 = [0xff; 6]);
    }

    // ---- patch ports

    /// Goes on in the bridge at the far end, then restores everything: what happens there does not
    /// concern this bridge.
    pub(crate) fn through_patch(
        &mut self,
        (from_bridge, from): (&'a XBridge, &'a XPort),
        (bridge, to): (&'a XBridge, &'a XPort),
        is_last: bool,
    ) {
        let before = self.flow;
        let tunnel_marks = self.wc.mask().0.tunnel;
        let (was_mpls, conntracked) = (self.was_mpls, self.conntracked);
        let due = self.due();
        let stack = std::mem::take(&mut self.stack);
        let action_set = std::mem::take(&mut self.action_set);
        let has_group = std::mem::take(&mut self.action_set_has_group);
        self.flow.in_port = U32::new(to.ofp.0.into());
        self.flow.metadata = U64::ZERO;
        self.flow.tunnel = flow::Flow::zero().tunnel;
        self.wc.clear(|m| m.tunnel = flow::Flow::zero().tunnel);
        self.flow.regs = [U32::ZERO; 16];
        self.flow.actset_output = U32::new(OfPort::UNSET.0.into());
        self.conntracked = false;
        clear_conntrack(&mut self.flow);
        self.begin(NodeKind::Bridge, || format!("bridge(\"{}\")", bridge.name));
        let mirrors = self.mirrors;
        if bridge.id != from_bridge.id {
            self.mirrors = 0;
        }
        let old = self.enter(bridge);
        self.arrive_by_patch(to, is_last);
        self.leave(old);
        self.end();
        if bridge.id != from_bridge.id {
            self.mirrors = mirrors;
        }
        self.flow = before;
        self.restore_due(due);
        self.action_set = action_set;
        self.action_set_has_group = has_group;
        self.stack = stack;
        self.wc.clear(|m| m.tunnel = tunnel_marks);
        self.was_mpls = was_mpls;
        self.conntracked = conntracked;
        self.exit = false;
        self.error = None;
        self.effect(Effect::PortTx {
            bridge: from_bridge.id,
            port: from.ofp,
        });
        self.effect(Effect::PortRx {
            bridge: bridge.id,
            port: to.ofp,
        });
    }

    fn arrive_by_patch(&mut self, port: &'a XPort, is_last: bool) {
        if self.is_special(port) || !self.may_receive(port) {
            return;
        }
        let l = Lookup {
            in_port: port.ofp,
            table: 0,
            may_packet_in: true,
            honor_miss: true,
            ct_orig: false,
        };
        if port.forwards() {
            self.table_action(l, is_last, Run::Cloned);
            self.finish_pipeline();
            return;
        }
        // The spanning tree forbids forwarding but allows learning: look at the packet, then drop it.
        let (base, n, mirrors) = (self.base, self.out.actions.len(), self.mirrors);
        self.table_action(l, is_last, Run::Cloned);
        self.mirrors = mirrors;
        self.base = base;
        self.truncate_actions(n);
        self.cancel_freeze();
    }

    /// What must hold for a packet to be looked at.
    pub(crate) fn may_receive(&mut self, port: &XPort) -> bool {
        if port.no_recv != port.no_recv_stp {
            self.mark_stp();
        }
        let refused = if is_stp(&self.flow) {
            port.no_recv_stp
        } else {
            port.no_recv
        };
        !refused && (port.forwards() || port.learns())
    }
}

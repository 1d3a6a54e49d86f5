//! [`translate`]: the door, from a flow to an [`Output`].

use crate::ctx::{Ctx, NfOut};
use crate::effects::Effect;
use crate::headers::{PT_ETH, vlan_count};
use crate::output::{Input, Output, Start, XlateError};
use crate::port::{PacketTypeMode, XPort};
use crate::recirc::{FrozenState, FrozenStep};
use crate::size::ATTRIBUTE_MAX;
use crate::snapshot::{BridgeId, Snapshot};
use crate::table::Lookup;
use crate::trace::NodeKind;
use crate::tunnel;
use crate::wild::Site;
use base::sync::Arc;
use flow::{Flow, OdpPort, OfPort, TunnelKey, Vlan};
use odp::{Action, DropReason, SlowReason};
use openflow::{Act, Acts};
use std::mem::take;
use wire::{EthAddr, U16, U32};

/// More outputs than this in one flow are made in userspace: the kernel's default limit on packets queued
/// at once, which Open vSwitch keeps to for every datapath.
const OUTPUTS_MAX: usize = 1000;

/// What is to be run.
enum Work<'w> {
    Acts(&'w [Act]),
    Rule(Arc<Acts>),
    Steps(Vec<FrozenStep>),
}

/// Translates a flow. Changes nothing: what must change is in the output.
#[must_use]
pub fn translate<'a>(snap: &'a Snapshot, input: Input<'a>) -> Output {
    let Some(bridge) = snap.bridges.get(&input.bridge) else {
        return failed(input.flow, XlateError::BridgeNotFound);
    };
    let start = input.start;
    let upcall = input.flow;
    let mut ctx = Ctx::new(snap, bridge, input);
    ctx.mark_always();
    ctx.begin(NodeKind::Bridge, || format!("bridge(\"{}\")", bridge.name));
    run(&mut ctx, snap, start);
    ctx.end();
    unmap_tunnel_options(&mut ctx);
    // Of what failed midway, people are shown everything that was looked at.
    if reported(ctx.error).is_none() {
        ctx.unmark_meaningless();
    }
    if ctx.tracing() {
        let (flow, shown) = (ctx.flow, *ctx.wc.mask());
        if let Some(t) = ctx.listener() {
            t.finish(&flow, &shown);
        }
    }
    finish(&mut ctx, upcall)
}

fn failed(flow: &Flow, error: XlateError) -> Output {
    let mut out = Output {
        error: Some(error),
        drop: Some(error.drop_reason()),
        ..Output::default()
    };
    out.wildcards.0.in_port = U32::MAX_VALUE;
    out.wildcards.0.recirc_id = U32::MAX_VALUE;
    out.wildcards.0.dl_type = U16::MAX_VALUE;
    out.wildcards.0.packet_type = U32::MAX_VALUE;
    mark_tags(flow, false, &mut out.wildcards.0);
    out
}

fn run<'a>(ctx: &mut Ctx<'a>, snap: &'a Snapshot, start: Start<'a>) {
    let first_bridge = ctx.bridge;
    let frozen: Option<Arc<FrozenState>> = match start {
        Start::Resume(state) => Some(state.clone()),
        _ if ctx.flow.recirc_id != U32::ZERO => match ctx.frozen_by_id() {
            Some(state) => Some(state),
            None => return,
        },
        _ => None,
    };
    ctx.thawed = frozen.is_some();
    let acts = match start {
        Start::Actions(a) | Start::PacketOut(a) => Some(a),
        Start::Tables | Start::Resume(_) => None,
    };
    let mut steps = None;
    if let Some(state) = &frozen {
        steps = ctx.thaw(snap, state, acts.is_some());
        if ctx.error.is_some() {
            return;
        }
    } else {
        ctx.conntracked = ctx.flow.ct_state & flow::field::ct_state::TRACKED != 0;
    }
    if !map_tunnel_options(ctx) {
        return;
    }
    let port = first_bridge.ports.get(&crate::ctx::in_port(&ctx.base));
    if let Some(p) = port.filter(|p| p.peer.is_none()) {
        ctx.ingress = Some((first_bridge.id, p.ofp));
    }
    dress_l3(ctx, port);
    let work = match (acts, steps) {
        (Some(acts), _) => Work::Acts(acts),
        (None, Some(steps)) => Work::Steps(steps),
        (None, None) => first_lookup(ctx),
    };
    pipeline(ctx, port, &work);
    ctx.end_tables(matches!(work, Work::Rule(_)));
    if ctx.error.is_none() {
        netflow(ctx);
    }
}

/// Options of a tunnel header come as the datapath has them; rules match them by the TLV table.
fn map_tunnel_options(ctx: &mut Ctx<'_>) -> bool {
    if ctx.flow.tunnel.flags.get() & TunnelKey::F_UDPIF == 0 {
        return true;
    }
    let raw = ctx.flow.tunnel;
    match ctx.tun().to_mapped(&raw, &raw) {
        Ok(mapped) => {
            ctx.flow.tunnel = mapped;
            true
        }
        Err(_) => {
            ctx.complain(|| "Invalid Geneve tunnel metadata".into());
            ctx.error = Some(XlateError::InvalidTunnelMetadata);
            false
        }
    }
}

/// Packets without Ethernet header from a legacy layer-3 port get one with zero addresses.
fn dress_l3(ctx: &mut Ctx<'_>, port: Option<&XPort>) {
    if ctx.flow.packet_type.get() != PT_ETH
        && port.is_some_and(|p| p.packet_type == PacketTypeMode::LegacyL3)
        && ctx.table == 0
    {
        ctx.flow.packet_type = U32::new(PT_ETH);
        ctx.flow.dl_src = EthAddr::ZERO;
        ctx.flow.dl_dst = EthAddr::ZERO;
        ctx.pending.encap = true;
    }
}

fn first_lookup<'w>(ctx: &mut Ctx<'_>) -> Work<'w> {
    let l = Lookup {
        in_port: ctx.in_port(),
        table: ctx.table,
        may_packet_in: true,
        honor_miss: true,
        ct_orig: false,
    };
    let (found, table) = ctx.lookup(l);
    ctx.table = table;
    ctx.rule = found.rule();
    ctx.cookie = found.cookie();
    ctx.begin_table(&found, table);
    Work::Rule(found.actions())
}

impl Ctx<'_> {
    fn end_tables(&mut self, began: bool) {
        if began {
            self.end();
        }
    }
}

fn pipeline<'a>(ctx: &mut Ctx<'a>, port: Option<&'a XPort>, work: &Work<'_>) {
    if let Some(p) = port.filter(|p| p.is_tunnel() && !ctx.thawed) {
        let bridge = ctx.bridge.id;
        ctx.effect(Effect::PortRx {
            bridge,
            port: p.ofp,
        });
    }
    // Thawed packets were looked at by the protocols and sampled before they froze.
    if !ctx.thawed
        && let Some(p) = port
        && ctx.is_special(p)
    {
        ctx.mirror_ingress();
        return;
    }
    if ctx.refuse_mirror_output(port) {
        return;
    }
    let sflow = !ctx.thawed && ctx.sample_sflow();
    if !ctx.thawed {
        ctx.sample_ingress();
    }
    let sampled = ctx.out.actions.len();
    if !tunnel::receive_ecn(&mut ctx.flow) {
        ctx.error = Some(XlateError::CongestionDrop);
    } else if port.is_none_or(|p| ctx.may_receive(p)) {
        ctx.mirror_ingress();
        match work {
            Work::Acts(acts) => ctx.run(acts, true, false),
            Work::Rule(acts) => ctx.run(acts, true, false),
            Work::Steps(steps) => ctx.run(steps, true, false),
        }
        if ctx.error.is_some() {
            return;
        }
        if port.is_some_and(|p| !p.forwards()) {
            // NORMAL and learn have seen the packet; that is all the spanning tree allows.
            ctx.truncate_actions(sampled);
            ctx.cancel_freeze();
            ctx.action_set.clear();
            ctx.error = Some(XlateError::ForwardingDisabled);
        }
        ctx.finish_pipeline();
    }
    in_band(ctx);
    if sflow {
        ctx.finish_sflow();
    }
}

/// With in-band control, DHCP replies always reach the local port.
fn in_band(ctx: &mut Ctx<'_>) {
    use wire::ipv4::PROTO_UDP;
    if ctx.freeze.on || !ctx.bridge.in_band {
        return;
    }
    let f = &ctx.flow;
    if f.dl_type.get() != wire::ethernet::ETH_TYPE_IP {
        return;
    }
    let dhcp = f.nw_proto == PROTO_UDP && f.tp_src.get() == 67 && f.tp_dst.get() == 68;
    ctx.wc.mark(Site::InBand, |m| {
        m.nw_proto = 0xff;
        m.tp_src = U16::MAX_VALUE;
        m.tp_dst = U16::MAX_VALUE;
    });
    let local = ctx.port(OfPort::LOCAL).map_or(OdpPort::NONE, |p| p.odp);
    let sent = ctx.out.actions.contains(&Action::Output(local));
    if dhcp && !sent {
        ctx.note(NodeKind::Detail, || {
            "outputting DHCP packet to local port for in-band control".into()
        });
        ctx.compose_output(OfPort::LOCAL, crate::ports::Out::default());
    }
}

fn netflow(ctx: &mut Ctx<'_>) {
    // It counts IPv4 only.
    let ip = ctx.flow.dl_type.get() == wire::ethernet::ETH_TYPE_IP;
    if !ctx.bridge.netflow || ctx.thawed || !ip {
        return;
    }
    let output = match ctx.nf_out {
        NfOut::Drop => OfPort::NONE,
        NfOut::Flood => OfPort::FLOOD,
        NfOut::Multi => OfPort::ALL,
        NfOut::Port(p) => p,
    };
    let flow = Box::new(ctx.flow);
    let bridge = ctx.bridge.id;
    ctx.effect(Effect::NetFlow {
        bridge,
        flow,
        output,
    });
}

/// Which tags a packet has always matters: a datapath flow is for packets with the same headers. When nobody asked
/// for the outer one (that it is not zero does not count), its VLAN matters too, as with the peer.
fn mark_tags(upcall: &Flow, unasked: bool, m: &mut Flow) {
    let n = vlan_count(upcall);
    let looked = m.vlans[0].tci.get() & !Vlan::CFI;
    if m.vlans[0].tci.get() == 0 || unasked && looked.is_power_of_two() {
        m.vlans[0].tci |= U16::new(Vlan::VID_MASK | Vlan::CFI);
    }
    for tag in &mut m.vlans[..n] {
        tag.tpid = U16::MAX_VALUE;
        tag.tci |= U16::new(Vlan::CFI);
    }
    if let Some(absent) = m.vlans.get_mut(n) {
        absent.tci |= U16::new(Vlan::CFI);
    }
}

/// Tunnel options in the wildcards, back in the form the datapath has.
fn unmap_tunnel_options(ctx: &mut Ctx<'_>) {
    let raw = ctx.upcall.tunnel;
    if raw.flags.get() & TunnelKey::F_UDPIF == 0 {
        return;
    }
    let table = ctx.tun();
    ctx.wc.map_tunnel(|mask| table.mask_to_raw(&raw, mask));
}

fn finish(ctx: &mut Ctx<'_>, upcall: &Flow) -> Output {
    let unasked = ctx.wc.mask().0.vlans[0].tci.get() == 0;
    ctx.wc.reveal();
    ctx.unmark_meaningless();
    ctx.wc.clear(|m| mark_tags(upcall, unasked, m));
    if ctx.action_bytes > ATTRIBUTE_MAX || too_many_outputs(&ctx.out.actions) {
        ctx.slow(SlowReason::ACTION);
    }
    let (error, explicit) = (ctx.error, ctx.snap.features.explicit_drop_action);
    let out = &mut ctx.out;
    if error.is_some() {
        // What failed drops, whole.
        out.slow = SlowReason::default();
        out.actions.clear();
    } else if matches!(out.actions.last(), Some(Action::Clone(_)))
        && let Some(Action::Clone(inner)) = out.actions.pop()
    {
        // The last thing that happens to a packet needs no copy.
        out.actions.extend(inner);
    }
    if out.actions.is_empty() {
        let reason = error.map_or(DropReason::PolicyDrop, XlateError::drop_reason);
        out.drop = Some(reason);
        if explicit {
            out.actions.push(Action::Drop(reason));
        }
    }
    // Part by part: as a whole it is large.
    Output {
        actions: take(&mut out.actions),
        wildcards: *ctx.wc.mask(),
        slow: out.slow,
        effects: take(&mut out.effects),
        events: take(&mut out.events),
        deps: take(&mut out.deps),
        error: reported(error),
        drop: out.drop,
        recircs: take(&mut out.recircs),
        sites: ctx.wc.sites(),
        avoid_caching: out.avoid_caching,
    }
}

/// Errors that are failures of translation: all but two.
fn reported(error: Option<XlateError>) -> Option<XlateError> {
    error.filter(|e| {
        !matches!(
            e,
            XlateError::CongestionDrop | XlateError::ForwardingDisabled
        )
    })
}

fn too_many_outputs(actions: &[Action]) -> bool {
    actions.len() > OUTPUTS_MAX
        && actions
            .iter()
            .filter(|a| matches!(a, Action::Output(_) | Action::LbOutput(_)))
            .count()
            > OUTPUTS_MAX
}

/// Why nobody receives a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Its recirculation id is not known (any more).
    #[error("no recirculation data for recirc_id {0:#x}")]
    NoRecirculation(u32),
    /// It came out of a tunnel that no port asks for.
    #[error("no OpenFlow tunnel port for this packet")]
    NoTunnelPort,
    /// No bridge owns the datapath port.
    #[error("no OpenFlow port for datapath port {0}")]
    NoPort(OdpPort),
}

impl Snapshot {
    /// The bridge and OpenFlow port that receive a packet whose `in_port` is a datapath port.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn receive(&self, flow: &Flow) -> Result<(BridgeId, OfPort), ReceiveError> {
        let recirc_id = flow.recirc_id.get();
        if recirc_id != 0 {
            let state = self
                .recirc
                .get(recirc_id)
                .ok_or(ReceiveError::NoRecirculation(recirc_id))?;
            match state.metadata.in_port {
                // Not real ports: the packet began as a packet-out.
                p @ (OfPort::NONE | OfPort::CONTROLLER) => return Ok((state.bridge, p)),
                _ => {
                    let known = state.ingress.filter(|(b, p)| {
                        self.bridges.get(b).is_some_and(|b| b.ports.contains_key(p))
                    });
                    if let Some(ingress) = known {
                        return Ok(ingress);
                    }
                }
            }
        }
        if flow.tunnel.is_set() {
            return self.tunnel_port(flow).ok_or(ReceiveError::NoTunnelPort);
        }
        let odp = OdpPort(flow.in_port.get());
        self.by_odp
            .get(&odp)
            .copied()
            .ok_or(ReceiveError::NoPort(odp))
    }
}

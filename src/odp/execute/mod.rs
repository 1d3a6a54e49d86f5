//! Running actions on one packet, slowly and plainly.
//!
//! For what a datapath cannot do itself (execution with help), for datapaths that are only simulated, and
//! as the twin that the fast executor is compared with. Headers are found by extracting the packet anew
//! for every action; checksums are corrected by the difference of the full sums before and after, so a
//! wrong one stays wrong. What needs a datapath (ports, userspace, recirculation, conntrack, tunnels,
//! meters) goes to a [`Datapath`].
//!
//! Every packet ends exactly once: performed, or dropped. An action that takes a packet gets a copy when
//! another one that takes packets comes behind it. Actions inside actions are bounded by
//! [`NESTING_MAX`].

mod push;
mod set;
mod sums;
#[cfg(test)]
mod tests;

use crate::action::{Action, HashAlg};
use crate::drops::DropReason;
use flow::{CtMeta, Flow, Layers, Metadata, OdpPort, TunnelKey};
use packet::{Frame, HeapPool};

/// How deep actions may be nested; what is deeper is dropped.
pub const NESTING_MAX: u32 = 32;

/// A packet and what is known about it besides.
#[derive(Debug)]
pub struct Packet {
    /// The bytes; mark and priority.
    pub frame: Frame,
    /// Ingress port.
    pub in_port: OdpPort,
    /// Recirculation id.
    pub recirc_id: u32,
    /// Result of the `hash` action.
    pub dp_hash: u32,
    /// Namespace and type; 0 for Ethernet.
    pub packet_type: u32,
    /// What conntrack knows.
    pub ct: Option<CtMeta>,
    /// Tunnel metadata: where it came from, or where `set(tunnel)` wants it to go.
    pub tunnel: Option<Box<TunnelKey>>,
}

impl Packet {
    /// A packet with the metadata of a key. The key's headers are not looked at.
    #[must_use]
    pub fn new(mut frame: Frame, key: &Flow) -> Self {
        frame.mark = key.pkt_mark.get();
        frame.priority = key.skb_priority.get();
        let ct = CtMeta {
            state: key.ct_state,
            zone: key.ct_zone.get(),
            mark: key.ct_mark.get(),
            label: key.ct_label.get(),
            ..CtMeta::default()
        };
        Self {
            frame,
            in_port: OdpPort(key.in_port.get()),
            recirc_id: key.recirc_id.get(),
            dp_hash: key.dp_hash.get(),
            packet_type: key.packet_type.get(),
            ct: (ct.state != 0).then_some(ct),
            tunnel: key.tunnel.is_set().then(|| Box::new(key.tunnel)),
        }
    }

    /// The packet's key now, and where its headers are.
    #[must_use]
    pub fn extract(&self) -> (Box<Flow>, Layers) {
        let md = Metadata {
            in_port: self.in_port.0,
            recirc_id: self.recirc_id,
            dp_hash: self.dp_hash,
            packet_type: self.packet_type,
            priority: self.frame.priority,
            mark: self.frame.mark,
            ct: self.ct.as_ref(),
            tunnel: self.tunnel.as_deref(),
        };
        let mut key = Box::new(Flow::zero());
        let layers = flow::extract(self.frame.data(), &md, &mut key);
        (key, layers)
    }

    /// A copy.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            frame: HeapPool::global().duplicate(&self.frame),
            tunnel: self.tunnel.clone(),
            ..*self
        }
    }

    fn cut(&mut self, max_len: Option<u32>) {
        if let Some(max) = max_len {
            let len = self.frame.len().min(max as usize);
            let cut = self.frame.set_len(len);
            debug_assert!(cut, "shortening always fits");
        }
    }
}

/// What actions need beyond the packet.
pub trait Datapath {
    /// Does an action that takes the packet: `output`, `userspace`, `recirc`, `ct`, `tnl_push`, `tnl_pop`,
    /// `lb_output`. The packet is cut already, if it was to be.
    fn perform(&mut self, action: &Action, packet: Packet);
    /// The packet ends here.
    fn dropped(&mut self, packet: Packet, reason: DropReason);
    /// A copy of a packet was made.
    fn copied(&mut self) {}
    /// A meter: false when the packet is to be dropped.
    fn meter(&mut self, _id: u32, _packet: &Packet) -> bool {
        true
    }
    /// Whether a sample of that probability (of 2^32 - 1) is to be taken.
    fn sample(&mut self, probability: u32) -> bool {
        probability == u32::MAX
    }
    /// `dp_hash` of a packet with that key; not 0.
    fn hash(&mut self, key: &Flow, alg: HashAlg, basis: u32) -> u32 {
        plain_hash(key, alg, basis)
    }
}

/// Runs actions on a packet.
pub fn execute(packet: Packet, actions: &[Action], dp: &mut dyn Datapath) {
    run(packet, actions, dp, 0);
}

/// True for actions that take the packet they get.
fn takes(action: &Action) -> bool {
    match action {
        Action::Output(_)
        | Action::Userspace(_)
        | Action::Sample { .. }
        | Action::Clone(_)
        | Action::Recirc(_)
        | Action::Ct(_)
        | Action::CheckPktLen { .. }
        | Action::TunnelPush(_)
        | Action::TunnelPop(_)
        | Action::LbOutput(_)
        | Action::Drop(_) => true,
        Action::Set(_)
        | Action::SetMasked { .. }
        | Action::PushVlan { .. }
        | Action::PopVlan
        | Action::PushMpls { .. }
        | Action::PopMpls { .. }
        | Action::AddMpls { .. }
        | Action::PushEth { .. }
        | Action::PopEth
        | Action::PushNsh(_)
        | Action::PopNsh
        | Action::Hash { .. }
        | Action::Trunc { .. }
        | Action::CtClear
        | Action::Meter(_) => false,
    }
}

fn run(mut packet: Packet, actions: &[Action], dp: &mut dyn Datapath, depth: u32) {
    if depth > NESTING_MAX {
        return dp.dropped(packet, DropReason::BadAction);
    }
    let Some(last) = actions.iter().rposition(takes) else {
        return dp.dropped(packet, DropReason::PolicyDrop);
    };
    let mut max_len = None;
    for action in &actions[..last] {
        match action {
            Action::Drop(reason) => return dp.dropped(packet, *reason),
            Action::Trunc { max_len: max } => max_len = Some(*max),
            Action::Hash { alg, basis } => {
                let (key, _) = packet.extract();
                packet.dp_hash = dp.hash(&key, *alg, *basis);
            }
            Action::CtClear => packet.ct = None,
            Action::Meter(id) if dp.meter(*id, &packet) => {}
            Action::Meter(_) => return dp.dropped(packet, DropReason::Meter),
            // Conntrack changes what is known about the packet itself; only the datapath can tell, so
            // what comes behind is done on a packet that conntrack has not seen.
            _ if takes(action) => {
                let copy = packet.duplicate();
                dp.copied();
                take(copy, action, max_len.take(), dp, depth);
            }
            _ => {
                if change(&mut packet, action).is_none() {
                    return dp.dropped(packet, DropReason::BadAction);
                }
            }
        }
    }
    take(packet, &actions[last], max_len, dp, depth);
}

/// An action that takes its packet.
fn take(mut packet: Packet, action: &Action, max: Option<u32>, dp: &mut dyn Datapath, depth: u32) {
    match action {
        Action::Clone(actions) => run(packet, actions, dp, depth + 1),
        Action::Sample {
            probability,
            actions,
        } if dp.sample(*probability) => run(packet, actions, dp, depth + 1),
        Action::Sample { .. } => dp.dropped(packet, DropReason::PolicyDrop),
        Action::CheckPktLen {
            pkt_len,
            greater,
            less_equal,
        } => {
            let larger = packet.frame.len() > usize::from(*pkt_len);
            let actions = if larger { greater } else { less_equal };
            run(packet, actions, dp, depth + 1);
        }
        Action::Drop(reason) => dp.dropped(packet, *reason),
        Action::Recirc(id) => {
            packet.recirc_id = *id;
            dp.perform(action, packet);
        }
        Action::Ct(_) => dp.perform(action, packet),
        _ => {
            packet.cut(max);
            dp.perform(action, packet);
        }
    }
}

/// Changes headers or metadata; `None` when the packet does not have what is to be changed.
pub fn change(packet: &mut Packet, action: &Action) -> Option<()> {
    match action {
        Action::Set(key) => set::set(packet, key, None),
        Action::SetMasked { key, mask } => set::set(packet, key, Some(mask)),
        Action::PushVlan { tpid, tci } => push::push_vlan(packet, *tpid, *tci),
        Action::PopVlan => push::pop_vlan(packet),
        Action::PushMpls { ethertype, lse } => push::push_mpls(packet, *ethertype, *lse, true),
        Action::AddMpls { ethertype, lse, l3 } => push::push_mpls(packet, *ethertype, *lse, *l3),
        Action::PopMpls { ethertype } => push::pop_mpls(packet, *ethertype),
        Action::PushEth { src, dst } => push::push_eth(packet, *src, *dst),
        Action::PopEth => push::pop_eth(packet),
        Action::PushNsh(what) => push::push_nsh(packet, what),
        Action::PopNsh => push::pop_nsh(packet),
        _ => None,
    }
}

/// A hash of the 5-tuple; equal for both directions with [`HashAlg::SymL4`].
fn plain_hash(key: &Flow, alg: HashAlg, basis: u32) -> u32 {
    let end = |v4: [u8; 4], v6: [u8; 16], port: u16| {
        let a = u128::from_be_bytes(v6) ^ u128::from(u32::from_be_bytes(v4));
        base::hash::words(u64::from(port), &[a as u64, (a >> 64) as u64])
    };
    let a = end(key.nw_src.0, key.ipv6_src.0, key.tp_src.get());
    let b = end(key.nw_dst.0, key.ipv6_dst.0, key.tp_dst.get());
    let both = match alg {
        HashAlg::L4 => [a, b],
        HashAlg::SymL4 => [a ^ b, a.wrapping_add(b)],
    };
    let seed = u64::from(basis) << 8 | u64::from(key.nw_proto);
    (base::hash::words(seed, &both) as u32).max(1)
}

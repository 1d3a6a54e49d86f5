//! What is known about a packet besides its bytes.

use super::{LineSet, Sink};
use crate::key::{Flow, TunnelKey};
use packet::Frame;
use wire::{Ipv4, Ipv6, U16, U32, U128};
use zerocopy::IntoBytes;

/// What the receiver, earlier actions and earlier passes know about a packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Metadata<'a> {
    /// Ingress port: a datapath port in the datapath, an OpenFlow port in ofproto.
    pub in_port: u32,
    /// Recirculation id, 0 on the first pass.
    pub recirc_id: u32,
    /// Result of the `hash` action, 0 for none.
    pub dp_hash: u32,
    /// Namespace (upper half) and type (lower half); 0 for Ethernet.
    pub packet_type: u32,
    /// Egress queue priority.
    pub priority: u32,
    /// Packet mark.
    pub mark: u32,
    /// What conntrack found; `None` when the packet was not there.
    pub ct: Option<&'a CtMeta>,
    /// The tunnel the packet came out of.
    pub tunnel: Option<&'a TunnelKey>,
}

/// What conntrack found out about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtMeta {
    /// State bits; when 0, nothing else here counts.
    pub state: u8,
    /// Zone.
    pub zone: u16,
    /// Connection mark.
    pub mark: u32,
    /// Connection label.
    pub label: u128,
    /// The connection's first packet.
    pub tuple: CtTuple,
}

/// Addresses, ports (or ICMP type and code) and protocol of a connection's original direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CtTuple {
    #[default]
    None,
    V4 {
        src: Ipv4,
        dst: Ipv4,
        tp_src: u16,
        tp_dst: u16,
        proto: u8,
    },
    V6 {
        src: Ipv6,
        dst: Ipv6,
        tp_src: u16,
        tp_dst: u16,
        proto: u8,
    },
}

impl Metadata<'_> {
    /// What a frame carries of it: mark and priority. Which port it came in on, the caller knows.
    #[must_use]
    pub fn of_frame(frame: &Frame) -> Self {
        Self {
            in_port: packet::OdpPort::NONE.0,
            mark: frame.mark,
            priority: frame.priority,
            ..Self::default()
        }
    }
}

/// Writes line 0's metadata, and the other lines' when there is any. Must come first.
#[inline]
pub(super) fn write(md: &Metadata<'_>, sink: &mut Sink<'_>) {
    let flow = sink.line::<0>();
    flow.in_port = U32::new(md.in_port);
    flow.recirc_id = U32::new(md.recirc_id);
    flow.dp_hash = U32::new(md.dp_hash);
    flow.packet_type = U32::new(md.packet_type);
    if md.priority | md.mark != 0 {
        let flow = sink.line::<2>();
        flow.skb_priority = U32::new(md.priority);
        flow.pkt_mark = U32::new(md.mark);
    }
    if let Some(ct) = md.ct.filter(|ct| ct.state != 0) {
        conntrack(ct, sink);
    }
    if let Some(t) = md.tunnel.filter(|t| t.is_set()) {
        tunnel(t, sink);
    }
}

fn conntrack(ct: &CtMeta, sink: &mut Sink<'_>) {
    sink.flow.ct_state = ct.state;
    sink.flow.ct_zone = U16::new(ct.zone);
    sink.flow.ct_mark = U32::new(ct.mark);
    if ct.label != 0 {
        sink.line::<2>().ct_label = U128::new(ct.label);
    }
}

/// Line 5 and 6 always; the further lines of options only as far as there are options.
fn tunnel(t: &TunnelKey, sink: &mut Sink<'_>) {
    const HEAD: usize = std::mem::offset_of!(TunnelKey, opts_len);
    const OPTS: usize = std::mem::offset_of!(TunnelKey, opts);
    let raw = t.flags.get() & TunnelKey::F_UDPIF != 0;
    let n_opts = if raw {
        usize::from(t.opts_len)
    } else if t.present.get() != 0 {
        t.opts.len()
    } else {
        0
    };
    let last = Flow::TUNNEL_LINE + (OPTS + n_opts - 1) / 64;
    let lines = LineSet((2 << last) - (1 << Flow::TUNNEL_LINE));
    LineSet(0).zero_missing(lines, sink.flow);
    sink.lines = sink.lines.or(lines);

    let out = &mut sink.flow.tunnel;
    out.as_mut_bytes()[..HEAD].copy_from_slice(&t.as_bytes()[..HEAD]);
    out.opts[..n_opts].copy_from_slice(&t.opts[..n_opts]);
    if raw {
        out.opts_len = t.opts_len;
    } else {
        out.present = t.present;
    }
}

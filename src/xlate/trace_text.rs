//! `ofproto/trace`: a translation as people read it.
//!
//! [`trace`] translates a flow with a listener, prints what it heard as a tree, and goes on with every packet
//! that conntrack would send back, as if the connection were in the state that the caller names.

use crate::output::{Input, Output, Start};
use crate::snapshot::{BridgeId, Snapshot};
use crate::text::{self, BridgeNames};
use crate::trace::{NodeKind, RecircKind, Trace};
use crate::translate::translate;
use base::clock::Nanos;
use flow::field::ct_state;
use flow::{Flow, Mask, Match, NoNames, PortNames};
use odp::{OdpNames, OdpPort, SlowReason};
use openflow::{Act, NatAct};
use std::collections::VecDeque;
use std::fmt::Write;
use std::net::IpAddr;
use wire::{Ipv4, Ipv6, U16, U32};

/// Packets that come back, in one trace.
const RECIRCULATIONS_MAX: usize = 4096;
/// Width of the lines between packets.
const RULER: usize = 79;

/// A node of the tree.
#[derive(Debug)]
struct Node {
    kind: NodeKind,
    text: String,
    children: Vec<Node>,
}

/// A packet that will come back.
#[derive(Debug)]
struct Returning {
    id: u32,
    flow: Flow,
    nat: Option<NatAct>,
}

/// Collects a tree.
#[derive(Debug, Default)]
struct Tree {
    /// Nodes that began and did not end, outermost first.
    open: Vec<Node>,
    roots: Vec<Node>,
    returning: Vec<Returning>,
    last: Option<Box<(Flow, Mask)>>,
    names: bool,
}

impl Tree {
    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(parent) => parent.children.push(node),
            None => self.roots.push(node),
        }
    }
}

impl Trace for Tree {
    fn begin(&mut self, kind: NodeKind, text: String) {
        self.open.push(Node {
            kind,
            text,
            children: Vec::new(),
        });
    }
    fn end(&mut self) {
        if let Some(node) = self.open.pop() {
            self.add(node);
        }
    }
    fn leaf(&mut self, kind: NodeKind, text: String) {
        self.add(Node {
            kind,
            text,
            children: Vec::new(),
        });
    }
    fn recirculate(&mut self, kind: RecircKind, id: u32, flow: &Flow) {
        let RecircKind::Conntrack { zone, nat } = kind;
        let mut flow = *flow;
        flow.recirc_id = U32::new(id);
        flow.ct_zone = U16::new(zone);
        self.returning.push(Returning { id, flow, nat });
    }
    fn finish(&mut self, flow: &Flow, shown: &Mask) {
        self.last = Some(Box::new((*flow, *shown)));
    }
    fn names(&self) -> bool {
        self.names
    }
}

/// What to trace.
#[derive(Debug, Clone, Copy)]
pub struct TraceRequest<'a> {
    /// The bridge that receives the packet.
    pub bridge: BridgeId,
    /// Headers and metadata; `in_port` is an OpenFlow port.
    pub flow: &'a Flow,
    /// The packet: effects will be applied.
    pub packet: Option<&'a [u8]>,
    /// Actions to run in place of a search of the tables.
    pub actions: Option<&'a [Act]>,
    /// Conntrack states of the packets that come back, in their order; then new connections.
    pub ct_states: &'a [u8],
    /// Show ports by name.
    pub names: bool,
    /// The time.
    pub now: Nanos,
}

/// Hears of each translation with the flow it began with: with a packet, its effects are to be applied and its
/// actions other than outputs to be executed, before the next pass.
pub type After<'a> = &'a mut dyn FnMut(&Flow, &Output);

/// Traces a packet; the text.
#[must_use]
pub fn trace(snap: &Snapshot, req: &TraceRequest<'_>, after: After<'_>) -> String {
    let mut text = String::new();
    let mut ct_states = req.ct_states.iter().copied();
    let mut queue = VecDeque::new();
    queue.extend(one(snap, req, req.flow, (&mut text, after)));
    let mut n = 0;
    while let Some(mut back) = queue.pop_front() {
        n += 1;
        if n > RECIRCULATIONS_MAX {
            break;
        }
        returned(&mut text, &mut back, ct_states.next());
        queue.extend(one(snap, req, &back.flow, (&mut text, after)));
    }
    text
}

/// Traces one pass of a packet; the packets that come back.
fn one(
    snap: &Snapshot,
    req: &TraceRequest<'_>,
    flow: &Flow,
    (text, after): (&mut String, After<'_>),
) -> Vec<Returning> {
    let mut tree = Tree {
        names: req.names,
        ..Tree::default()
    };
    let mut input = Input::new(req.bridge, flow, req.now);
    input.packet = req.packet;
    input.may_learn = req.packet.is_some();
    input.trace = Some(&mut tree);
    if let Some(acts) = req.actions {
        input.start = Start::Actions(acts);
    }
    let out = translate(snap, input);
    render(text, (flow, &out), &tree, (snap, req));
    after(flow, &out);
    tree.returning
}

fn render(
    text: &mut String,
    (flow, out): (&Flow, &Output),
    tree: &Tree,
    (snap, req): (&Snapshot, &TraceRequest<'_>),
) {
    let bridge = snap.bridges.get(&req.bridge).filter(|_| req.names);
    let bridge = bridge.map(|b| BridgeNames(b));
    let names: &dyn PortNames = match &bridge {
        Some(b) => b,
        None => &NoNames,
    };
    // Translation begins with an empty action set.
    let mut first = *flow;
    first.actset_output = U32::new(flow::OfPort::UNSET.0.into());
    text.push_str("Flow: ");
    first.format(text, names);
    text.push('\n');
    print(text, &tree.roots, 0);
    text.push_str("\nFinal flow: ");
    let (last, mask) = match tree.last.as_deref() {
        Some((last, mask)) => (last, mask),
        None => (&first, &out.wildcards),
    };
    if *last == first {
        text.push_str("unchanged");
    } else {
        last.format(text, names);
    }
    text.push_str("\nMegaflow: ");
    let mut matched = Match::new(flow, mask);
    let tun = snap.bridges.get(&req.bridge);
    matched.tun = tun.map(|b| b.pipeline.tun_table());
    text.push_str(&text::matching(&matched, names));
    text.push_str("\nDatapath actions: ");
    let datapath = DatapathNames(snap, req.names);
    text.push_str(&odp::format_actions(&out.actions, &datapath));
    match out.error {
        Some(e) => put(
            text,
            format_args!("\nTranslation failed ({e}), packet is dropped.\n"),
        ),
        None => explain_slow(text, out.slow),
    }
}

/// Ports of the datapath by name, when names are wanted.
#[derive(Debug)]
struct DatapathNames<'s>(&'s Snapshot, bool);

impl OdpNames for DatapathNames<'_> {
    fn number(&self, name: &str) -> Option<OdpPort> {
        let ports = self.0.bridges.values().flat_map(|b| b.ports.values());
        ports.into_iter().find(|p| p.name == name).map(|p| p.odp)
    }
    fn name(&self, port: OdpPort) -> Option<&str> {
        if !self.1 {
            return None;
        }
        let (bridge, ofp) = self.0.by_odp.get(&port)?;
        let port = self.0.bridges.get(bridge)?.ports.get(ofp)?;
        Some(&port.name)
    }
}

fn explain_slow(text: &mut String, slow: SlowReason) {
    const WHY: [(SlowReason, &str); 7] = [
        (SlowReason::CFM, "Consists of CFM packets"),
        (SlowReason::BFD, "Consists of BFD packets"),
        (SlowReason::LACP, "Consists of LACP packets"),
        (SlowReason::STP, "Consists of STP packets"),
        (SlowReason::LLDP, "Consists of LLDP packets"),
        (
            SlowReason::ACTION,
            "Uses action(s) not supported by datapath",
        ),
        (
            SlowReason::MATCH,
            "Datapath can't match specifically enough",
        ),
    ];
    if slow.is_empty() {
        return;
    }
    text.push_str("\nThis flow is handled by the userspace slow path because it:");
    for (reason, why) in WHY {
        if slow.has(reason) {
            put(text, format_args!("\n  - {why}."));
        }
    }
}

fn print(text: &mut String, nodes: &[Node], level: usize) {
    for (i, node) in nodes.iter().enumerate() {
        if node.kind == NodeKind::Bridge {
            text.push('\n');
        }
        let leaf = matches!(
            node.kind,
            NodeKind::Action
                | NodeKind::Detail
                | NodeKind::Warn
                | NodeKind::Error
                | NodeKind::Bucket
        );
        // The last of a list does not move its children to the right.
        let more = usize::from(i + 1 < nodes.len() || leaf);
        let indent = " ".repeat((level + more) * 4);
        let t = &node.text;
        match node.kind {
            NodeKind::Detail => put(text, format_args!("{indent} -> {t}\n")),
            NodeKind::Warn => put(text, format_args!("{indent} >> {t}\n")),
            NodeKind::Error => put(text, format_args!("{indent} >>>> {t} <<<<\n")),
            NodeKind::Bridge => {
                let line = "-".repeat(t.len());
                put(text, format_args!("{indent}{t}\n{indent}{line}\n"));
            }
            NodeKind::Table | NodeKind::Bucket | NodeKind::Thaw | NodeKind::Action => {
                put(text, format_args!("{indent}{t}\n"));
            }
        }
        print(text, &node.children, level + 2 * more);
    }
}

/// Prints that a packet comes back, and makes its flow what conntrack would have made it.
fn returned(text: &mut String, back: &mut Returning, state: Option<u8>) {
    let ruler = "=".repeat(RULER);
    put(text, format_args!("\n\n{ruler}\nrecirc({:#x})", back.id));
    let state = match state {
        Some(s) => {
            put(
                text,
                format_args!(" - resume conntrack with ct_state={}", ct_state_text(s)),
            );
            s
        }
        None => {
            text.push_str(
                " - resume conntrack with default ct_state=trk|new (use --ct-next to customize)",
            );
            ct_state::TRACKED | ct_state::NEW
        }
    };
    back.flow.ct_state = state;
    text.push('\n');
    if let Some(nat) = back.nat.take() {
        simulate_nat(text, &mut back.flow, &nat);
    }
    put(text, format_args!("{ruler}\n\n"));
}

fn ct_state_text(state: u8) -> String {
    const NAMES: [(u8, &str); 8] = [
        (ct_state::NEW, "new"),
        (ct_state::ESTABLISHED, "est"),
        (ct_state::RELATED, "rel"),
        (ct_state::REPLY_DIR, "rpl"),
        (ct_state::INVALID, "inv"),
        (ct_state::TRACKED, "trk"),
        (ct_state::SRC_NAT, "snat"),
        (ct_state::DST_NAT, "dnat"),
    ];
    let set: Vec<_> = NAMES
        .iter()
        .filter(|(bit, _)| state & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if set.is_empty() {
        "0".into()
    } else {
        set.join("|")
    }
}

/// Address translation always takes the first address and port.
fn simulate_nat(text: &mut String, flow: &mut Flow, nat: &NatAct) {
    text.push_str("Replacing src/dst IP/ports to simulate NAT:\n Initial flow: ");
    put_endpoints(text, flow, nat);
    let port = nat.ports.map(|(min, _)| min).filter(|p| *p != 0);
    if let Some((min, _)) = nat.addr {
        if nat.src {
            set_address(min, &mut flow.nw_src, &mut flow.ipv6_src);
            flow.tp_src = port.map_or(flow.tp_src, U16::new);
        }
        if nat.dst {
            set_address(min, &mut flow.nw_dst, &mut flow.ipv6_dst);
            flow.tp_dst = port.map_or(flow.tp_dst, U16::new);
        }
    }
    text.push_str(" Modified flow: ");
    put_endpoints(text, flow, nat);
}

fn set_address(ip: IpAddr, v4: &mut Ipv4, v6: &mut Ipv6) {
    match ip {
        IpAddr::V4(a) => *v4 = Ipv4(a.octets()),
        IpAddr::V6(a) => *v6 = Ipv6(a.octets()),
    }
}

fn put_endpoints(text: &mut String, f: &Flow, nat: &NatAct) {
    let (sp, dp) = (f.tp_src.get(), f.tp_dst.get());
    match nat.addr {
        Some((IpAddr::V4(_), _)) => put(
            text,
            format_args!(
                "nw_src={},tp_src={sp},nw_dst={},tp_dst={dp}",
                f.nw_src, f.nw_dst
            ),
        ),
        Some((IpAddr::V6(_), _)) => put(
            text,
            format_args!(
                "ipv6_src=[{}],tp_src={sp},ipv6_dst=[{}],tp_dst={dp}",
                f.ipv6_src, f.ipv6_dst
            ),
        ),
        None => {}
    }
    text.push('\n');
}

fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args)
        .expect("writing to a string cannot fail");
}

//! [`Ctx`]: the state of one translation, and what every part of it needs: emitting actions, marking,
//! telling a listener, counting effort.

use crate::commit::{self, Pending};
use crate::effects::Effect;
use crate::headers::{self, PT_ETH};
use crate::output::{Input, Output, Start, XlateError};
use crate::port::{XBundle, XPort};
use crate::recirc::FrozenStep;
use crate::size::action_size;
use crate::snapshot::{BridgeId, Snapshot, XBridge};
use crate::trace::{NodeKind, Trace};
use crate::wild::{Site, Wild};
use base::clock::Nanos;
use base::log::RateLimit;
use base::sync::Arc;
use flow::{Flow, OfPort, TunTable};
use odp::{Action, Actions, HashAlg, SlowReason};
use ofproto::Rule;
use openflow::{Act, NatAct};
use smallvec::SmallVec;
use wire::{Ipv4, Ipv6, U16, U32, U64};

/// Where packets of a flow went, as NetFlow tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NfOut {
    Drop,
    Flood,
    Multi,
    Port(OfPort),
}

/// A controller action that stops the pipeline until the controller lets it go on.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    pub(crate) max_len: u16,
    pub(crate) controller_id: u16,
    pub(crate) reason: u8,
    pub(crate) userdata: Vec<u8>,
}

/// What freezing collects. See [`crate::freeze`].
#[derive(Debug, Default)]
pub(crate) struct Freeze {
    /// Translation stops here and continues when the packet comes back.
    pub(crate) on: bool,
    /// The datapath computes this hash before.
    pub(crate) hash: Option<(HashAlg, u32)>,
    /// The controller decides when.
    pub(crate) pause: Option<Pause>,
    /// What remains to be done.
    pub(crate) steps: Vec<FrozenStep>,
    /// The last `Unroll` among the steps.
    pub(crate) unrolled: Option<(u8, u64)>,
}

/// One entry of the register stack.
pub(crate) type StackEntry = SmallVec<[u8; 16]>;

/// Headers that are due, and how many commits there were then: see [`Ctx::restore_due`].
#[derive(Debug)]
pub(crate) struct Due {
    pending: Pending,
    commits: u32,
}

/// State of one translation.
pub(crate) struct Ctx<'a> {
    pub(crate) snap: &'a Snapshot,
    /// The bridge the packet is in.
    pub(crate) bridge: &'a XBridge,
    /// The bridge that translation began in.
    pub(crate) entry: BridgeId,
    /// Version of its tables; the pin keeps what it sees alive.
    pub(crate) version: u64,
    pin: Option<ofproto::Pin>,
    /// Its table of tunnel options.
    pub(crate) tun: Arc<TunTable>,
    /// The flow as it came in.
    pub(crate) upcall: &'a Flow,
    /// The flow as the actions so far changed it.
    pub(crate) flow: Flow,
    /// The flow as the datapath actions emitted so far changed it.
    pub(crate) base: Flow,
    /// Outer destination as received: never tunnelled back to.
    pub(crate) own_tunnel_dst: Ipv6,
    pub(crate) wc: Wild,
    pub(crate) out: Output,
    /// Bytes the actions would have as netlink attributes: what limits go by.
    pub(crate) action_bytes: usize,
    pub(crate) packet: Option<&'a [u8]>,
    /// Something that goes wrong may be logged.
    live: bool,
    pub(crate) now: Nanos,
    /// Effects will be applied.
    pub(crate) may_learn: bool,
    trace: Option<&'a mut dyn Trace>,
    /// The rule whose actions are translated.
    pub(crate) rule: Option<Arc<Rule>>,
    pub(crate) cookie: u64,
    pub(crate) table: u8,
    pub(crate) depth: u32,
    pub(crate) resubmits: u32,
    /// Buckets run or asked for their liveness.
    pub(crate) buckets: u32,
    pub(crate) in_action_set: bool,
    pub(crate) in_packet_out: bool,
    pub(crate) pending: Pending,
    /// Commits so far.
    pub(crate) commits: u32,
    pub(crate) orig_priority: U32,
    pub(crate) sflow_outputs: u32,
    pub(crate) sflow_port: OfPort,
    pub(crate) nf_out: NfOut,
    /// No further actions.
    pub(crate) exit: bool,
    /// Mirrors that have their copy.
    pub(crate) mirrors: u32,
    pub(crate) mirror_snaplen: u16,
    pub(crate) freeze: Freeze,
    /// The packet was MPLS and is not any more: what follows the label is not known.
    pub(crate) was_mpls: bool,
    /// Conntrack saw the packet in this bridge.
    pub(crate) conntracked: bool,
    /// This translation continues a frozen one.
    pub(crate) thawed: bool,
    pub(crate) nat: Option<NatAct>,
    pub(crate) action_set: Vec<Act>,
    pub(crate) action_set_has_group: bool,
    pub(crate) stack: Vec<StackEntry>,
    pub(crate) error: Option<XlateError>,
    /// Where the packet really came in.
    pub(crate) ingress: Option<(BridgeId, OfPort)>,
}

impl std::fmt::Debug for Ctx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("bridge", &self.bridge.name)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

static ERRORS: RateLimit = RateLimit::new(1, 5);
static INFOS: RateLimit = RateLimit::new(1, 5);
static DEBUGS: RateLimit = RateLimit::new(30, 300);

impl<'a> Ctx<'a> {
    pub(crate) fn new(snap: &'a Snapshot, bridge: &'a XBridge, input: Input<'a>) -> Self {
        let pin = input
            .tables_version
            .is_none()
            .then(|| bridge.pipeline.tables.pin());
        let version = match (&pin, input.tables_version) {
            (Some(p), _) => p.version(),
            (None, v) => v.unwrap_or(0),
        };
        // Flows are copied into their places: a value of this size is not moved for nothing.
        let mut ctx = Self {
            snap,
            entry: bridge.id,
            bridge,
            version,
            pin,
            tun: bridge.pipeline.tun_table(),
            upcall: input.flow,
            own_tunnel_dst: tunnel_dst(&input.flow.tunnel),
            orig_priority: input.flow.skb_priority,
            flow: Flow::zero(),
            base: Flow::zero(),
            wc: Wild::new(input.mute),
            out: Output::default(),
            action_bytes: 0,
            packet: input.packet,
            live: input.live || input.packet.is_some(),
            now: input.now,
            may_learn: input.may_learn,
            trace: input.trace,
            rule: None,
            cookie: u64::MAX,
            table: 0,
            depth: 0,
            resubmits: 0,
            buckets: 0,
            in_action_set: false,
            in_packet_out: matches!(input.start, Start::PacketOut(_)),
            pending: Pending::default(),
            commits: 0,
            sflow_outputs: 0,
            sflow_port: OfPort::NONE,
            nf_out: NfOut::Drop,
            exit: false,
            mirrors: 0,
            mirror_snaplen: 0,
            freeze: Freeze::default(),
            was_mpls: false,
            conntracked: false,
            thawed: false,
            nat: None,
            action_set: Vec::new(),
            action_set_has_group: false,
            stack: Vec::new(),
            error: None,
            ingress: None,
        };
        ctx.flow = *input.flow;
        ctx.flow.actset_output = U32::new(OfPort::UNSET.0.into());
        ctx.base = ctx.flow;
        // The datapath does not keep tunnel metadata unless they are set again.
        ctx.base.tunnel = Flow::zero().tunnel;
        ctx.out.deps.snapshot = snap.version;
        ctx.out.deps.bridges.push(bridge.id);
        ctx
    }

    // ---- bridges, ports

    /// Goes on in another bridge, at the newest version of its tables. Gives what [`Self::leave`] needs.
    pub(crate) fn enter(
        &mut self,
        bridge: &'a XBridge,
    ) -> (&'a XBridge, u64, Option<ofproto::Pin>) {
        let pin = bridge.pipeline.tables.pin();
        let old = (self.bridge, self.version, self.pin.take());
        self.version = pin.version();
        self.pin = Some(pin);
        self.bridge = bridge;
        self.tun = bridge.pipeline.tun_table();
        if !self.out.deps.bridges.contains(&bridge.id) {
            self.out.deps.bridges.push(bridge.id);
        }
        old
    }
    /// Back in the bridge that [`Self::enter`] left.
    pub(crate) fn leave(&mut self, old: (&'a XBridge, u64, Option<ofproto::Pin>)) {
        (self.bridge, self.version, self.pin) = old;
        self.tun = self.bridge.pipeline.tun_table();
    }
    /// The OpenFlow ingress port.
    pub(crate) fn in_port(&self) -> OfPort {
        in_port(&self.flow)
    }
    /// A port of the bridge.
    pub(crate) fn port(&self, port: OfPort) -> Option<&'a XPort> {
        self.bridge.ports.get(&port)
    }
    /// The bundle of a port.
    pub(crate) fn bundle_of(&self, port: &XPort) -> Option<&'a XBundle> {
        self.bridge.bundles.get(&port.bundle?)
    }
    /// Where tunnel metadata fields stand.
    pub(crate) fn tun(&self) -> Arc<TunTable> {
        self.tun.clone()
    }

    // ---- actions

    /// Appends a datapath action.
    pub(crate) fn emit(&mut self, action: Action) {
        self.action_bytes += action_size(&action);
        self.out.actions.push(action);
    }
    /// Forgets actions beyond the first `n`.
    pub(crate) fn truncate_actions(&mut self, n: usize) {
        let gone: usize = self.out.actions.drain(n..).map(|a| action_size(&a)).sum();
        self.action_bytes = self.action_bytes.saturating_sub(gone);
    }
    /// Runs `f` with an empty list of actions and gives what it made.
    pub(crate) fn nested(&mut self, f: impl FnOnce(&mut Self)) -> Actions {
        let outer = std::mem::take(&mut self.out.actions);
        let before = self.action_bytes;
        f(self);
        // Counted again when the action that holds them is emitted.
        self.action_bytes = before;
        std::mem::replace(&mut self.out.actions, outer)
    }
    /// Emits what leads from what the datapath has to what the flow is.
    pub(crate) fn commit(&mut self) {
        self.commits = self.commits.wrapping_add(1);
        let from = self.out.actions.len();
        let slow = commit::commit(
            (&self.flow, &mut self.base),
            &mut self.wc,
            &mut self.out.actions,
            self.snap.features.masked_set_action,
            &mut self.pending,
        );
        self.action_bytes += self.out.actions[from..]
            .iter()
            .map(action_size)
            .sum::<usize>();
        self.slow(slow);
    }
    /// What a part of a translation must leave as it found it: the headers that are due.
    pub(crate) fn due(&self) -> Due {
        Due {
            pending: self.pending.clone(),
            commits: self.commits,
        }
    }
    /// Headers that were put on and never sent since `due` are forgotten, with the flow that had them. What was
    /// due before is still due, unless a commit did it meanwhile.
    pub(crate) fn restore_due(&mut self, due: Due) {
        self.pending = if self.commits == due.commits {
            due.pending
        } else {
            Pending::default()
        };
    }
    /// The flow must be handled in userspace for this reason.
    pub(crate) fn slow(&mut self, reason: SlowReason) {
        self.out.slow = self.out.slow.or(reason);
    }
    /// Something to do with the flow's statistics.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.out.effects.push(effect);
    }

    // ---- the listener

    /// True when somebody listens.
    pub(crate) fn tracing(&self) -> bool {
        self.trace.is_some()
    }
    /// True when nothing of this translation will be used but its trace.
    pub(crate) fn only_tracing(&self) -> bool {
        self.trace.is_some() && !self.may_learn
    }
    /// The listener wants names of ports.
    pub(crate) fn wants_names(&self) -> bool {
        self.trace.as_ref().is_some_and(|t| t.names())
    }
    /// Tells the listener something.
    pub(crate) fn note(&mut self, kind: NodeKind, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.trace {
            t.leaf(kind, text());
        }
    }
    /// A node with children begins; [`Self::end`] ends it.
    pub(crate) fn begin(&mut self, kind: NodeKind, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.trace {
            t.begin(kind, text());
        }
    }
    /// The innermost node ends.
    pub(crate) fn end(&mut self) {
        if let Some(t) = &mut self.trace {
            t.end();
        }
    }
    /// The listener itself.
    pub(crate) fn listener(&mut self) -> Option<&mut (dyn Trace + 'a)> {
        self.trace.as_deref_mut()
    }
    /// Something wrong, worth a line in the log when a packet met it.
    pub(crate) fn complain(&mut self, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.trace {
            t.leaf(NodeKind::Error, text());
        } else if self.live {
            base::log_rl!(
                ERRORS,
                WARN,
                "ofproto_dpif_xlate",
                "{} on bridge {} while processing {}",
                text(),
                self.bridge.name,
                crate::text::flow(&self.base)
            );
        }
    }
    /// Something odd.
    pub(crate) fn remark(&mut self, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.trace {
            t.leaf(NodeKind::Warn, text());
        } else if self.live {
            base::log_rl!(
                INFOS,
                INFO,
                "ofproto_dpif_xlate",
                "{} on bridge {} while processing {}",
                text(),
                self.bridge.name,
                crate::text::flow(&self.base)
            );
        }
    }
    /// Something for those who debug.
    pub(crate) fn mention(&mut self, kind: NodeKind, text: impl FnOnce() -> String) {
        if let Some(t) = &mut self.trace {
            t.leaf(kind, text());
        } else if self.live {
            base::log_rl!(
                DEBUGS,
                DEBUG,
                "ofproto_dpif_xlate",
                "bridge {}: {}",
                self.bridge.name,
                text()
            );
        }
    }

    // ---- wildcards at both ends

    /// What every translation looks at.
    pub(crate) fn mark_always(&mut self) {
        let ip = headers::is_ip(&self.flow);
        self.wc.mark(Site::Ingress, |m| {
            m.packet_type = U32::MAX_VALUE;
            m.in_port = U32::MAX_VALUE;
        });
        self.wc.mark(Site::EthType, |m| m.dl_type = U16::MAX_VALUE);
        if ip {
            self.wc.mark(Site::Frag, |m| {
                m.nw_frag |= Flow::FRAG_ANY | Flow::FRAG_LATER
            });
        }
        if self.snap.features.recirc {
            self.wc
                .mark(Site::RecircId, |m| m.recirc_id = U32::MAX_VALUE);
        }
        if self.bridge.netflow && self.flow.dl_type.get() == wire::ethernet::ETH_TYPE_IP {
            let flow = self.flow;
            self.wc.mark(Site::NetFlow, |m| {
                m.nw_proto = 0xff;
                m.nw_src = Ipv4([0xff; 4]);
                m.nw_dst = Ipv4([0xff; 4]);
                crate::hash::mark_ports(&flow, m);
                m.nw_tos |= wire::ipv4::DSCP_MASK;
            });
        }
        crate::tunnel::mark_received(&self.flow, &mut self.wc);
    }

    /// Takes back marks that a datapath flow cannot have or that mean nothing for this packet.
    pub(crate) fn unmark_meaningless(&mut self) {
        let (upcall, flow) = (self.upcall, &self.flow);
        let icmp = flow.is_icmpv4(None) || flow.is_icmpv6(None);
        let later = flow.nw_frag & Flow::FRAG_LATER != 0;
        self.wc.clear(|m| {
            m.metadata = U64::ZERO;
            m.regs = [U32::ZERO; 16];
            m.actset_output = U32::ZERO;
            m.conj_id = U32::ZERO;
            if upcall.packet_type.get() != PT_ETH {
                m.dl_dst = wire::EthAddr::ZERO;
                m.dl_src = wire::EthAddr::ZERO;
            }
            // ICMP types and codes have eight bits in the datapath.
            if icmp {
                m.tp_src &= U16::new(0xff);
                m.tp_dst &= U16::new(0xff);
            }
            for v in &mut m.vlans {
                if v.tci.get() != 0 {
                    v.tci |= U16::new(flow::Vlan::CFI);
                }
            }
            // Later fragments have no ports, whatever a rule asks.
            if later {
                m.tp_src = U16::ZERO;
                m.tp_dst = U16::ZERO;
            }
            // Headers that the packet did not have: marked by actions that pushed them.
            if !headers::is_mpls(upcall) {
                m.mpls_lse = [U32::ZERO; 3];
            }
            for (m, v) in m.vlans.iter_mut().zip(&upcall.vlans) {
                if !wire::ethernet::is_vlan_type(v.tpid.get()) {
                    *m = flow::Vlan::default();
                }
            }
            if !upcall.tunnel.is_set() {
                m.tunnel = Flow::zero().tunnel;
            }
        });
    }
}

/// The OpenFlow ingress port of a flow.
pub(crate) fn in_port(flow: &Flow) -> OfPort {
    OfPort((flow.in_port.get() & 0xffff) as u16)
}

/// The outer destination as an IPv6 address (IPv4 mapped); zero for none.
pub(crate) fn tunnel_dst(t: &flow::TunnelKey) -> Ipv6 {
    if t.ip_dst == Ipv4::default() {
        t.ipv6_dst
    } else {
        mapped(t.ip_dst)
    }
}

/// An IPv4 address as an IPv6 one.
pub(crate) fn mapped(a: Ipv4) -> Ipv6 {
    Ipv6(std::net::Ipv4Addr::from(a.0).to_ipv6_mapped().octets())
}

//! [`World`]: the translator made of `xlate` and what the backer publishes.
//!
//! The backer publishes one [`Links`] value (the translation snapshot, and where effects go) on every change
//! of configuration; handlers and revalidators read whichever is newest. Tables and MAC tables change
//! underneath it and tell so through the pending changes.
//!
//! Locks: a bridge's `Ofproto` is locked to apply `learn` and `fin_timeout`, and its MAC table to note an
//! address; neither is held while anything else is locked. Whoever holds one of them must not wait for a
//! revalidation round.

pub mod effects;
pub mod facts;
mod share;
pub mod sink;
mod twin;

pub use effects::Effects;
pub use facts::Fact;
pub use sink::{BondLoad, NoSink, PacketIn, ProtocolPacket, SampledPacket, Sink};

use crate::deps::{Dep, Pending};
use crate::packed::Shared;
use crate::translator::{Ask, Translation, Translator};
use base::clock::{Clock, Nanos};
use base::log::RateLimit;
use base::sync::{Arc, Mutex, OnceLock, Slot};
use dpif::Upcall;
use effects::{Applier, NewEffects};
use flow::{Flow, Mask, OdpPort, OfPort, Vlan};
use netdev::Device;
use odp::{Action, Actions, DropReason, FlowStats, SlowReason, Userspace, UserspaceCookie};
use ofproto::{Ofproto, Rule};
use share::SharedEffects;
use std::collections::HashMap;
use std::mem::take;
use xlate::{BridgeId, Input, Output, ReceiveError, Snapshot, XlateError};

/// OpenFlow's number of the meter for packets that go to userspace (`OFPM_SLOWPATH`).
const SLOWPATH_METER: u32 = 0xffff_fffd;

/// What the backer publishes.
#[derive(Debug, Clone)]
pub struct Links {
    /// What translations look at.
    pub snapshot: Arc<Snapshot>,
    /// The writers of the bridges' tables, for `learn` and timeouts.
    pub ofprotos: HashMap<BridgeId, Arc<Mutex<Ofproto>>>,
    /// Devices of ports that packets cross without the datapath (patch ports).
    pub devices: HashMap<(BridgeId, OfPort), Arc<dyn Device>>,
}

/// The translator. See the module's text.
#[derive(Debug)]
pub struct World {
    clock: Clock,
    links: Slot<Links>,
    sink: Arc<dyn Sink>,
    pending: OnceLock<Arc<Pending<Arc<Rule>>>>,
    shared: SharedEffects,
    /// Masks and action lists that thousands of translations share.
    parts: OnceLock<Arc<Shared>>,
}

/// Where a packet enters translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    bridge: BridgeId,
    in_port: OfPort,
}

impl World {
    /// A world without bridges.
    #[must_use]
    pub fn new(clock: Clock, snapshot: Snapshot, sink: Arc<dyn Sink>) -> Self {
        Self {
            clock,
            links: Slot::from_pointee(Links {
                snapshot: Arc::new(snapshot),
                ofprotos: HashMap::new(),
                devices: HashMap::new(),
            }),
            sink,
            pending: OnceLock::new(),
            shared: SharedEffects::default(),
            parts: OnceLock::new(),
        }
    }

    /// What is published now.
    #[must_use]
    pub fn links(&self) -> Arc<Links> {
        self.links.load_full()
    }
    /// Publishes. What changed must be posted afterwards, not before.
    pub fn publish(&self, links: Links) {
        self.links.store(Arc::new(links));
    }
    /// The receivers of what leaves upwards.
    #[must_use]
    pub fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    fn pending(&self) -> &Pending<Arc<Rule>> {
        self.pending
            .get()
            .expect("attached by Udpif::new before anything is translated")
    }

    fn parts(&self) -> &Shared {
        self.parts.get_or_init(Arc::default)
    }

    fn applier<'a>(&'a self, links: &'a Links) -> Applier<'a> {
        Applier {
            links,
            sink: &*self.sink,
            pending: self.pending(),
            now: self.clock.now(),
        }
    }

    /// Applies the effects of a translation made elsewhere (packets from controllers), with the counts of
    /// the packet itself.
    pub fn apply(&self, output: &Output, delta: &FlowStats) {
        let links = self.links.load();
        let applier = self.applier(&links);
        applier.learn(&output.effects);
        applier.credit(&output.effects, delta);
    }
}

impl World {
    /// Applies what a traced packet teaches, without counting it. `tcp_flags` are the packet's.
    pub fn teach(&self, output: &Output, tcp_flags: u16) {
        let links = self.links.load();
        let applier = self.applier(&links);
        applier.learn(&output.effects);
        applier.ends(&output.effects, tcp_flags);
    }
}

/// Where a packet with these metadata enters.
fn entry(snapshot: &Snapshot, ask: &Ask<'_>) -> Result<Entry, ReceiveError> {
    if let Some(from) = ask.from
        && let UserspaceCookie::SlowPath {
            bridge, in_port, ..
        } = &from.cookie
        && snapshot.bridges.contains_key(&BridgeId(*bridge))
    {
        return Ok(Entry {
            bridge: BridgeId(*bridge),
            in_port: *in_port,
        });
    }
    let (bridge, in_port) = snapshot.receive(ask.key)?;
    Ok(Entry { bridge, in_port })
}

/// The mask as every datapath flow must have it: the ingress port exactly, and whether there is a VLAN tag.
fn normalize(mask: &mut Mask) {
    mask.0.in_port.set(u32::MAX);
    if mask.0.vlans[0].tci.get() == 0 {
        mask.0.vlans[0].tci.set(Vlan::CFI | Vlan::VID_MASK);
    }
}

/// What a flow whose packets must be handled in userspace does in the datapath.
fn slow_path(snapshot: &Snapshot, at: Entry, reason: SlowReason) -> Actions {
    let up = Action::Userspace(Userspace {
        pid: 0,
        cookie: UserspaceCookie::SlowPath {
            bridge: at.bridge.0,
            in_port: at.in_port,
            reason,
        },
        egress_tun_port: None,
        include_actions: false,
    });
    let meter = snapshot
        .bridges
        .get(&at.bridge)
        .and_then(|b| b.pipeline.meters.provider_id(SLOWPATH_METER));
    match meter {
        None => vec![up],
        Some(meter) => vec![Action::Sample {
            probability: u32::MAX,
            actions: vec![Action::Meter(meter), up],
        }],
    }
}

/// The translation of packets that nobody receives: drop them. All packets of a port that no bridge owns, until
/// one does; of a tunnel port, those like this one; of a lost recirculation, just this one.
fn unowned(snapshot: &Snapshot, key: &Flow, why: &ReceiveError) -> Translation<Effects> {
    let mut mask = match why {
        ReceiveError::NoPort(_) | ReceiveError::NoRecirculation(_) => Mask::empty(),
        ReceiveError::NoTunnelPort => Mask::for_packet(key),
    };
    normalize(&mut mask);
    mask.0.recirc_id.set(u32::MAX);
    let actions = Arc::new(if snapshot.features.explicit_drop_action {
        vec![Action::Drop(DropReason::NoBridge)]
    } else {
        Actions::new()
    });
    let odp = OdpPort(key.in_port.get());
    Translation {
        actions: actions.clone(),
        install: actions,
        mask: Arc::new(mask),
        cacheable: !matches!(why, ReceiveError::NoRecirculation(_)),
        needs_help: false,
        unowned: true,
        effects: Arc::new(Effects::none()),
        deps: facts::deps_of(&xlate::Deps::default(), odp, OfPort::NONE),
    }
}

impl Translator for World {
    type Effects = Effects;
    type Probe = Arc<Rule>;

    fn attach(&self, pending: &Arc<Pending<Self::Probe>>, shared: &Arc<Shared>) {
        // A second udpif over one world would be a bug of the caller; the first keeps it.
        let first = self.pending.set(pending.clone()).is_ok();
        self.parts.get_or_init(|| shared.clone());
        debug_assert!(first, "one world, one udpif");
    }

    fn translate(&self, ask: &Ask<'_>) -> Result<Translation<Effects>, DropReason> {
        static LIMIT: RateLimit = RateLimit::new(1, 5);
        let links = self.links.load();
        let snapshot = &links.snapshot;
        let at = match entry(snapshot, ask) {
            Ok(at) => at,
            Err(why) => {
                if ask.live {
                    base::log_rl!(
                        LIMIT,
                        INFO,
                        "ofproto_dpif_upcall",
                        "received packet on unassociated datapath port {} ({why})",
                        ask.key.in_port.get()
                    );
                }
                return Ok(unowned(snapshot, ask.key, &why));
            }
        };
        let mut flow = *ask.key;
        flow.in_port.set(u32::from(at.in_port.0));
        let mut input = Input::new(at.bridge, &flow, ask.now);
        input.packet = ask.frame.map(packet::Frame::data);
        input.live = ask.live;
        let mut out = xlate::translate(snapshot, input);
        if ask.live {
            explain(snapshot, &flow, at, &out, ask.now);
        }
        Ok(self.finish(snapshot, ask, at, &mut out))
    }

    fn learn(&self, translation: &Translation<Effects>, ask: &Ask<'_>) {
        if translation.effects.teaches {
            let links = self.links.load();
            self.applier(&links).learn(&translation.effects.list);
        }
        let Some(frame) = ask.frame else {
            return;
        };
        for event in &translation.effects.events {
            match event {
                xlate::Event::Protocol {
                    bridge,
                    port,
                    reason,
                } => self.sink.protocol(ProtocolPacket {
                    bridge: *bridge,
                    port: *port,
                    reason: *reason,
                    flow: ask.key,
                    frame,
                    now: ask.now,
                }),
                xlate::Event::Multicast { .. } => self.sink.multicast(event, frame, ask.now),
            }
        }
    }

    fn credit(&self, effects: &Effects, delta: &FlowStats) {
        let links = self.links.load();
        self.applier(&links).credit(&effects.list, delta);
    }

    fn concerns(&self, rule: &Arc<Rule>, note: u64, key: &Flow, mask: &Mask) -> bool {
        facts::concerns(rule, note, key, mask)
    }

    fn too_wide(&self, key: &Flow, mask: &Mask, deps: &[Dep]) -> bool {
        twin::too_wide(&self.links.load().snapshot, key, mask, deps)
    }

    fn deliver(&self, upcall: Upcall, userspace: &Userspace) {
        let Some(frame) = upcall.frame else {
            return;
        };
        match &userspace.cookie {
            UserspaceCookie::Controller { .. } => {
                if let Some(packet) = self.packet_in(&upcall.key, frame, &userspace.cookie) {
                    self.sink.packet_in(packet);
                }
            }
            UserspaceCookie::SFlow { .. }
            | UserspaceCookie::FlowSample { .. }
            | UserspaceCookie::Ipfix { .. } => self.sink.sampled(SampledPacket {
                userspace: userspace.clone(),
                flow: upcall.key,
                frame,
                actions: upcall.actions,
            }),
            UserspaceCookie::SlowPath { .. } | UserspaceCookie::Userdata(_) => {}
        }
    }

    fn removed(&self, effects: &Effects) {
        let links = self.links.load();
        self.applier(&links).removed(&effects.list);
    }

    fn run(&self) {
        self.links.load().snapshot.recirc.run();
        self.shared.run();
    }

    fn exact_mask(&self, key: &Flow) -> Mask {
        let mut mask = Mask::for_packet(key);
        normalize(&mut mask);
        mask
    }
}

impl World {
    /// The packet that a `controller` action sent up, with the metadata it had there.
    fn packet_in(
        &self,
        key: &Flow,
        frame: packet::Frame,
        cookie: &UserspaceCookie,
    ) -> Option<PacketIn> {
        let UserspaceCookie::Controller {
            bridge,
            dont_send: false,
            continuation,
            reason,
            recirc_id,
            rule_cookie,
            controller_id,
            max_len,
            ..
        } = *cookie
        else {
            return None;
        };
        let state = self.links.load().snapshot.recirc.get(recirc_id)?;
        let mut flow = Box::new(*key);
        if !state.conntracked {
            clear_conntrack(&mut flow);
        }
        state.metadata.restore(&mut flow);
        Some(PacketIn {
            bridge: BridgeId(bridge),
            // The cookie does not say: one flow may serve several ports.
            in_port: state.metadata.in_port,
            odp_port: OdpPort(key.in_port.get()),
            frame,
            flow,
            reason,
            table: state.table,
            cookie: rule_cookie,
            controller_id,
            max_len,
            userdata: state.userdata.clone(),
            continuation: continuation.then_some(state),
        })
    }
}

fn clear_conntrack(flow: &mut Flow) {
    let zero = Flow::zero();
    flow.ct_state = 0;
    flow.ct_zone = zero.ct_zone;
    flow.ct_mark = zero.ct_mark;
    flow.ct_label = zero.ct_label;
    flow.ct_nw_proto = 0;
    flow.ct_tp_src = zero.ct_tp_src;
    flow.ct_tp_dst = zero.ct_tp_dst;
    flow.ct_nw_src = zero.ct_nw_src;
    flow.ct_nw_dst = zero.ct_nw_dst;
    flow.ct_ipv6_src = zero.ct_ipv6_src;
    flow.ct_ipv6_dst = zero.ct_ipv6_dst;
}

/// Logs the whole trace of a packet whose translation ran out of bounds: nobody could find out otherwise which
/// rules led there.
fn explain(snapshot: &Snapshot, flow: &Flow, at: Entry, out: &Output, now: Nanos) {
    // It is long: one a minute.
    static LIMIT: RateLimit = RateLimit::new(1, 1);
    if !matches!(
        out.error,
        Some(XlateError::RecursionTooDeep | XlateError::TooManyResubmits)
    ) {
        return;
    }
    let request = xlate::TraceRequest {
        bridge: at.bridge,
        flow,
        packet: None,
        actions: None,
        ct_states: &[],
        names: false,
        now,
    };
    base::log_rl!(
        LIMIT,
        WARN,
        "ofproto_dpif_upcall",
        "{}",
        xlate::trace(snapshot, &request, &mut |_, _| ())
    );
}

impl World {
    /// From what translation says to what is installed.
    fn finish(
        &self,
        snapshot: &Snapshot,
        ask: &Ask<'_>,
        at: Entry,
        out: &mut Output,
    ) -> Translation<Effects> {
        normalize(&mut out.wildcards);
        let odp = OdpPort(ask.key.in_port.get());
        let deps = facts::deps_of(&out.deps, odp, at.in_port);
        let mut recircs = take(&mut out.recircs);
        let mut cacheable = !out.avoid_caching;
        match ask.key.recirc_id.get() {
            0 => {}
            // A flow for recirculated packets keeps their context alive; without one it must not stay.
            id => match snapshot.recirc.reference(id) {
                Some(reference) => recircs.push(reference),
                None => cacheable = false,
            },
        }
        let actions = self.parts().new_actions(&out.actions);
        let install = if out.slow.is_empty() {
            actions.clone()
        } else {
            Arc::new(slow_path(snapshot, at, out.slow))
        };
        Translation {
            needs_help: out.slow.has(SlowReason::ACTION),
            actions,
            install,
            mask: self.parts().new_mask(&out.wildcards),
            cacheable,
            unowned: false,
            effects: self.shared.share(NewEffects {
                list: take(&mut out.effects),
                events: take(&mut out.events),
                recircs,
            }),
            deps,
        }
    }
}

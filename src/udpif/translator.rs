//! What this room needs from the rooms above the datapath.
//!
//! The core of `udpif` keeps flows equal to whatever a [`Translator`] says, and credits their packets to
//! whomever it named. [`crate::world`] is the translator made of `xlate`; tests use a toy.

use crate::deps::{Dep, Deps, Pending};
use crate::packed::Shared;
use base::clock::Nanos;
use base::sync::Arc;
use dpif::Upcall;
use flow::{Flow, Mask};
use odp::{Actions, DropReason, FlowStats, Userspace};
use packet::Frame;
use std::fmt::Debug;

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Headers and metadata; `in_port` is a datapath port.
    pub key: &'a Flow,
    /// The packet, when there is one to be worked on (slow path).
    pub frame: Option<&'a Frame>,
    /// For a slow-path packet: what the flow that sent it up said.
    pub from: Option<&'a Userspace>,
    /// True when a packet is really there, so that its arrival may be logged; false for a revalidation.
    pub live: bool,
    /// Now.
    pub now: Nanos,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Translation<E> {
    /// What to do with packets at hand that are not installed for (slow path: the real actions).
    pub actions: Arc<Actions>,
    /// What to install; differs from `actions` when the flow needs userspace for each packet.
    pub install: Arc<Actions>,
    /// What the answer looked at.
    pub mask: Arc<Mask>,
    /// May be installed.
    pub cacheable: bool,
    /// `actions` contains some that the datapath cannot do by itself.
    pub needs_help: bool,
    /// No bridge owns the port: `install` drops.
    pub unowned: bool,
    /// Whom to credit and what to refresh; opaque here. Also keeps alive what `install` names
    /// (recirculation contexts).
    pub effects: Arc<E>,
    /// Facts that the answer rests on.
    pub deps: Deps,
}

/// The world above.
pub trait Translator: Send + Sync + Debug + 'static {
    /// What a translation does besides forwarding.
    type Effects: Send + Sync + Debug + 'static;
    /// What was added, in a [`crate::deps::Change::Probe`].
    type Probe: Send + Sync + Debug + 'static;

    /// Called once, before anything else: where to post changes that effects cause, and where equal masks and
    /// action lists become one (answers need not come from there, but cost less if they do).
    fn attach(&self, _pending: &Arc<Pending<Self::Probe>>, _shared: &Arc<Shared>) {}

    /// Translates a key under the state that is published now. Pure: it may lock leaves only.
    ///
    /// # Errors
    /// The key cannot be translated at all; its packets are dropped for that reason.
    fn translate(&self, ask: &Ask<'_>) -> Result<Translation<Self::Effects>, DropReason>;

    /// Applies once what a packet that really came teaches, apart from counters: MAC learning, `learn`,
    /// protocol frames. Called after each translation of a packet, in order, before the next one.
    fn learn(&self, translation: &Translation<Self::Effects>, ask: &Ask<'_>);

    /// Credits packets, and refreshes what they keep alive. Each packet is credited once.
    fn credit(&self, effects: &Self::Effects, delta: &FlowStats);

    /// True when the addition may change the translation of a flow that has this key and mask. `note` is
    /// that of the dependency.
    fn concerns(&self, probe: &Self::Probe, note: u64, key: &Flow, mask: &Mask) -> bool;

    /// True when packets that this flow matches are known to fare differently: the slow and exact question, for
    /// verify mode. `deps` are those of a fresh translation of the key.
    fn too_wide(&self, key: &Flow, mask: &Mask, deps: &[Dep]) -> bool;

    /// Takes a packet that a `userspace` action other than the slow path's sent up: to a controller, sFlow,
    /// IPFIX.
    fn deliver(&self, upcall: Upcall, userspace: &Userspace);

    /// A flow with these effects was removed from the datapath, after its last counters were credited.
    fn removed(&self, _effects: &Self::Effects) {}

    /// Housekeeping, once a round (recirculation contexts).
    fn run(&self) {}

    /// The mask to install instead when megaflows are switched off: everything that this packet has.
    fn exact_mask(&self, key: &Flow) -> Mask;
}

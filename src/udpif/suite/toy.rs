//! A toy world: one table of prefix rules over the last byte of the destination address, and the rig that
//! puts it over the fake datapath in manual mode.

use crate::deps::{Change, Dep, DepKey, Deps};
use crate::translator::{Ask, Translation, Translator};
use crate::{Threading, Udpif};
use base::clock::{Clock, Nanos};
use base::sync::{Arc, AtomicU64, Mutex, Ordering, lock};
use dpif::fake::FakeDpif;
use dpif::{Dpif, OdpPort, PortSpec, Upcall};
use flow::{Flow, Mask};
use odp::{Action, DropReason, FlowStats, Userspace, UserspaceCookie};
use std::collections::BTreeMap;

/// `dst & mask(bits) == value` goes to `port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToyRule {
    pub(super) bits: u32,
    pub(super) value: u8,
    pub(super) port: u32,
    pub(super) version: u64,
}

pub(super) fn prefix(bits: u32) -> u8 {
    if bits == 0 { 0 } else { 0xff << (8 - bits) }
}

const TABLE: DepKey = DepKey(1);

/// Packets credited, by (rule version, port the translation chose).
type Credits = BTreeMap<(u64, u32), u64>;

#[derive(Debug, Default)]
pub(super) struct Toy {
    rules: Mutex<Vec<ToyRule>>,
    next_version: AtomicU64,
    pub(super) credits: Mutex<Credits>,
    pub(super) learned: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) removed: AtomicU64,
    /// Flows to this port go through userspace, packet by packet.
    pub(super) slow_port: AtomicU64,
}

/// Where packets go that match no rule.
pub(super) const MISS_PORT: u32 = 9;

fn rule_key(version: u64) -> DepKey {
    DepKey(1000 + version)
}

impl Toy {
    fn best(&self, dst: u8) -> Option<ToyRule> {
        let rules = lock(&self.rules);
        rules
            .iter()
            .filter(|r| dst & prefix(r.bits) == r.value)
            .max_by_key(|r| r.bits)
            .copied()
    }

    /// Adds or replaces a rule; returns what to post.
    pub(super) fn add(&self, bits: u32, dst: u8, port: u32) -> Change<ToyRule> {
        let version = self.next_version.fetch_add(1, Ordering::Relaxed) + 1;
        let value = dst & prefix(bits);
        let new = ToyRule {
            bits,
            value,
            port,
            version,
        };
        let mut rules = lock(&self.rules);
        let old = rules
            .iter()
            .position(|r| (r.bits, r.value) == (bits, value));
        if let Some(at) = old {
            let gone = std::mem::replace(&mut rules[at], new);
            Change::Key(rule_key(gone.version))
        } else {
            rules.push(new);
            Change::Probe(TABLE, Arc::new(new))
        }
    }

    /// Removes the `n`-th rule; returns what to post.
    pub(super) fn remove(&self, n: usize) -> Option<Change<ToyRule>> {
        let mut rules = lock(&self.rules);
        if rules.is_empty() {
            return None;
        }
        let n = n % rules.len();
        let gone = rules.remove(n);
        Some(Change::Key(rule_key(gone.version)))
    }

    pub(super) fn credited(&self) -> u64 {
        lock(&self.credits).values().sum()
    }
    /// Packets credited to translations that chose a port.
    pub(super) fn credited_to(&self, port: u32) -> u64 {
        let credits = lock(&self.credits);
        credits
            .iter()
            .filter(|((_, p), _)| *p == port)
            .map(|(_, n)| n)
            .sum()
    }
}

impl Translator for Toy {
    type Effects = (u64, u32);
    type Probe = ToyRule;

    fn translate(&self, ask: &Ask<'_>) -> Result<Translation<Self::Effects>, DropReason> {
        let dst = ask.key.dl_dst.0[5];
        if dst == 0xff {
            return Err(DropReason::StackTooDeep);
        }
        let best = self.best(dst);
        // Every rule longer than the best one was looked at and did not match.
        let looked_at = lock(&self.rules).iter().map(|r| r.bits).max().unwrap_or(0);
        let mut mask = Mask::empty();
        mask.0.in_port.set(u32::MAX);
        mask.0.vlans[0].tci.set(0x1fff);
        mask.0.dl_dst.0[5] = prefix(looked_at);
        let (version, port) = best.map_or((0, MISS_PORT), |r| (r.version, r.port));
        let actions = Arc::new(vec![Action::Output(OdpPort(port))]);
        let slow = u64::from(port) == self.slow_port.load(Ordering::Relaxed);
        let install = if slow {
            Arc::new(vec![Action::Userspace(Userspace {
                pid: 0,
                cookie: UserspaceCookie::SlowPath {
                    bridge: 0,
                    in_port: flow::OfPort(1),
                    reason: odp::SlowReason::ACTION,
                },
                egress_tun_port: None,
                include_actions: false,
            })])
        } else {
            actions.clone()
        };
        let mut deps = Deps::new();
        deps.push(Dep {
            key: TABLE,
            note: best.map_or(0, |r| u64::from(r.bits)),
        });
        if best.is_some() {
            deps.push(Dep {
                key: rule_key(version),
                note: 0,
            });
        }
        Ok(Translation {
            actions,
            install,
            mask: Arc::new(mask),
            cacheable: true,
            needs_help: false,
            unowned: false,
            effects: Arc::new((version, port)),
            deps,
        })
    }

    fn learn(&self, _: &Translation<Self::Effects>, _: &Ask<'_>) {
        self.learned.fetch_add(1, Ordering::Relaxed);
    }
    fn credit(&self, effects: &Self::Effects, delta: &FlowStats) {
        *lock(&self.credits).entry(*effects).or_default() += delta.n_packets;
    }
    fn concerns(&self, probe: &ToyRule, note: u64, key: &Flow, mask: &Mask) -> bool {
        // A longer prefix widens what must be looked at by every flow of the table; but a flow whose mask
        // looks at those bits already is concerned only if the rule matches it.
        let seen = mask.0.dl_dst.0[5];
        let p = prefix(probe.bits);
        let overlaps = (key.dl_dst.0[5] ^ probe.value) & p & seen == 0;
        let narrower = p & !seen != 0;
        narrower || overlaps && u64::from(probe.bits) >= note
    }
    fn too_wide(&self, key: &Flow, mask: &Mask, _: &[Dep]) -> bool {
        let port = |dst| self.best(dst).map_or(MISS_PORT, |r| r.port);
        let own = key.dl_dst.0[5];
        let seen = mask.0.dl_dst.0[5];
        (0..u8::MAX).any(|dst| (dst ^ own) & seen == 0 && port(dst) != port(own))
    }
    fn deliver(&self, _: Upcall, _: &Userspace) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }
    fn removed(&self, _: &Self::Effects) {
        self.removed.fetch_add(1, Ordering::Relaxed);
    }
    fn exact_mask(&self, _: &Flow) -> Mask {
        Mask::exact()
    }
}

/// A toy world over a fake datapath.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) clock: Clock,
    pub(super) dpif: Arc<FakeDpif>,
    pub(super) toy: Arc<Toy>,
    pub(super) udpif: Udpif<Toy>,
    /// Packets that left, by port.
    pub(super) sent: BTreeMap<u32, u64>,
}

impl Rig {
    pub(super) fn new(threading: Threading) -> Self {
        let clock = Clock::simulated(Nanos::from_millis(1_000_000));
        let dpif = FakeDpif::standalone("dp", clock.clone());
        for n in 1..10 {
            let spec = PortSpec {
                name: format!("p{n}"),
                class: "dummy".to_owned(),
                number: Some(OdpPort(n)),
            };
            dpif.port_add(&spec).unwrap();
        }
        let toy = Arc::new(Toy::default());
        let as_dpif: Arc<dyn Dpif> = dpif.clone();
        let udpif = Udpif::new(as_dpif, toy.clone(), clock.clone(), threading);
        udpif.set_threads(2, 2).unwrap();
        Self {
            clock,
            dpif,
            toy,
            udpif,
            sent: BTreeMap::new(),
        }
    }

    pub(super) fn inject(&self, port: u32, dst: u8) {
        let mut p = [0u8; 60];
        p[5] = dst;
        p[11] = 1;
        p[12..14].copy_from_slice(&[0x12, 0x34]);
        self.dpif.inject(OdpPort(port), &p);
    }

    /// Notes what left.
    pub(super) fn collect(&mut self) {
        for (port, _) in self.dpif.take_output() {
            *self.sent.entry(port.0).or_default() += 1;
        }
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        let drops = self.dpif.ledger().drops;
        drops
            .iter()
            .filter(|((_, r), _)| *r == reason)
            .map(|(_, n)| n)
            .sum()
    }

    /// Every installed flow does what a fresh translation says, for every packet it matches.
    pub(super) fn assert_flows_true(&self) {
        for f in self.dpif.flows() {
            for dst in 0..=u8::MAX - 1 {
                let mut key = *f.key;
                key.dl_dst.0[5] = dst;
                if !key.equals_under(&f.key, &f.mask) {
                    continue;
                }
                let fresh = self.toy.translate(&Ask {
                    key: &key,
                    frame: None,
                    from: None,
                    live: false,
                    now: self.clock.now(),
                });
                assert_eq!(*fresh.unwrap().install, *f.actions, "dst {dst}");
            }
        }
    }
}

//! Upcalls on their way from packet threads to handlers: bounded, fair between ports, urgent ones first.
//!
//! A packet thread never waits here. It pushes into a bounded lock-free queue of the handler that the
//! flow's hash names, or learns why it may not: upcalls are off, the port's budget is spent (a token
//! bucket per port and packet thread), or the port has its fair share of the queue waiting already. A
//! handler takes out round-robin by port, control protocols (LACP, STP, CFM, BFD, LLDP, ARP, ND) before all
//! others; these have a queue and a budget of their own, so that a flood of them is bounded too.
//!
//! Ports share a queue by counting what they have in it: the more ports have something waiting, the fewer
//! places each may take.

use crate::bell::Bell;
use crate::limits::{
    UPCALL_BUDGET, UPCALL_QUEUE, UPCALL_SHARE_MIN, URGENT_BUDGET, URGENT_BURST, URGENT_QUEUE,
};
use base::clock::Nanos;
use base::sync::{
    Arc, ArcSwap, ArrayQueue, AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering, lock,
};
use dpif::Upcall;
use flow::Flow;
use odp::DropReason;
use std::collections::VecDeque;
use std::time::Duration;
use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_IPV6};
use wire::ipv4::{PROTO_ICMPV6, PROTO_UDP};

/// How many upcalls a port has waiting, all handlers together.
#[derive(Debug, Default)]
pub(crate) struct PortQuota {
    waiting: AtomicU32,
}

#[derive(Debug)]
struct Queued {
    upcall: Box<Upcall>,
    quota: Arc<PortQuota>,
}

/// One handler's queues.
#[derive(Debug)]
struct Handler {
    urgent: ArrayQueue<Queued>,
    normal: ArrayQueue<Queued>,
    bell: Bell,
    /// Taken out of `normal`, sorted by port. Only handlers lock it.
    sorted: Mutex<Sorted>,
    /// Upcalls in both queues and in `sorted`.
    waiting: AtomicU32,
    /// What the handler has in hand: [`FREE`], [`TAKING`] or [`WORKING`].
    hand: AtomicU8,
}

/// Nothing.
const FREE: u8 = 0;
/// It is taking upcalls out and has some.
const TAKING: u8 = 1;
/// It has some, and found no more: it works on them now. Coming back for more ends that.
const WORKING: u8 = 2;

#[derive(Debug, Default)]
struct Sorted {
    /// In turn; ports without anything waiting are not in it.
    ports: VecDeque<(u32, VecDeque<Queued>)>,
}

/// All handlers of a datapath.
#[derive(Debug)]
pub(crate) struct Upcalls {
    enabled: AtomicBool,
    handlers: ArcSwap<Vec<Handler>>,
    /// Ports with something waiting.
    active_ports: AtomicU32,
    /// Upcalls per second and port that may be raised.
    budget: AtomicU64,
}

impl Upcalls {
    /// One handler, upcalls off.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            enabled: AtomicBool::new(false),
            handlers: ArcSwap::from_pointee(make(1)?),
            active_ports: AtomicU32::new(0),
            budget: AtomicU64::new(UPCALL_BUDGET),
        })
    }

    /// Sets the number of handlers. What waits for those that were is given back.
    ///
    /// # Errors
    /// The kernel's, when there is no descriptor left.
    pub(crate) fn set_handlers(&self, n: u32) -> std::io::Result<Vec<Upcall>> {
        let old = self.handlers.swap(Arc::new(make(n)?));
        let left = old.iter().flat_map(|h| self.drain(h)).collect();
        for handler in old.iter() {
            handler.bell.ring();
        }
        Ok(left)
    }

    pub(crate) fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
    }
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }
    pub(crate) fn set_budget(&self, per_second: u64) {
        self.budget.store(per_second, Ordering::Relaxed);
    }
    pub(crate) fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Queues an upcall. Packet threads.
    pub(crate) fn push(
        &self,
        upcall: Box<Upcall>,
        quota: &Arc<PortQuota>,
        urgent: bool,
    ) -> Result<(), DropReason> {
        let handlers = self.handlers.load();
        let h = upcall.ufid.0 as usize % handlers.len();
        let handler = &handlers[h];
        let queue = if urgent {
            &handler.urgent
        } else {
            &handler.normal
        };
        let active = self.active_ports.load(Ordering::Relaxed) as usize;
        let share = (queue.capacity() / (active + 1)).max(UPCALL_SHARE_MIN);
        if !urgent && quota.waiting.load(Ordering::Relaxed) as usize >= share {
            return Err(DropReason::UpcallQueueFull);
        }
        handler.waiting.fetch_add(1, Ordering::Release); // pairs with the Acquire in idle()
        self.arrived(quota);
        let queued = Queued {
            upcall,
            quota: Arc::clone(quota),
        };
        match queue.push(queued) {
            Ok(()) => Ok(()),
            Err(back) => {
                self.left(handler, &back.quota);
                Err(DropReason::UpcallQueueFull)
            }
        }
    }

    /// Wakes handlers that sleep and have something waiting. Packet threads, once per batch with upcalls.
    pub(crate) fn wake(&self) {
        for handler in self.handlers.load().iter() {
            if handler.waiting.load(Ordering::Relaxed) > 0 {
                handler.bell.ring();
            }
        }
    }

    fn arrived(&self, quota: &PortQuota) {
        if quota.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.active_ports.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn left(&self, handler: &Handler, quota: &PortQuota) {
        if quota.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.active_ports.fetch_sub(1, Ordering::Relaxed);
        }
        handler.waiting.fetch_sub(1, Ordering::Release); // pairs with the Acquire in idle()
    }

    /// The next upcall for a handler.
    pub(crate) fn pop(&self, handler: u32) -> Option<Upcall> {
        self.pop_many(handler, 1).pop()
    }

    /// The next upcalls for a handler, at most `max`; fewer only if there are no more.
    pub(crate) fn pop_many(&self, handler: u32, max: usize) -> Vec<Upcall> {
        let handlers = self.handlers.load();
        let Some(handler) = handlers.get(handler as usize) else {
            return Vec::new();
        };
        let hand = handler.hand.load(Ordering::Relaxed);
        handler.hand.store(TAKING, Ordering::Release); // pairs with the Acquire in idle()
        let mut out = Vec::with_capacity(max.min(handler.waiting.load(Ordering::Relaxed) as usize));
        {
            let mut sorted = lock(&handler.sorted);
            while out.len() < max
                && let Some(q) = handler.urgent.pop().or_else(|| handler.next(&mut sorted))
            {
                self.left(handler, &q.quota);
                out.push(*q.upcall);
            }
        }
        if out.len() < max {
            let now = if hand == TAKING || !out.is_empty() {
                WORKING
            } else {
                FREE
            };
            handler.hand.store(now, Ordering::Release); // pairs with the Acquire in idle()
        }
        out
    }

    /// Waits until a handler may have something; true when it has.
    pub(crate) fn wait(&self, handler: u32, timeout: Duration) -> bool {
        let handlers = self.handlers.load_full();
        let Some(handler) = handlers.get(handler as usize) else {
            return false;
        };
        handler.hand.store(FREE, Ordering::Release); // pairs with the Acquire in idle()
        handler
            .bell
            .wait(timeout, || handler.waiting.load(Ordering::Acquire) > 0)
    }

    /// Wakes every handler that waits, whether or not it has something.
    pub(crate) fn wake_all(&self) {
        for handler in self.handlers.load().iter() {
            handler.bell.ring();
        }
    }

    /// Takes everything out.
    pub(crate) fn purge(&self) -> Vec<Upcall> {
        let handlers = self.handlers.load_full();
        handlers.iter().flat_map(|h| self.drain(h)).collect()
    }

    fn drain(&self, handler: &Handler) -> Vec<Upcall> {
        let mut out = Vec::new();
        let mut sorted = lock(&handler.sorted);
        while let Some(q) = handler.urgent.pop().or_else(|| handler.next(&mut sorted)) {
            self.left(handler, &q.quota);
            out.push(*q.upcall);
        }
        out
    }

    /// True when nothing waits and, as far as `working` is asked for, no handler has an upcall in hand: it
    /// has from [`Upcalls::pop`] until it waits, or comes back after having been told that there is no more.
    pub(crate) fn idle(&self, working: bool) -> bool {
        // Pair with the Releases above: whoever sees the counters also sees the work done before.
        self.handlers.load().iter().all(|h| {
            h.waiting.load(Ordering::Acquire) == 0
                && !(working && h.hand.load(Ordering::Acquire) != FREE)
        })
    }
}

fn make(n: u32) -> std::io::Result<Vec<Handler>> {
    (0..n)
        .map(|_| {
            Ok(Handler {
                urgent: ArrayQueue::new(URGENT_QUEUE),
                normal: ArrayQueue::new(UPCALL_QUEUE),
                bell: Bell::new()?,
                sorted: Mutex::default(),
                waiting: AtomicU32::new(0),
                hand: AtomicU8::new(FREE),
            })
        })
        .collect()
}

impl Handler {
    /// The next ordinary upcall, round-robin by port.
    fn next(&self, sorted: &mut Sorted) -> Option<Queued> {
        while let Some(q) = self.normal.pop() {
            let port = q.upcall.key.in_port.get();
            match sorted.ports.iter_mut().find(|(p, _)| *p == port) {
                Some((_, waiting)) => waiting.push_back(q),
                None => sorted.ports.push_back((port, VecDeque::from([q]))),
            }
        }
        let (port, mut waiting) = sorted.ports.pop_front()?;
        let next = waiting.pop_front();
        if !waiting.is_empty() {
            sorted.ports.push_back((port, waiting));
        }
        next
    }
}

/// True for the control protocols that go first.
pub(crate) fn is_urgent(key: &Flow) -> bool {
    const SLOW_PROTOCOLS: u16 = 0x8809;
    const LLDP: u16 = 0x88cc;
    const CFM: u16 = 0x8902;
    const BFD_PORT: u16 = 3784;
    if key.dl_dst.is_reserved() {
        return true;
    }
    match key.dl_type.get() {
        ETH_TYPE_ARP | SLOW_PROTOCOLS | LLDP | CFM => true,
        ETH_TYPE_IP | ETH_TYPE_IPV6 if key.nw_proto == PROTO_UDP => key.tp_dst.get() == BFD_PORT,
        ETH_TYPE_IPV6 => {
            key.nw_proto == PROTO_ICMPV6
                && (u16::from(wire::icmpv6::ROUTER_SOLICIT)..=u16::from(wire::icmpv6::REDIRECT))
                    .contains(&key.tp_src.get())
        }
        _ => false,
    }
}

/// A port's upcall budget on one packet thread.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u64,
    urgent: u64,
    filled: Nanos,
}

impl Budget {
    /// A full one.
    pub(crate) fn new(now: Nanos, per_second: u64) -> Self {
        Self {
            tokens: burst(per_second),
            urgent: URGENT_BURST,
            filled: now,
        }
    }

    /// Takes one token. An urgent upcall that finds none of its own takes an ordinary one, and then is
    /// not urgent any more: `Some(urgent)`. `None` when there is none of either.
    pub(crate) fn take(&mut self, now: Nanos, per_second: u64, urgent: bool) -> Option<bool> {
        self.fill(now, per_second);
        if urgent && self.urgent > 0 {
            self.urgent -= 1;
            return Some(true);
        }
        self.tokens = self.tokens.checked_sub(1)?;
        Some(false)
    }

    fn fill(&mut self, now: Nanos, per_second: u64) {
        let elapsed = now.0.saturating_sub(self.filled.0);
        let grown = |rate: u64| {
            u64::try_from(u128::from(elapsed) * u128::from(rate) / 1_000_000_000)
                .unwrap_or(u64::MAX)
        };
        // Both rates are at least one in a millisecond, so no fraction is lost for ever.
        if elapsed >= 1_000_000 {
            self.tokens = (self.tokens.saturating_add(grown(per_second))).min(burst(per_second));
            self.urgent = (self.urgent + grown(URGENT_BUDGET)).min(URGENT_BURST);
            self.filled = now;
        }
    }
}

/// A budget holds at most a quarter of a second's tokens.
const fn burst(per_second: u64) -> u64 {
    per_second / 4 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpif::{PmdId, UpcallKind};
    use odp::Ufid;
    use wire::U32;

    fn upcall(port: u32, n: u128) -> Box<Upcall> {
        let mut key = Flow::zero();
        key.in_port = U32::new(port);
        Box::new(Upcall {
            kind: UpcallKind::Miss,
            key: Arc::new(key),
            ufid: Ufid(n),
            frame: None,
            packet_len: 60,
            park: None,
            pmd: PmdId::NON_PMD,
            actions: None,
            raised: Nanos::ZERO,
        })
    }

    #[test]
    fn a_flooding_port_leaves_room_and_gets_its_turn_only() {
        let ups = Upcalls::new().unwrap();
        let (a, b) = (Arc::default(), Arc::default());
        let mut flood = 0;
        while ups.push(upcall(1, flood), &a, false).is_ok() {
            flood += 1;
        }
        assert!(flood as usize >= UPCALL_SHARE_MIN && (flood as usize) < UPCALL_QUEUE);
        ups.push(upcall(2, 7), &b, false).unwrap();
        ups.push(upcall(1, 8), &a, true).unwrap();
        assert_eq!(ups.pop(0).unwrap().ufid.0, 8, "urgent first");
        let next: Vec<u32> = (0..3)
            .map(|_| ups.pop(0).unwrap().key.in_port.get())
            .collect();
        assert!(next.contains(&2), "{next:?}");
        assert!(!ups.idle(false));
        assert_eq!(ups.purge().len() as u128, flood - 2);
        assert!(ups.pop(0).is_none() && ups.idle(false) && !ups.idle(true));
        assert!(ups.pop(0).is_none() && ups.idle(true));
    }

    #[test]
    fn budgets_fill_with_time() {
        let mut b = Budget::new(Nanos::from_millis(0), 1000);
        let spent = (0..).take_while(|_| b.take(Nanos::ZERO, 1000, false).is_some());
        assert_eq!(spent.count(), 251);
        assert_eq!(b.take(Nanos::from_millis(2), 1000, false), Some(false));
        assert_eq!(b.take(Nanos::from_millis(2), 1000, false), Some(false));
        assert_eq!(b.take(Nanos::from_millis(2), 1000, false), None);
        assert_eq!(b.take(Nanos::from_millis(2), 1000, true), Some(true));
    }

    #[test]
    fn control_protocols_are_urgent() {
        let mut key = Flow::zero();
        assert!(!is_urgent(&key));
        key.dl_type = wire::U16::new(ETH_TYPE_ARP);
        assert!(is_urgent(&key));
        key.dl_type = wire::U16::new(ETH_TYPE_IPV6);
        key.nw_proto = PROTO_ICMPV6;
        key.tp_src = wire::U16::new(135);
        assert!(is_urgent(&key));
        key.tp_src = wire::U16::new(128);
        assert!(!is_urgent(&key));
    }
}

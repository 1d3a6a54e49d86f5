//! The packet ledger: where every received packet went.
//!
//! For each ingress port and in total, at any time between two batches,
//!
//! ```text
//! received + injected + created = forwarded + consumed + parked + sum of drops by reason
//! ```
//!
//! *injected* packets were handed in by `execute`; *created* ones are copies (several outputs, clones,
//! packets sent up while they also go on); *consumed* ones ended in userspace, or wait as fragments for
//! the rest of their packet: those are injected when they go on. A packet is booked under
//! the port it came in on, whichever device it leaves by or is refused by. "Unknown" does not exist.
//!
//! A [`PortLedger`] is written by one packet thread (relaxed) and read by anybody.

use base::sync::{Arc, Counter, Mutex, lock};
use odp::{DropReason, OdpPort};
use std::collections::BTreeMap;

const REASONS: usize = DropReason::ALL.len();

/// One packet thread's account of one ingress port.
#[derive(Debug)]
pub(crate) struct PortLedger {
    pub(crate) received: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) injected: Counter,
    pub(crate) created: Counter,
    pub(crate) forwarded: Counter,
    pub(crate) consumed: Counter,
    /// Goes up and down.
    pub(crate) parked: Counter,
    drops: [Counter; REASONS],
}

impl Default for PortLedger {
    fn default() -> Self {
        Self {
            received: Counter::new(),
            received_bytes: Counter::new(),
            injected: Counter::new(),
            created: Counter::new(),
            forwarded: Counter::new(),
            consumed: Counter::new(),
            parked: Counter::new(),
            drops: [const { Counter::new() }; REASONS],
        }
    }
}

impl PortLedger {
    /// Books `n` dropped packets.
    #[inline]
    pub(crate) fn drop_n(&self, reason: DropReason, n: u64) {
        self.drops[reason as usize].add_local(n);
    }
    /// Takes `n` packets out of the parked ones.
    pub(crate) fn unpark(&self, n: u64) {
        self.parked.set(self.parked.get().wrapping_sub(n));
    }
    /// The account now.
    pub(crate) fn read(&self) -> Account {
        Account {
            received: self.received.get(),
            received_bytes: self.received_bytes.get(),
            injected: self.injected.get(),
            created: self.created.get(),
            forwarded: self.forwarded.get(),
            consumed: self.consumed.get(),
            parked: self.parked.get(),
            drops: std::iter::zip(DropReason::ALL, &self.drops)
                .map(|(&r, n)| (r, n.get()))
                .filter(|&(_, n)| n > 0)
                .collect(),
        }
    }
}

/// The terms of the ledger for one port, or for all. Packets, except where it says bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the module says what they are")]
pub struct Account {
    pub received: u64,
    pub received_bytes: u64,
    pub injected: u64,
    pub created: u64,
    pub forwarded: u64,
    pub consumed: u64,
    pub parked: u64,
    /// Only reasons that occurred.
    pub drops: BTreeMap<DropReason, u64>,
}

impl Account {
    /// Adds another account's terms.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.injected += other.injected;
        self.created += other.created;
        self.forwarded += other.forwarded;
        self.consumed += other.consumed;
        self.parked += other.parked;
        for (&reason, n) in &other.drops {
            *self.drops.entry(reason).or_default() += n;
        }
    }
    /// Dropped packets, whatever the reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }
    /// What came in minus what is accounted for. Zero, or the datapath has lost count.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let came = [self.received, self.injected, self.created];
        let went = [self.forwarded, self.consumed, self.parked, self.dropped()];
        came.iter().map(|&n| i128::from(n)).sum::<i128>()
            - went.iter().map(|&n| i128::from(n)).sum::<i128>()
    }
}

/// All accounts of a datapath, those of removed ports and threads included.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    open: Vec<(OdpPort, Arc<PortLedger>)>,
    /// Accounts whose writer is gone, by port number.
    closed: BTreeMap<OdpPort, Account>,
}

impl Ledger {
    /// A new account for `port`.
    pub(crate) fn open(&self, port: OdpPort) -> Arc<PortLedger> {
        let account = Arc::new(PortLedger::default());
        lock(&self.0).open.push((port, Arc::clone(&account)));
        account
    }

    /// Every port's account, threads added up.
    pub(crate) fn by_port(&self) -> BTreeMap<OdpPort, Account> {
        let mut book = lock(&self.0);
        let Book { open, closed } = &mut *book;
        open.retain(|(port, account)| {
            let in_use = Arc::strong_count(account) > 1;
            if !in_use {
                closed.entry(*port).or_default().add(&account.read());
            }
            in_use
        });
        let mut sum = closed.clone();
        for (port, account) in open {
            sum.entry(*port).or_default().add(&account.read());
        }
        sum
    }
}

//! `datapath`: the userspace provider behind the `dpif` trait.
//!
//! It forwards packets by installed flows and knows nothing of OpenFlow, bridges or configuration. A packet
//! comes out of an rx queue, is parsed as deep as the port's flows can look, looked up, and run through
//! its flow's compiled actions; a packet that no flow matches is parked while its key goes up.
//!
//! * [`provider`]: the types `netdev` and `dummy`. [`dp`]: one datapath, for control threads.
//! * `pmd`: packet threads, which own everything they touch. `table`: flows, cache, classifier. `actions`:
//!   compiled programs. `conntrack`: connections. `pending`: parked packets. `upcall`: the way up. `mailbox`: the way in.
//! * [`ledger`]: where every packet went. [`limits`]: every bound, with its unit. [`show`]: texts for people.
//!
//! Threads: packet threads share nothing with each other; control threads reach them through mailboxes, and
//! read counters, flow lists and the ledger without disturbing them. With [`Threading::Manual`] there are
//! no threads, and [`Datapath::step`] runs everything on its caller.
//!
//! Invariants: the ledger balances for every port between any two batches; flows that overlap do the same;
//! a lookup costs a bounded number of probes; packets of one flow leave in the order they came.

/// Writes to a string, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)+) => {
        if write!($out, $($arg)+).is_err() {
            debug_assert!(false, "a string takes everything");
        }
    };
}

mod actions;
mod bell;
mod conntrack;
mod cycles;
pub mod dp;
mod ingress;
pub mod ledger;
pub mod limits;
mod mailbox;
mod meters;
mod outputs;
mod pending;
mod pkts;
mod pmd;
mod prefetch;
pub mod provider;
pub mod show;
mod steering;
mod table;
mod upcall;

pub use dp::{Algorithm, Datapath, Environment, OpenDevice, Settings, Threading, Topology};
pub use ledger::Account;
pub use pmd::perf::{PerfLog, PerfLogRules};
pub use provider::NetdevProvider;

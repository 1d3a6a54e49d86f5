//! What this room counts. Names are those of Open vSwitch's coverage counters where it has them.

use crate::reason::DelCounts;
use base::sync::Counter;

/// Counters of one udpif; written by several threads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Removed flows by reason.
    pub deleted: DelCounts,
    /// Upcalls received.
    pub upcalls: Counter,
    /// Translations made for upcalls.
    pub translations: Counter,
    /// Flows installed.
    pub installed: Counter,
    /// Upcalls whose flow a ukey had already.
    pub handler_duplicate_upcall: Counter,
    /// Ukeys put in the place of a tombstone.
    pub upcall_ukey_replace: Counter,
    /// Upcalls forwarded without installing a flow because of the flow limit.
    pub upcall_flow_limit_hit: Counter,
    /// Flows that the datapath had lost and that were installed again.
    pub reinstalled: Counter,
    /// Flows that the datapath refused.
    pub install_failed: Counter,
    /// Dumped flows passed over because another thread was at work on them.
    pub upcall_ukey_contention: Counter,
    /// Dumped flows seen twice in one dump.
    pub dumped_duplicate_flow: Counter,
    /// Dumped flows nobody here installed.
    pub dumped_foreign_flow: Counter,
    /// Ukeys that a dump did not show.
    pub revalidate_missed_dp_flow: Counter,
    /// Translations made to revalidate.
    pub revalidations: Counter,
    /// Flows whose actions were changed in place.
    pub modified: Counter,
    /// In verify mode: flows the index had not marked although their translation changed. A bug.
    pub verify_disagreed: Counter,
    /// In verify mode: flows the index had not marked although packets they match fare differently now. A bug.
    pub verify_too_wide: Counter,
    /// In verify mode: flows wider than a fresh one would be, and proven right all the same.
    pub verify_wider: Counter,
    /// In verify mode: flows compared.
    pub verify_compared: Counter,
    /// Illegal transitions refused. A bug.
    pub illegal_transition: Counter,
    /// Packets credited.
    pub credited_packets: Counter,
    /// Packets released or executed without a flow's counters.
    pub released_packets: Counter,
    /// Slow-path packets executed.
    pub slow_path_packets: Counter,
}

impl Counters {
    /// Every counter with its name, reasons of removal left out.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, u64)> {
        let all: [(&'static str, &Counter); 22] = [
            ("upcalls", &self.upcalls),
            ("translations", &self.translations),
            ("installed", &self.installed),
            ("handler_duplicate_upcall", &self.handler_duplicate_upcall),
            ("upcall_ukey_replace", &self.upcall_ukey_replace),
            ("upcall_flow_limit_hit", &self.upcall_flow_limit_hit),
            ("reinstalled", &self.reinstalled),
            ("install_failed", &self.install_failed),
            ("upcall_ukey_contention", &self.upcall_ukey_contention),
            ("dumped_duplicate_flow", &self.dumped_duplicate_flow),
            ("dumped_foreign_flow", &self.dumped_foreign_flow),
            ("revalidate_missed_dp_flow", &self.revalidate_missed_dp_flow),
            ("revalidations", &self.revalidations),
            ("modified", &self.modified),
            ("verify_disagreed", &self.verify_disagreed),
            ("verify_too_wide", &self.verify_too_wide),
            ("verify_wider", &self.verify_wider),
            ("verify_compared", &self.verify_compared),
            ("illegal_transition", &self.illegal_transition),
            ("credited_packets", &self.credited_packets),
            ("released_packets", &self.released_packets),
            ("slow_path_packets", &self.slow_path_packets),
        ];
        all.into_iter().map(|(n, c)| (n, c.get())).collect()
    }
}

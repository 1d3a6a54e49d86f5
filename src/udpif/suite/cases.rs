//! One promise at a time.

use super::toy::{MISS_PORT, Rig};
use crate::reason::DelReason;
use crate::{Change, Settings, Threading};
use base::sync::Ordering;
use dpif::{DpifError, FlowDel, Op, PmdId};
use odp::DropReason;

#[test]
fn a_miss_installs_a_wildcarded_flow_and_every_packet_counts_once() {
    let mut rig = Rig::new(Threading::Manual);
    rig.toy.add(4, 0x10, 2);
    for dst in [0x11, 0x11, 0x12] {
        rig.inject(1, dst); // two misses, three packets parked
    }
    assert_eq!(rig.udpif.run_handlers_once(), 2);
    rig.inject(1, 0x1f); // hits
    rig.collect();
    assert_eq!(rig.sent[&2], 4);
    assert_eq!(rig.dpif.flows().len(), 1, "one megaflow for both misses");
    assert!(rig.udpif.counters().translations.get() <= 2); // one per handler
    assert_eq!(rig.toy.credited(), 3);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.toy.credited(), 4);
    rig.udpif.run_revalidator_once();
    assert_eq!((rig.toy.credited(), rig.udpif.n_ukeys()), (4, 1));
}

#[test]
fn idle_flows_go_with_their_last_counts() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.inject(1, 5);
    rig.clock.advance(10_001);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.dpif.flows().len(), 0);
    assert_eq!((rig.toy.credited(), rig.udpif.n_ukeys()), (2, 0));
    assert_eq!(rig.udpif.counters().deleted.get(DelReason::Idle), 1);
    assert_eq!(rig.toy.removed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_quick_round_changes_only_what_is_concerned() {
    let rig = Rig::new(Threading::Manual);
    rig.udpif
        .post([rig.toy.add(8, 0x01, 2), rig.toy.add(8, 0x02, 2)]);
    rig.udpif.run_changes_once();
    for dst in [1, 2, 3] {
        rig.inject(1, dst);
    }
    rig.udpif.run_handlers_once();
    rig.udpif.post([rig.toy.add(8, 0x02, 3)]);
    rig.udpif.run_changes_once();
    assert_eq!(rig.udpif.counters().revalidations.get(), 1);
    assert_eq!(rig.udpif.counters().modified.get(), 1);
    rig.assert_flows_true();
    rig.udpif.post([rig.toy.add(8, 0x77, 3)]); // no flow looks like that
    rig.udpif.run_changes_once();
    assert_eq!(rig.udpif.counters().revalidations.get(), 1);
    rig.assert_flows_true();
    rig.udpif.post([rig.toy.remove(0).unwrap()]);
    rig.udpif.run_changes_once();
    assert_eq!(rig.udpif.counters().revalidations.get(), 2);
    rig.assert_flows_true();
}

#[test]
fn counts_before_a_change_go_to_the_old_rule() {
    let rig = Rig::new(Threading::Manual);
    rig.udpif.post([rig.toy.add(8, 0x01, 2)]);
    rig.inject(1, 1);
    rig.udpif.run_handlers_once();
    rig.inject(1, 1);
    rig.inject(1, 1);
    rig.udpif.post([rig.toy.add(8, 0x01, 3)]);
    rig.udpif.run_changes_once();
    rig.inject(1, 1);
    rig.udpif.run_revalidator_once();
    assert_eq!((rig.toy.credited_to(2), rig.toy.credited_to(3)), (3, 1));
}

#[test]
fn too_wide_flows_go() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 0x42);
    rig.udpif.run_handlers_once();
    rig.udpif.post([rig.toy.add(8, 0x43, 3)]);
    rig.udpif.run_changes_once();
    assert_eq!(rig.dpif.flows().len(), 0);
    assert_eq!(rig.udpif.counters().deleted.get(DelReason::MaskChanged), 1);
    rig.inject(1, 0x43);
    rig.udpif.run_handlers_once();
    assert_eq!(rig.toy.credited_to(3), 1);
}

#[test]
fn over_the_limit_packets_still_pass() {
    let mut rig = Rig::new(Threading::Manual);
    rig.udpif.set_megaflows(false);
    rig.udpif.set_flow_limit(2);
    for dst in 0..10 {
        rig.inject(1, dst);
    }
    rig.udpif.run_handlers_once();
    rig.collect();
    assert_eq!(rig.sent[&MISS_PORT], 10);
    assert_eq!(rig.dpif.flows().len(), 2);
    assert_eq!(rig.toy.credited(), 10);
    assert_eq!(rig.udpif.counters().upcall_flow_limit_hit.get(), 8);
}

#[test]
fn far_over_the_limit_the_coldest_go_and_no_more() {
    let rig = Rig::new(Threading::Manual);
    rig.udpif.set_megaflows(false);
    for dst in 0..100 {
        rig.inject(1, dst);
        rig.udpif.run_handlers_once();
        rig.clock.advance(1);
    }
    rig.udpif.run_revalidator_once(); // ages are known now: 1 to 100 ms, none over 100 ms
    assert_eq!(rig.udpif.n_ukeys(), 100);
    rig.udpif.set_flow_limit(40);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.udpif.n_ukeys(), 40);
    assert_eq!(rig.udpif.counters().deleted.get(DelReason::Limit), 60);
    assert_eq!(rig.toy.credited(), 100);
}

#[test]
fn a_lost_flow_is_installed_again_at_the_next_miss() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.inject(1, 5);
    rig.inject(1, 5);
    rig.udpif.run_revalidator_once();
    let ufid = rig.dpif.flows()[0].ufid;
    let mut ops = [Op::FlowDel(FlowDel {
        ufid,
        pmd: None,
        result: Err(DpifError::Again),
    })];
    dpif::Dpif::operate(&*rig.dpif, &mut ops); // somebody else's doing
    rig.clock.advance(1);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    assert_eq!(rig.dpif.flows().len(), 1);
    assert_eq!(rig.udpif.counters().reinstalled.get(), 1);
    rig.inject(1, 5);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.toy.credited(), 5);
}

#[test]
fn a_flow_that_vanished_for_good_is_forgotten() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    dpif::Dpif::flow_flush(&*rig.dpif).unwrap();
    for _ in 0..4 {
        rig.clock.advance(1);
        rig.udpif.run_revalidator_once();
    }
    assert_eq!(rig.udpif.n_ukeys(), 0);
    let c = rig.udpif.counters();
    assert_eq!(c.deleted.get(DelReason::MissingInDatapath), 1);
}

#[test]
fn foreign_flows_are_adopted_and_put_right() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    let flow = rig.dpif.flows()[0].clone();
    let other = Rig::new(Threading::Manual);
    other.toy.add(0, 0, 4); // there the same flow should go elsewhere
    let put = dpif::FlowPut {
        flags: dpif::PutFlags {
            create: true,
            ..Default::default()
        },
        key: flow.key,
        mask: flow.mask,
        ufid: Some(flow.ufid),
        actions: flow.actions,
        pmd: None,
        result: Err(DpifError::Again),
    };
    dpif::Dpif::operate(&*other.dpif, &mut [Op::FlowPut(put)]);
    other.inject(1, 7);
    other.udpif.run_revalidator_once();
    assert_eq!((other.udpif.n_ukeys(), other.toy.credited()), (1, 1));
    other.udpif.run_revalidator_once();
    other.assert_flows_true();
    assert_eq!(other.dpif.flows().len(), 1);
}

#[test]
fn a_refused_installation_costs_nobody_a_packet() {
    let mut rig = Rig::new(Threading::Manual);
    rig.dpif.refuse_puts(Some(DpifError::NoSpace));
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.collect();
    assert_eq!((rig.sent[&MISS_PORT], rig.udpif.n_ukeys()), (1, 0));
    assert_eq!(rig.udpif.counters().install_failed.get(), 1);
    rig.dpif.refuse_puts(None);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    assert_eq!((rig.udpif.n_ukeys(), rig.toy.credited()), (1, 2));
}

#[test]
fn untranslatable_packets_drop_for_their_reason() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 0xff);
    rig.udpif.run_handlers_once();
    assert_eq!(rig.dropped(DropReason::StackTooDeep), 1);
    assert_eq!(rig.udpif.n_ukeys(), 0);
}

#[test]
fn slow_path_packets_are_executed_and_counted_once() {
    let mut rig = Rig::new(Threading::Manual);
    rig.toy.slow_port.store(3, Ordering::Relaxed);
    rig.toy.add(8, 1, 3);
    rig.inject(1, 1);
    rig.udpif.run_handlers_once();
    rig.inject(1, 1);
    rig.udpif.run_handlers_once();
    rig.collect();
    assert_eq!(rig.sent[&3], 2);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.toy.credited(), 2);
    assert_eq!(rig.udpif.counters().slow_path_packets.get(), 2);
}

#[test]
fn one_flow_per_packet_thread() {
    let rig = Rig::new(Threading::Manual);
    rig.dpif.set_pmds(&[PmdId(0), PmdId(1)]);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.dpif.set_pmds(&[PmdId(1), PmdId(0)]);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    assert_eq!((rig.dpif.flows().len(), rig.udpif.n_ukeys()), (2, 2));
    rig.udpif.purge();
    assert_eq!((rig.dpif.flows().len(), rig.udpif.n_ukeys()), (0, 0));
    assert_eq!(rig.udpif.counters().deleted.get(DelReason::Purge), 2);
}

#[test]
fn the_text_is_the_peers() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.udpif.run_revalidator_once();
    assert_eq!(
        rig.udpif.show(),
        "fake@dp:\n  flows         : (current 1) (avg 0) (max 1) (limit 10000)\n  \
         dump duration : 1ms\n  ufid enabled : true\n\n  2: (keys 1)\n"
    );
    assert_eq!(rig.udpif.set_flow_limit(7), "set flow_limit to 7\n");
    assert_eq!(rig.udpif.set_megaflows(false), "megaflows disabled");
    assert_eq!(rig.udpif.set_megaflows(true), "megaflows enabled");
    assert!(rig.udpif.details().contains("deleted, flow flush: 1\n"));
}

#[test]
fn paused_revalidators_stand_still() {
    let rig = Rig::new(Threading::Manual);
    rig.udpif.pause();
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.clock.advance(60_000);
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.udpif.n_ukeys(), 1);
    rig.udpif.resume();
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.udpif.n_ukeys(), 0);
}

#[test]
fn everything_changed_means_everything_is_looked_at() {
    let rig = Rig::new(Threading::Manual);
    rig.udpif.set_megaflows(false);
    for dst in 0..20 {
        rig.inject(1, dst);
    }
    rig.udpif.run_handlers_once();
    rig.udpif.post([Change::All]);
    rig.udpif.run_changes_once();
    assert_eq!(rig.udpif.counters().revalidations.get(), 20);
}

#[test]
fn real_threads_do_the_same() {
    let mut rig = Rig::new(Threading::Real);
    rig.toy.add(8, 1, 2);
    for _ in 0..200 {
        for dst in 0..20 {
            rig.inject(1, dst);
        }
        rig.udpif.post([rig.toy.add(8, 1, 3), rig.toy.add(8, 1, 2)]);
    }
    while !dpif::Dpif::quiesce(&*rig.dpif, std::time::Duration::ZERO) {
        std::thread::yield_now();
    }
    for _ in 0..2 {
        let token = rig.udpif.request_round();
        while !rig.udpif.is_done(token) {
            std::thread::yield_now();
        }
    }
    rig.udpif.set_threads(1, 3).unwrap();
    rig.udpif.purge();
    rig.collect();
    let sent: u64 = rig.sent.values().sum();
    let lost = rig.dpif.ledger().lost;
    assert_eq!(sent + lost, 4000);
    assert_eq!(rig.toy.credited(), sent);
    assert_eq!(rig.udpif.counters().illegal_transition.get(), 0);
    rig.udpif.stop();
    rig.udpif.set_settings(Settings {
        flow_limit: 5,
        ..Settings::default()
    });
    rig.udpif.set_threads(2, 2).unwrap();
}

/// A dump that repeats itself and shows flows as they were when it began.
#[derive(Debug)]
struct Stutter(base::sync::Mutex<Vec<dpif::FlowInfo>>);

impl dpif::FlowDump for Stutter {
    fn thread(&self) -> Box<dyn dpif::FlowDumpThread + '_> {
        Box::new(StutterCursor(self))
    }
}

#[derive(Debug)]
struct StutterCursor<'a>(&'a Stutter);

impl dpif::FlowDumpThread for StutterCursor<'_> {
    fn next(&mut self, out: &mut Vec<dpif::FlowInfo>, _: usize) -> bool {
        out.clear();
        out.extend(base::sync::lock(&self.0.0).pop());
        !out.is_empty()
    }
}

#[test]
fn lines_that_come_twice_or_late_count_once() {
    let rig = Rig::new(Threading::Manual);
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    rig.inject(1, 5);
    let lines = rig.dpif.flows();
    let core = &rig.udpif.core;
    let terms = |round| crate::dump::Terms {
        round,
        start: rig.clock.now(),
        idle_ms: 10_000,
        cold_ms: 0,
        excess: base::sync::AtomicI64::new(0),
    };
    let stutter = |n: usize| {
        let lines = std::iter::repeat_n(&lines, n).flatten().cloned();
        Stutter(base::sync::Mutex::new(lines.collect()))
    };
    crate::dump::dump(core, &terms(1), &stutter(3));
    assert_eq!(rig.toy.credited(), 2);
    assert_eq!(rig.udpif.counters().dumped_duplicate_flow.get(), 2);
    // Deleted in this dump, missed and installed anew, and the dump still shows the old one.
    rig.inject(1, 5);
    let excess = crate::dump::Terms {
        excess: base::sync::AtomicI64::new(1),
        ..terms(2)
    };
    core.round.store(2, Ordering::Relaxed);
    crate::dump::dump(core, &excess, &stutter(1));
    assert_eq!((rig.udpif.n_ukeys(), rig.toy.credited()), (0, 3));
    crate::dump::dump(core, &excess, &stutter(2)); // only a tombstone knows it
    rig.inject(1, 5);
    rig.udpif.run_handlers_once();
    assert_eq!(rig.udpif.counters().upcall_ukey_replace.get(), 1);
    crate::dump::dump(core, &excess, &stutter(2));
    assert_eq!(rig.toy.credited(), 4);
    assert_eq!(rig.udpif.counters().dumped_foreign_flow.get(), 0);
    rig.inject(1, 5);
    rig.udpif.run_revalidator_once();
    rig.udpif.run_revalidator_once();
    assert_eq!(rig.toy.credited(), 5);
}

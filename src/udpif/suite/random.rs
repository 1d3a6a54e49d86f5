//! Random interleavings: counts are exact, the index is complete, the state machine is kept.

use super::toy::Rig;
use crate::{Settings, Threading};
use dpif::DpifError;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Inject(u32, u8, u8),
    Handlers,
    Full,
    Quick,
    Add(u32, u8, u32),
    Remove(usize),
    Advance(u64),
    Purge,
    Flush,
    Refuse(bool),
    Limit(u32),
    Megaflows(bool),
    Slow(u64),
    DropUpcalls,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1u32..3, 0u8..24, 1u8..4).prop_map(|(p, d, n)| Step::Inject(p, d, n)),
        6 => Just(Step::Handlers),
        3 => Just(Step::Full),
        4 => Just(Step::Quick),
        4 => (3u32..9, 0u8..24, 3u32..6).prop_map(|(b, d, p)| Step::Add(b, d, p)),
        3 => (0usize..50).prop_map(Step::Remove),
        2 => prop_oneof![Just(1u64), Just(99), Just(400), Just(11_000)].prop_map(Step::Advance),
        1 => Just(Step::Purge),
        1 => Just(Step::Flush),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => (1u32..30).prop_map(Step::Limit),
        1 => any::<bool>().prop_map(Step::Megaflows),
        1 => (3u64..7).prop_map(Step::Slow),
        1 => Just(Step::DropUpcalls),
    ]
}

fn take(rig: &Rig, step: &Step) {
    match *step {
        Step::Inject(port, dst, n) => (0..n).for_each(|_| rig.inject(port, dst)),
        Step::Handlers => {
            rig.udpif.run_handlers_once();
        }
        Step::Full => rig.udpif.run_revalidator_once(),
        Step::Quick => rig.udpif.run_changes_once(),
        Step::Add(bits, dst, port) => rig.udpif.post([rig.toy.add(bits, dst, port)]),
        Step::Remove(n) => rig.udpif.post(rig.toy.remove(n)),
        Step::Advance(ms) => rig.clock.advance(ms),
        Step::Purge => rig.udpif.purge(),
        Step::Flush => rig.udpif.flush().unwrap(),
        Step::Refuse(on) => rig.dpif.refuse_puts(on.then_some(DpifError::NoSpace)),
        Step::Limit(n) => drop(rig.udpif.set_flow_limit(n)),
        Step::Megaflows(on) => {
            rig.udpif.set_megaflows(on);
        }
        Step::Slow(port) => {
            // Which port is slow is not a tracked fact: tell.
            rig.toy.slow_port.store(port, base::sync::Ordering::Relaxed);
            rig.udpif.post([crate::Change::All]);
        }
        Step::DropUpcalls => dpif::Dpif::recv_purge(&*rig.dpif),
    }
}

/// Lets everything come to rest and takes all counts in.
fn settle(rig: &mut Rig) {
    rig.dpif.refuse_puts(None);
    while rig.udpif.run_handlers_once() > 0 {}
    rig.udpif.run_revalidator_once();
    while rig.udpif.run_handlers_once() > 0 {}
    rig.udpif.run_revalidator_once();
    rig.collect();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: the packets credited to translations that chose a port are
    /// exactly the packets that left through it.
    #[test]
    fn every_packet_is_credited_once_to_who_sent_it(steps in prop::collection::vec(step(), 1..80)) {
        let mut rig = Rig::new(Threading::Manual);
        rig.toy.slow_port.store(99, base::sync::Ordering::Relaxed);
        let slow = steps.iter().any(|s| matches!(s, Step::Slow(_)));
        for s in &steps {
            take(&rig, s);
            prop_assert_eq!(rig.dpif.ledger().difference(), 0);
        }
        settle(&mut rig);
        let lost_slow = rig.udpif.counters().slow_path_packets.get() > 0 || slow;
        if !lost_slow {
            for port in 1..10 {
                let sent = rig.sent.get(&port).copied().unwrap_or(0);
                prop_assert_eq!(rig.toy.credited_to(port), sent, "port {}", port);
            }
        }
        // Upcalls thrown away (DropUpcalls) take packets of slow flows with them that were counted.
        let sent: u64 = rig.sent.values().sum();
        prop_assert!(rig.toy.credited() >= sent);
        prop_assert_eq!(rig.udpif.counters().illegal_transition.get(), 0);
        prop_assert_eq!(rig.dpif.ledger().parked, 0);
        rig.assert_flows_true();
    }

    /// After a quick round every flow is as if all had been translated again, and verify mode agrees.
    #[test]
    fn the_index_misses_nothing(steps in prop::collection::vec(step(), 1..80), verify in any::<bool>()) {
        let mut rig = Rig::new(Threading::Manual);
        rig.udpif.set_settings(Settings { verify, ..Settings::default() });
        for s in &steps {
            take(&rig, s);
            if matches!(s, Step::Quick | Step::Full) {
                rig.assert_flows_true();
            }
        }
        settle(&mut rig);
        rig.assert_flows_true();
        let c = rig.udpif.counters();
        prop_assert_eq!((c.verify_disagreed.get(), c.verify_too_wide.get()), (0, 0));
    }
}

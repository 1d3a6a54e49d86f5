//! The meters against plain twins that put in one token at a time, as the RFCs describe it; and ports by numbers.

use super::bucket::Stream;
use super::discipline::Discipline;
use super::meter::{Color, Rates, SingleRate, TwoRates};
use super::policer::{Policer, PolicingRates};
use super::port::PortQos;
use crate::device::QosDetails;
use packet::{Batch, HeapPool};
use proptest::prelude::*;

const S: u64 = 1_000_000_000;

/// Tokens that a stream of `rate` a second has brought after `ns`, counted from its start.
fn brought(rate: u64, ns: u64) -> u128 {
    u128::from(rate) * u128::from(ns) / u128::from(S)
}

/// RFC 2697 section 3: at each token, Tc grows unless it is full, else Te unless that is full.
struct SingleTwin {
    rates: (u64, u64, u64),
    tc: u64,
    te: u64,
    seen: u128,
}

impl SingleTwin {
    fn new(cir: u64, cbs: u64, ebs: u64) -> Self {
        let rates = (cir, cbs, ebs);
        Self {
            rates,
            tc: cbs,
            te: ebs,
            seen: 0,
        }
    }
    fn mark(&mut self, ns: u64, size: u64) -> Color {
        let (cir, cbs, ebs) = self.rates;
        let all = brought(cir, ns);
        let mut new = all - self.seen;
        self.seen = all;
        while new > 0 && (self.tc < cbs || self.te < ebs) {
            new -= 1;
            if self.tc < cbs {
                self.tc += 1;
            } else {
                self.te += 1;
            }
        }
        if self.tc >= size {
            self.tc -= size;
            Color::Green
        } else if self.te >= size {
            self.te -= size;
            Color::Yellow
        } else {
            Color::Red
        }
    }
}

/// RFC 4115 section 2: two counters, each with its rate.
struct TwoTwin {
    rates: Rates,
    tokens: [u64; 2],
    seen: [u128; 2],
}

impl TwoTwin {
    fn new(rates: Rates) -> Self {
        let tokens = [rates.cbs, rates.ebs];
        Self {
            rates,
            tokens,
            seen: [0; 2],
        }
    }
    fn mark(&mut self, ns: u64, size: u64, color: Color) -> Color {
        let r = self.rates;
        for (i, (rate, max)) in [(r.cir, r.cbs), (r.eir, r.ebs)].into_iter().enumerate() {
            let all = brought(rate, ns);
            let new = all - self.seen[i];
            self.seen[i] = all;
            self.tokens[i] =
                u64::try_from(u128::from(self.tokens[i]) + new).map_or(max, |n| n.min(max));
        }
        if color == Color::Green && self.tokens[0] >= size {
            self.tokens[0] -= size;
            return Color::Green;
        }
        if color != Color::Red && self.tokens[1] >= size {
            self.tokens[1] -= size;
            return Color::Yellow;
        }
        Color::Red
    }
}

fn packets() -> impl Strategy<Value = Vec<(u64, u64, u8)>> {
    let gap = prop_oneof![Just(0), 1..1000u64, 1..2 * S, 1..1000 * S];
    prop::collection::vec((gap, 0..2000u64, 0..3u8), 1..200)
}

fn color(n: u8) -> Color {
    [Color::Green, Color::Yellow, Color::Red][usize::from(n)]
}

proptest! {
    #[test]
    fn one_rate_as_in_the_text(
        (cir, cbs, ebs) in (0..20_000u64, 0..3000u64, 0..3000u64), start in any::<u32>(), packets in packets(),
    ) {
        let start = u64::from(start);
        let mut meter = SingleRate::new(cir, cbs, ebs, start);
        let mut twin = SingleTwin::new(cir, cbs, ebs);
        let mut ns = 0;
        for (gap, size, _) in packets {
            ns += gap;
            meter.update(start + ns);
            let green = meter.is_green(size);
            let marked = meter.mark(size);
            prop_assert_eq!(marked, twin.mark(ns, size));
            prop_assert_eq!(green, marked == Color::Green);
        }
    }

    #[test]
    fn two_rates_as_in_the_text(
        (cir, eir, cbs, ebs) in (any::<u64>(), 0..20_000u64, 0..3000u64, 0..3000u64), narrow in any::<bool>(),
        packets in packets(),
    ) {
        let cir = if narrow { cir % 5000 } else { cir };
        let rates = Rates { cir, eir, cbs, ebs };
        let (mut meter, mut twin) = (TwoRates::new(&rates, 5), TwoTwin::new(rates));
        let mut ns = 0;
        for (gap, size, c) in packets {
            ns += gap;
            meter.update(5 + ns);
            prop_assert_eq!(meter.mark(size, color(c)), twin.mark(ns, size, color(c)));
        }
    }

    #[test]
    fn nothing_is_lost_between_steps(rate in any::<u64>(), steps in prop::collection::vec(0..5 * S, 1..50)) {
        let mut stream = Stream::new(rate, 7);
        let (mut ns, mut sum) = (0, 0u128);
        for step in steps {
            ns += step;
            let got = stream.take(7 + ns);
            prop_assume!(got < u64::MAX);
            sum += u128::from(got);
            prop_assert_eq!(sum, brought(rate, ns));
        }
    }

    /// Whatever comes, what passes stays below rate and bursts: of the port, and of the queue.
    #[test]
    fn no_more_passes_than_is_allowed(
        sizes in prop::collection::vec((0..200_000u64, 1..1500u64, 0..3u32), 1..300),
    ) {
        let numbers = |n: [u64; 4]| -> QosDetails {
            let keys = ["cir", "eir", "cbs", "ebs"];
            std::iter::zip(keys, n).map(|(k, v)| (k.to_owned(), v.to_string())).collect()
        };
        let mut d = Discipline::new("trtcm-policer", &numbers([10_000, 5_000, 3_000, 2_000]), 0).unwrap();
        d.set_queue(0, &QosDetails::new(), 0).unwrap();
        d.set_queue(1, &numbers([4_000, 0, 1_500, 0]), 0).unwrap();
        let (mut ns, mut passed, mut of_queue) = (0, 0, 0);
        for (gap, size, queue) in sizes {
            ns += gap;
            d.update(ns);
            if d.passes(size, queue) {
                passed += size;
                of_queue += if queue == 1 { size } else { 0 };
            }
            prop_assert!(u128::from(passed) <= brought(15_000, ns) + 5_000);
            prop_assert!(u128::from(of_queue) <= brought(4_000, ns) + 1_500);
        }
        let stats = d.queue_stats(1).unwrap();
        prop_assert!(stats.tx_bytes >= of_queue);
    }
}

#[test]
fn time_that_runs_backwards_is_no_time() {
    let mut stream = Stream::new(S, 100);
    assert_eq!((stream.take(50), stream.take(101)), (0, 1));
}

#[test]
fn bursts_have_defaults_and_need_rates() {
    let rates = |r| {
        let p = PolicingRates::new(r);
        [p.kbits_rate, p.kbits_burst, p.kpkts_rate, p.kpkts_burst]
    };
    assert_eq!(rates([0, 1000, 0, 5]), [0; 4]);
    assert_eq!(rates([10_000, 0, 7, 0]), [10_000, 8000, 7, 16]);
    assert_eq!(rates([1, 2, 3, 4]), [1, 2, 3, 4]);
    assert!(PolicingRates::new([0, 9, 0, 9]).is_off());
}

#[test]
fn a_packet_that_is_policed_costs_nothing() {
    // 8 kbit/s of bytes with 1 kbit of burst (125 bytes); 1 kpkt/s with a burst of 1000 packets.
    let mut p = Policer::new(&PolicingRates::new([8, 1, 1, 1]), 0).unwrap();
    assert!(p.passes(100) && !p.passes(100) && p.passes(25) && !p.passes(1));
    // A tenth of a second brings 100 bytes.
    p.update(S / 10);
    assert!(!p.passes(101) && p.passes(100));
    let mut p = Policer::new(&PolicingRates::new([0, 0, 1, 1]), 0).unwrap();
    assert_eq!((0..2000).filter(|_| p.passes(60)).count(), 1000);
    assert!(Policer::new(&PolicingRates::new([0; 4]), 0).is_none());
}

fn details(pairs: &[(&str, &str)]) -> QosDetails {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

fn frames(n: usize, len: usize, priority: u32) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..n {
        let mut frame = HeapPool::global().alloc(len);
        frame.priority = priority;
        assert!(batch.push(frame).is_ok());
    }
    batch
}

#[test]
fn disciplines_are_asked_and_refused_by_name() {
    let qos = PortQos::default();
    let refused =
        |kind: &str, d: &[(&str, &str)]| qos.set_qos("p", kind, &details(d)).unwrap_err().errno();
    assert_eq!(refused("egress-policer", &[("cbs", "2048")]), libc::EINVAL);
    assert_eq!(
        refused("egress-policer", &[("cir", "1250000")]),
        libc::EINVAL
    );
    assert_eq!(
        refused("egress-policer", &[("cir", "fast"), ("cbs", "1")]),
        libc::EINVAL
    );
    assert_eq!(refused("trtcm-policer", &[("cir", "5")]), libc::EINVAL);
    assert_eq!(refused("linux-htb", &[]), libc::EOPNOTSUPP);
    assert_eq!(qos.qos(), (String::new(), QosDetails::new()));
    assert_eq!(
        qos.set_queue("p", 0, &QosDetails::new())
            .unwrap_err()
            .errno(),
        libc::EOPNOTSUPP
    );

    let policer = details(&[("cir", "1250000"), ("cbs", "2048")]);
    qos.set_qos("p", "egress-policer", &policer).unwrap();
    assert!(qos.polices_tx());
    assert_eq!(qos.qos(), ("egress-policer".to_owned(), policer));
    assert!(qos.queues("p").is_err());

    let two = details(&[("cir", "100"), ("cbs", "2000"), ("eir", "0"), ("ebs", "0")]);
    qos.set_qos("p", "trtcm-policer", &two).unwrap();
    qos.set_queue("p", 0, &QosDetails::new()).unwrap();
    assert_eq!(qos.queue("p", 0).unwrap(), two);
    assert_eq!(qos.queue("p", 1).unwrap_err().errno(), libc::EINVAL);
    qos.set_queue("p", 7, &details(&[("cir", "1"), ("cbs", "1")]))
        .unwrap();
    assert_eq!(
        qos.set_queue("p", 7, &details(&[("cir", "1")]))
            .unwrap_err()
            .errno(),
        libc::EINVAL
    );
    assert_eq!(qos.queues("p").unwrap().len(), 1);
    // A refused discipline leaves none, as in Open vSwitch.
    assert!(
        qos.set_qos("p", "trtcm-policer", &details(&[("cir", "5")]))
            .is_err()
    );
    assert!(!qos.polices_tx() && qos.qos().0.is_empty());
}

#[test]
fn queues_have_their_share_and_their_counts() {
    let qos = PortQos::default();
    let wide = details(&[("cir", "1000"), ("cbs", "1000000")]);
    qos.set_qos("p", "trtcm-policer", &wide).unwrap();
    // Without the default queue nothing passes that has no queue of its own.
    assert_eq!(qos.police_tx_at(&mut frames(2, 114, 9), |_| true, 0), 2);
    qos.set_queue("p", 0, &QosDetails::new()).unwrap();
    qos.set_queue("p", 5, &details(&[("cir", "1"), ("cbs", "250")]))
        .unwrap();
    let mut narrow = frames(4, 114, 5);
    assert_eq!(
        (qos.police_tx_at(&mut narrow, |_| true, 0), narrow.len()),
        (2, 2)
    );
    assert_eq!(qos.police_tx_at(&mut frames(4, 114, 6), |_| true, 0), 0);
    let stats = qos.queue_stats("p", 5).unwrap();
    assert_eq!(
        (stats.tx_packets, stats.tx_bytes, stats.tx_errors),
        (2, 200, 2)
    );
    assert_eq!(qos.queue_stats("p", 0).unwrap().tx_packets, 4);
    assert_eq!(qos.tx_drops.get(), 4);
    // The same again changes nothing, other rates keep the counts.
    qos.set_queue("p", 5, &details(&[("cir", "1"), ("cbs", "250")]))
        .unwrap();
    assert_eq!(qos.police_tx_at(&mut frames(1, 114, 5), |_| true, 0), 1);
    qos.set_queue("p", 5, &details(&[("cir", "1"), ("cbs", "300")]))
        .unwrap();
    assert_eq!(qos.queue_stats("p", 5).unwrap().tx_errors, 3);
    qos.delete_queue("p", 5).unwrap();
    assert_eq!(qos.queue_stats("p", 5).unwrap_err().errno(), libc::EINVAL);
}

#[test]
fn frames_that_were_there_before_are_left_alone() {
    let qos = PortQos::default();
    let mut batch = frames(8, 1014, 0);
    assert_eq!(qos.police_rx(&mut batch, 0), 0);
    // 1 kbit/s with a burst of 16 kbit: two packets of 1000 bytes.
    qos.set_policing([1, 16, 0, 0]);
    assert_eq!((qos.police_rx(&mut batch, 3), batch.len()), (3, 5));
    assert_eq!((qos.police_rx(&mut batch, 3), batch.len()), (2, 3));
    assert_eq!(qos.rx_drops.get(), 5);
    qos.set_policing([0; 4]);
    assert_eq!(qos.police_rx(&mut batch, 0), 0);
}

//! Fault ports around dummy ports and in pairs.

use super::*;
use crate::device::{Config, TxReport};
use crate::dummy::{self, DummyLevel};
use base::clock::Nanos;
use packet::{Batch, HeapPool};

fn setup() -> (Registry, Clock) {
    let registry = Registry::new();
    let clock = Clock::simulated(Nanos::from_millis(1));
    dummy::enable(&registry, DummyLevel::Add, clock.clone(), "/tmp".into()).unwrap();
    let class = FaultClass::new(&registry, clock.clone());
    registry.register(Arc::new(class)).unwrap();
    (registry, clock)
}

fn options(text: &str) -> Config {
    let pair = |w: &str| {
        let (k, v) = w.split_once('=').unwrap();
        (k.to_owned(), v.to_owned())
    };
    text.split_whitespace().map(pair).collect()
}

fn batch(n: u8) -> Batch {
    let mut b = Batch::new();
    for i in 0..n {
        b.push(HeapPool::global().copy_from(&[i; 60])).unwrap();
    }
    b
}

fn faults(device: &Arc<dyn Device>) -> &FaultDevice {
    device.as_any().downcast_ref().unwrap()
}

#[test]
fn around_a_dummy_port_every_packet_is_accounted() {
    let (r, clock) = setup();
    let f = r.open("f", "fault").unwrap();
    f.set_config(&options(
        "device=d class=dummy seed=3 drop=200000 duplicate=200000 delay=300000 delay_ms=5 \
         reorder=200000 rx_stall=50000 stall_ms=3",
    ))
    .unwrap();
    let dummy = dummy::by_name(&r, "d").unwrap();
    dummy.capture();
    let (mut rx, mut tx) = (f.rx_open(0).unwrap(), f.tx_open(0).unwrap());
    assert!(rx.fd().is_none(), "held packets come by time");
    let (mut received, mut given) = (0, 0);
    for i in 0..2000u32 {
        dummy.receive(&[i as u8; 60], 0).unwrap();
        let mut b = Batch::new();
        received += rx.recv(&mut b).unwrap() as u64;
        let report = tx.send(&mut batch(3));
        assert_eq!(report.sent, 3);
        given += 3;
        clock.advance(1);
        assert_eq!(faults(&f).rx_counts().difference(), 0);
        assert_eq!(faults(&f).tx_counts().difference(), 0);
    }
    clock.advance(1000);
    r.run(); // lets go of what was sent
    while f.rx_pending() > 0 {
        received += rx.recv(&mut Batch::new()).unwrap() as u64;
    }
    let (i, o) = (faults(&f).rx_counts(), faults(&f).tx_counts());
    assert_eq!((i.offered, i.taken, i.held), (2000, received, 0));
    assert_eq!((o.offered, o.held, o.refused), (given, 0, 0));
    assert_eq!(o.taken, dummy.take_sent().len() as u64);
    assert!(i.dropped > 300 && i.duplicated > 200 && i.stalls > 10 && o.stalls == 0);
    let shown = f.stats().custom;
    assert!(shown.contains(&("fault_rx_dropped".to_owned(), i.dropped)));
    assert!(rx.drops().contains(&("fault_injected", i.dropped)));
}

#[test]
fn a_pair_is_a_wire_in_memory() {
    let (r, _clock) = setup();
    let (a, b) = (r.open("a", "fault").unwrap(), r.open("b", "fault").unwrap());
    a.set_config(&options("pair=b")).unwrap();
    let mut tx = a.tx_open(0).unwrap();
    tx.send(&mut batch(2));
    assert_eq!(
        faults(&a).tx_counts().refused,
        2,
        "nobody at the other end yet"
    );
    let unknown = b.set_config(&options("pair=a foo=1")).unwrap();
    assert_eq!(unknown, ["foo"]);
    let mut rx = b.rx_open(0).unwrap();
    assert!(rx.prepare_sleep() && rx.fd().is_some());
    let report = tx.send(&mut batch(3));
    assert_eq!((report.sent, report.bytes), (3, 180));
    let mut got = Batch::new();
    assert!(!rx.prepare_sleep());
    assert_eq!(rx.recv(&mut got).unwrap(), 3);
    assert_eq!(got[2].data(), [2; 60]);
    tx.send(&mut batch(3));
    assert_eq!((b.rx_pending(), rx.drain(), b.rx_pending()), (3, 3, 0));
    let mut back = b.tx_open(0).unwrap();
    back.send(&mut batch(1));
    assert_eq!(a.rx_open(0).unwrap().recv(&mut got).unwrap(), 1);
}

#[test]
fn closing_a_queue_accounts_for_what_it_held() {
    let (r, _clock) = setup();
    let f = r.open("f", "fault").unwrap();
    f.set_config(&options("device=d class=dummy delay=1000000 delay_ms=10"))
        .unwrap();
    let mut tx = f.tx_open(0).unwrap();
    tx.send(&mut batch(5));
    assert_eq!(faults(&f).tx_counts().held, 5);
    drop(tx);
    let counts = faults(&f).tx_counts();
    assert_eq!(
        (counts.held, counts.dropped, counts.difference()),
        (0, 5, 0)
    );
}

#[test]
fn configuration_is_checked_and_passed_on() {
    let (r, _clock) = setup();
    let f = r.open("f", "fault").unwrap();
    assert!(f.rx_open(0).is_err() && f.tx_open(0).is_err());
    for bad in [
        "",
        "device=d pair=x",
        "device=d drop=1000001",
        "device=d drop=-1",
    ] {
        let e = f.set_config(&options(bad)).unwrap_err();
        assert!(e.to_string().starts_with("f: "), "{e}");
    }
    assert!(f.set_config(&options("device=d class=nonsense")).is_err());
    f.set_config(&options("device=d class=dummy-pmd n_rxq=3"))
        .unwrap();
    assert!(f.is_pmd() && f.needs_reconfigure());
    f.reconfigure().unwrap();
    assert_eq!((f.n_rxq(), f.mtu()), (3, Some(1500)));
    f.set_mtu(9000).unwrap();
    assert_eq!(r.get("d").unwrap().mtu(), Some(9000));
    let mut tx = f.tx_open(0).unwrap();
    f.set_config(&options("device=d class=dummy-pmd n_rxq=3 tx_drop=1000000"))
        .unwrap();
    let report = tx.send(&mut batch(4));
    assert_eq!(
        report,
        TxReport {
            sent: 4,
            bytes: 240,
            ..TxReport::default()
        }
    );
    assert_eq!(faults(&f).tx_counts().dropped, 4, "open queues follow");
    drop((f, tx));
    assert!(r.get("d").is_none(), "nothing keeps the port behind open");
}

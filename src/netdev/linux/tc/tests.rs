//! Requests against bytes laid out by hand from the kernel's headers, and settings through the kernel's form and
//! back.

use super::classes::{INNER, QDISC, Share, class_of_queue, of_queue, queue_of};
use super::discipline::{DEFAULT_SPEED, Discipline, Kind, QUEUES_MAX, unreadable};
use super::message::{Object, ROOT, header};
use super::police::{self, Filter};
use super::units::Scale;
use crate::device::QosDetails;
use crate::linux::netlink::{attributes, nested};
use crate::qos::PolicingRates;

fn scale() -> Scale {
    Scale::parse("000003e8 00000040 000f4240 3b9aca00").unwrap()
}

fn details(pairs: &[(&str, &str)]) -> QosDetails {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    pairs.iter().map(own).collect()
}

fn discipline(kind: Kind, pairs: &[(&str, &str)]) -> Discipline {
    Discipline::new(kind, &details(pairs), DEFAULT_SPEED, 1500).unwrap()
}

/// The words of a request behind its header.
fn request(d: &Discipline) -> Vec<u8> {
    let mut body = header(9, QDISC, ROOT, 0);
    d.put(&mut body, scale());
    body
}

fn words(bytes: &[u8]) -> Vec<u32> {
    let words = bytes.chunks_exact(4);
    words
        .map(|w| u32::from_ne_bytes(w.try_into().unwrap()))
        .collect()
}

/// Length and kind of an attribute as one little-endian word.
const fn attr(len: u32, kind: u32) -> u32 {
    kind << 16 | len
}

/// Checks a request of the root qdisc behind its header.
fn expect(d: &Discipline, rest: &[u32]) {
    let head = [0, 9, 0x1_0000, u32::MAX, 0];
    assert_eq!(words(&request(d)), [&head[..], rest].concat(), "{d:?}");
}

const fn name(n: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*n)
}

#[test]
#[cfg(target_endian = "little")]
fn qdiscs_of_structs_as_the_headers_have_them() {
    // TCA_KIND, TCA_OPTIONS { TCA_HTB_INIT { version 3, r2q 10, default 1 } }.
    let rest = [
        attr(8, 1),
        name(b"htb\0"),
        attr(28, 2),
        attr(24, 2),
        3,
        10,
        1,
        0,
        0,
    ];
    expect(&discipline(Kind::Htb, &[]), &rest);
    let rest = [attr(9, 1), name(b"hfsc"), 0, attr(6, 2), 1];
    expect(&discipline(Kind::Hfsc, &[]), &rest);
    // struct tc_sfq_qopt: quantum of a packet, perturbed every 10 s.
    let rest = [attr(8, 1), name(b"sfq\0"), attr(24, 2), 1500, 10, 0, 0, 0];
    expect(&discipline(Kind::Sfq, &[]), &rest);
    // struct tc_netem_qopt: a second in ticks of 64 ns, half of everything lost.
    let head = [attr(10, 1), name(b"nete"), u32::from(b'm'), attr(28, 2)];
    let rest = [&head[..], &[15_625_000, 1000, u32::MAX / 2, 0, 0, 0]].concat();
    expect(
        &discipline(Kind::Netem, &[("latency", "1000000"), ("loss", "50")]),
        &rest,
    );
}

#[test]
#[cfg(target_endian = "little")]
fn qdiscs_of_attributes_as_the_headers_have_them() {
    let numbers = |pairs: &[(u32, u32)]| -> Vec<u32> {
        pairs
            .iter()
            .flat_map(|&(kind, n)| [attr(8, kind), n])
            .collect()
    };
    let head = vec![attr(10, 1), name(b"code"), u32::from(b'l'), attr(28, 2)];
    let rest = [head, numbers(&[(1, 7000), (2, 10_240), (3, 100_000)])].concat();
    expect(&discipline(Kind::Codel, &[("target", "7000")]), &rest);
    let head = vec![attr(13, 1), name(b"fq_c"), name(b"odel"), 0, attr(44, 2)];
    let usual = [(1, 5000), (2, 10_240), (3, 1_000_000), (5, 5), (6, 1514)];
    let rest = [head, numbers(&usual)].concat();
    expect(
        &discipline(Kind::FqCodel, &[("flows", "5"), ("limit", "0")]),
        &rest,
    );
}

#[test]
fn disciplines_come_back_from_the_kernel() {
    let all = [
        discipline(
            Kind::Codel,
            &[("target", "1"), ("limit", "2"), ("interval", "3")],
        ),
        discipline(Kind::FqCodel, &[("target", "1"), ("quantum", "300")]),
        discipline(Kind::Sfq, &[("perturb", "4"), ("quantum", "2000")]),
        discipline(
            Kind::Netem,
            &[("latency", "5000"), ("limit", "7"), ("loss", "33")],
        ),
    ];
    for d in all {
        let body = request(&d);
        let object = Object::parse(&body).unwrap();
        assert_eq!(Discipline::read(&object, scale()).as_ref(), Some(&d));
        // The database's form is read back too.
        assert_eq!(
            Discipline::new(d.kind, &d.details(), DEFAULT_SPEED, 1500),
            Ok(d)
        );
        for n in 0..body.len() {
            let cut = Object::parse(&body[..n]);
            let _ = cut.and_then(|o| Discipline::read(&o, scale()));
        }
    }
    assert_eq!(
        discipline(Kind::Hfsc, &[]).details(),
        details(&[("max-rate", "100000000")])
    );
    let bad = Discipline::new(Kind::Netem, &details(&[("loss", "101")]), 0, 0).unwrap_err();
    assert_eq!((bad.key, bad.value.as_str()), ("loss", "101"));
}

#[test]
fn names_are_known_both_ways() {
    for kind in Kind::ALL {
        assert_eq!(Kind::by_name(kind.name()), Some(kind));
        let back = Kind::by_kernel_name(kind.kernel_name());
        assert_eq!(back, (kind != Kind::Noop).then_some(kind));
    }
    assert_eq!(Kind::by_name("linux-other"), None);
    let odd = details(&[
        ("max-rate", "fast"),
        ("min-rate", "5"),
        ("colour", "blue"),
        ("latency", "-1"),
    ]);
    let keys: Vec<&str> = unreadable(&odd).map(|(k, _)| k.as_str()).collect();
    assert_eq!(keys, ["latency", "max-rate"]);
}

#[test]
fn queues_are_classes() {
    assert_eq!((of_queue(0), of_queue(0xefff)), (0x1_0001, 0x1_f000));
    assert_eq!(class_of_queue(QUEUES_MAX), None);
    for queue in [0, 1, QUEUES_MAX - 1] {
        assert_eq!(queue_of(of_queue(queue)), Some(queue));
    }
    for foreign in [INNER, QDISC, 0x2_0001, 0x1_f001] {
        assert_eq!(queue_of(foreign), None, "{foreign:x}");
    }
}

fn class(share: &Share, kind: Kind) -> Object {
    let mut body = header(9, of_queue(0), INNER, 0);
    share.put(&mut body, kind, 1500, scale());
    Object::parse(&body).unwrap()
}

#[test]
fn shares_stay_within_the_whole() {
    let d = discipline(Kind::Htb, &[("max-rate", "3000000")]);
    let of = |pairs: &[(&str, &str)]| {
        let s = Share::new(&d, &details(pairs), 1500);
        (s.min_rate, s.max_rate, s.burst, s.priority)
    };
    let usual = [
        ("min-rate", "2000000"),
        ("max-rate", "3000000"),
        ("burst", "3000000"),
        ("priority", "4"),
    ];
    assert_eq!(of(&usual), (250_000, 375_000, 375_000, 4));
    // A packet a second at least, and never more than the port; a burst is at least a packet.
    assert_eq!(of(&[]), (1500, 375_000, 1564, 0));
    assert_eq!(
        of(&[("min-rate", "9000000"), ("max-rate", "8000")]),
        (375_000, 375_000, 1564, 0)
    );
    assert_eq!(
        of(&[("min-rate", "80000"), ("max-rate", "40000")]),
        (10_000, 10_000, 1564, 0)
    );
    let hfsc = discipline(Kind::Hfsc, &[]);
    let share = Share::new(&hfsc, &details(&[("burst", "9")]), 1500);
    assert_eq!(
        (share.min_rate, share.max_rate, share.burst),
        (1, 12_500_000, 0)
    );
}

#[test]
fn shares_come_back_from_the_kernel() {
    let d = discipline(Kind::Htb, &[("max-rate", "80000000000")]);
    for (min, max) in [("2000000", "3000000"), ("50000000000", "70000000000")] {
        let wanted = details(&[
            ("min-rate", min),
            ("max-rate", max),
            ("burst", "4000000"),
            ("priority", "2"),
        ]);
        let share = Share::new(&d, &wanted, 1500);
        let back = Share::read(&class(&share, Kind::Htb), Kind::Htb, scale()).unwrap();
        assert_eq!(
            (back.min_rate, back.max_rate, back.priority),
            (share.min_rate, share.max_rate, 2)
        );
        // Ticks are coarse where the rate is high.
        let off = share.burst.abs_diff(back.burst);
        assert!(off <= 1 + share.min_rate / 15_625_000, "{off}");
        assert_eq!(share.details(Kind::Htb)["min-rate"], min);
    }
    let hfsc = discipline(Kind::Hfsc, &[("max-rate", "8000")]);
    let share = Share::new(&hfsc, &details(&[("min-rate", "800")]), 1500);
    let object = class(&share, Kind::Hfsc);
    assert_eq!(Share::read(&object, Kind::Hfsc, scale()), Some(share));
    assert_eq!(
        share.details(Kind::Hfsc),
        details(&[("min-rate", "800"), ("max-rate", "8000")])
    );
    // Another's curves are not ours.
    assert_eq!(Share::read(&object, Kind::Htb, scale()), None);
}

#[test]
#[cfg(target_endian = "little")]
fn an_htb_class_as_the_headers_have_it() {
    let share = Share {
        min_rate: 250_000,
        max_rate: 375_000,
        burst: 375_000,
        priority: 1,
    };
    let object = class(&share, Kind::Htb);
    let parts: Vec<(u16, usize)> = attributes(&object.options)
        .map(|(k, v)| (k, v.len()))
        .collect();
    // TCA_HTB_PARMS, RTAB, CTAB.
    assert_eq!(parts, [(1, 44), (4, 1024), (3, 1024)]);
    // cell_log 3, mpu 64; 1.5 s and 1 s of tokens; the quantum is left to r2q.
    let parms = words(object.option(1).unwrap());
    let mpu = 64 << 16;
    assert_eq!(
        parms,
        [
            3, mpu, 250_000, 3, mpu, 375_000, 23_437_500, 15_625_000, 0, 0, 1
        ]
    );
    let slow = class(
        &Share {
            min_rate: 1500,
            ..share
        },
        Kind::Htb,
    );
    assert_eq!(words(slow.option(1).unwrap())[8], 1500);
}

#[test]
#[cfg(target_endian = "little")]
fn policing_as_the_headers_have_it() {
    let rates = PolicingRates::new([100, 10, 2, 0]);
    for (filter, head, act) in [
        (Filter::Matchall, [0, 9, 1, 0xffff_fff2, 0x0001_0300], 2),
        (Filter::Basic, [0, 9, 0, 0xffff_0000, 0x0031_0300], 3),
    ] {
        let body = police::request(9, filter, &rates, scale());
        assert_eq!(words(&body[..20]), head);
        let object = Object::parse(&body).unwrap();
        assert_eq!(object.kind, filter.name());
        let action = nested(object.option(act).unwrap(), 1).unwrap();
        assert_eq!(nested(action, 1), Some(&b"police\0"[..]));
        let options = nested(action, 2).unwrap();
        assert_eq!(nested(options, 2).map(<[u8]>::len), Some(1024));
        // struct tc_police: shot; 1280 bytes of burst at 12500 a second in ticks; mtu; cell_log 9, mpu 64, rate.
        let police = words(nested(options, 1).unwrap());
        assert_eq!(
            police,
            [
                0,
                2,
                0,
                1_600_000,
                65_535,
                9,
                64 << 16,
                12_500,
                0,
                0,
                0,
                0,
                0,
                0
            ]
        );
        assert_eq!(nested(options, 5), Some(&[0xff; 4][..]));
        assert_eq!(nested(options, 10), Some(&2000u64.to_ne_bytes()[..]));
        // 16,000 packets at 2000 a second: 8 s.
        assert_eq!(nested(options, 11), Some(&125_000_000u64.to_ne_bytes()[..]));
    }
}

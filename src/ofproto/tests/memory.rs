//! Memory of a rule, everything included: in a process of its own, by its resident set.

use base::clock::{Nanos, monotonic_ns};
use flow::{FieldId, OfPort};
use ofproto::{Ofproto, PreparedFlowMod};
use openflow::{Act, FlowMod, FlowModCommand};

/// Bytes that one rule of a five-tuple may cost.
const RULE_BYTES_MAX: usize = 480;
/// Rules, unless `RULES` says another number.
const RULES: u32 = 200_000;

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .expect("the second number is the resident set");
    pages * 4096
}

fn five_tuple(of: &mut Ofproto, i: u32) -> PreparedFlowMod {
    let mut fm = FlowMod::new(FlowModCommand::Add);
    fm.priority = 10;
    let m = &mut fm.match_;
    m.set_u64(FieldId::InPort, 1);
    m.set_u64(FieldId::EthType, 0x800);
    m.set_u64(FieldId::IpProto, 17);
    m.set_u64(
        FieldId::Ipv4Src,
        u64::from(0x0a00_0000 | i.wrapping_mul(2_654_435_761) >> 8),
    );
    m.set_u64(FieldId::Ipv4Dst, u64::from(0x1400_0000 | i));
    m.set_u64(FieldId::UdpSrc, u64::from(i & 0xffff));
    m.set_u64(FieldId::UdpDst, u64::from(i >> 4 & 0xffff));
    fm.acts = vec![Act::Output {
        port: OfPort(2),
        max_len: 0,
    }];
    of.prepare_flow_mod(fm, None).expect("a proper flow")
}

#[test]
fn a_rule_costs_no_more_than_it_may() {
    let rules = std::env::var("RULES").map_or(RULES, |s| s.parse().expect("a number"));
    let mut of = Ofproto::new("br0");
    let (before, start) = (resident_bytes(), monotonic_ns());
    for i in 0..rules {
        let fm = five_tuple(&mut of, i);
        let mut txn = of.begin(Nanos(1));
        of.start_flow_mod(&mut txn, fm, None).expect("fits");
        of.commit(txn);
        of.take_changes();
    }
    let (took, used) = (monotonic_ns() - start, resident_bytes() - before);
    let each = used / rules as usize;
    println!(
        "{rules} rules: {each} bytes and {} ns each",
        took / u64::from(rules)
    );
    assert!(each <= RULE_BYTES_MAX, "{each} bytes");
    let start = monotonic_ns();
    let del = of
        .prepare_flow_mod(FlowMod::new(FlowModCommand::Delete), None)
        .expect("proper");
    let mut txn = of.begin(Nanos(2));
    of.start_flow_mod(&mut txn, del, None).expect("fits");
    of.commit(txn);
    while of.sweep(10_000) {}
    println!(
        "deleted: {} ns each",
        (monotonic_ns() - start) / u64::from(rules)
    );
}

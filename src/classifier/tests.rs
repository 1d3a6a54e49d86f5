//! The classifier against its stupid twin: a list searched from end to end.

use crate::key::{Conjunction, RuleKey, Ruled};
use crate::table::Classifier;
use base::sync::Arc;
use flow::{FieldId, Flow, Mask};
use proptest::prelude::*;
use wire::{EthAddr, Ipv4, Ipv6};

#[derive(Debug)]
struct TestRule {
    key: RuleKey,
    name: usize,
    conj: Vec<Conjunction>,
}

impl Ruled for TestRule {
    fn key(&self) -> &RuleKey {
        &self.key
    }
    fn conjunctions(&self) -> impl Iterator<Item = Conjunction> + '_ {
        self.conj.iter().copied()
    }
}

/// The twin.
#[derive(Default)]
struct Linear(Vec<Arc<TestRule>>);

impl Linear {
    fn best(&self, version: u64, flow: &Flow, below: i32, parts: bool) -> Option<&Arc<TestRule>> {
        let fits = |r: &&Arc<TestRule>| {
            let (f, m) = r.key.matching().expand();
            r.key.visible_in(version)
                && r.key.priority() < below
                && (parts || r.conj.is_empty())
                && flow.equals_under(&f, &m)
        };
        self.0.iter().filter(fits).max_by_key(|r| r.key.priority())
    }

    /// Priorities from the top: at each, a whole conjunction or a plain rule.
    fn lookup(&self, version: u64, flow: &Flow) -> Vec<usize> {
        let mut below = i32::MAX;
        while let Some(top) = self.best(version, flow, below, true) {
            let p = top.key.priority();
            let at: Vec<_> = self
                .0
                .iter()
                .filter(|r| {
                    let (f, m) = r.key.matching().expand();
                    r.key.priority() == p && r.key.visible_in(version) && flow.equals_under(&f, &m)
                })
                .collect();
            let plain: Vec<usize> = at
                .iter()
                .filter(|r| r.conj.is_empty())
                .map(|r| r.name)
                .collect();
            if !plain.is_empty() {
                return plain;
            }
            let mut ids: Vec<u32> = at.iter().flat_map(|r| &r.conj).map(|c| c.id).collect();
            ids.sort_unstable();
            ids.dedup();
            let mut found = Vec::new();
            for id in ids {
                let mut clauses: Vec<_> = at
                    .iter()
                    .flat_map(|r| &r.conj)
                    .filter(|c| c.id == id)
                    .collect();
                clauses.sort_by_key(|c| c.clause);
                clauses.dedup_by_key(|c| c.clause);
                if clauses.len() == usize::from(clauses[0].n_clauses) {
                    let mut f = *flow;
                    f.conj_id = id.into();
                    found.extend(self.best(version, &f, i32::MAX, false).map(|r| r.name));
                }
            }
            if !found.is_empty() {
                return found;
            }
            below = p;
        }
        Vec::new()
    }
}

/// A flow out of few distinct values, so that rules are hit often. `n` is read as digits.
fn flow_of(n: [u8; 12]) -> Flow {
    let mut f = Flow::zero();
    let ip = |a: u8, b: u8| Ipv4([10 + a % 2, a, 128 * (b % 2), b]);
    f.in_port = u32::from(n[0] % 3).into();
    f.metadata = u64::from(n[1] % 2).into();
    f.dl_type = [0x0800u16, 0x86dd, 0x0806][usize::from(n[2] % 3)].into();
    f.dl_dst = EthAddr([0, 0, 0, 0, n[3] % 2, n[3]]);
    f.nw_src = ip(n[4], n[5]);
    f.nw_dst = ip(n[6], n[7]);
    f.ipv6_src = Ipv6([n[4], 0, 0, 0, 0, n[5], 0, 0, 0, 0, 0, 0, 0, 0, 0, n[6]]);
    f.ipv6_dst = Ipv6([n[7], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n[8]]);
    f.nw_proto = [6, 17, 58][usize::from(n[8] % 3)];
    f.tp_src = (u16::from(n[9]) << 9 | u16::from(n[10])).into();
    f.tp_dst = (u16::from(n[11]) << 3).into();
    f.tcp_flags = u16::from(n[10]).into();
    f.ct_state = n[11] % 4;
    f
}

/// A mask out of the forms that rules have: each digit picks one of wildcarded, prefix, exact.
fn mask_of(n: [u8; 12]) -> Mask {
    let mut m = Mask::empty();
    let f = &mut m.0;
    let ip = |d: u8| match d % 5 {
        0 | 1 => Ipv4([0; 4]),
        2 => Ipv4([255, 0, 0, 0]),
        3 => Ipv4([255, 255, 128, 0]),
        _ => Ipv4([255; 4]),
    };
    let v6 = |d: u8| {
        let mut a = [0; 16];
        a[..[0, 0, 1, 6, 16][usize::from(d % 5)]].fill(255);
        Ipv6(a)
    };
    let on = |d: u8| d.is_multiple_of(3);
    if on(n[0]) {
        f.in_port = u32::MAX.into();
    }
    if on(n[1]) {
        f.metadata = u64::MAX.into();
    }
    if on(n[2]) {
        f.dl_type = u16::MAX.into();
    }
    if on(n[3]) {
        f.dl_dst = EthAddr([0xff; 6]);
    }
    f.nw_src = ip(n[4]);
    f.nw_dst = ip(n[5]);
    f.ipv6_src = v6(n[6]);
    f.ipv6_dst = v6(n[7]);
    if on(n[8]) {
        f.nw_proto = 0xff;
    }
    if on(n[9]) {
        f.tp_src = 0xff00.into();
    }
    if on(n[10]) {
        f.tp_dst = u16::MAX.into();
        f.tcp_flags = 8.into();
    }
    if on(n[11]) {
        f.ct_state = 1;
    }
    m
}

#[derive(Debug, Clone)]
struct Spec {
    flow: [u8; 12],
    mask: [u8; 12],
    priority: i32,
    added: u64,
    removed: Option<u64>,
    /// Clause of conjunction 1 or 2, when the rule is one.
    clause: Option<(u32, u8)>,
    /// The `conj_id` matched, when the rule is the end of a conjunction.
    conj_id: Option<u32>,
}

fn digits() -> impl Strategy<Value = [u8; 12]> {
    prop::array::uniform12(0u8..4)
}

fn masks() -> impl Strategy<Value = [u8; 12]> {
    prop::array::uniform12(0u8..15)
}

fn spec() -> impl Strategy<Value = Spec> {
    let clause = prop_oneof![5 => Just(None), 2 => (1u32..3, 0u8..2).prop_map(Some)];
    let conj_id = prop_oneof![6 => Just(None), 1 => (1u32..3).prop_map(Some)];
    let removed = prop_oneof![4 => Just(None), 1 => (1u64..4).prop_map(Some)];
    let life = (1u64..4, removed);
    (digits(), masks(), 0i32..6, life, clause, conj_id).prop_map(
        |(flow, mask, priority, (added, removed), clause, conj_id)| Spec {
            flow,
            mask,
            priority,
            added,
            removed,
            clause: clause.filter(|_| conj_id.is_none()),
            conj_id,
        },
    )
}

fn build(specs: &[Spec]) -> (Classifier<TestRule>, Linear) {
    let (cls, mut list) = (Classifier::new(), Linear::default());
    for (name, s) in specs.iter().enumerate() {
        let (mut flow, mut mask) = (flow_of(s.flow), mask_of(s.mask));
        if let Some(id) = s.conj_id {
            flow.conj_id = id.into();
            mask.0.conj_id = u32::MAX.into();
        }
        let m = cls.compact(&flow, &mask);
        let same = |r: &&Arc<TestRule>| {
            r.key.matching() == &m && r.key.priority() == s.priority && !r.key.is_leaving()
        };
        if let Some(old) = list.0.iter().find(same) {
            old.key.remove_in(s.added.max(old.key.added()));
        }
        let conj: Vec<_> = s
            .clause
            .map(|(id, clause)| Conjunction {
                id,
                clause,
                n_clauses: 2,
            })
            .into_iter()
            .collect();
        let added = list
            .0
            .iter()
            .filter(|r| r.key.matching() == &m && r.key.priority() == s.priority)
            .map(|r| r.key.added())
            .fold(s.added, u64::max);
        let key = RuleKey::new(m, s.priority, added, !conj.is_empty());
        if let Some(v) = s.removed {
            key.remove_in(v);
        }
        let rule = Arc::new(TestRule { key, name, conj });
        cls.insert(Arc::clone(&rule));
        list.0.push(rule);
    }
    (cls, list)
}

const PREFIXES: [&[FieldId]; 4] = [
    &[],
    &[FieldId::Ipv4Dst, FieldId::Ipv4Src],
    &[FieldId::Ipv6Dst, FieldId::Ipv6Src, FieldId::Ipv4Dst],
    &[FieldId::Ipv4Src],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// The right rule, the same with and without wildcards, and wildcards that hold what they promise.
    #[test]
    fn agrees_with_a_list(
        specs in prop::collection::vec(spec(), 1..40),
        probes in prop::collection::vec((digits(), digits()), 1..12),
        prefixes in 0usize..4,
        late in any::<bool>(),
        drop_every in 2usize..6,
    ) {
        let (cls, mut list) = build(&specs);
        let late_prefixes = PREFIXES[(prefixes + 1) % 4];
        cls.set_prefixes(if late { late_prefixes } else { PREFIXES[prefixes] });
        for i in (0..list.0.len()).rev().filter(|i| i % drop_every == 0) {
            let rule = list.0.remove(i);
            prop_assert!(cls.remove(&rule));
            prop_assert!(!cls.remove(&rule));
        }
        cls.set_prefixes(PREFIXES[prefixes]);
        for version in 0..4 {
            for (probe, other) in &probes {
                let flow = flow_of(*probe);
                let want = list.lookup(version, &flow);
                let mut wc = Mask::empty();
                let got = cls.lookup(version, &flow, Some(&mut wc)).map(|r| r.name);
                prop_assert_eq!(got.is_some(), !want.is_empty());
                prop_assert!(got.is_none_or(|g| want.contains(&g)), "{:?} {:?}", got, want);
                prop_assert_eq!(cls.lookup(version, &flow, None).map(|r| r.name), got);
                // Another packet that agrees on the bits looked at.
                let mut twin = flow_of(*other);
                for ((t, f), m) in twin.lines_mut().as_flattened_mut().iter_mut()
                    .zip(flow.lines().as_flattened()).zip(wc.lines().as_flattened()) {
                    *t = *t & !m | f & m;
                }
                prop_assert_eq!(cls.lookup(version, &twin, None).map(|r| r.name), got);
            }
        }
        for rule in &list.0 {
            cls.remove(rule);
        }
        prop_assert!(cls.is_empty() && cls.n_subtables() == 0);
    }

    /// Walks, exact finds and overlap checks against the list.
    #[test]
    fn walks_agree_with_a_list(
        specs in prop::collection::vec(spec(), 1..40),
        target in (digits(), masks()),
        budget in 1usize..7,
        version in 0u64..4,
    ) {
        let (cls, list) = build(&specs);
        let target = cls.compact(&flow_of(target.0), &mask_of(target.1));
        let mut cursor = cls.cursor(Some(&target), version);
        let mut out = Vec::new();
        while cls.advance(&mut cursor, budget, &mut out) {}
        let mut got: Vec<_> = out.iter().map(|r| r.name).collect();
        got.sort_unstable();
        let want: Vec<_> = list.0.iter()
            .filter(|r| r.key.visible_in(version) && r.key.matching().is_within(&target))
            .map(|r| r.name)
            .collect();
        prop_assert_eq!(got, want);
        for r in &list.0 {
            let found = cls.find_exact(r.key.matching(), r.key.priority(), version);
            prop_assert_eq!(found.is_some_and(|f| f.name == r.name), r.key.visible_in(version));
        }
        for priority in 0..6 {
            let (tf, tm) = target.expand();
            let want = list.0.iter().any(|r| {
                let (f, m) = r.key.matching().expand();
                r.key.priority() == priority
                    && r.key.visible_in(version)
                    && f.masked(&tm) == tf.masked(&m)
            });
            prop_assert_eq!(cls.overlaps(&target, priority, version), want);
        }
    }
}

fn plain(cls: &Classifier<TestRule>, name: usize, priority: i32, flow: &Flow, mask: &Mask) {
    let key = RuleKey::new(cls.compact(flow, mask), priority, 0, false);
    cls.insert(Arc::new(TestRule {
        key,
        name,
        conj: Vec::new(),
    }));
}

/// The case of CVE-2023-5366: a miss in the last stage of a subtable with ports must still mark the other
/// fields of that stage.
#[test]
fn a_miss_by_ports_marks_the_rest_of_the_last_stage() {
    let cls = Classifier::new();
    let (mut f, mut m) = (Flow::zero(), Mask::empty());
    f.nw_proto = 58;
    f.tp_src = 135.into();
    f.nd_target = Ipv6([0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    m.0.nw_proto = 0xff;
    m.0.tp_src = 0xffff.into();
    m.0.nd_target = Ipv6([0xff; 16]);
    plain(&cls, 1, 10, &f, &m);
    let mut probe = f;
    probe.nd_target = Ipv6([0; 16]);
    let mut wc = Mask::empty();
    assert!(cls.lookup(0, &probe, Some(&mut wc)).is_none());
    assert_eq!(wc.0.nd_target, Ipv6([0xff; 16]));
    // 135 is there: all its bits were needed, port 128 differs in the sixth bit already.
    assert_eq!(wc.0.tp_src.get(), 0xffff);
    probe.tp_src = 128.into();
    let mut wc = Mask::empty();
    assert!(cls.lookup(0, &probe, Some(&mut wc)).is_none());
    assert_eq!(wc.0.tp_src.get(), 0xfffc);
}

#[test]
fn prefixes_keep_megaflows_wide() {
    let cls = Classifier::new();
    cls.set_prefixes(&crate::default_prefixes());
    let mut f = Flow::zero();
    f.dl_type = 0x0800.into();
    f.nw_dst = Ipv4([10, 1, 2, 15]);
    let mut m = Mask::empty();
    m.0.dl_type = 0xffff.into();
    m.0.nw_dst = Ipv4([255; 4]);
    plain(&cls, 1, 10, &f, &m);
    let mut probe = f;
    probe.nw_dst = Ipv4([192, 168, 0, 1]);
    let mut wc = Mask::empty();
    assert!(cls.lookup(0, &probe, Some(&mut wc)).is_none());
    assert_eq!(wc.0.nw_dst, Ipv4([128, 0, 0, 0]));
    assert_eq!(wc.0.dl_type.get(), 0xffff);
}

#[test]
fn a_walk_survives_changes() {
    let cls = Classifier::new();
    for i in 0..1000u32 {
        let (mut f, mut m) = (Flow::zero(), Mask::empty());
        f.in_port = i.into();
        m.0.in_port = u32::MAX.into();
        plain(&cls, i as usize, 1, &f, &m);
    }
    let all = cls.collect(None, 0);
    let mut cursor = cls.cursor(None, 0);
    let mut out = Vec::new();
    assert!(cls.advance(&mut cursor, 300, &mut out));
    for r in &all[..900] {
        cls.remove(r);
    }
    while cls.advance(&mut cursor, 300, &mut out) {}
    let names: Vec<_> = out.iter().map(|r| r.name).collect();
    assert_eq!(names, (0..300).chain(900..1000).collect::<Vec<_>>());
}

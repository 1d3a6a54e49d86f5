//! Random flow mods, alone and in transactions, against a list of flows; and readers who keep their version.

use crate::{FlowFlags, Ofproto, Pin, Rule, Txn};
use base::clock::Nanos;
use base::sync::Arc;
use flow::{FieldId, Match, OfPort};
use openflow::flow_mod::ALL_TABLES;
use openflow::{Act, FlowMod, FlowModCommand, OfpError};
use proptest::prelude::*;

/// One flow of the twin.
#[derive(Debug, Clone, PartialEq)]
struct ModelFlow {
    table: u8,
    match_: Match,
    priority: u16,
    cookie: u64,
    acts: Vec<Act>,
    idle: u16,
    flags: FlowFlags,
    packets: u64,
}

/// The twin.
#[derive(Debug, Clone, Default)]
struct Model(Vec<ModelFlow>);

fn is_within(m: &Match, criteria: &Match) -> bool {
    m.mask.covers(&criteria.mask) && m.flow.masked(&criteria.mask) == criteria.flow
}

fn overlap(a: &Match, b: &Match) -> bool {
    a.flow.masked(&b.mask) == b.flow.masked(&a.mask)
}

impl Model {
    fn selects(fm: &FlowMod, f: &ModelFlow) -> bool {
        let strict = fm.command.is_strict();
        (fm.table_id == ALL_TABLES || fm.table_id == f.table)
            && (f.cookie ^ fm.cookie) & fm.cookie_mask == 0
            && (!fm.command.is_delete()
                || fm.out_port == OfPort::NONE
                || f.acts
                    .iter()
                    .any(|a| matches!(a, Act::Output { port, .. } if *port == fm.out_port)))
            && if strict {
                f.match_ == fm.match_ && f.priority == fm.priority
            } else {
                is_within(&f.match_, &fm.match_)
            }
    }

    fn apply(&mut self, fm: &FlowMod, limit: Option<usize>) -> Result<(), OfpError> {
        if fm.command.is_delete() {
            self.0.retain(|f| !Self::selects(fm, f));
            return Ok(());
        }
        if fm.command.is_modify() {
            let mut any = false;
            for f in self.0.iter_mut().filter(|f| Self::selects(fm, f)) {
                any = true;
                f.acts.clone_from(&fm.acts);
                if fm.modify_cookie && fm.new_cookie != u64::MAX {
                    f.cookie = fm.new_cookie;
                }
                if fm.flags.contains(FlowFlags::RESET_COUNTS) {
                    f.packets = 0;
                }
            }
            if any || fm.new_cookie == u64::MAX || fm.cookie_mask != 0 {
                return Ok(());
            }
        }
        self.add(fm, limit)
    }

    fn add(&mut self, fm: &FlowMod, limit: Option<usize>) -> Result<(), OfpError> {
        let table = if fm.table_id == ALL_TABLES {
            0
        } else {
            fm.table_id
        };
        let mut new = ModelFlow {
            table,
            match_: fm.match_.clone(),
            priority: fm.priority,
            cookie: fm.new_cookie,
            acts: fm.acts.clone(),
            idle: fm.idle_timeout,
            flags: fm.flags,
            packets: 0,
        };
        let same = |f: &&mut ModelFlow| {
            f.table == table && f.match_ == fm.match_ && f.priority == fm.priority
        };
        if let Some(old) = self.0.iter_mut().find(same) {
            if !fm.flags.contains(FlowFlags::RESET_COUNTS) {
                new.packets = old.packets;
            }
            if fm.new_cookie == u64::MAX {
                new.cookie = old.cookie;
            }
            *old = new;
            return Ok(());
        }
        let clash = |f: &ModelFlow| {
            f.table == table && f.priority == fm.priority && overlap(&f.match_, &fm.match_)
        };
        if fm.flags.contains(FlowFlags::CHECK_OVERLAP) && self.0.iter().any(clash) {
            return Err(OfpError::OFPFMFC_OVERLAP);
        }
        let n = self.0.iter().filter(|f| f.table == table).count();
        if table == 1 && limit.is_some_and(|l| n >= l) {
            return Err(OfpError::OFPFMFC_TABLE_FULL);
        }
        self.0.push(new);
        Ok(())
    }

    fn sorted(&self) -> Vec<String> {
        let mut out: Vec<_> = self.0.iter().map(|f| format!("{f:?}")).collect();
        out.sort();
        out
    }
}

fn of_rule(r: &Rule) -> ModelFlow {
    let (flow, mask) = r.matching().expand();
    ModelFlow {
        table: r.table,
        match_: Match::new(&flow, &mask),
        priority: u16::try_from(r.priority()).expect("no hidden rules"),
        cookie: r.cookie,
        acts: (*r.actions).clone(),
        idle: r.idle_timeout(),
        flags: r.flags,
        packets: r.counts().packets,
    }
}

fn contents(of: &Ofproto, version: u64) -> Model {
    let tables = &of.pipeline().tables;
    let rules = tables
        .iter()
        .flat_map(|(_, t)| t.rules.collect(None, version));
    Model(rules.map(|r| of_rule(&r)).collect())
}

fn match_of(n: u8) -> Match {
    let mut m = Match::catchall();
    if n & 1 != 0 {
        m.set_u64(FieldId::InPort, u64::from(n >> 1 & 1));
    }
    if n & 4 != 0 {
        m.set_u64(FieldId::EthType, 0x800);
        let prefix = [[255, 0, 0, 0], [255, 255, 255, 255]][usize::from(n >> 3 & 1)];
        m.set(FieldId::Ipv4Dst, &[10, 0, 0, n >> 4 & 1], Some(&prefix))
            .expect("no tunnel metadata");
    }
    m
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let command = prop_oneof![
        5 => Just(FlowModCommand::Add),
        1 => Just(FlowModCommand::Modify),
        1 => Just(FlowModCommand::ModifyStrict),
        1 => Just(FlowModCommand::Delete),
        1 => Just(FlowModCommand::DeleteStrict),
    ];
    let table = prop_oneof![Just(0u8), Just(1), Just(ALL_TABLES)];
    let cookies = (
        0u64..3,
        prop_oneof![6 => Just(0u64), 1 => Just(1), 1 => Just(u64::MAX)],
        0u64..4,
    );
    let rest = (0u16..2, 0u16..3, 0u16..3, any::<bool>(), 0u8..8);
    (command, 0u8..32, table, cookies, rest).prop_map(|(command, m, table, cookies, rest)| {
        let mut fm = FlowMod::new(command);
        fm.match_ = match_of(m);
        fm.table_id = table;
        (fm.cookie, fm.cookie_mask) = (cookies.0, cookies.1);
        fm.new_cookie = if cookies.2 == 3 { u64::MAX } else { cookies.2 };
        if command == FlowModCommand::Add {
            fm.cookie_mask = 0;
        }
        fm.priority = rest.0;
        fm.idle_timeout = rest.1;
        fm.modify_cookie = rest.3;
        fm.acts = vec![Act::Output {
            port: OfPort(rest.2),
            max_len: 0,
        }];
        if rest.4 & 1 != 0 && fm.command.is_delete() {
            fm.out_port = OfPort(1);
        }
        fm.flags.set(FlowFlags::RESET_COUNTS, rest.4 & 2 != 0);
        fm.flags.set(FlowFlags::CHECK_OVERLAP, rest.4 == 4);
        // Modifications that may add a flow name one table.
        if fm.command.is_modify() && table == ALL_TABLES {
            fm.new_cookie = u64::MAX;
        }
        fm
    })
}

/// A message, or several that belong together (and whether to give up at the end).
fn group() -> impl Strategy<Value = (Vec<FlowMod>, bool)> {
    prop_oneof![
        3 => flow_mod().prop_map(|fm| (vec![fm], true)),
        1 => (prop::collection::vec(flow_mod(), 1..6), any::<bool>()),
    ]
}

fn start(of: &mut Ofproto, txn: &mut Txn, fms: &[FlowMod]) -> Result<(), OfpError> {
    for fm in fms {
        let fm = of.prepare_flow_mod(fm.clone(), None)?;
        of.start_flow_mod(txn, fm, None)?;
    }
    Ok(())
}

/// Applies messages to both; all or nothing.
fn both(of: &mut Ofproto, model: &mut Model, fms: &[FlowMod], commit: bool, limit: Option<usize>) {
    let mut next = model.clone();
    let want = fms.iter().try_for_each(|fm| next.apply(fm, limit));
    let mut txn = of.begin(Nanos(1));
    let got = start(of, &mut txn, fms);
    assert_eq!(got, want);
    if got.is_ok() {
        assert_eq!(
            contents(of, classifier::LATEST).sorted().len(),
            next.0.len()
        );
    }
    if got.is_ok() && commit {
        of.commit(txn);
        *model = next;
    } else {
        of.roll_back(txn);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_list(
        groups in prop::collection::vec((group(), 0u8..8), 1..25),
        limit in prop_oneof![Just(None), (1usize..6).prop_map(Some)],
    ) {
        let mut of = Ofproto::new("br0");
        of.state_mut(1).max_flows = limit.map_or(u32::MAX, |l| u32::try_from(l).expect("small"));
        let mut model = Model::default();
        let mut pinned: Vec<(Pin, Model)> = Vec::new();
        for ((fms, commit), what) in groups {
            both(&mut of, &mut model, &fms, commit, limit);
            let version = of.pipeline().tables.version();
            prop_assert_eq!(contents(&of, version).sorted(), model.sorted());
            let n = |t| u32::try_from(model.0.iter().filter(|f| f.table == t).count()).expect("few");
            prop_assert_eq!((of.state(0).n_flows, of.state(1).n_flows), (n(0), n(1)));
            match what {
                0 => pinned.push((of.pipeline().tables.pin(), model.clone())),
                1 => drop(pinned.pop()),
                2 => {
                    // Packets are credited to whatever rules are there.
                    for (f, r) in model.0.iter_mut().flat_map(|f| {
                        let m = of.pipeline().tables.table(f.table).rules
                            .compact(&f.match_.flow, &f.match_.mask);
                        let rules = &of.pipeline().tables.table(f.table).rules;
                        let r: Option<Arc<Rule>> =
                            rules.find_exact(&m, i32::from(f.priority), version);
                        r.map(|r| (f, r))
                    }) {
                        r.credit(1, 60, Nanos(1));
                        f.packets += 1;
                    }
                }
                _ => {}
            }
            of.sweep(usize::MAX);
            for (pin, seen) in &pinned {
                let mut now = contents(&of, pin.version());
                // Counts live on in successors; everything else must look as it did.
                let mut seen = seen.clone();
                now.0.iter_mut().chain(&mut seen.0).for_each(|f| f.packets = 0);
                prop_assert_eq!(now.sorted(), seen.sorted());
            }
        }
        drop(pinned);
        prop_assert!(!of.sweep(usize::MAX));
        let held: usize = of.pipeline().tables.iter().map(|(_, t)| t.rules.len()).sum();
        prop_assert_eq!(held, model.0.len());
    }
}

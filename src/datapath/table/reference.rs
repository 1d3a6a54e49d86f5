//! The tables' twin: a list of flows, searched from the front. Slow and obviously right.

use super::mask::{MaskInfo, Masks};
use super::{DpFlow, FlowList, Found, Keys, NONE, Tables};
use crate::actions::Deed;
use crate::limits::{COARSE_CHAIN, MASKS_PER_PORT};
use crate::pkts::{Pkt, Pkts};
use base::rng::Rng;
use base::sync::Arc;
use flow::{Flow, Layers, LineSet, Mask, Metadata};
use odp::{Action, OdpPort, Ufid};
use packet::{BATCH_MAX, HeapPool};
use proptest::prelude::*;
use wire::{EthAddr, Ipv4, U16, U32};

/// An Ethernet/IPv4/UDP frame whose fields come from few values, so that flows are hit.
pub(crate) fn frame(rng: &mut Rng) -> Vec<u8> {
    let mut f = vec![0u8; 60];
    f[5] = rng.below(3) as u8;
    f[11] = rng.below(3) as u8;
    f[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    let ip = &mut f[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&46u16.to_be_bytes());
    ip[8] = 64;
    ip[9] = if rng.below(2) == 0 { 17 } else { 6 };
    ip[12..16].copy_from_slice(&[10, 0, rng.below(4) as u8, rng.below(4) as u8]);
    ip[16..20].copy_from_slice(&[10, 1, rng.below(2) as u8, rng.below(4) as u8]);
    ip[20..22].copy_from_slice(&(rng.below(3) as u16).to_be_bytes());
    ip[22..24].copy_from_slice(&(rng.below(3) as u16).to_be_bytes());
    ip[32] = 0x50;
    f
}

/// As [`frame`], now and then made into one that is not plain.
fn frame_or_odd(rng: &mut Rng) -> Vec<u8> {
    let mut f = frame(rng);
    match rng.below(24) {
        0 => f[12..14].copy_from_slice(&[0x81, 0]),
        1 => f[12..14].copy_from_slice(&[8, 6]),
        2 => f[20] = 0x20,
        3 => f[21] = 1,
        4 => f[23] = 1,
        5 => f[46] = 0x40,
        6 => f[16..18].copy_from_slice(&[0, 24]),
        7 => f.truncate(47),
        8 => f.truncate(30),
        _ => {}
    }
    f
}

/// The full key of a frame.
pub(crate) fn key_of(data: &[u8], in_port: u32, mark: u32) -> Flow {
    let md = Metadata {
        in_port,
        mark,
        ..Metadata::default()
    };
    let mut key = Flow::zero();
    flow::extract(data, &md, &mut key);
    key
}

/// A mask that looks at the ingress port and some bits of a few fields.
pub(crate) fn mask(rng: &mut Rng) -> Mask {
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    let some = |rng: &mut Rng| rng.below(3) == 0;
    if some(rng) {
        m.0.dl_dst = EthAddr([0xff; 6]);
    }
    if some(rng) {
        m.0.dl_src = EthAddr([0, 0, 0, 0, 0, rng.below(4) as u8]);
    }
    if some(rng) {
        let bits = rng.below(33) as u32;
        m.0.nw_src = Ipv4::from_u32(u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    }
    if some(rng) {
        let bits = rng.below(33) as u32;
        m.0.nw_dst = Ipv4::from_u32(u32::MAX.checked_shl(32 - bits).unwrap_or(0));
    }
    if some(rng) {
        m.0.nw_proto = 0xff;
    }
    if some(rng) {
        m.0.tp_src = U16::new(rng.below(4) as u16);
    }
    if some(rng) {
        m.0.tp_dst = U16::new(0xffff);
    }
    if some(rng) {
        // On another line.
        m.0.pkt_mark = U32::new(rng.below(4) as u32);
    }
    m
}

pub(crate) fn flow_of(masks: &Masks, key: &Flow, mask: &Mask, n: u128) -> Arc<DpFlow> {
    let mask = masks.intern(&Arc::new(*mask));
    let actions = Arc::new(vec![Action::Output(OdpPort(9))]);
    let deed = Deed::new(&actions).unwrap();
    Arc::new(DpFlow::new(Ufid(n), key, mask, deed))
}

/// Looks packets up as the packet loop does; gives the ufid each was found under.
fn lookup(tables: &mut Tables, frames: &[(Vec<u8>, u32)]) -> Vec<Option<u128>> {
    let mut keys = Keys::new();
    let mut out = Vec::new();
    for chunk in frames.chunks(BATCH_MAX) {
        let mut pkts = Pkts::new();
        pkts.in_port = OdpPort(1);
        for (data, mark) in chunk {
            let mut frame = HeapPool::global().copy_from(data);
            frame.mark = *mark;
            pkts.push(Pkt {
                frame,
                layers: Layers::UNKNOWN,
                side: None,
            });
        }
        let found = tables.lookup(&mut pkts, &mut keys);
        let mut here = keys.found[..chunk.len()].to_vec();
        if let Found::One(n) = found {
            here.fill(n);
        }
        assert_eq!(here.contains(&NONE), found == Found::Missed);
        for n in here {
            out.push((n != NONE).then(|| tables.flows.get(n).unwrap().ufid.0));
        }
    }
    out
}

/// Checks every answer against the list: what was found matches, and nothing that matches was missed.
fn check(tables: &mut Tables, list: &[Arc<DpFlow>], frames: &[(Vec<u8>, u32)]) {
    let found = lookup(tables, frames);
    for ((data, mark), found) in frames.iter().zip(found) {
        let key = key_of(data, 1, *mark);
        let matching: Vec<u128> = list
            .iter()
            .filter(|f| f.key().equals_under(&key, &f.mask.mask))
            .map(|f| f.ufid.0)
            .collect();
        match found {
            Some(ufid) => assert!(matching.contains(&ufid), "{ufid} of {matching:?}"),
            None => assert!(matching.is_empty(), "missed {matching:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lookups_agree_with_a_list(
        seed in any::<u64>(), flows in 0usize..80, rounds in 1usize..5, masks_max in 1u64..20, marks in any::<bool>(),
    ) {
        let mut rng = Rng::new(seed);
        // Without marks, line 0 is all that any flow looks at.
        let few: Vec<_> = (0..masks_max)
            .map(|_| {
                let mut m = mask(&mut rng);
                if !marks {
                    m.0.pkt_mark = U32::new(0);
                }
                m
            })
            .collect();
        let masks = Masks::default();
        let mut tables = Tables::new(Arc::new(FlowList::default()), seed);
        let mut list: Vec<Arc<DpFlow>> = Vec::new();
        let mut next = 0;
        for _ in 0..rounds {
            for _ in 0..flows {
                if rng.below(4) == 0 && !list.is_empty() {
                    let gone = list.swap_remove(rng.below(list.len() as u64) as usize);
                    let n = tables.flows.find(gone.ufid).unwrap();
                    prop_assert_eq!(tables.remove(n).unwrap().ufid, gone.ufid);
                    continue;
                }
                let key = key_of(&frame_or_odd(&mut rng), 1, rng.below(3) as u32);
                let mask = few[rng.below(masks_max) as usize];
                let flow = flow_of(&masks, &key, &mask, next);
                next += 1;
                tables.insert(Arc::clone(&flow), &key).unwrap();
                list.push(flow);
            }
            let frames: Vec<_> = (0..200)
                .map(|_| (frame_or_odd(&mut rng), rng.below(3) as u32))
                .collect();
            check(&mut tables, &list, &frames);
            // Again: now out of the cache.
            check(&mut tables, &list, &frames);
            tables.rank();
        }
    }
}

#[test]
fn a_flow_that_went_is_found_by_nothing() {
    let masks = Masks::default();
    let mut tables = Tables::new(Arc::new(FlowList::default()), 7);
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m.0.dl_type = U16::new(u16::MAX);
    m.0.nw_src = Ipv4([255; 4]);
    let data = |n: u8| {
        let mut f = frame(&mut Rng::new(1));
        (f[23], f[29]) = (17, n);
        f
    };
    let install = |tables: &mut Tables, n: u8| {
        let key = key_of(&data(n), 1, 0);
        let flow = flow_of(&masks, &key, &m, n.into());
        tables.insert(flow, &key).unwrap()
    };
    let batch = |n: u8| vec![(data(n), 0); BATCH_MAX];
    let number = install(&mut tables, 1);
    install(&mut tables, 2);
    // Long enough for whatever is remembered of the last batch.
    for _ in 0..4 {
        assert_eq!(lookup(&mut tables, &batch(1)), [Some(1); BATCH_MAX]);
    }
    tables.remove(number).unwrap();
    assert_eq!(lookup(&mut tables, &batch(1)), [None; BATCH_MAX]);
    // Nor is another flow that got its number found instead.
    assert_eq!(install(&mut tables, 3), number);
    assert_eq!(lookup(&mut tables, &batch(1)), [None; BATCH_MAX]);
    for _ in 0..4 {
        assert_eq!(lookup(&mut tables, &batch(3)), [Some(3); BATCH_MAX]);
    }
}

#[test]
fn too_many_masks_stay_bounded_and_right() {
    let mut rng = Rng::new(11);
    let masks = Masks::default();
    let mut tables = Tables::new(Arc::new(FlowList::default()), 5);
    let mut list: Vec<Arc<DpFlow>> = Vec::new();
    let mut distinct = std::collections::HashSet::new();
    for n in 0..3000 {
        let key = key_of(&frame(&mut rng), 1, rng.below(3) as u32);
        let m = mask(&mut rng);
        distinct.insert(m);
        let flow = flow_of(&masks, &key, &m, n);
        if tables.insert(Arc::clone(&flow), &key).is_ok() {
            // It may have been narrowed.
            let at = tables.flows.find(Ufid(n)).unwrap();
            list.push(Arc::clone(tables.flows.get(at).unwrap()));
            assert!(flow.mask.lines.0 & !tables.flows.get(at).unwrap().mask.lines.0 == 0);
            assert!(tables.lookup_one(&key).is_some());
        }
        if n % 300 == 0 {
            let frames: Vec<_> = (0..200)
                .map(|_| (frame(&mut rng), rng.below(3) as u32))
                .collect();
            check(&mut tables, &list, &frames);
        }
    }
    assert!(list.len() > 100 && distinct.len() > MASKS_PER_PORT * 2);
    assert!(tables.masks() <= MASKS_PER_PORT + 4);
    while let Some(flow) = list.pop() {
        let n = tables.flows.find(flow.ufid).unwrap();
        tables.remove(n).unwrap();
    }
    assert_eq!(tables.masks(), 0);
}

#[test]
fn beyond_the_cap_flows_share_coarser_masks_then_are_narrowed() {
    let masks = Masks::default();
    let mut tables = Tables::new(Arc::new(FlowList::default()), 5);
    let mut rng = Rng::new(3);
    let base = key_of(&frame(&mut rng), 1, 0);
    // Fill the port with masks over bits of dp_hash and metadata that no packet has: all keys agree.
    for n in 0..MASKS_PER_PORT as u128 {
        let mut m = Mask::empty();
        m.0.in_port = U32::new(u32::MAX);
        m.0.recirc_id = U32::new(u32::MAX);
        m.0.dp_hash = U32::new(n as u32 + 1);
        let mut key = base;
        key.dp_hash = U32::new(u32::MAX);
        tables.insert(flow_of(&masks, &key, &m, n), &key).unwrap();
    }
    // Every further mask finds the mask without dp_hash bits... which is not there; so dp_hash 0 masks do.
    let mut narrowed = 0;
    for n in 0..40u32 {
        let mut m = Mask::empty();
        m.0.in_port = U32::new(u32::MAX);
        m.0.recirc_id = U32::new(u32::MAX);
        m.0.dp_hash = U32::new(1);
        m.0.tp_src = U16::new(0xffff);
        m.0.nw_src = Ipv4::from_u32(u32::MAX << (n % 32));
        m.0.nw_ttl = if n >= 32 { 0xff } else { 0 };
        let mut key = base;
        key.tp_src = U16::new(1000 + n as u16);
        let made = flow_of(&masks, &key, &m, 1000 + u128::from(n));
        let at = tables.insert(Arc::clone(&made), &key).unwrap();
        let put = tables.flows.get(at).unwrap();
        assert!(put.matches(&key, LineSet::ALL));
        if !Arc::ptr_eq(&put.mask, &made.mask) {
            narrowed += 1;
            assert!(put.mask.covers(&made.mask));
        }
        assert_eq!(tables.lookup_one(&key), Some(at));
    }
    // One coarser subtable (dp_hash bit 0) takes a chain's worth, the exact ones the rest.
    assert_eq!(narrowed, 40 - COARSE_CHAIN);
    assert!(tables.masks() <= MASKS_PER_PORT + 1);
}

#[test]
fn prepared_masks_are_small() {
    // A flow's memory: see also tests/memory.rs.
    assert!(size_of::<DpFlow>() <= 192, "{}", size_of::<DpFlow>());
    assert!(size_of::<MaskInfo>() <= 256);
}

#[test]
fn ports_without_a_table_of_their_own_are_told_apart() {
    let masks = Masks::default();
    let mut tables = Tables::new(Arc::new(FlowList::default()), 7);
    let mut m = Mask::empty();
    m.0.in_port = U32::new(u32::MAX);
    m.0.recirc_id = U32::new(u32::MAX);
    m.0.nw_src = Ipv4([255; 4]);
    let data = frame(&mut Rng::new(1));
    let ports = [crate::limits::PORTS_MAX, crate::limits::PORTS_MAX + 1];
    for port in ports {
        let key = key_of(&data, port, 0);
        let flow = flow_of(&masks, &key, &m, port.into());
        tables.insert(flow, &key).unwrap();
    }
    let mut keys = Keys::new();
    for port in ports {
        let mut pkts = Pkts::new();
        pkts.in_port = OdpPort(port);
        pkts.push(Pkt {
            frame: HeapPool::global().copy_from(&data),
            layers: Layers::UNKNOWN,
            side: None,
        });
        let Found::One(n) = tables.lookup(&mut pkts, &mut keys) else {
            panic!("not found");
        };
        assert_eq!(tables.flows.get(n).unwrap().ufid.0, port.into());
    }
}

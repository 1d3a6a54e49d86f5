//! [`MacTable`] against a twin that is one `Vec` in order of use.

use super::*;
use proptest::prelude::*;

const fn at(s: u64) -> Nanos {
    Nanos::from_millis(s * 1000)
}

fn mac(n: u8) -> EthAddr {
    EthAddr([0x50, 0x54, 0, 0, 0, n])
}

fn sighting(n: u8, port: u32) -> Sighting {
    Sighting {
        mac: mac(n),
        vlan: 0,
        port: PortKey(port),
        bond: false,
        gratuitous_arp: false,
    }
}

#[derive(Debug, Clone, PartialEq)]
struct TwinEntry {
    key: (u16, EthAddr),
    port: PortKey,
    is_static: bool,
    used_s: i64,
    lock_until_s: i64,
}

/// Every operation scans everything.
#[derive(Debug, Default)]
struct Twin {
    entries: Vec<TwinEntry>,
    max: usize,
    idle_s: i64,
}

impl Twin {
    fn position(&self, key: (u16, EthAddr)) -> Option<usize> {
        self.entries.iter().position(|e| e.key == key)
    }

    /// One of the ports with the most learned entries loses its oldest: `first` among equals.
    fn make_room(&mut self, first: Option<PortKey>) -> bool {
        if self.entries.len() < self.max {
            return true;
        }
        let learned = |p: PortKey| {
            self.entries
                .iter()
                .filter(|e| !e.is_static && e.port == p)
                .count()
        };
        let victim = self
            .entries
            .iter()
            .filter(|e| !e.is_static)
            .map(|e| (learned(e.port), Some(e.port) == first, e.port))
            .max();
        let Some((_, _, port)) = victim else {
            return false;
        };
        let i = self
            .entries
            .iter()
            .position(|e| !e.is_static && e.port == port)
            .expect("counted");
        self.entries.remove(i);
        true
    }

    fn update(&mut self, seen: &Sighting, now_s: i64, first: Option<PortKey>) {
        if seen.mac.is_multicast() {
            return;
        }
        let key = (seen.vlan, seen.mac);
        let lock = seen.gratuitous_arp && !seen.bond;
        match self.position(key) {
            None => {
                if self.make_room(first) {
                    self.entries.push(TwinEntry {
                        key,
                        port: seen.port,
                        is_static: false,
                        used_s: now_s,
                        lock_until_s: if lock { now_s + 5 } else { i64::MIN },
                    });
                }
            }
            Some(i) if self.entries[i].is_static => {}
            Some(i) => {
                let mut e = self.entries.remove(i);
                let locked = seen.gratuitous_arp && seen.bond && now_s < e.lock_until_s;
                e.used_s = now_s;
                if lock {
                    e.lock_until_s = now_s + 5;
                }
                // A move joins the new port's order at its young end, which is where this list puts it.
                if !locked {
                    e.port = seen.port;
                }
                self.entries.push(e);
            }
        }
    }

    fn add_static(&mut self, key: (u16, EthAddr), port: PortKey, first: Option<PortKey>) {
        let old = self.position(key).map(|i| self.entries.remove(i));
        if old.is_some() || self.make_room(first) {
            self.entries.push(TwinEntry {
                key,
                port,
                is_static: true,
                used_s: 0,
                lock_until_s: i64::MIN,
            });
        }
    }

    fn run(&mut self, now_s: i64) {
        let idle = self.idle_s;
        self.entries
            .retain(|e| e.is_static || now_s - e.used_s < idle);
    }

    fn shown(&self, now_s: i64) -> Vec<MacEntry> {
        self.entries
            .iter()
            .map(|e| MacEntry {
                mac: e.key.1,
                vlan: e.key.0,
                port: e.port,
                age: if e.is_static {
                    MacAge::Static
                } else {
                    MacAge::Seconds(now_s - e.used_s)
                },
            })
            .collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    See(Sighting),
    AddStatic(u16, u8, u32),
    DelStatic(u16, u8),
    Wait(u64),
    FlushPort(u32, bool),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let see = (0u8..30, 0u16..2, 0u32..4, any::<bool>(), any::<bool>()).prop_map(
        |(n, vlan, port, bond, arp)| {
            Step::See(Sighting {
                mac: mac(n),
                vlan,
                port: PortKey(port),
                bond,
                gratuitous_arp: arp,
            })
        },
    );
    let step = prop_oneof![
        20 => see,
        2 => (0u16..2, 0u8..30, 0u32..4).prop_map(|(v, n, p)| Step::AddStatic(v, n, p)),
        2 => (0u16..2, 0u8..30).prop_map(|(v, n)| Step::DelStatic(v, n)),
        2 => (0u64..12).prop_map(Step::Wait),
        1 => (0u32..4, any::<bool>()).prop_map(|(p, l)| Step::FlushPort(p, l)),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_its_twin(steps in steps()) {
        let mut table = MacTable::new(15);
        table.set_max_entries(12);
        let mut twin = Twin { max: 12, idle_s: 15, ..Twin::default() };
        let mut now_s = 100;
        let mut mirror: HashMap<(u16, EthAddr), PortKey> = HashMap::new();
        for step in steps {
            let now = at(now_s);
            match step {
                Step::See(s) => {
                    let before: Vec<_> = table.entries(now).collect();
                    let stats = table.stats();
                    let needed = table.update_needed(&s, now);
                    let first = table.by_usage.first();
                    table.update(&s, now);
                    twin.update(&s, now_s as i64, first);
                    if !needed {
                        // Only the order of use may differ then.
                        let sort = |mut v: Vec<MacEntry>| {
                            v.sort_by_key(|e| (e.vlan, e.mac));
                            v
                        };
                        prop_assert_eq!(sort(before), sort(table.entries(now).collect()));
                        prop_assert_eq!(stats, table.stats());
                    }
                }
                Step::AddStatic(v, n, p) => {
                    let first = table.by_usage.first();
                    table.add_static(v, mac(n), PortKey(p));
                    twin.add_static((v, mac(n)), PortKey(p), first);
                }
                Step::DelStatic(v, n) => {
                    let gone = table.del_static(v, mac(n));
                    let i = twin.position((v, mac(n))).filter(|&i| twin.entries[i].is_static);
                    prop_assert_eq!(gone, i.is_some());
                    if let Some(i) = i {
                        twin.entries.remove(i);
                    }
                }
                Step::Wait(s) => {
                    now_s += s;
                    table.run(at(now_s));
                    twin.run(now_s as i64);
                }
                Step::FlushPort(p, learned) => {
                    table.flush_port(PortKey(p), learned);
                    twin.entries.retain(|e| e.port != PortKey(p) || learned && e.is_static);
                }
                Step::Flush => {
                    table.flush();
                    twin.entries.retain(|e| e.is_static);
                }
            }
            let shown: Vec<_> = table.entries(at(now_s)).collect();
            prop_assert_eq!(&shown, &twin.shown(now_s as i64));
            prop_assert_eq!(table.static_entries(), twin.entries.iter().filter(|e| e.is_static).count());
            // A reader that follows take_changes() knows the same.
            match table.take_changes() {
                MacChanges::All => mirror = shown.iter().map(|e| ((e.vlan, e.mac), e.port)).collect(),
                MacChanges::Some(keys) => for key in keys {
                    match table.lookup(key.0, key.1) {
                        Some(p) => mirror.insert(key, p),
                        None => mirror.remove(&key),
                    };
                },
            }
            prop_assert_eq!(mirror.len(), shown.len());
            for e in &shown {
                prop_assert_eq!(mirror.get(&(e.vlan, e.mac)), Some(&e.port));
            }
        }
    }
}

#[test]
fn a_flooding_port_loses_its_own_entries() {
    let mut t = MacTable::default();
    t.set_max_entries(10);
    for n in 0..3 {
        t.update(&sighting(n, 1), at(0));
    }
    for n in 10..40 {
        t.update(&sighting(n, 2), at(0));
    }
    assert!((0..3).all(|n| t.lookup(0, mac(n)) == Some(PortKey(1))));
    assert_eq!((t.len(), t.stats().evicted), (10, 23));
}

#[test]
fn text_is_that_of_fdb_show() {
    let mut t = MacTable::default();
    t.update(&sighting(1, 7), at(10));
    t.add_static(9, mac(2), PortKey(8));
    t.update(&sighting(1, 8), at(12));
    let name = |p: PortKey| {
        if p.0 == 8 {
            "LOCAL".into()
        } else {
            p.0.to_string()
        }
    };
    assert_eq!(
        t.show(at(15), name),
        " port  VLAN  MAC                Age\n\
         LOCAL     9  50:54:00:00:00:02  static\n\
         LOCAL     0  50:54:00:00:00:01    3\n"
    );
    assert_eq!(
        t.show_stats("br0"),
        "Statistics for bridge \"br0\":
  Current/maximum MAC entries in the table: 2/8192
  Current static MAC entries in the table : 1
  Total number of learned MAC entries     : 1
  Total number of expired MAC entries     : 0
  Total number of evicted MAC entries     : 0
  Total number of port moved MAC entries  : 1\n"
    );
}

#[test]
fn flood_vlans_learn_nothing() {
    let mut t = MacTable::default();
    assert!(t.set_flood_vlans([0, 4095]) && !t.set_flood_vlans([4095, 0]));
    assert!(!t.update(&sighting(1, 1), at(0)) && t.is_empty());
    assert_eq!(t.take_changes(), MacChanges::All);
    assert!(t.take_changes().is_empty());
}

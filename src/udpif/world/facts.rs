//! The names of the facts that translations depend on, as keys of the index.

use crate::deps::{Change, Dep, DepKey, Deps};
use base::sync::Arc;
use flow::{Flow, Mask, OdpPort, OfPort};
use l2::MacChanges;
use ofproto::{Changes, Rule, RuleId};
use wire::EthAddr;
use xlate::BridgeId;

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A rule is there, and does what it did.
    Rule(RuleId),
    /// A search in a table.
    Table(BridgeId, u8),
    /// What the MAC table says of an address.
    Mac(BridgeId, u16, EthAddr),
    /// A MAC table, as a whole.
    Macs(BridgeId),
    /// A group.
    Group(BridgeId, u32),
    /// A meter.
    Meter(BridgeId, u32),
    /// A port's configuration and state.
    Port(BridgeId, OfPort),
    /// A bridge's configuration: ports, bundles, mirrors, settings.
    Bridge(BridgeId),
    /// Which bridge and port a datapath port belongs to.
    Odp(OdpPort),
    /// Whether somebody wants the packets that match no rule.
    Misses(BridgeId),
    /// Something that is not tracked.
    Untracked,
}

impl Fact {
    /// Its key.
    #[must_use]
    pub fn key(self) -> DepKey {
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let id = |b: BridgeId| [b.0 as u64, (b.0 >> 64) as u64];
        match self {
            Self::Rule(r) => DepKey::of(1, &[r.0]),
            Self::Table(b, t) => of(2, id(b), u64::from(t)),
            Self::Mac(b, vlan, mac) => of(3, id(b), u64::from(vlan) << 48 | number(mac)),
            Self::Macs(b) => of(4, id(b), 0),
            Self::Group(b, g) => of(5, id(b), u64::from(g)),
            Self::Meter(b, m) => of(6, id(b), u64::from(m)),
            Self::Port(b, p) => of(7, id(b), u64::from(p.0)),
            Self::Bridge(b) => of(8, id(b), 0),
            Self::Odp(p) => DepKey::of(9, &[u64::from(p.0)]),
            Self::Untracked => DepKey::of(10, &[]),
            Self::Misses(b) => of(11, id(b), 0),
        }
    }

    /// The change of this fact.
    #[must_use]
    pub fn changed(self) -> Change<Arc<Rule>> {
        Change::Key(self.key())
    }
}

fn of(kind: u64, id: [u64; 2], rest: u64) -> DepKey {
    DepKey::of(kind, &[id[0], id[1], rest])
}

fn number(mac: EthAddr) -> u64 {
    mac.0.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Of a table lookup: what is needed to say whether an added rule may change its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookupNote {
    /// Only a rule of at least this priority can.
    pub(super) priority: i32,
    /// The rule's match may be compared with the flow's key.
    pub(super) pristine: bool,
    /// The OpenFlow number of the port the packet came in on.
    pub(super) in_port: OfPort,
}

impl LookupNote {
    fn pack(self) -> u64 {
        #[expect(clippy::cast_sign_loss, reason = "unpack() takes it back")]
        let priority = u64::from(self.priority as u32);
        priority << 32 | u64::from(self.pristine) << 16 | u64::from(self.in_port.0)
    }
    pub(super) fn unpack(note: u64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "the fields of pack()"
        )]
        Self {
            priority: (note >> 32) as u32 as i32,
            pristine: note >> 16 & 1 == 1,
            in_port: OfPort(note as u16),
        }
    }
}

/// The dependencies of a translation of a packet from datapath port `odp`, OpenFlow port `in_port`.
#[must_use]
pub fn deps_of(deps: &xlate::Deps, odp: OdpPort, in_port: OfPort) -> Deps {
    let mut out = Deps::new();
    let mut add = |fact: Fact, note: u64| {
        let dep = Dep {
            key: fact.key(),
            note,
        };
        if !out.contains(&dep) {
            out.push(dep);
        }
    };
    add(Fact::Odp(odp), 0);
    for r in &deps.rules {
        add(Fact::Rule(*r), 0);
    }
    for l in &deps.lookups {
        let note = LookupNote {
            priority: l.priority,
            pristine: l.pristine,
            in_port,
        };
        add(Fact::Table(l.bridge, l.table), note.pack());
    }
    for m in &deps.macs {
        add(Fact::Mac(m.bridge, m.vlan, m.mac), 0);
        add(Fact::Macs(m.bridge), 0);
    }
    for &(b, g) in &deps.groups {
        add(Fact::Group(b, g), 0);
    }
    for &(b, m) in &deps.meters {
        add(Fact::Meter(b, m), 0);
    }
    for &(b, p) in &deps.ports {
        add(Fact::Port(b, p), 0);
    }
    for &b in &deps.bridges {
        add(Fact::Bridge(b), 0);
    }
    for &b in &deps.misses {
        add(Fact::Misses(b), 0);
    }
    if deps.untracked {
        add(Fact::Untracked, 0);
    }
    out
}

/// True when a flow whose lookup carries `note` may match `rule` now.
#[must_use]
pub fn concerns(rule: &Rule, note: u64, key: &Flow, mask: &Mask) -> bool {
    let note = LookupNote::unpack(note);
    if rule.priority() < note.priority {
        return false;
    }
    if !note.pristine {
        return true;
    }
    // Tunnel fields stand in another form in the datapath's keys: they are not compared, which can only find
    // too many.
    let (key, mask) = (key.lines().as_flattened(), mask.lines().as_flattened());
    let matching = rule.matching();
    matching
        .mask()
        .words()
        .iter()
        .zip(matching.values())
        .filter(|(w, _)| usize::from(w.at) < TUNNEL_WORD)
        .all(|(w, value)| {
            let at = usize::from(w.at);
            let have = if at == 0 {
                with_in_port(key[0], note.in_port)
            } else {
                key[at]
            };
            (have ^ value) & w.bits & mask[at] == 0
        })
}

/// The first word of a key's tunnel fields.
const TUNNEL_WORD: usize = std::mem::offset_of!(Flow, tunnel) / 8;

/// The first word of a key, whose ingress port is a datapath port, as the OpenFlow tables see it.
fn with_in_port(word: u64, port: OfPort) -> u64 {
    const _: () = assert!(std::mem::offset_of!(Flow, in_port) == 0);
    let mut bytes = word.to_ne_bytes();
    bytes[..4].copy_from_slice(&u32::from(port.0).to_be_bytes());
    u64::from_ne_bytes(bytes)
}

/// What a bridge's changed tables mean for installed flows.
pub fn of_changes(bridge: BridgeId, changes: &Changes) -> Vec<Change<Arc<Rule>>> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Fact::Untracked.changed()];
    if changes.other {
        out.push(Fact::Bridge(bridge).changed());
        return out;
    }
    out.extend(changes.removed.iter().map(|r| Fact::Rule(r.id).changed()));
    out.extend(changes.added.iter().map(|r| {
        let table = Fact::Table(bridge, r.table).key();
        Change::Probe(table, Arc::new(r.clone()))
    }));
    out.extend(
        changes
            .groups
            .iter()
            .map(|g| Fact::Group(bridge, *g).changed()),
    );
    out.extend(
        changes
            .meters
            .iter()
            .map(|m| Fact::Meter(bridge, *m).changed()),
    );
    out
}

/// What a bridge's changed MAC table means for installed flows.
pub fn of_macs(bridge: BridgeId, changes: &MacChanges) -> Vec<Change<Arc<Rule>>> {
    match changes {
        MacChanges::All => vec![Fact::Macs(bridge).changed()],
        MacChanges::Some(list) => list
            .iter()
            .map(|&(vlan, mac)| Fact::Mac(bridge, vlan, mac).changed())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_packing() {
        for priority in [-1, 0, 65_535, i32::MAX] {
            for pristine in [false, true] {
                let note = LookupNote {
                    priority,
                    pristine,
                    in_port: OfPort::LOCAL,
                };
                assert_eq!(LookupNote::unpack(note.pack()), note);
            }
        }
    }

    #[test]
    fn facts_have_keys_of_their_own() {
        let b = BridgeId(7);
        let facts = [
            Fact::Rule(RuleId(1)),
            Fact::Table(b, 1),
            Fact::Table(BridgeId(7 << 64), 1),
            Fact::Table(b, 2),
            Fact::Group(b, 1),
            Fact::Meter(b, 1),
            Fact::Port(b, OfPort(1)),
            Fact::Macs(b),
            Fact::Bridge(b),
            Fact::Misses(b),
            Fact::Odp(OdpPort(1)),
            Fact::Mac(b, 1, EthAddr([0; 6])),
            Fact::Mac(b, 0, EthAddr([0, 0, 0, 0, 0, 1])),
            Fact::Untracked,
        ];
        for (i, a) in facts.iter().enumerate() {
            for c in &facts[i + 1..] {
                assert_ne!(a.key(), c.key(), "{a:?} {c:?}");
            }
        }
    }
}

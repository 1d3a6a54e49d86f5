//! A longest-prefix trie of at most 128 bits, counting the rules at each prefix.
//!
//! It answers one question during a lookup: which prefix lengths can match this value, and how many
//! leading bits of the value had to be looked at to know. Path-compressed, up to 32 bits per node, nodes
//! in an arena of 16-byte cells (a million addresses cost two million nodes).
//!
//! Twin: `tests::Linear`, a list of prefixes.

/// Bits one node can hold.
const NODE_BITS: u32 = 32;
/// "No node".
const NONE: u32 = u32::MAX;
/// Most rules one prefix can count (26 bits); enforced far above the rule limit.
const COUNT_MAX: u32 = (1 << 26) - 1;

/// A value of up to 128 bits, most significant word first.
pub(crate) type Bits = [u32; 4];

/// Which prefix lengths (1..=128) may have matching rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lengths(u128);

impl Lengths {
    /// Every length may match.
    pub(crate) const ALL: Self = Self(u128::MAX);
    fn add(&mut self, len: u32) {
        self.0 |= 1 << (len - 1);
    }
    /// True when rules with a prefix of `len` bits may match.
    pub(crate) fn has(self, len: u32) -> bool {
        self.0 >> (len - 1) & 1 != 0
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// The node's bits, left-aligned; the rest is zero.
    prefix: u32,
    /// Rules at exactly this prefix (high 26 bits) and bits in `prefix` (low 6 bits).
    packed: u32,
    edges: [u32; 2],
}

impl Node {
    fn bits(&self) -> u32 {
        self.packed & 0x3f
    }
    fn count(&self) -> u32 {
        self.packed >> 6
    }
    fn set(&mut self, bits: u32, count: u32) {
        self.packed = count << 6 | bits;
    }
    fn is_leaf(&self) -> bool {
        self.edges == [NONE; 2]
    }
}

/// The trie. See the file's essay.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// Head of the list of unused cells, linked through `edges[0]`; `NONE + 1` encoding: 0 is "none".
    free: u32,
    /// Root node plus one; 0 is "empty".
    root: u32,
}

/// Where the number of a node is kept: the root, or an edge of a node.
#[derive(Debug, Clone, Copy)]
enum Place {
    Root,
    Edge(u32, usize),
}

/// Up to 32 bits of `value` beginning at bit `ofs` (0 is the most significant), left-aligned.
fn window(value: &Bits, ofs: u32, n: u32) -> u32 {
    if n == 0 {
        return 0;
    }
    let (w, b) = ((ofs / 32) as usize, ofs % 32);
    let mut out = value[w] << b;
    if b != 0 && w + 1 < value.len() {
        out |= value[w + 1] >> (32 - b);
    }
    out & (u32::MAX << (32 - n.min(32)))
}

fn bit(value: &Bits, ofs: u32) -> usize {
    (value[(ofs / 32) as usize] >> (31 - ofs % 32) & 1) as usize
}

/// Leading bits that `prefix` (of `n` bits) and `value` at `ofs` have in common, at most `n`.
fn common(prefix: u32, n: u32, value: &Bits, ofs: u32) -> u32 {
    (prefix ^ window(value, ofs, n)).leading_zeros().min(n)
}

impl Trie {
    fn follow(&self, p: Place) -> u32 {
        match p {
            Place::Root => self.root.wrapping_sub(1),
            Place::Edge(n, e) => self.nodes[n as usize].edges[e],
        }
    }

    fn attach(&mut self, p: Place, node: u32) {
        match p {
            Place::Root => self.root = node.wrapping_add(1),
            Place::Edge(n, e) => self.nodes[n as usize].edges[e] = node,
        }
    }

    fn alloc(&mut self, node: Node) -> u32 {
        if let Some(n) = self.free.checked_sub(1) {
            self.free = self.nodes[n as usize].edges[0];
            self.nodes[n as usize] = node;
            return n;
        }
        if self.nodes.len() == self.nodes.capacity() {
            // A quarter at a time: doubling would waste tens of megabytes at a million rules.
            self.nodes.reserve_exact((self.nodes.len() / 4).max(8));
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("fewer nodes than 32 bits count")
    }

    fn release(&mut self, n: u32) {
        self.nodes[n as usize].edges[0] = self.free;
        self.free = n + 1;
        if self.root == 0 {
            *self = Self::default();
        }
    }

    /// A chain of nodes for `len` bits of `value` from `ofs`; the last one counts one rule.
    fn branch(&mut self, value: &Bits, ofs: u32, len: u32) -> u32 {
        let n = len.min(NODE_BITS);
        let mut node = Node {
            prefix: window(value, ofs, n),
            packed: 0,
            edges: [NONE; 2],
        };
        if len > NODE_BITS {
            node.set(n, 0);
            node.edges[bit(value, ofs + n)] = self.branch(value, ofs + n, len - n);
        } else {
            node.set(n, 1);
        }
        self.alloc(node)
    }

    /// Counts one more rule at the first `len` (1..=128) bits of `value`.
    pub(crate) fn insert(&mut self, value: &Bits, len: u32) {
        let (mut place, mut ofs) = (Place::Root, 0);
        loop {
            let at = self.follow(place);
            if at == NONE {
                let new = self.branch(value, ofs, len - ofs);
                self.attach(place, new);
                return;
            }
            let node = self.nodes[at as usize];
            let same = common(node.prefix, node.bits().min(len - ofs), value, ofs);
            if same < node.bits() {
                self.split(place, at, same);
                let top = self.follow(place);
                if ofs + same < len {
                    let new = self.branch(value, ofs + same, len - ofs - same);
                    self.attach(Place::Edge(top, bit(value, ofs + same)), new);
                } else {
                    self.nodes[top as usize].set(same, 1);
                }
                return;
            }
            ofs += same;
            if ofs == len {
                let count = (node.count() + 1).min(COUNT_MAX);
                self.nodes[at as usize].set(node.bits(), count);
                return;
            }
            place = Place::Edge(at, bit(value, ofs));
        }
    }

    /// Puts a new node of the first `keep` bits above node `at`.
    fn split(&mut self, place: Place, at: u32, keep: u32) {
        let old = self.nodes[at as usize];
        let high = if keep == 0 {
            0
        } else {
            old.prefix & u32::MAX << (32 - keep)
        };
        let rest = old.prefix << keep;
        let mut top = Node {
            prefix: high,
            packed: keep,
            edges: [NONE; 2],
        };
        top.edges[(rest >> 31) as usize] = at;
        let low = &mut self.nodes[at as usize];
        low.prefix = rest;
        low.set(old.bits() - keep, old.count());
        let top = self.alloc(top);
        self.attach(place, top);
    }

    /// Counts one rule less at the first `len` bits of `value`; it must have been inserted.
    pub(crate) fn remove(&mut self, value: &Bits, len: u32) {
        let mut path: arrayvec::ArrayVec<Place, 130> = arrayvec::ArrayVec::new();
        let (mut place, mut ofs) = (Place::Root, 0);
        loop {
            let at = self.follow(place);
            if at == NONE {
                debug_assert!(false, "only inserted prefixes are removed");
                return;
            }
            path.push(place);
            let node = self.nodes[at as usize];
            if common(node.prefix, node.bits().min(len - ofs), value, ofs) < node.bits() {
                debug_assert!(false, "only inserted prefixes are removed");
                return;
            }
            ofs += node.bits();
            if ofs == len {
                // A saturated counter never comes down again: it only costs precision.
                if node.count() < COUNT_MAX {
                    self.nodes[at as usize].set(node.bits(), node.count().saturating_sub(1));
                }
                break;
            }
            place = Place::Edge(at, bit(value, ofs));
        }
        self.prune(&path);
    }

    /// Removes nodes without rules that are no branching point, from the end of `path` upwards.
    fn prune(&mut self, path: &[Place]) {
        for &place in path.iter().rev() {
            let at = self.follow(place);
            let node = self.nodes[at as usize];
            if node.count() != 0 || !node.edges.contains(&NONE) {
                return;
            }
            let next = if node.edges[0] == NONE {
                node.edges[1]
            } else {
                node.edges[0]
            };
            if next == NONE {
                self.attach(place, NONE);
                self.release(at);
                continue;
            }
            let below = self.nodes[next as usize];
            if node.bits() + below.bits() <= NODE_BITS {
                let merged = &mut self.nodes[next as usize];
                merged.prefix = node.prefix | below.prefix.checked_shr(node.bits()).unwrap_or(0);
                merged.set(node.bits() + below.bits(), below.count());
                self.attach(place, next);
                self.release(at);
            }
            return;
        }
    }

    /// The prefix lengths that may match `value`, and how many of its leading bits decided that.
    pub(crate) fn lookup(&self, value: &Bits, n_bits: u32) -> (Lengths, u32) {
        let mut lengths = Lengths::default();
        let (mut place, mut matched) = (Place::Root, 0);
        let mut leaf = true;
        loop {
            let at = self.follow(place);
            if at == NONE {
                // A branch that is not there: one more bit tells it from its sibling, if there is one.
                return (lengths, if leaf { matched } else { matched + 1 });
            }
            let node = &self.nodes[at as usize];
            let same = common(node.prefix, node.bits(), value, matched);
            matched += same;
            if same < node.bits() {
                return (lengths, matched + 1);
            }
            if node.count() > 0 {
                lengths.add(matched);
            }
            if matched >= n_bits {
                return (lengths, n_bits);
            }
            leaf = node.is_leaf();
            place = Place::Edge(at, bit(value, matched));
        }
    }

    /// Heap bytes in use.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The stupid twin: a list of prefixes.
    #[derive(Default)]
    struct Linear(Vec<(u128, u32)>);

    fn wide(b: &Bits) -> u128 {
        b.iter().fold(0, |v, w| v << 32 | u128::from(*w))
    }

    impl Linear {
        fn lengths(&self, value: u128) -> Lengths {
            let mut l = Lengths::default();
            for &(p, len) in &self.0 {
                if (p ^ value) >> (128 - len) == 0 {
                    l.add(len);
                }
            }
            l
        }
    }

    /// Few distinct values, so that prefixes share bits.
    fn value() -> impl Strategy<Value = Bits> {
        (0u32..4, 0u32..3, 0u32..3, 0u32..4).prop_map(|(a, b, c, d)| [a << 29, b << 31 | c, c, d])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn finds_what_a_list_finds(
            steps in prop::collection::vec((value(), 1u32..=128, any::<bool>()), 1..60),
            probes in prop::collection::vec((value(), 0u32..128), 1..20),
        ) {
            let (mut trie, mut list) = (Trie::default(), Linear::default());
            for (v, len, add) in steps {
                if add || list.0.is_empty() {
                    trie.insert(&v, len);
                    list.0.push((wide(&v), len));
                } else {
                    let (p, len) = list.0.swap_remove(len as usize % list.0.len());
                    let at = |s: u32| u32::try_from(p >> s & 0xffff_ffff).expect("32 bits");
                    trie.remove(&[at(96), at(64), at(32), at(0)], len);
                }
            }
            for (v, flip) in probes {
                let (lengths, bits) = trie.lookup(&v, 128);
                prop_assert_eq!(lengths, list.lengths(wide(&v)));
                // Soundness: changing a bit that was not looked at changes nothing.
                let mut w = v;
                w[(flip / 32) as usize] ^= 1 << (31 - flip % 32);
                if flip >= bits {
                    prop_assert_eq!(trie.lookup(&w, 128).0, lengths);
                }
            }
            while let Some((p, len)) = list.0.pop() {
                let at = |s: u32| u32::try_from(p >> s & 0xffff_ffff).expect("32 bits");
                trie.remove(&[at(96), at(64), at(32), at(0)], len);
            }
            prop_assert_eq!(trie.root, 0);
            prop_assert!(trie.nodes.is_empty());
        }
    }
}

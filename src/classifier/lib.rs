//! `classifier`: which rule of an OpenFlow table does a packet hit, and which bits of it decided that.
//!
//! What: a [`Classifier`] holds any number of rules, each a match, a priority and a lifetime in versions
//! ([`RuleKey`]), and finds the visible rule of highest priority for a [`flow::Flow`]. A by-product of a
//! lookup is the set of bits that mattered, from which a megaflow is made. It must satisfy: every flow that
//! agrees on those bits has the same answer. A false 1-bit is slow, a false 0-bit is wrong.
//!
//! Design: tuple-space search. Rules of one mask form a subtable, a hash table of their values. Subtables
//! are visited by falling highest priority, until none can hold a better rule. To leave as many bits alone
//! as possible, a subtable is probed in up to four stages (metadata, L2, L3, L4), each with an index of the
//! hashes so far; prefix tries over chosen address fields ([`Classifier::set_prefixes`]) rule out
//! subtables of prefix lengths under which nothing can match; a trie over the L4 ports of each subtable
//! shortens the port bits of a miss. These steps follow Open vSwitch, so that megaflows have the same masks.
//!
//! Versions: a rule is visible in lookups at versions from [`RuleKey::added`] until it was removed. The
//! writer inserts rules for the next version and marks old ones as leaving it; readers keep to the version
//! they were told, so any number of changes becomes visible at once, or is taken back unseen.
//!
//! Conjunctions: a rule whose actions are `conjunction(id, k/n)` is one clause of a match. When all clauses
//! of an id matched at one priority, the packet is looked up again with that `conj_id`.
//!
//! Threads: one writer at a time, any number of readers; one lock per classifier, held for one lookup, one
//! change, or one bounded step of a walk ([`Cursor`]). Packet threads never come here.
//!
//! May not know: OpenFlow messages, actions, time, packets.
//!
//! Limits: 2^32 rules and masks per classifier, [`PREFIXES_MAX`] tracked fields.

mod counted;
mod cursor;
mod key;
mod lookup;
mod mini;
mod prefix;
mod stage;
mod subtable;
mod table;
mod trie;

#[cfg(test)]
mod tests;

pub use cursor::Cursor;
pub use key::{Conjunction, LATEST, RuleKey, Ruled, Version};
pub use mini::{FLOW_WORDS, MaskWord, MiniMask, MiniMatch};
pub use prefix::{PREFIXES_MAX, default_prefixes, is_prefix_field};
pub use table::Classifier;

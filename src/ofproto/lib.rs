//! `ofproto`: the state of an OpenFlow switch: tables, rules, groups, meters, ports, and the conversation
//! with controllers. No datapath words, no sockets, no clock.
//!
//! * [`rule`]: a flow, its counters.
//! * [`tables`]: the tables and their version, shared with translation ([`Tables`], [`Pin`]).
//! * [`group`]: groups, shared with translation.
//!
//! * [`switch`]: the writer of all of it ([`Ofproto`]).
//!
//! Threads: [`Pipeline`] is shared with every translating thread; all else belongs to one thread at a time.

pub mod group;
pub mod rule;
pub mod switch;
pub mod tables;

pub use group::{Bucket, Group, GroupType, Groups, Selection, SelectionConfig};
pub use rule::{Counts, Rule, RuleFlags, RuleId, RuleSpec};
pub use switch::{Changes, Ofproto};
pub use tables::{INTERNAL_TABLE, N_TABLES, Pin, Table, TableMiss, Tables};

/// What translation sees of a bridge's OpenFlow state.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The tables.
    pub tables: Tables,
    /// The groups, at the same versions as the tables.
    pub groups: Groups,
}

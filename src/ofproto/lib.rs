//! `ofproto`: the state of an OpenFlow switch: tables, rules, groups, meters, ports, and the conversation
//! with controllers. No datapath words, no sockets, no clock.
//!
//! What readers share ([`Pipeline`]):
//! * [`rule`]: a flow and its counters.
//! * [`tables`]: the tables and their version ([`Tables`], [`Pin`]).
//! * [`group`]: groups. [`meter`]: meters.
//!
//! The writer ([`Ofproto`]):
//! * [`switch`]: the door. [`txn`]: changes that become visible together. [`flow_mod`]: flow mods.
//!   [`group_mod`]: group mods.
//!   [`learn`]: learned flows.
//! * [`table_state`]: limits, eviction, vacancy of a table.
//! * [`walk`]: over the flows that a message means.
//! * [`event`]: what controllers may want to be told.
//!
//! Threads: [`Pipeline`] is shared with every translating thread; counters of rules are written by any; all
//! else belongs to one thread at a time. Readers take a [`Pin`] for each translation.
//!
//! Limits: [`CHANGES_MAX`] rules named by one [`Changes`]; a table takes as many flows as memory allows
//! unless configured.

mod acts;
mod books;
mod conn;
pub mod event;
mod eviction;
mod expiry;
pub mod flow_mod;
pub mod group;
pub mod group_mod;
pub mod learn;
pub mod meter;
mod own;
mod port_numbers;
pub mod ports;
pub mod provider;
pub mod rule;
pub mod settings;
mod show;
pub mod switch;
pub mod table_state;
pub mod tables;
pub mod tlv;
pub mod txn;
#[cfg(test)]
mod unit;
pub mod walk;

pub use conn::{
    CloseReason, ConnKind, ConnSettings, ConnStatus, ControllerPacket, Controllers, Cx,
    MISS_SEND_LEN_DEFAULT, packet_flow,
};
pub use event::{ConnId, Event, FlowChange, Requester, Vacancy};
pub use flow_mod::PreparedFlowMod;
pub use group::{Bucket, Group, GroupType, Groups, Selection, SelectionConfig};
pub use group_mod::GroupSpec;
pub use learn::Learned;
pub use meter::{Meter, Meters};
pub use openflow::{FlowFlags, GroupCommand, MeterBand, MeterConfig, RemovedReason, Role};
pub use own::OwnRules;
pub use port_numbers::PortNumbers;
pub use ports::Port;
pub use provider::{NoProvider, PacketPlan, Provider};
pub use rule::{Counts, HIDDEN_PRIORITY, Rule, RuleId, RuleSpec};
pub use settings::Settings;
pub use show::FlowsText;
pub use switch::{CHANGES_MAX, Changes, Ofproto};
pub use table_state::{TableSettings, TableState};
pub use tables::{INTERNAL_TABLE, N_TABLES, Pin, Table, TableMiss, Tables};
pub use txn::Txn;
pub use walk::Walk;

use base::sync::{Arc, Slot};
use flow::TunTable;

/// What translation sees of a bridge's OpenFlow state.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The tables.
    pub tables: Tables,
    /// The groups, at the same versions as the tables.
    pub groups: Groups,
    /// The meters.
    pub meters: Meters,
    tun: Slot<TunTable>,
    own: Slot<OwnRules>,
}

impl Pipeline {
    /// Where tunnel options stand in flows.
    #[must_use]
    pub fn tun_table(&self) -> Arc<TunTable> {
        self.tun.load_full()
    }
    /// Rules that stand for what happens to packets without a rule.
    #[must_use]
    pub fn own(&self) -> Arc<OwnRules> {
        self.own.load_full()
    }
}

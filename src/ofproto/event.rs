//! [`Event`]: what controllers may want to be told.

use crate::rule::Rule;
use base::sync::Arc;
use openflow::{Acts, PortDesc, PortReason, RemovedReason};

/// A controller's connection, by a number unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Who asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester {
    /// The connection.
    pub conn: ConnId,
    /// The transaction id of its message.
    pub xid: u32,
}

/// What happened to a flow.
#[derive(Debug, Clone)]
pub enum FlowChange {
    /// It was added, perhaps over another one of the same match and priority.
    Added,
    /// Its actions (then the old ones are here) or its cookie changed.
    Modified(Option<Arc<Acts>>),
    /// It went away.
    Removed(RemovedReason),
}

/// Which way a table's vacancy crossed its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vacancy {
    /// It fell below `vacancy_down`.
    Down,
    /// It rose above `vacancy_up`.
    Up,
}

/// Something that happened in the switch.
#[derive(Debug, Clone)]
pub enum Event {
    /// To a flow.
    Flow {
        /// The flow.
        rule: Arc<Rule>,
        /// What happened.
        change: FlowChange,
        /// Who asked for it, if anybody did.
        by: Option<Requester>,
    },
    /// To a port.
    Port {
        /// What happened.
        reason: PortReason,
        /// What it was, when it changed.
        old: Option<Box<PortDesc>>,
        /// What it is, or was when it went.
        new: Box<PortDesc>,
        /// Whose port mod did it.
        by: Option<ConnId>,
    },
    /// To the space left in a table.
    Vacancy {
        /// The table.
        table: u8,
        /// Which way.
        reason: Vacancy,
    },
}

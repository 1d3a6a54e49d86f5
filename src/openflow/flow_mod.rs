//! Flow mods, flow statistics and what asks for them: version-independent values.

use crate::action::Acts;
use flow::{Match, OfPort};

/// "No buffer" in packet-in, packet-out and flow mods.
pub const NO_BUFFER: u32 = u32::MAX;
/// "Any group" in filters.
pub const ANY_GROUP: u32 = u32::MAX;
/// "All tables", or table not given.
pub const ALL_TABLES: u8 = u8::MAX;
/// Priority of flows that name none.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// What a flow mod does (numbers of the wire).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FlowModCommand {
    /// Add, replacing a flow with the same match and priority.
    Add = 0,
    /// Change the actions of all flows that the match covers.
    Modify = 1,
    /// Change the actions of the flow with this match and priority.
    ModifyStrict = 2,
    /// Delete all flows that the match covers.
    Delete = 3,
    /// Delete the flow with this match and priority.
    DeleteStrict = 4,
}

impl FlowModCommand {
    /// The command of this number.
    #[must_use]
    pub fn from_wire(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Add,
            1 => Self::Modify,
            2 => Self::ModifyStrict,
            3 => Self::Delete,
            4 => Self::DeleteStrict,
            _ => return None,
        })
    }
    /// True for both deletes.
    #[must_use]
    pub fn is_delete(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteStrict)
    }
    /// True for both modifies.
    #[must_use]
    pub fn is_modify(self) -> bool {
        matches!(self, Self::Modify | Self::ModifyStrict)
    }
    /// True for the commands that name one flow.
    #[must_use]
    pub fn is_strict(self) -> bool {
        matches!(self, Self::ModifyStrict | Self::DeleteStrict)
    }
}

bitflags::bitflags! {
    /// Flags of a flow. In the order in which they are printed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct FlowFlags: u16 {
        /// Tell the controller when the flow goes.
        const SEND_FLOW_REM = 1;
        /// Refuse to add the flow when it overlaps another of the same priority.
        const CHECK_OVERLAP = 1 << 1;
        /// Set the counters to zero.
        const RESET_COUNTS = 1 << 2;
        /// Do not count packets.
        const NO_PKT_COUNTS = 1 << 3;
        /// Do not count bytes.
        const NO_BYT_COUNTS = 1 << 4;
        /// OpenFlow 1.0's emergency flows: refused.
        const EMERG = 1 << 5;
        /// Internal: may match and set hidden fields.
        const HIDDEN_FIELDS = 1 << 6;
        /// Internal: may change read-only tables.
        const NO_READONLY = 1 << 7;
    }
}

impl FlowFlags {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::SEND_FLOW_REM, "send_flow_rem "),
        (Self::CHECK_OVERLAP, "check_overlap "),
        (Self::RESET_COUNTS, "reset_counts "),
        (Self::NO_PKT_COUNTS, "no_packet_counts "),
        (Self::NO_BYT_COUNTS, "no_byte_counts "),
        (Self::HIDDEN_FIELDS, "allow_hidden_fields "),
        (Self::NO_READONLY, "no_readonly_table "),
    ];
    /// Appends the names of the flags, a space after each.
    pub fn put(self, out: &mut String) {
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                out.push_str(name);
            }
        }
    }
}

/// A change to the flow tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowModCommand,
    /// Which packets.
    pub match_: Match,
    /// Priority.
    pub priority: u16,
    /// Only flows whose cookie has this value in the bits of `cookie_mask` are modified or deleted.
    pub cookie: u64,
    /// See `cookie`; 0: any cookie.
    pub cookie_mask: u64,
    /// Cookie of added flows, and of modified ones when `modify_cookie`.
    pub new_cookie: u64,
    /// See `new_cookie`.
    pub modify_cookie: bool,
    /// Table; [`ALL_TABLES`]: all (deletes), or the switch chooses (adds).
    pub table_id: u8,
    /// Seconds without a packet until the flow goes; 0: never.
    pub idle_timeout: u16,
    /// Seconds until the flow goes; 0: never.
    pub hard_timeout: u16,
    /// Buffered packet to send through the flow; [`NO_BUFFER`]: none.
    pub buffer_id: u32,
    /// Only flows that output here are deleted; [`OfPort::NONE`]: all.
    pub out_port: OfPort,
    /// Only flows that use this group are deleted; [`ANY_GROUP`]: all.
    pub out_group: u32,
    /// Flags.
    pub flags: FlowFlags,
    /// Eviction precedence: low goes first.
    pub importance: u16,
    /// Actions and instructions.
    pub acts: Acts,
}

impl FlowMod {
    /// A flow mod that matches everything in no particular table, without actions.
    #[must_use]
    pub fn new(command: FlowModCommand) -> Self {
        Self {
            command,
            match_: Match::catchall(),
            priority: DEFAULT_PRIORITY,
            cookie: 0,
            cookie_mask: 0,
            new_cookie: if command.is_modify() { u64::MAX } else { 0 },
            modify_cookie: false,
            table_id: ALL_TABLES,
            idle_timeout: 0,
            hard_timeout: 0,
            buffer_id: NO_BUFFER,
            out_port: OfPort::NONE,
            out_group: ANY_GROUP,
            flags: FlowFlags::empty(),
            importance: 0,
            acts: Acts::new(),
        }
    }
}

/// Asks for statistics of flows, or their sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// Only the sum (`AggregateStats`).
    pub aggregate: bool,
    /// Flows that this covers.
    pub match_: Match,
    /// Only flows whose cookie has this value in the bits of `cookie_mask`.
    pub cookie: u64,
    /// See `cookie`.
    pub cookie_mask: u64,
    /// Only flows that output here; [`OfPort::NONE`]: all.
    pub out_port: OfPort,
    /// Only flows that use this group; [`ANY_GROUP`]: all.
    pub out_group: u32,
    /// Table, or [`ALL_TABLES`].
    pub table_id: u8,
}

/// Seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Duration {
    /// Whole seconds; `u32::MAX` with all ones in `nsec`: not known.
    pub sec: u32,
    /// Nanoseconds above that.
    pub nsec: u32,
}

impl Duration {
    /// Not known.
    pub const UNKNOWN: Self = Self {
        sec: u32::MAX,
        nsec: u32::MAX,
    };
}

/// Statistics of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStats {
    /// Which packets it takes.
    pub match_: Match,
    /// Priority.
    pub priority: u16,
    /// Cookie.
    pub cookie: u64,
    /// Table.
    pub table_id: u8,
    /// Age since it was added.
    pub duration: Duration,
    /// Seconds without a packet until it goes; 0: never.
    pub idle_timeout: u16,
    /// Seconds until it goes; 0: never.
    pub hard_timeout: u16,
    /// Seconds since its last packet, where the protocol says it.
    pub idle_age: Option<u32>,
    /// Seconds since it was changed, where the protocol says it.
    pub hard_age: Option<u32>,
    /// Packets; `u64::MAX`: not known.
    pub packet_count: u64,
    /// Octets; `u64::MAX`: not known.
    pub byte_count: u64,
    /// Flags.
    pub flags: FlowFlags,
    /// Eviction precedence.
    pub importance: u16,
    /// Actions and instructions.
    pub acts: Acts,
}

/// Sum over flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Packets; `u64::MAX`: not known.
    pub packet_count: u64,
    /// Octets; `u64::MAX`: not known.
    pub byte_count: u64,
    /// Flows.
    pub flow_count: u32,
}

//! Connection tracking, as a datapath shows it to control threads: connections, limits, timeouts, fragments.
//!
//! [`CtControl`] is what a provider that tracks connections offers; [`format_entry`] is a connection as
//! `dpctl/dump-conntrack` prints it.

mod entry;
mod format;
mod matching;
mod timers;

pub use entry::{CtEntry, CtProtoInfo, CtTuple, TcpEnd, TcpPhase};
pub use format::{format_entry, format_tuple, proto_name};
pub use matching::{CtEnds, CtMatch, flush_matching};
pub use timers::{TIMERS, Timer, Timers};

use crate::error::DpifError;
use std::fmt::Debug;

/// A zone's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneLimit {
    /// Zone.
    pub zone: u16,
    /// Connections it may have.
    pub limit: u32,
    /// Connections it has, of those that were admitted under the limit.
    pub count: u32,
}

/// How fragments of one address family are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "names are those of dpctl/ipf-get-status")]
pub struct IpfFamily {
    pub enabled: bool,
    pub min_frag_size: u32,
    pub nfrag_accepted: u64,
    pub nfrag_completed_sent: u64,
    pub nfrag_expired_sent: u64,
    pub nfrag_too_small: u64,
    pub nfrag_overlap: u64,
    pub nfrag_purged: u64,
}

/// Fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IpfStatus {
    /// Fragments held.
    pub nfrag: u32,
    /// Fragments that may be held.
    pub nfrag_max: u32,
    /// IPv4.
    pub v4: IpfFamily,
    /// IPv6.
    pub v6: IpfFamily,
}

/// A dump of connections in progress.
pub trait CtDump: Send + Debug {
    /// Adds some further connections to `out`; false when there are no more.
    fn next(&mut self, out: &mut Vec<CtEntry>) -> bool;
}

/// What control threads can do with a datapath's connection tracker.
pub trait CtControl: Send + Sync + Debug {
    /// Starts a dump of all connections, or of a zone's.
    fn dump(&self, zone: Option<u16>) -> Box<dyn CtDump>;
    /// Forgets all connections, or a zone's.
    fn flush(&self, zone: Option<u16>);
    /// Forgets the connection with this original direction.
    ///
    /// # Errors
    /// NoEntry.
    fn flush_tuple(&self, tuple: &CtTuple, zone: u16) -> Result<(), DpifError>;
    /// Connections there may be.
    fn max_conns(&self) -> u32;
    /// Says how many connections there may be.
    fn set_max_conns(&self, n: u32);
    /// Connections there are.
    fn conns(&self) -> u32;
    /// TCP sequence numbers are looked at.
    fn tcp_seq_check(&self) -> bool;
    /// Says whether TCP sequence numbers are looked at.
    fn set_tcp_seq_check(&self, on: bool);
    /// The limit of zones without one; 0 when there is none.
    fn default_limit(&self) -> u32;
    /// The limit of a zone, which may be the default one; all zeroes when there is none.
    fn limit(&self, zone: u16) -> ZoneLimit;
    /// All zones' own limits.
    fn limits(&self) -> Vec<ZoneLimit>;
    /// Sets a zone's limit, or the default one.
    fn set_limit(&self, zone: Option<u16>, limit: u32);
    /// Removes a zone's limit.
    fn del_limit(&self, zone: u16);
    /// Sets the timeouts that actions call by this number.
    fn set_timeouts(&self, id: u32, timers: Timers);
    /// Removes timeouts.
    ///
    /// # Errors
    /// NoEntry.
    fn del_timeouts(&self, id: u32) -> Result<(), DpifError>;
    /// All timeouts.
    fn timeouts(&self) -> Vec<(u32, Timers)>;
    /// How fragments are treated.
    fn ipf_status(&self) -> IpfStatus;
    /// Fragments are put together, or not tracked.
    fn ipf_set_enabled(&self, v6: bool, on: bool);
    /// Fragments other than the last that are smaller are not accepted.
    ///
    /// # Errors
    /// Invalid when that is too small or too large.
    fn ipf_set_min_frag(&self, v6: bool, octets: u32) -> Result<(), DpifError>;
    /// How many fragments may be held.
    ///
    /// # Errors
    /// Invalid.
    fn ipf_set_max_frags(&self, n: u32) -> Result<(), DpifError>;
    /// Packets that are being put together, one line each, as `dpctl/ipf-get-status -m` prints them.
    fn ipf_lists(&self) -> Vec<String>;
}

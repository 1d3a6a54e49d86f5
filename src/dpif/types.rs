//! The provider trait and its values.

use crate::conntrack::CtControl;
use crate::error::DpifError;
use crate::meter::{MeterConfig, MeterCounts, MeterLimits};
use base::clock::Nanos;
use base::sync::Arc;
use flow::{Flow, Mask};
use odp::{Actions, Features, FlowStats, OdpPort, Ufid, Userspace};
use packet::Frame;
use std::fmt::Debug;
use std::time::Duration;

/// A packet thread: its core, or [`PmdId::NON_PMD`] for the sleeping main loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PmdId(pub u32);

impl PmdId {
    /// The thread of ports that are not polled.
    pub const NON_PMD: Self = Self(0x7fff_ffff);
}

/// A datapath type (`netdev`, `dummy`).
pub trait Provider: Send + Sync + Debug {
    /// The type's name.
    fn type_name(&self) -> &str;
    /// Names of the datapaths that exist.
    fn enumerate(&self) -> Vec<String>;
    /// Opens a datapath; with `create`, makes it (EEXIST when it is there).
    ///
    /// # Errors
    /// NoDevice, Exists.
    fn open(&self, name: &str, create: bool) -> Result<Arc<dyn Dpif>, DpifError>;
    /// The port class to use for a device class ("internal" may be "tap").
    fn port_open_type(&self, class: &str) -> String {
        class.to_owned()
    }
}

/// An open datapath. Every method is also in [`crate::Front`], which passes it on: a new one goes there, too.
pub trait Dpif: Send + Sync + Debug {
    /// Type, e.g. `netdev`.
    fn type_name(&self) -> &str;
    /// Name without the type, e.g. `ovs-netdev`.
    fn name(&self) -> &str;
    /// What this datapath can do.
    fn features(&self) -> Features;
    /// Totals.
    fn stats(&self) -> DpStats;
    /// Removes the datapath: all ports and flows.
    ///
    /// # Errors
    /// NoDevice when it is gone already.
    fn destroy(&self) -> Result<(), DpifError>;
    /// Housekeeping of the main thread (port reconfiguration, re-attachment, statistics intervals).
    /// Returns true when something changed.
    fn run(&self) -> bool {
        false
    }

    /// Adds a port; its device must be open in the netdev registry under `spec.name`/`spec.class`, or is
    /// opened here.
    ///
    /// # Errors
    /// Busy (number or name taken), TooBig (no free number), Netdev.
    fn port_add(&self, spec: &PortSpec) -> Result<OdpPort, DpifError>;
    /// Removes a port.
    ///
    /// # Errors
    /// NoDevice; Invalid for the local port.
    fn port_del(&self, port: OdpPort) -> Result<(), DpifError>;
    /// A port by number.
    ///
    /// # Errors
    /// NoDevice.
    fn port_by_number(&self, port: OdpPort) -> Result<DpifPort, DpifError>;
    /// A port by name.
    ///
    /// # Errors
    /// NoDevice.
    fn port_by_name(&self, name: &str) -> Result<DpifPort, DpifError>;
    /// All ports, by number.
    fn ports(&self) -> Vec<DpifPort>;
    /// The next change of the set of ports since this handle last asked.
    fn port_poll(&self) -> Option<PortChange>;
    /// Sets options of the datapath or its ports (rxq affinity and the like).
    ///
    /// # Errors
    /// NoDevice, Invalid.
    fn port_set_config(
        &self,
        _port: OdpPort,
        _config: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), DpifError> {
        Ok(())
    }
    /// Sets `other_config` of the datapath (`pmd-cpu-mask`, ...). Unknown keys are ignored here: the
    /// database is shared with other parts.
    ///
    /// # Errors
    /// Invalid.
    fn set_config(
        &self,
        _config: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), DpifError> {
        Ok(())
    }

    /// Removes all flows.
    ///
    /// # Errors
    /// NoDevice.
    fn flow_flush(&self) -> Result<(), DpifError>;
    /// Starts a dump that several threads can share.
    fn flow_dump(&self, select: FlowSelect) -> Box<dyn FlowDump>;
    /// Performs operations in order; each carries its own result when this returns. Operations for one
    /// packet thread reach it as one message.
    fn operate(&self, ops: &mut [Op]);
    /// Begins operations as [`Dpif::operate`] would do them, and need not wait for them: the caller may go on
    /// with other work, and send more, before it waits. The thread that calls this is the one that waits.
    fn submit(&self, mut ops: Vec<Op>) -> Box<dyn Ticket + '_> {
        self.operate(&mut ops);
        Box::new(Done(ops))
    }

    /// Switches upcalls on or off. Off, misses are dropped (counted).
    fn recv_set(&self, on: bool);
    /// Sets the number of handlers.
    ///
    /// # Errors
    /// Invalid for zero.
    fn handlers_set(&self, n: u32) -> Result<(), DpifError>;
    /// The next upcall for a handler.
    fn recv(&self, handler: u32) -> Option<Upcall>;
    /// The next upcalls for a handler, at most `max`; fewer only if there are no more.
    fn recv_many(&self, handler: u32, max: usize) -> Vec<Upcall> {
        let mut out = Vec::new();
        while out.len() < max
            && let Some(upcall) = self.recv(handler)
        {
            out.push(upcall);
        }
        out
    }
    /// Waits until handler `handler` may have an upcall, for at most `timeout` of real time; true when
    /// one is there.
    fn recv_wait(&self, handler: u32, timeout: Duration) -> bool;
    /// Throws away all queued upcalls; their parked packets are dropped and counted.
    fn recv_purge(&self);
    /// Wakes all handlers that wait.
    fn recv_wake(&self);
    /// Waits until every packet received so far was forwarded, parked packets included. For commands and
    /// tests that must see the effect of a packet. False on timeout.
    fn quiesce(&self, timeout: Duration) -> bool;

    /// Maps a queue id to the priority that the `set(skb_priority)` action takes.
    ///
    /// # Errors
    /// NotSupported.
    fn queue_to_priority(&self, _queue: u32) -> Result<u32, DpifError> {
        Err(DpifError::NotSupported)
    }
    /// How many meters there can be.
    fn meter_limits(&self) -> MeterLimits {
        MeterLimits::default()
    }
    /// Makes a meter, with full buckets and counters at zero, in the place of the one of that number.
    ///
    /// # Errors
    /// TooBig: no such number. Invalid: too many bands. NotSupported.
    fn meter_set(&self, _id: u32, _config: &MeterConfig) -> Result<(), DpifError> {
        Err(DpifError::NotSupported)
    }
    /// What a meter counted.
    ///
    /// # Errors
    /// NoEntry.
    fn meter_get(&self, _id: u32) -> Result<MeterCounts, DpifError> {
        Err(DpifError::NoEntry)
    }
    /// Removes a meter; packets sent through its number pass.
    ///
    /// # Errors
    /// NoEntry.
    fn meter_del(&self, _id: u32) -> Result<MeterCounts, DpifError> {
        Err(DpifError::NoEntry)
    }
    /// Connection tracking, where there is any.
    fn conntrack(&self) -> Option<&dyn CtControl> {
        None
    }
    /// NetFlow engine type and id.
    fn netflow_ids(&self) -> (u8, u8) {
        (0, 0)
    }
    /// Packets dropped by (port, reason), zero counts left out.
    fn drops(&self) -> Vec<(OdpPort, odp::DropReason, u64)>;
    /// The concrete datapath, for commands that belong to one provider.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Totals of a datapath.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DpStats {
    /// Lookups that found a flow.
    pub n_hit: u64,
    /// Lookups that did not.
    pub n_missed: u64,
    /// Misses that could not be sent up.
    pub n_lost: u64,
    /// Installed flows.
    pub n_flows: u64,
    /// Hits of the flow cache.
    pub n_cache_hit: u64,
    /// Subtables probed in all.
    pub n_mask_hit: u64,
    /// Distinct masks.
    pub n_masks: u32,
}

/// A port to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Device name.
    pub name: String,
    /// Device class.
    pub class: String,
    /// Wanted number; `None` for any.
    pub number: Option<OdpPort>,
}

/// A port that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpifPort {
    /// Number.
    pub number: OdpPort,
    /// Device name.
    pub name: String,
    /// Device class.
    pub class: String,
}

/// A change of the set of ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChange {
    /// A port of this name was added, removed or changed.
    Port(String),
    /// Too much happened: look at everything.
    All,
}

/// Which flows to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowSelect {
    /// Leave out keys, masks and actions: ufid and statistics are enough.
    pub terse: bool,
    /// Only this packet thread's.
    pub pmd: Option<PmdId>,
}

/// A dump in progress; each thread takes its own cursor, flows are handed out once.
pub trait FlowDump: Send + Sync + Debug {
    /// A cursor for one thread.
    fn thread(&self) -> Box<dyn FlowDumpThread + '_>;
}

/// Operations that were begun by [`Dpif::submit`].
pub trait Ticket: Debug {
    /// Waits until they are carried out; each carries its own result then.
    fn wait(self: Box<Self>) -> Vec<Op>;
}

/// Operations that are carried out already.
#[derive(Debug)]
pub(crate) struct Done(pub(crate) Vec<Op>);

impl Ticket for Done {
    fn wait(self: Box<Self>) -> Vec<Op> {
        self.0
    }
}

/// One thread's part of a dump. Can be left and resumed.
pub trait FlowDumpThread: Debug {
    /// Replaces the content of `out` by up to `max` further flows; false when the dump is over. What was
    /// in `out` is valid until the next call.
    fn next(&mut self, out: &mut Vec<FlowInfo>, max: usize) -> bool;
}

/// A flow as it is installed.
#[derive(Debug, Clone)]
pub struct FlowInfo {
    /// Identity.
    pub ufid: Ufid,
    /// Key, as it was installed (it may have bits outside the mask); zero in a terse dump.
    pub key: Arc<Flow>,
    /// Mask; empty in a terse dump.
    pub mask: Arc<Mask>,
    /// Actions; empty in a terse dump.
    pub actions: Arc<Actions>,
    /// Counters.
    pub stats: FlowStats,
    /// The packet thread that owns it.
    pub pmd: PmdId,
    /// Extra hash to make the text form of PMD threads' dumps (dp-extra-info), if any.
    pub dp_extra: Option<String>,
}

/// What to do with an existing or missing flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutFlags {
    /// Make it if it is missing; without: ENOENT.
    pub create: bool,
    /// Change it if it is there; without: EEXIST.
    pub modify: bool,
    /// Reset the counters of a changed flow.
    pub zero_stats: bool,
    /// Only try whether it could be installed: succeed without keeping it.
    pub probe: bool,
}

/// Installs or changes a flow.
#[derive(Debug, Clone)]
pub struct FlowPut {
    /// How.
    pub flags: PutFlags,
    /// Key; bits outside the mask are ignored.
    pub key: Arc<Flow>,
    /// Mask.
    pub mask: Arc<Mask>,
    /// Identity; `None`: of the masked key.
    pub ufid: Option<Ufid>,
    /// Actions.
    pub actions: Arc<Actions>,
    /// Packet thread; `None`: all (create) or wherever it is.
    pub pmd: Option<PmdId>,
    /// Counters the flow had before the change.
    pub result: Result<FlowStats, DpifError>,
}

/// Removes a flow.
#[derive(Debug, Clone)]
pub struct FlowDel {
    /// Identity.
    pub ufid: Ufid,
    /// Packet thread; `None`: wherever it is.
    pub pmd: Option<PmdId>,
    /// Its last counters.
    pub result: Result<FlowStats, DpifError>,
}

/// Reads a flow.
#[derive(Debug, Clone)]
pub struct FlowGet {
    /// Identity.
    pub ufid: Ufid,
    /// Packet thread; `None`: wherever it is (counters summed).
    pub pmd: Option<PmdId>,
    /// The flow.
    pub result: Result<FlowInfo, DpifError>,
}

/// Runs actions on a packet.
#[derive(Debug)]
pub struct Execute {
    /// The packet; taken.
    pub frame: Option<Frame>,
    /// Its metadata (in_port, tunnel, ct, ...) and headers.
    pub key: Arc<Flow>,
    /// Actions.
    pub actions: Arc<Actions>,
    /// What this provider cannot do is done above it, the rest passed down.
    pub needs_help: bool,
    /// Only try: do not run it.
    pub probe: bool,
    /// Outcome.
    pub result: Result<(), DpifError>,
}

/// Names the packets parked for one missed flow on one packet thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ParkToken {
    /// The thread that holds them.
    pub pmd: PmdId,
    /// Its name for them; never used twice.
    pub id: u64,
}

/// Runs the packets parked under a token through actions, and forgets the token.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Which.
    pub token: ParkToken,
    /// Actions; empty drops them (as the flow's policy).
    pub actions: Arc<Actions>,
    /// Packets, bytes, TCP flags and time of what was run. NoEntry when nothing was parked any more.
    pub result: Result<FlowStats, DpifError>,
}

/// One operation of a batch.
#[derive(Debug)]
pub enum Op {
    /// Install or change.
    FlowPut(FlowPut),
    /// Remove.
    FlowDel(FlowDel),
    /// Read.
    FlowGet(FlowGet),
    /// Run a packet.
    Execute(Execute),
    /// Release parked packets.
    Resume(Resume),
}

/// Why a packet came up.
#[derive(Debug, Clone)]
pub enum UpcallKind {
    /// No flow matched.
    Miss,
    /// A `userspace` action.
    Action(Userspace),
}

/// A packet (or only its key) that needs a decision.
#[derive(Debug)]
pub struct Upcall {
    /// Why.
    pub kind: UpcallKind,
    /// Headers and metadata; `in_port` is a datapath port.
    pub key: Arc<Flow>,
    /// Identity of the exact key.
    pub ufid: Ufid,
    /// The packet: always for actions; for misses it usually stays parked in the datapath.
    pub frame: Option<Frame>,
    /// Bytes of the packet.
    pub packet_len: u32,
    /// Packets parked, for misses.
    pub park: Option<ParkToken>,
    /// The packet thread it came from.
    pub pmd: PmdId,
    /// The flow's actions, when the userspace action asked for them.
    pub actions: Option<Arc<Actions>>,
    /// When it was raised.
    pub raised: Nanos,
}

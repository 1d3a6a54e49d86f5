//! What a translation depended on: if none of it changed, the outcome is still right.

use crate::port::BundleId;
use crate::snapshot::BridgeId;
use flow::OfPort;
use ofproto::RuleId;
use smallvec::SmallVec;
use wire::EthAddr;

/// One search of an OpenFlow table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookupDep {
    /// Bridge.
    pub bridge: BridgeId,
    /// Table.
    pub table: u8,
    /// Priority of the rule that matched; -1 for a miss. Only a rule of at least this priority can
    /// change the outcome when it is added.
    pub priority: i32,
    /// No field a rule can match had been changed before this search: the rule's match may be compared
    /// with the datapath flow's own key and mask.
    pub pristine: bool,
}

/// One look at a MAC table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacDep {
    /// Bridge.
    pub bridge: BridgeId,
    /// VLAN.
    pub vlan: u16,
    /// Address.
    pub mac: EthAddr,
    /// What was found.
    pub found: Option<BundleId>,
}

/// Everything a translation looked at that can change under it. What most translations look at needs no allocation.
#[derive(Debug, Clone, Default)]
pub struct Deps {
    /// The snapshot's version: ports, bundles, mirrors, features.
    pub snapshot: u64,
    /// Bridges passed through, the first one first.
    pub bridges: SmallVec<[BridgeId; 1]>,
    /// Rules whose actions were translated.
    pub rules: SmallVec<[RuleId; 4]>,
    /// Searches of tables.
    pub lookups: SmallVec<[LookupDep; 4]>,
    /// MAC entries consulted.
    pub macs: Vec<MacDep>,
    /// Groups used, with their bridge.
    pub groups: Vec<(BridgeId, u32)>,
    /// Meters used.
    pub meters: Vec<(BridgeId, u32)>,
    /// Ports whose state mattered.
    pub ports: SmallVec<[(BridgeId, OfPort); 2]>,
    /// Bridges whose wish to see packets that match no rule mattered.
    pub misses: SmallVec<[BridgeId; 1]>,
    /// The outcome depends on something that is not tracked: translate again after any change.
    pub untracked: bool,
}

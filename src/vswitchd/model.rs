//! The configuration in memory. Two sources fill it (a TOML file, the database), one reconciler makes it true.
//! Plain data: comparing two models says what changed.

use std::collections::BTreeMap;

/// Keys and values as written.
pub(crate) type StringMap = BTreeMap<String, String>;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// Settings of the switch (`other_config` of the database's root row).
    pub(crate) settings: StringMap,
    /// Bridges by name.
    pub(crate) bridges: BTreeMap<String, BridgeModel>,
}

/// A bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BridgeModel {
    /// Datapath type; empty for `system`, which here is the same as `netdev`.
    pub(crate) datapath_type: String,
    /// `secure`, `standalone`, or not said.
    pub(crate) fail_mode: Option<String>,
    /// Further settings (`mac-aging-time`, `hwaddr`, ...).
    pub(crate) settings: StringMap,
    /// Ports by name.
    pub(crate) ports: BTreeMap<String, PortModel>,
    /// Rules in `ovs-ofctl` flow syntax, with the line they stand on; the source owns the tables then.
    pub(crate) rules: Option<Vec<RuleText>>,
    /// VLANs that flood without learning.
    pub(crate) flood_vlans: Vec<u16>,
}

/// A rule as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleText {
    /// Flow syntax.
    pub(crate) text: String,
    /// Line of the file, for messages.
    pub(crate) line: usize,
}

/// A port: VLAN mode and one or more interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PortModel {
    /// `access`, `trunk`, `native-tagged`, `native-untagged`, `dot1q-tunnel`; not said: by tag and trunks.
    pub(crate) vlan_mode: Option<String>,
    /// VLAN of access and native modes.
    pub(crate) tag: Option<u16>,
    /// VLANs of trunk modes; empty for all.
    pub(crate) trunks: Vec<u16>,
    /// Customer VLANs of dot1q-tunnel mode; empty for all.
    pub(crate) cvlans: Vec<u16>,
    /// Further settings (`priority-tags`, ...).
    pub(crate) settings: StringMap,
    /// No traffic between protected ports.
    pub(crate) protected: bool,
    /// Interfaces by name; more than one make a bond.
    pub(crate) interfaces: BTreeMap<String, InterfaceModel>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InterfaceModel {
    /// Class; empty for `system`.
    pub(crate) class: String,
    /// Options of the class.
    pub(crate) options: StringMap,
    /// Wanted OpenFlow port number.
    pub(crate) number: Option<u16>,
    /// Wanted MTU, bytes.
    pub(crate) mtu: Option<u32>,
    /// Wanted MAC address.
    pub(crate) mac: Option<String>,
    /// Further settings (`pmd-rxq-affinity`, ...).
    pub(crate) settings: StringMap,
}

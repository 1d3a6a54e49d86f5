//! The configuration in memory. Two sources fill it (a TOML file, the database), one reconciler makes it true.
//! Plain data: comparing two models says what changed.

use ovsdb::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Keys and values as written.
pub(crate) type StringMap = BTreeMap<String, String>;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// Settings of the switch (`other_config` of the database's root row).
    pub(crate) settings: StringMap,
    /// Bridges by name.
    pub(crate) bridges: BTreeMap<String, BridgeModel>,
    /// Keys and certificates; not said: as before.
    pub(crate) tls: Option<TlsModel>,
    /// Managers reached in-band.
    pub(crate) managers: Vec<Address>,
    /// Conntrack timeouts by datapath type and zone.
    pub(crate) ct_timeouts: BTreeMap<String, BTreeMap<u16, dpif::conntrack::Timers>>,
    /// Configured features of other rows that are not in force yet: named in the log.
    pub(crate) not_in_force: BTreeSet<String>,
}

/// Keys and certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsModel {
    /// Our private key.
    pub(crate) private_key: Option<PathBuf>,
    /// Our certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// Whom we trust; `none` for everybody.
    pub(crate) ca_cert: Option<PathBuf>,
    /// Fetch that from the first server when there is no such file.
    pub(crate) bootstrap: bool,
    /// Certificates shown to peers beside ours.
    pub(crate) peer_ca_cert: Option<PathBuf>,
    /// Versions spoken (`TLSv1.2`, ...).
    pub(crate) protocols: Option<String>,
    /// OpenSSL cipher list.
    pub(crate) ciphers: Option<String>,
}

impl TlsModel {
    /// Puts what is said in force; files that did not change are not read again.
    pub(crate) fn apply(&self, tls: &ovsdb::Tls) {
        if let Some(list) = &self.protocols {
            tls.set_protocols(list);
        }
        if let Some(list) = &self.ciphers {
            tls.set_ciphers(list);
        }
        tls.set_key_and_cert(self.private_key.as_deref(), self.certificate.as_deref());
        if let Some(ca) = &self.ca_cert {
            tls.set_ca_cert(ca, self.bootstrap);
        }
        if let Some(file) = &self.peer_ca_cert {
            tls.set_peer_ca_cert(file);
        }
    }
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
    /// What the configuration says of flow tables, by number.
    pub(crate) flow_tables: BTreeMap<u8, FlowTableModel>,
    /// VLANs that flood without learning.
    pub(crate) flood_vlans: Vec<u16>,
    /// OpenFlow versions allowed (`OpenFlow13`, ...); empty for the defaults.
    pub(crate) protocols: Vec<String>,
    /// Controllers by target.
    pub(crate) controllers: BTreeMap<String, ControllerModel>,
    /// Mirrors, in the order of their rows.
    pub(crate) mirrors: Vec<MirrorModel>,
    /// Configured features that are not in force yet, by column: named in the log.
    pub(crate) not_in_force: Vec<String>,
}

/// A port mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MirrorModel {
    /// Name.
    pub(crate) name: String,
    /// Every port, both ways.
    pub(crate) select_all: bool,
    /// Ports whose received packets are copied.
    pub(crate) select_src: Vec<String>,
    /// Ports whose sent packets are copied.
    pub(crate) select_dst: Vec<String>,
    /// VLANs that are copied; empty for all.
    pub(crate) vlans: Vec<u16>,
    /// Where copies go: a port ...
    pub(crate) output_port: Option<String>,
    /// ... or a VLAN.
    pub(crate) output_vlan: Option<u16>,
    /// Bytes of a copy; not said for all.
    pub(crate) snaplen: Option<u16>,
}

/// A flow table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlowTableModel {
    /// Name shown to controllers.
    pub(crate) name: Option<String>,
    /// Most flows it can have.
    pub(crate) flow_limit: Option<u32>,
    /// A full table makes room rather than refuse.
    pub(crate) evict: bool,
    /// Subfields by whose values eviction is fair.
    pub(crate) groups: Vec<String>,
    /// Names of the fields whose prefixes are tracked; `none` for none.
    pub(crate) prefixes: Vec<String>,
}

/// An OpenFlow controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ControllerModel {
    /// `in-band`, `out-of-band`, or not said.
    pub(crate) connection_mode: Option<String>,
    /// Longest wait between attempts, milliseconds.
    pub(crate) max_backoff_ms: Option<u64>,
    /// Silence after which it is probed, milliseconds; 0 for never.
    pub(crate) inactivity_probe_ms: Option<u64>,
    /// Packet-ins a second, and burst.
    pub(crate) rate_limit: Option<(u32, u32)>,
    /// Differentiated-services code point of what is sent to it.
    pub(crate) dscp: Option<u8>,
    /// Packet-ins that may wait for it.
    pub(crate) queue_size: Option<u32>,
    /// Address, netmask and gateway for the local port.
    pub(crate) local_net: [Option<String>; 3],
    /// `primary` or `service`.
    pub(crate) kind: Option<String>,
    /// Asynchronous messages wanted.
    pub(crate) enable_async: bool,
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
    /// QoS of its interfaces.
    pub(crate) qos: Option<QosModel>,
    /// Interfaces by name; more than one make a bond.
    pub(crate) interfaces: BTreeMap<String, InterfaceModel>,
}

/// A discipline of a port's egress, with its queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QosModel {
    /// `linux-htb`, `egress-policer`, ...
    pub(crate) kind: String,
    /// Its settings.
    pub(crate) settings: StringMap,
    /// Queues by number.
    pub(crate) queues: BTreeMap<u32, QueueModel>,
}

/// A queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct QueueModel {
    /// DSCP that its packets leave with.
    pub(crate) dscp: Option<u8>,
    /// Its settings.
    pub(crate) settings: StringMap,
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
    /// `ingress_policing_` rate, burst, kpkts_rate, kpkts_burst.
    pub(crate) policing: [u32; 4],
    /// Further settings (`pmd-rxq-affinity`, ...).
    pub(crate) settings: StringMap,
}

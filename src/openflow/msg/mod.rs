//! Messages, whole: [`Message`], from bytes and to bytes.
//!
//! What depends on the connection (flow protocol, tunnel options, limits of the switch) comes in
//! [`DecodeCx`] and [`EncodeCx`]. Long replies are made with [`crate::Multipart`], entry by entry.

mod basic;
mod bundle;
mod decode;
mod encode;
mod extension;
mod features;
mod flow_mod;
mod flow_removed;
mod flow_stats;
mod group;
mod group_stats;
mod meter;
mod monitor;
mod packet_in;
mod packet_out;
mod port;
mod port_stats;
mod queue;
mod role;
mod sets;
mod table;
mod table_features;
mod table_stats;

pub use basic::{Desc, ErrorMsg, Hello, SwitchConfig, encode_error_reply};
pub use bundle::{BundleAdd, BundleControl, BundleFlags, BundleType, RequestForward};
pub use extension::{CtFlush, CtTuple, IpfixStats, TlvCommand, TlvTableMod, TlvTableReply};
pub use features::{Capabilities, Features};
pub use flow_removed::{FlowRemoved, RemovedReason};
pub use group::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, BUCKET_MAX, Bucket, GROUP_ALL, GROUP_MAX, GroupCommand,
    GroupMod, GroupProps, GroupType,
};
pub use group_stats::{GroupCapabilities, GroupDesc, GroupFeatures, GroupStats};
pub use meter::{
    METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, MeterBand, MeterCommand, MeterConfig,
    MeterFeatures, MeterFlags, MeterMod, MeterStats,
};
pub use monitor::{
    FlowUpdate, FullUpdate, MonitorCommand, MonitorFlags, MonitorRequest, UpdateEvent,
};
pub use packet_in::{Continuation, Frame, PacketIn, PacketInFormat};
pub use packet_out::PacketOut;
pub use port::{
    PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStatus, features_kbps,
};
pub use port_stats::PortStats;
pub use queue::{QUEUE_ALL, QueueConfig, QueueConfigReply, QueueRequest, QueueStats};
pub use role::{AsyncConfig, AsyncType, Role, RoleMessage, RoleReason, RoleStatus, SetAsync};
pub use sets::{ActionKinds, FieldSet, TableSet};
pub use table::{TableDesc, TableMod, TableReason, TableStatus, TableVacancy};
pub use table_features::{
    ALL_INSTRUCTIONS, ActionAbilities, TableAbilities, TableFeatures, TableFeaturesCommand,
};
pub use table_stats::{TableMiss, TableStats};

use crate::flow_mod::{AggregateStats, FlowMod, FlowStats, FlowStatsRequest};
use crate::version::{Protocols, Version};
use base::sync::Arc;
use flow::{OfPort, TunTable};

/// What reading a message depends on.
#[derive(Debug, Clone, Copy)]
pub struct DecodeCx<'a> {
    /// Flow protocol of the connection; `None`: the first of the message's version.
    pub protocol: Option<Protocols>,
    /// The switch's tunnel options; `None`: every tunnel metadata field exists.
    pub tun: Option<&'a Arc<TunTable>>,
    /// Ports are below this.
    pub max_ports: OfPort,
    /// Tables are below this.
    pub n_tables: u8,
    /// The debug actions exist.
    pub debug: bool,
    /// Unknown properties and fields are passed over, as one who prints messages wants it.
    pub loose: bool,
}

impl Default for DecodeCx<'_> {
    fn default() -> Self {
        Self {
            protocol: None,
            tun: None,
            max_ports: OfPort::MAX,
            n_tables: u8::MAX,
            debug: false,
            loose: false,
        }
    }
}

impl DecodeCx<'_> {
    fn protocol_for(&self, version: Version) -> Protocols {
        self.protocol
            .filter(|p| p.version() == version)
            .unwrap_or_else(|| Protocols::initial(version))
    }
}

/// What writing a message depends on.
#[derive(Debug, Clone, Copy)]
pub struct EncodeCx<'a> {
    /// Flow protocol of the connection.
    pub protocol: Protocols,
    /// The switch's tunnel options.
    pub tun: Option<&'a TunTable>,
    /// How packets are sent to the controller.
    pub packet_in_format: PacketInFormat,
}

impl<'a> EncodeCx<'a> {
    /// For a protocol, with standard packet-ins and without tunnel options.
    #[must_use]
    pub fn new(protocol: Protocols) -> Self {
        Self {
            protocol,
            tun: None,
            packet_in_format: PacketInFormat::Standard,
        }
    }
    /// For a version in its first protocol.
    #[must_use]
    pub fn version_only(version: Version) -> Self {
        Self::new(Protocols::initial(version))
    }
    /// The OpenFlow version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.protocol.version()
    }
}

/// A message. Replies in several parts: one part.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "named as in the specifications")]
pub enum Message {
    Hello(Hello),
    Error(ErrorMsg),
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    FeaturesRequest,
    FeaturesReply(Features),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    BarrierRequest,
    BarrierReply,
    PacketIn(Box<PacketIn>),
    PacketOut(Box<PacketOut>),
    /// `NXT_RESUME`.
    Resume(Box<PacketIn>),
    FlowMod(Box<FlowMod>),
    FlowRemoved(Box<FlowRemoved>),
    PortStatus(PortStatus),
    PortMod(PortMod),
    DescRequest,
    DescReply(Box<Desc>),
    /// Flows or their sum.
    FlowStatsRequest(Box<FlowStatsRequest>),
    FlowStatsReply(Vec<FlowStats>),
    AggregateReply(AggregateStats),
    /// A port, or [`OfPort::NONE`] for all.
    PortStatsRequest(OfPort),
    PortStatsReply(Vec<PortStats>),
    /// A port, or [`OfPort::NONE`] for all.
    PortDescRequest(OfPort),
    PortDescReply(Vec<PortDesc>),
    GroupMod(Box<GroupMod>),
    /// A group, or [`GROUP_ALL`].
    GroupStatsRequest(u32),
    GroupStatsReply(Vec<GroupStats>),
    /// A group, or [`GROUP_ALL`].
    GroupDescRequest(u32),
    GroupDescReply(Vec<GroupDesc>),
    GroupFeaturesRequest,
    GroupFeaturesReply(Box<GroupFeatures>),
    MeterMod(MeterMod),
    /// A meter, or [`METER_ALL`].
    MeterStatsRequest(u32),
    MeterStatsReply(Vec<MeterStats>),
    /// A meter, or [`METER_ALL`].
    MeterConfigRequest(u32),
    MeterConfigReply(Vec<MeterConfig>),
    MeterFeaturesRequest,
    MeterFeaturesReply(MeterFeatures),
    QueueConfigRequest(QueueRequest),
    QueueConfigReply(QueueConfigReply),
    QueueStatsRequest(QueueRequest),
    QueueStatsReply(Vec<QueueStats>),
    TableMod(TableMod),
    TableStatsRequest,
    /// Features only before OpenFlow 1.3.
    TableStatsReply(Vec<(TableStats, Option<TableFeatures>)>),
    /// Without tables: asks.
    TableFeaturesRequest(Vec<TableFeatures>),
    TableFeaturesReply(Vec<TableFeatures>),
    TableDescRequest,
    TableDescReply(Vec<TableDesc>),
    TableStatus(TableStatus),
    RoleRequest(RoleMessage),
    RoleReply(RoleMessage),
    RoleStatus(RoleStatus),
    GetAsyncRequest,
    GetAsyncReply(Box<AsyncConfig>),
    SetAsync(SetAsync),
    BundleControl(BundleControl),
    BundleAdd(BundleAdd),
    RequestForward(RequestForward),
    MonitorRequest(Vec<MonitorRequest>),
    MonitorReply(Vec<FlowUpdate>),
    /// Number of a monitor (before 1.4).
    MonitorCancel(u32),
    /// Before 1.4.
    MonitorPaused,
    /// Before 1.4.
    MonitorResumed,
    TlvTableMod(TlvTableMod),
    TlvTableRequest,
    TlvTableReply(TlvTableReply),
    /// A conntrack zone.
    CtFlushZone(u16),
    CtFlush(Box<CtFlush>),
    IpfixBridgeRequest,
    IpfixBridgeReply(Box<IpfixStats>),
    IpfixFlowRequest,
    IpfixFlowReply(Vec<IpfixStats>),
    /// NXM on or off.
    SetFlowFormat(Protocols),
    /// Flow mods carry table ids.
    FlowModTableId(bool),
    SetPacketInFormat(PacketInFormat),
    FlowAge,
    SetControllerId(u16),
}

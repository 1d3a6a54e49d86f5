//! Every kind of message: its name, versions, number and length.
//!
//! A flat table.

use super::header::Kind;

macro_rules! raws {
    ($($id:ident, $name:literal => $kind:ident, $lo:literal, $hi:literal, $number:literal, $min:literal,
       $unit:literal;)*) => {
        /// A kind of message, distinguished as far as its bytes are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "named as in the specifications, with the first version of each form")]
        pub enum Raw { $($id),* }
        /// What is known about each [`Raw`], in its order.
        pub(super) const TABLE: &[Info] = &[$(Info {
            raw: Raw::$id, name: $name, kind: Kind::$kind, lo: $lo, hi: $hi, number: $number, min: $min,
            unit: $unit,
        }),*];
    };
}

/// What is known about a kind of message.
#[derive(Debug)]
pub(super) struct Info {
    pub(super) raw: Raw,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// First and last version, counted from 1.0.
    pub(super) lo: u8,
    pub(super) hi: u8,
    /// Type, statistics type or vendor's subtype.
    pub(super) number: u32,
    /// Octets the body has at least.
    pub(super) min: usize,
    /// What is beyond comes in multiples of this; 0: nothing may.
    pub(super) unit: usize,
}

raws! {
    OfptHello, "OFPT_HELLO" => Of, 0, 255, 0, 0, 1;
    OfptError, "OFPT_ERROR" => Of, 0, 255, 1, 4, 1;
    OfptEchoRequest, "OFPT_ECHO_REQUEST" => Of, 0, 255, 2, 0, 1;
    OfptEchoReply, "OFPT_ECHO_REPLY" => Of, 0, 255, 3, 0, 1;
    OfptFeaturesRequest, "OFPT_FEATURES_REQUEST" => Of, 0, 5, 5, 0, 0;
    Ofpt10FeaturesReply, "OFPT10_FEATURES_REPLY" => Of, 0, 0, 6, 24, 48;
    Ofpt11FeaturesReply, "OFPT11_FEATURES_REPLY" => Of, 1, 2, 6, 24, 64;
    Ofpt13FeaturesReply, "OFPT13_FEATURES_REPLY" => Of, 3, 5, 6, 24, 0;
    OfptGetConfigRequest, "OFPT_GET_CONFIG_REQUEST" => Of, 0, 5, 7, 0, 0;
    OfptGetConfigReply, "OFPT_GET_CONFIG_REPLY" => Of, 0, 5, 8, 4, 0;
    OfptSetConfig, "OFPT_SET_CONFIG" => Of, 0, 5, 9, 4, 0;
    Ofpt10PacketIn, "OFPT10_PACKET_IN" => Of, 0, 0, 10, 10, 1;
    Ofpt11PacketIn, "OFPT11_PACKET_IN" => Of, 1, 1, 10, 16, 1;
    Ofpt12PacketIn, "OFPT12_PACKET_IN" => Of, 2, 2, 10, 8, 1;
    Ofpt13PacketIn, "OFPT13_PACKET_IN" => Of, 3, 5, 10, 16, 1;
    NxtPacketIn, "NXT_PACKET_IN" => Nx, 0, 5, 17, 24, 1;
    NxtPacketIn2, "NXT_PACKET_IN2" => Nx, 0, 5, 30, 0, 8;
    Ofpt10FlowRemoved, "OFPT10_FLOW_REMOVED" => Of, 0, 0, 11, 80, 0;
    Ofpt11FlowRemoved, "OFPT11_FLOW_REMOVED" => Of, 1, 4, 11, 40, 8;
    Ofpt15FlowRemoved, "OFPT15_FLOW_REMOVED" => Of, 5, 5, 11, 16, 8;
    NxtFlowRemoved, "NXT_FLOW_REMOVED" => Nx, 0, 5, 14, 40, 8;
    Ofpt10PortStatus, "OFPT10_PORT_STATUS" => Of, 0, 0, 12, 56, 0;
    Ofpt11PortStatus, "OFPT11_PORT_STATUS" => Of, 1, 3, 12, 72, 0;
    Ofpt14PortStatus, "OFPT14_PORT_STATUS" => Of, 4, 5, 12, 48, 8;
    Ofpt10PacketOut, "OFPT10_PACKET_OUT" => Of, 0, 0, 13, 8, 1;
    Ofpt11PacketOut, "OFPT11_PACKET_OUT" => Of, 1, 4, 13, 16, 1;
    Ofpt15PacketOut, "OFPT15_PACKET_OUT" => Of, 5, 5, 13, 8, 1;
    Ofpt10FlowMod, "OFPT10_FLOW_MOD" => Of, 0, 0, 14, 64, 8;
    Ofpt11FlowMod, "OFPT11_FLOW_MOD" => Of, 1, 5, 14, 40, 8;
    NxtFlowMod, "NXT_FLOW_MOD" => Nx, 0, 5, 13, 32, 8;
    NxtGroupMod, "NXT_GROUP_MOD" => Nx, 0, 0, 31, 16, 8;
    Ofpt11GroupMod, "OFPT11_GROUP_MOD" => Of, 1, 4, 15, 8, 8;
    Ofpt15GroupMod, "OFPT15_GROUP_MOD" => Of, 5, 5, 15, 16, 8;
    Ofpt10PortMod, "OFPT10_PORT_MOD" => Of, 0, 0, 15, 24, 0;
    Ofpt11PortMod, "OFPT11_PORT_MOD" => Of, 1, 3, 16, 32, 0;
    Ofpt14PortMod, "OFPT14_PORT_MOD" => Of, 4, 5, 16, 24, 8;
    Ofpt11TableMod, "OFPT11_TABLE_MOD" => Of, 1, 3, 17, 8, 0;
    Ofpt14TableMod, "OFPT14_TABLE_MOD" => Of, 4, 5, 17, 8, 8;
    Ofpt10BarrierRequest, "OFPT10_BARRIER_REQUEST" => Of, 0, 0, 18, 0, 0;
    Ofpt11BarrierRequest, "OFPT11_BARRIER_REQUEST" => Of, 1, 5, 20, 0, 0;
    Ofpt10BarrierReply, "OFPT10_BARRIER_REPLY" => Of, 0, 0, 19, 0, 0;
    Ofpt11BarrierReply, "OFPT11_BARRIER_REPLY" => Of, 1, 5, 21, 0, 0;
    Ofpt10QueueGetConfigRequest, "OFPT10_QUEUE_GET_CONFIG_REQUEST" => Of, 0, 0, 20, 4, 0;
    Ofpt11QueueGetConfigRequest, "OFPT11_QUEUE_GET_CONFIG_REQUEST" => Of, 1, 3, 22, 8, 0;
    Ofpt10QueueGetConfigReply, "OFPT10_QUEUE_GET_CONFIG_REPLY" => Of, 0, 0, 21, 8, 8;
    Ofpt11QueueGetConfigReply, "OFPT11_QUEUE_GET_CONFIG_REPLY" => Of, 1, 3, 23, 8, 8;
    Ofpt12RoleRequest, "OFPT12_ROLE_REQUEST" => Of, 2, 5, 24, 16, 0;
    NxtRoleRequest, "NXT_ROLE_REQUEST" => Nx, 0, 5, 10, 4, 0;
    Ofpt12RoleReply, "OFPT12_ROLE_REPLY" => Of, 2, 5, 25, 16, 0;
    NxtRoleReply, "NXT_ROLE_REPLY" => Nx, 0, 5, 11, 4, 0;
    Ofpt13GetAsyncRequest, "OFPT13_GET_ASYNC_REQUEST" => Of, 3, 3, 26, 0, 0;
    Ofpt14GetAsyncRequest, "OFPT14_GET_ASYNC_REQUEST" => Of, 4, 5, 26, 0, 0;
    Ofpt13GetAsyncReply, "OFPT13_GET_ASYNC_REPLY" => Of, 3, 3, 27, 24, 0;
    Ofpt14GetAsyncReply, "OFPT14_GET_ASYNC_REPLY" => Of, 4, 5, 27, 0, 8;
    Ofpt13SetAsync, "OFPT13_SET_ASYNC" => Of, 3, 3, 28, 24, 0;
    NxtSetAsyncConfig, "NXT_SET_ASYNC_CONFIG" => Nx, 0, 5, 19, 24, 0;
    NxtSetAsyncConfig2, "NXT_SET_ASYNC_CONFIG2" => Nx, 0, 3, 27, 0, 8;
    Ofpt14SetAsync, "OFPT14_SET_ASYNC" => Of, 4, 5, 28, 0, 8;
    Ofpt13MeterMod, "OFPT13_METER_MOD" => Of, 3, 5, 29, 8, 8;
    Onft13RoleStatus, "ONFT13_ROLE_STATUS" => Onf, 3, 3, 1911, 16, 8;
    Ofpt14RoleStatus, "OFPT14_ROLE_STATUS" => Of, 4, 5, 30, 16, 8;
    Ofpt14TableStatus, "OFPT14_TABLE_STATUS" => Of, 4, 5, 31, 8, 8;
    NxtRequestforward, "NXT_REQUESTFORWARD" => Nx, 0, 2, 132, 8, 8;
    Onft13Requestforward, "ONFT13_REQUESTFORWARD" => Onf, 3, 3, 2350, 8, 8;
    Ofpt14Requestforward, "OFPT14_REQUESTFORWARD" => Of, 4, 5, 32, 8, 8;
    Ofpt14BundleControl, "OFPT14_BUNDLE_CONTROL" => Of, 4, 5, 33, 8, 8;
    Onft13BundleControl, "ONFT13_BUNDLE_CONTROL" => Onf, 3, 3, 2300, 8, 8;
    Ofpt14BundleAddMessage, "OFPT14_BUNDLE_ADD_MESSAGE" => Of, 4, 5, 34, 8, 1;
    Onft13BundleAddMessage, "ONFT13_BUNDLE_ADD_MESSAGE" => Onf, 3, 3, 2301, 8, 1;
    OfpstDescRequest, "OFPST_DESC_REQUEST" => StatRequest, 0, 5, 0, 0, 0;
    OfpstDescReply, "OFPST_DESC_REPLY" => StatReply, 0, 5, 0, 1056, 0;
    Ofpst10FlowRequest, "OFPST10_FLOW_REQUEST" => StatRequest, 0, 0, 1, 44, 0;
    Ofpst11FlowRequest, "OFPST11_FLOW_REQUEST" => StatRequest, 1, 5, 1, 32, 8;
    NxstFlowRequest, "NXST_FLOW_REQUEST" => NxStatRequest, 0, 0, 0, 8, 8;
    Ofpst10FlowReply, "OFPST10_FLOW_REPLY" => StatReply, 0, 0, 1, 0, 1;
    Ofpst11FlowReply, "OFPST11_FLOW_REPLY" => StatReply, 1, 2, 1, 0, 1;
    Ofpst13FlowReply, "OFPST13_FLOW_REPLY" => StatReply, 3, 4, 1, 0, 1;
    Ofpst15FlowReply, "OFPST15_FLOW_REPLY" => StatReply, 5, 5, 1, 0, 1;
    NxstFlowReply, "NXST_FLOW_REPLY" => NxStatReply, 0, 0, 0, 0, 1;
    Ofpst10AggregateRequest, "OFPST10_AGGREGATE_REQUEST" => StatRequest, 0, 0, 2, 44, 0;
    Ofpst11AggregateRequest, "OFPST11_AGGREGATE_REQUEST" => StatRequest, 1, 4, 2, 32, 8;
    Ofpst15AggregateRequest, "OFPST15_AGGREGATE_REQUEST" => StatRequest, 5, 5, 2, 32, 8;
    NxstAggregateRequest, "NXST_AGGREGATE_REQUEST" => NxStatRequest, 0, 0, 1, 8, 8;
    OfpstAggregateReply, "OFPST_AGGREGATE_REPLY" => StatReply, 0, 4, 2, 24, 0;
    Ofpst15AggregateReply, "OFPST15_AGGREGATE_REPLY" => StatReply, 5, 5, 2, 0, 1;
    NxstAggregateReply, "NXST_AGGREGATE_REPLY" => NxStatReply, 0, 0, 1, 24, 0;
    OfpstTableRequest, "OFPST_TABLE_REQUEST" => StatRequest, 0, 5, 3, 0, 0;
    Ofpst10TableReply, "OFPST10_TABLE_REPLY" => StatReply, 0, 0, 3, 0, 64;
    Ofpst11TableReply, "OFPST11_TABLE_REPLY" => StatReply, 1, 1, 3, 0, 88;
    Ofpst12TableReply, "OFPST12_TABLE_REPLY" => StatReply, 2, 2, 3, 0, 128;
    Ofpst13TableReply, "OFPST13_TABLE_REPLY" => StatReply, 3, 5, 3, 0, 24;
    Ofpst10PortRequest, "OFPST10_PORT_REQUEST" => StatRequest, 0, 0, 4, 8, 0;
    Ofpst11PortRequest, "OFPST11_PORT_REQUEST" => StatRequest, 1, 5, 4, 8, 0;
    Ofpst10PortReply, "OFPST10_PORT_REPLY" => StatReply, 0, 0, 4, 0, 104;
    Ofpst11PortReply, "OFPST11_PORT_REPLY" => StatReply, 1, 2, 4, 0, 104;
    Ofpst13PortReply, "OFPST13_PORT_REPLY" => StatReply, 3, 3, 4, 0, 112;
    Ofpst14PortReply, "OFPST14_PORT_REPLY" => StatReply, 4, 5, 4, 0, 8;
    Ofpst10QueueRequest, "OFPST10_QUEUE_REQUEST" => StatRequest, 0, 0, 5, 8, 0;
    Ofpst11QueueRequest, "OFPST11_QUEUE_REQUEST" => StatRequest, 1, 5, 5, 8, 0;
    Ofpst10QueueReply, "OFPST10_QUEUE_REPLY" => StatReply, 0, 0, 5, 0, 32;
    Ofpst11QueueReply, "OFPST11_QUEUE_REPLY" => StatReply, 1, 2, 5, 0, 32;
    Ofpst13QueueReply, "OFPST13_QUEUE_REPLY" => StatReply, 3, 3, 5, 0, 40;
    Ofpst14QueueReply, "OFPST14_QUEUE_REPLY" => StatReply, 4, 5, 5, 0, 8;
    NxstGroupRequest, "NXST_GROUP_REQUEST" => NxStatRequest, 0, 0, 7, 8, 0;
    Ofpst11GroupRequest, "OFPST11_GROUP_REQUEST" => StatRequest, 1, 5, 6, 8, 0;
    NxstGroupReply, "NXST_GROUP_REPLY" => NxStatReply, 0, 0, 7, 0, 8;
    Ofpst11GroupReply, "OFPST11_GROUP_REPLY" => StatReply, 1, 2, 6, 0, 8;
    Ofpst13GroupReply, "OFPST13_GROUP_REPLY" => StatReply, 3, 5, 6, 0, 8;
    NxstGroupDescRequest, "NXST_GROUP_DESC_REQUEST" => NxStatRequest, 0, 0, 8, 8, 0;
    Ofpst11GroupDescRequest, "OFPST11_GROUP_DESC_REQUEST" => StatRequest, 1, 4, 7, 0, 0;
    Ofpst15GroupDescRequest, "OFPST15_GROUP_DESC_REQUEST" => StatRequest, 5, 5, 7, 8, 0;
    NxstGroupDescReply, "NXST_GROUP_DESC_REPLY" => NxStatReply, 0, 0, 8, 0, 8;
    Ofpst11GroupDescReply, "OFPST11_GROUP_DESC_REPLY" => StatReply, 1, 5, 7, 0, 8;
    NxstGroupFeaturesRequest, "NXST_GROUP_FEATURES_REQUEST" => NxStatRequest, 0, 1, 9, 0, 0;
    Ofpst12GroupFeaturesRequest, "OFPST12_GROUP_FEATURES_REQUEST" => StatRequest, 2, 5, 8, 0, 0;
    NxstGroupFeaturesReply, "NXST_GROUP_FEATURES_REPLY" => NxStatReply, 0, 1, 9, 40, 0;
    Ofpst12GroupFeaturesReply, "OFPST12_GROUP_FEATURES_REPLY" => StatReply, 2, 5, 8, 40, 0;
    Ofpst13MeterRequest, "OFPST13_METER_REQUEST" => StatRequest, 3, 5, 9, 8, 0;
    Ofpst13MeterReply, "OFPST13_METER_REPLY" => StatReply, 3, 5, 9, 0, 8;
    Ofpst13MeterConfigRequest, "OFPST13_METER_CONFIG_REQUEST" => StatRequest, 3, 5, 10, 8, 0;
    Ofpst13MeterConfigReply, "OFPST13_METER_CONFIG_REPLY" => StatReply, 3, 5, 10, 0, 8;
    Ofpst13MeterFeaturesRequest, "OFPST13_METER_FEATURES_REQUEST" => StatRequest, 3, 5, 11, 0, 0;
    Ofpst13MeterFeaturesReply, "OFPST13_METER_FEATURES_REPLY" => StatReply, 3, 5, 11, 16, 0;
    Ofpst13TableFeaturesRequest, "OFPST13_TABLE_FEATURES_REQUEST" => StatRequest, 3, 5, 12, 0, 8;
    Ofpst13TableFeaturesReply, "OFPST13_TABLE_FEATURES_REPLY" => StatReply, 3, 5, 12, 64, 8;
    Ofpst14TableDescRequest, "OFPST14_TABLE_DESC_REQUEST" => StatRequest, 4, 5, 14, 0, 0;
    Ofpst14TableDescReply, "OFPST14_TABLE_DESC_REPLY" => StatReply, 4, 5, 14, 8, 8;
    Ofpst10PortDescRequest, "OFPST10_PORT_DESC_REQUEST" => StatRequest, 0, 4, 13, 0, 0;
    Ofpst15PortDescRequest, "OFPST15_PORT_DESC_REQUEST" => StatRequest, 5, 5, 13, 8, 0;
    Ofpst10PortDescReply, "OFPST10_PORT_DESC_REPLY" => StatReply, 0, 0, 13, 0, 48;
    Ofpst11PortDescReply, "OFPST11_PORT_DESC_REPLY" => StatReply, 1, 3, 13, 0, 64;
    Ofpst14PortDescReply, "OFPST14_PORT_DESC_REPLY" => StatReply, 4, 5, 13, 0, 8;
    Ofpst14QueueDescRequest, "OFPST14_QUEUE_DESC_REQUEST" => StatRequest, 4, 5, 15, 8, 0;
    Ofpst14QueueDescReply, "OFPST14_QUEUE_DESC_REPLY" => StatReply, 4, 5, 15, 0, 8;
    Ofpst14FlowMonitorRequest, "OFPST14_FLOW_MONITOR_REQUEST" => StatRequest, 4, 5, 16, 0, 8;
    Onfst13FlowMonitorRequest, "ONFST13_FLOW_MONITOR_REQUEST" => OnfStatRequest, 3, 3, 1870, 0, 8;
    NxstFlowMonitorRequest, "NXST_FLOW_MONITOR_REQUEST" => NxStatRequest, 0, 2, 2, 0, 8;
    Ofpst14FlowMonitorReply, "OFPST14_FLOW_MONITOR_REPLY" => StatReply, 4, 5, 16, 0, 8;
    Onfst13FlowMonitorReply, "ONFST13_FLOW_MONITOR_REPLY" => OnfStatReply, 3, 3, 1870, 0, 8;
    NxstFlowMonitorReply, "NXST_FLOW_MONITOR_REPLY" => NxStatReply, 0, 2, 2, 0, 8;
    Onft13FlowMonitorCancel, "ONFT13_FLOW_MONITOR_CANCEL" => Onf, 3, 3, 1870, 4, 0;
    NxtFlowMonitorCancel, "NXT_FLOW_MONITOR_CANCEL" => Nx, 0, 2, 21, 4, 0;
    Onft13FlowMonitorPaused, "ONFT13_FLOW_MONITOR_PAUSED" => Onf, 3, 3, 1871, 0, 0;
    NxtFlowMonitorPaused, "NXT_FLOW_MONITOR_PAUSED" => Nx, 0, 2, 22, 0, 0;
    Onft13FlowMonitorResumed, "ONFT13_FLOW_MONITOR_RESUMED" => Onf, 3, 3, 1872, 0, 0;
    NxtFlowMonitorResumed, "NXT_FLOW_MONITOR_RESUMED" => Nx, 0, 2, 23, 0, 0;
    NxtSetFlowFormat, "NXT_SET_FLOW_FORMAT" => Nx, 0, 0, 12, 4, 0;
    NxtFlowModTableId, "NXT_FLOW_MOD_TABLE_ID" => Nx, 0, 5, 15, 8, 0;
    NxtSetPacketInFormat, "NXT_SET_PACKET_IN_FORMAT" => Nx, 0, 5, 16, 4, 0;
    NxtFlowAge, "NXT_FLOW_AGE" => Nx, 0, 5, 18, 0, 0;
    NxtSetControllerId, "NXT_SET_CONTROLLER_ID" => Nx, 0, 5, 20, 8, 0;
    NxtTlvTableMod, "NXT_TLV_TABLE_MOD" => Nx, 0, 5, 24, 8, 8;
    NxtTlvTableRequest, "NXT_TLV_TABLE_REQUEST" => Nx, 0, 5, 25, 0, 0;
    NxtTlvTableReply, "NXT_TLV_TABLE_REPLY" => Nx, 0, 5, 26, 16, 8;
    NxtResume, "NXT_RESUME" => Nx, 0, 5, 28, 0, 8;
    NxtCtFlushZone, "NXT_CT_FLUSH_ZONE" => Nx, 0, 5, 29, 8, 0;
    NxtCtFlush, "NXT_CT_FLUSH" => Nx, 0, 5, 32, 8, 8;
    NxstIpfixBridgeRequest, "NXST_IPFIX_BRIDGE_REQUEST" => NxStatRequest, 0, 5, 3, 0, 0;
    NxstIpfixBridgeReply, "NXST_IPFIX_BRIDGE_REPLY" => NxStatReply, 0, 5, 3, 88, 0;
    NxstIpfixFlowRequest, "NXST_IPFIX_FLOW_REQUEST" => NxStatRequest, 0, 5, 4, 0, 0;
    NxstIpfixFlowReply, "NXST_IPFIX_FLOW_REPLY" => NxStatReply, 0, 5, 4, 0, 88;
}

//! [`Provider`]: what the conversation with controllers needs from the world below: the datapath's counters,
//! devices, meters, and the translation of packets that controllers send.
//!
//! Called with the [`crate::Ofproto`] in use: an implementation may read its [`crate::Pipeline`], not lock it
//! again. Nothing here blocks. Every method has an answer for "cannot do that".

use crate::meter::Meter;
use classifier::Version;
use flow::OfPort;
use openflow::{
    CtFlush, FlowMod, IpfixStats, MeterConfig, MeterFeatures, MeterStats, OfpError, PacketIn,
    PacketOut, PortFeatures, PortStats, QueueStats,
};
use std::any::Any;
use std::fmt;

/// A packet from a controller, translated and ready to go.
pub struct PacketPlan {
    /// Flows that it learns, each with the limit of its cookie (0 for none).
    pub learns: Vec<(FlowMod, u32)>,
    /// Whatever the provider needs to execute it.
    pub work: Box<dyn Any + Send>,
}

impl fmt::Debug for PacketPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketPlan")
            .field("learns", &self.learns)
            .finish_non_exhaustive()
    }
}

/// See the file's essay.
pub trait Provider {
    /// Translates a packet from a controller with the tables of `version`. Does nothing to the world yet.
    ///
    /// # Errors
    /// `OFPFMFC_UNKNOWN` when its actions cannot be carried out.
    fn translate(
        &mut self,
        _packet: &PacketOut,
        _version: Version,
    ) -> Result<PacketPlan, OfpError> {
        Err(OfpError::OFPFMFC_UNKNOWN)
    }

    /// Lets a packet go on that a controller held.
    ///
    /// # Errors
    /// `NXR_NOT_SUPPORTED`, `NXR_STALE`.
    fn resume(&mut self, _packet: &PacketIn) -> Result<(), OfpError> {
        Err(OfpError::NXR_NOT_SUPPORTED)
    }

    /// Counters of a port; those that are not known are all ones.
    fn port_stats(&mut self, port: OfPort) -> PortStats {
        PortStats {
            port_no: port,
            ..PortStats::default()
        }
    }

    /// Brings the device of a port up or down. False when that fails.
    fn set_port_up(&mut self, _port: OfPort, _up: bool) -> bool {
        true
    }

    /// The configuration of a port changed in the way that controllers ask for.
    fn port_reconfigured(&mut self, _port: OfPort) {}

    /// Advertises link features.
    fn advertise(&mut self, _port: OfPort, _features: PortFeatures) {}

    /// What meters can do.
    fn meter_features(&mut self) -> MeterFeatures {
        MeterFeatures::default()
    }

    /// Makes a meter in the datapath, or changes the one of this number there; gives its number.
    ///
    /// # Errors
    /// What the datapath refuses it for.
    fn meter_set(&mut self, _id: Option<u32>, _config: &MeterConfig) -> Result<u32, OfpError> {
        Err(OfpError::OFPMMFC_INVALID_METER)
    }

    /// Removes a meter from the datapath.
    fn meter_del(&mut self, _id: u32) {}

    /// What a meter counted; number, users and age are filled in by the caller. `None`: not known.
    fn meter_stats(&mut self, _meter: &Meter) -> Option<MeterStats> {
        None
    }

    /// The queues of a port.
    fn queues(&mut self, _port: OfPort) -> Vec<u32> {
        Vec::new()
    }

    /// Counters of the queues of a port.
    fn queue_stats(&mut self, _port: OfPort) -> Vec<QueueStats> {
        Vec::new()
    }

    /// Counters of the IPFIX exporters of the bridge, or of its flows.
    ///
    /// # Errors
    /// `NXST_NOT_CONFIGURED` when there is none.
    fn ipfix_stats(&mut self, _bridge: bool) -> Result<Vec<IpfixStats>, OfpError> {
        Err(OfpError::NXST_NOT_CONFIGURED)
    }

    /// Removes connections from conntrack.
    ///
    /// # Errors
    /// When the datapath has no conntrack.
    fn ct_flush(&mut self, _which: &CtFlush) -> Result<(), OfpError> {
        Err(OfpError::OFPBRC_BAD_TYPE)
    }

    /// Switches the handling of fragments (0 normal, 1 drop, 2 reassemble, 3 match). False when it cannot.
    fn set_fragments(&mut self, mode: u16) -> bool {
        mode != 2
    }
}

/// A provider that can do nothing: for tests, and bridges without a datapath.
#[derive(Debug, Default)]
pub struct NoProvider;

impl Provider for NoProvider {}

//! [`Provider`]: what the conversation with controllers needs from the world below: the datapath's counters,
//! devices, meters, and the translation of packets that controllers send.
//!
//! Called with the [`crate::Ofproto`] in use: an implementation may read its [`crate::Pipeline`], not lock it
//! again. Nothing here blocks. Every method has an answer for "cannot do that".

use classifier::Version;
use flow::OfPort;
use openflow::{FlowMod, OfpError, PacketIn, PacketOut, PortFeatures, PortStats};
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

    /// Switches the handling of fragments (0 normal, 1 drop, 2 reassemble, 3 match). False when it cannot.
    fn set_fragments(&mut self, mode: u16) -> bool {
        mode != 2
    }
}

/// A provider that can do nothing: for tests, and bridges without a datapath.
#[derive(Debug, Default)]
pub struct NoProvider;

impl Provider for NoProvider {}

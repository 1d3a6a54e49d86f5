//! What `ofproto` needs from the datapath: counters and devices of ports, packets that controllers send.
//!
//! It is called with the bridge's tables locked, so whatever would lock them again is only noted here and done
//! afterwards ([`Below::settle`]).

use super::packets;
use backer::{Backer, PortFlags, Sending};
use base::clock::Nanos;
use dpif::DpifError;
use dpif::conntrack::{CtEnds, CtMatch};
use flow::{OdpPort, OfPort};
use netdev::DeviceFlags;
use ofproto::{PacketPlan, Provider};
use openflow::{
    MeterConfig, MeterFeatures, MeterFlags, MeterStats, OfpError, PortConfig, PortStats,
};
use packet::HeapPool;
use xlate::{Start, XlateError};

/// Bands that meters can have: drop.
const BAND_TYPES: u32 = 1 << 1;
/// What meters can do: kilobits and packets a second, bursts, statistics.
const METER_CAPABILITIES: u32 = 0xf;

/// The provider of one bridge, for the time of one turn.
#[derive(Debug)]
pub(super) struct Below<'a> {
    backer: &'a mut Backer,
    bridge: &'a str,
    reconfigured: Vec<OfPort>,
    now: Nanos,
    fragments: Option<u16>,
    /// Packets that controllers let go on.
    resumed: Vec<Sending>,
}

impl<'a> Below<'a> {
    pub(super) fn new(backer: &'a mut Backer, bridge: &'a str, now: Nanos) -> Self {
        Self {
            backer,
            bridge,
            now,
            reconfigured: Vec::new(),
            fragments: None,
            resumed: Vec::new(),
        }
    }

    /// True when ports were configured anew.
    pub(super) fn reconfigures(&self) -> bool {
        !self.reconfigured.is_empty()
    }

    /// Does what had to wait until the tables were let go of.
    pub(super) fn settle(self, configs: &[(OfPort, PortConfig)], plans: Vec<PacketPlan>) {
        let Self {
            backer,
            bridge,
            reconfigured,
            fragments,
            resumed,
            ..
        } = self;
        for (number, config) in configs.iter().filter(|(n, _)| reconfigured.contains(n)) {
            let flags = PortFlags {
                port_down: config.contains(PortConfig::PORT_DOWN),
                no_recv: config.contains(PortConfig::NO_RECV),
                no_recv_stp: config.contains(PortConfig::NO_RECV_STP),
                no_flood: config.contains(PortConfig::NO_FLOOD),
                no_fwd: config.contains(PortConfig::NO_FWD),
                no_packet_in: config.contains(PortConfig::NO_PACKET_IN),
            };
            // A port that went away meanwhile needs no flags.
            drop(backer.port_flags(bridge, *number, flags));
        }
        if let Some(mode) = fragments
            && let Ok(b) = backer.bridge(bridge)
        {
            let mut settings = b.settings.clone();
            settings.frag = match mode {
                1 => xlate::FragHandling::Drop,
                3 => xlate::FragHandling::NxMatch,
                _ => xlate::FragHandling::Normal,
            };
            drop(backer.bridge_set(bridge, settings));
        }
        let planned = plans.into_iter().filter_map(|p| p.work.downcast().ok());
        for sending in planned.map(|s| *s).chain(resumed) {
            if let Err(e) = backer.send(bridge, sending) {
                tracing::debug!(target: "ofproto", "{e}");
            }
        }
    }

    /// The backer, for work that does not touch the bridge's tables.
    pub(super) fn with_backer(&self, work: impl FnOnce(&Backer)) {
        work(self.backer);
    }

    fn device(&self, port: OfPort) -> Option<&dyn netdev::Device> {
        let bridge = self.backer.bridge(self.bridge).ok()?;
        bridge.iface_by_number(port).map(|i| &*i.device)
    }
}

impl Provider for Below<'_> {
    fn translate(
        &mut self,
        packet: &openflow::PacketOut,
        version: classifier::Version,
    ) -> Result<PacketPlan, OfpError> {
        let frame = HeapPool::global().copy_from(&packet.packet);
        let key = ofproto::packet_flow(packet);
        let start = Start::PacketOut(&packet.acts);
        let done = self
            .backer
            .translate_packet(self.bridge, (frame, key), start, Some(version));
        let mut sending = done.map_err(|_| OfpError::OFPFMFC_UNKNOWN)?;
        if sending.error().is_some() {
            return Err(OfpError::OFPFMFC_UNKNOWN);
        }
        Ok(PacketPlan {
            learns: sending.take_learned(),
            work: Box::new(sending),
        })
    }

    fn resume(&mut self, pin: &openflow::PacketIn) -> Result<(), OfpError> {
        let frame = HeapPool::global().copy_from(&pin.packet);
        let key = packets::resumed_flow(pin);
        let state = packets::frozen(pin);
        let start = Start::Resume(&state);
        let mut sending = self
            .backer
            .translate_packet(self.bridge, (frame, key), start, None)
            .map_err(|_| OfpError::NXR_STALE)?;
        sending.came_in_by(OdpPort(pin.continuation.odp_port));
        // Whatever else goes wrong in the middle of a pipeline is no fault of the message.
        match sending.error() {
            Some(XlateError::BridgeNotFound) => Err(OfpError::NXR_STALE),
            _ => {
                self.resumed.push(sending);
                Ok(())
            }
        }
    }

    fn port_stats(&mut self, port: OfPort) -> PortStats {
        let mut out = PortStats {
            port_no: port,
            ..PortStats::default()
        };
        let Some(s) = self.device(port).map(netdev::Device::stats) else {
            return out;
        };
        for (to, from) in [
            (&mut out.rx_packets, s.rx_packets),
            (&mut out.tx_packets, s.tx_packets),
            (&mut out.rx_bytes, s.rx_bytes),
            (&mut out.tx_bytes, s.tx_bytes),
            (&mut out.rx_dropped, s.rx_dropped),
            (&mut out.tx_dropped, s.tx_dropped),
            (&mut out.rx_errors, s.rx_errors),
            (&mut out.tx_errors, s.tx_errors),
            (&mut out.rx_frame_errors, s.rx_frame_errors),
            (&mut out.rx_over_errors, s.rx_over_errors),
            (&mut out.rx_crc_errors, s.rx_crc_errors),
            (&mut out.collisions, s.collisions),
        ] {
            *to = from.unwrap_or(u64::MAX);
        }
        out.custom = s.custom;
        out
    }

    fn set_port_up(&mut self, port: OfPort, up: bool) -> bool {
        let flag = DeviceFlags {
            up: true,
            ..DeviceFlags::default()
        };
        let none = DeviceFlags::default();
        let (on, off) = if up { (flag, none) } else { (none, flag) };
        self.device(port)
            .is_some_and(|d| d.update_flags(on, off).is_ok())
    }

    fn port_reconfigured(&mut self, port: OfPort) {
        self.reconfigured.push(port);
    }

    fn meter_features(&mut self) -> MeterFeatures {
        let limits = self.backer.meter_limits();
        if limits.meters_max == 0 {
            return MeterFeatures::default();
        }
        MeterFeatures {
            max_meters: limits.meters_max,
            band_types: BAND_TYPES,
            capabilities: METER_CAPABILITIES,
            max_bands: limits.bands_max,
            max_color: 0,
        }
    }

    fn meter_set(&mut self, id: Option<u32>, config: &MeterConfig) -> Result<u32, OfpError> {
        if config.bands.iter().any(|b| b.remark.is_some()) {
            return Err(OfpError::OFPMMFC_BAD_BAND);
        }
        let bands = config.bands.iter().map(|b| dpif::MeterBand {
            rate: b.rate,
            burst: b.burst_size,
        });
        let config = dpif::MeterConfig {
            packets: config.flags.contains(MeterFlags::PKTPS),
            bands: bands.collect(),
        };
        let done = self.backer.meter_set(id, &config);
        done.map_err(|e| match e {
            DpifError::TooBig | DpifError::NoSpace => OfpError::OFPMMFC_OUT_OF_METERS,
            DpifError::Invalid => OfpError::OFPMMFC_OUT_OF_BANDS,
            _ => OfpError::OFPMMFC_UNKNOWN,
        })
    }

    fn meter_del(&mut self, id: u32) {
        self.backer.meter_del(id);
    }

    fn meter_stats(&mut self, meter: &ofproto::Meter) -> Option<MeterStats> {
        let counts = self.backer.meter_counts(meter.provider_id)?;
        Some(MeterStats {
            packet_in_count: counts.packets,
            byte_in_count: counts.bytes,
            bands: counts.bands,
            ..MeterStats::default()
        })
    }

    fn queues(&mut self, port: OfPort) -> Vec<u32> {
        let queues = self.device(port).and_then(|d| d.queues().ok());
        queues
            .into_iter()
            .flatten()
            .map(|(queue, _)| queue)
            .collect()
    }

    fn queue_stats(&mut self, port: OfPort) -> Vec<openflow::QueueStats> {
        let now_ms = self.now.millis();
        let Some(device) = self.device(port) else {
            return Vec::new();
        };
        let queues = device.queues().unwrap_or_default().into_iter();
        queues
            .filter_map(|(queue, _)| {
                let s = device.queue_stats(queue).ok()?;
                Some(openflow::QueueStats {
                    port,
                    queue,
                    tx_bytes: s.tx_bytes,
                    tx_packets: s.tx_packets,
                    tx_errors: s.tx_errors,
                    duration: age(s.created_ms, now_ms),
                })
            })
            .collect()
    }

    fn ct_flush(&mut self, which: &openflow::CtFlush) -> Result<(), OfpError> {
        match self.backer.ct_flush(which.zone, &ct_match(which)) {
            // Connections that are not there are gone, which is what is wanted.
            Ok(()) | Err(DpifError::NoEntry) => Ok(()),
            Err(_) => Err(OfpError::OFPBRC_BAD_TYPE),
        }
    }

    fn set_fragments(&mut self, mode: u16) -> bool {
        self.fragments = Some(mode);
        mode != 2
    }
}

/// Which connections a message is about.
fn ct_match(which: &openflow::CtFlush) -> CtMatch {
    let addr = |a: &wire::Ipv6| {
        let v6 = std::net::Ipv6Addr::from(a.0);
        (!v6.is_unspecified()).then(|| v6.to_canonical())
    };
    let ends = |t: &openflow::CtTuple| CtEnds {
        src: addr(&t.src),
        dst: addr(&t.dst),
        src_port: t.src_port,
        dst_port: t.dst_port,
        icmp_id: t.icmp_id,
        icmp_type: t.icmp_type,
        icmp_code: t.icmp_code,
    };
    CtMatch {
        proto: which.ip_proto,
        v6: which.ipv6,
        orig: ends(&which.orig),
        reply: ends(&which.reply),
    }
}

/// Time since a queue was made; all ones when that is not known.
fn age(created_ms: u64, now_ms: u64) -> openflow::Duration {
    let Some(ms) = now_ms.checked_sub(created_ms) else {
        return openflow::Duration {
            sec: u32::MAX,
            nsec: u32::MAX,
        };
    };
    openflow::Duration {
        sec: u32::try_from(ms / 1000).unwrap_or(u32::MAX),
        nsec: (ms % 1000) as u32 * 1_000_000,
    }
}

//! What `ofproto` needs from the datapath: counters and devices of ports, packets that controllers send.
//!
//! It is called with the bridge's tables locked, so whatever would lock them again is only noted here and done
//! afterwards ([`Below::settle`]).

use backer::{Backer, PacketOut, PortFlags};
use flow::OfPort;
use netdev::DeviceFlags;
use ofproto::{PacketPlan, Provider};
use openflow::{OfpError, PortConfig, PortStats};
use packet::HeapPool;

/// The provider of one bridge, for the time of one turn.
#[derive(Debug)]
pub(super) struct Below<'a> {
    backer: &'a mut Backer,
    bridge: &'a str,
    reconfigured: Vec<OfPort>,
    fragments: Option<u16>,
}

impl<'a> Below<'a> {
    pub(super) fn new(backer: &'a mut Backer, bridge: &'a str) -> Self {
        Self {
            backer,
            bridge,
            reconfigured: Vec::new(),
            fragments: None,
        }
    }

    /// Does what had to wait until the tables were let go of.
    pub(super) fn settle(self, configs: &[(OfPort, PortConfig)], plans: Vec<PacketPlan>) {
        let Self {
            backer,
            bridge,
            reconfigured,
            fragments,
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
        for plan in plans {
            let Ok(po) = plan.work.downcast::<openflow::PacketOut>() else {
                continue;
            };
            let mut frame = HeapPool::global().copy_from(&po.packet);
            frame.in_port = packet::OdpPort::NONE;
            let out = PacketOut {
                in_port: po.in_port(),
                frame,
                acts: &po.acts,
                metadata: Some(&po.metadata.flow),
            };
            if let Err(e) = backer.packet_out(bridge, out) {
                tracing::debug!(target: "ofproto", "{e}");
            }
        }
        // Posts what the messages changed to whoever keeps flows true.
        drop(backer.tables(bridge, |_| ()));
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
        _version: classifier::Version,
    ) -> Result<PacketPlan, OfpError> {
        Ok(PacketPlan {
            learns: Vec::new(),
            work: Box::new(packet.clone()),
        })
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

    fn set_fragments(&mut self, mode: u16) -> bool {
        self.fragments = Some(mode);
        mode != 2
    }
}

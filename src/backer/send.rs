//! Packets that somebody sends through a bridge: translated first, executed later.
//!
//! The two halves are apart because a controller's packet is translated while its bridge's tables are locked (by
//! the version that the messages before it made), and executed when they are free again. Translating changes
//! nothing; executing credits, learns and sends.

use crate::backer::Backer;
use crate::error::BackerError;
use base::sync::Arc;
use dpif::{DpifError, Execute, Op};
use flow::{Flow, Metadata, OdpPort, OfPort};
use odp::{Action, FlowStats, SlowReason};
use openflow::{Act, FlowMod};
use packet::{Frame, HeapPool};
use std::time::Duration;
use xlate::{BridgeId, Effect, Input, XlateError, output::Start};

/// How long sending waits for a packet that goes to a controller to get there.
const UP_WAIT: Duration = Duration::from_millis(10);

/// True for actions that may send a packet to a controller.
fn goes_up(action: &Action) -> bool {
    match action {
        Action::Userspace(_) => true,
        Action::Clone(inner) | Action::Sample { actions: inner, .. } => inner.iter().any(goes_up),
        _ => false,
    }
}

/// A packet that somebody sends through a bridge.
#[derive(Debug)]
pub struct PacketOut<'a> {
    /// Where it is said to have come from; a reserved port for nowhere.
    pub in_port: OfPort,
    /// The packet.
    pub frame: Frame,
    /// What to do with it.
    pub acts: &'a [Act],
    /// Pipeline metadata, if any (registers and the like).
    pub metadata: Option<&'a Flow>,
}

/// A packet that was translated and waits to be executed.
#[derive(Debug)]
pub struct Sending {
    bridge: BridgeId,
    frame: Frame,
    /// Headers and metadata; `in_port` is a datapath port.
    key: Flow,
    out: xlate::Output,
}

impl Sending {
    /// Why translation failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<XlateError> {
        self.out.error
    }

    /// Says by which datapath port the packet came in, when that is known better than by its OpenFlow port.
    pub fn came_in_by(&mut self, port: OdpPort) {
        self.key.in_port.set(port.0);
    }

    /// Takes out the flows that the packet teaches its own bridge, each with the limit of its cookie.
    pub fn take_learned(&mut self) -> Vec<(FlowMod, u32)> {
        let mut learned = Vec::new();
        let own = self.bridge;
        self.out.effects.retain(|effect| match effect {
            Effect::Learn {
                bridge,
                flow_mod,
                limit,
            } if *bridge == own => {
                learned.push(((**flow_mod).clone(), *limit));
                false
            }
            _ => true,
        });
        learned
    }
}

impl Backer {
    /// Sends a packet through a list of actions of a bridge, and credits it.
    ///
    /// # Errors
    /// NoBridge, or what the datapath says.
    pub fn packet_out(&self, bridge: &str, packet: PacketOut<'_>) -> Result<(), BackerError> {
        let mut key = Flow::zero();
        flow::extract(
            packet.frame.data(),
            &Metadata::of_frame(&packet.frame),
            &mut key,
        );
        if let Some(m) = packet.metadata {
            (key.metadata, key.regs, key.tunnel) = (m.metadata, m.regs, m.tunnel);
            (key.pkt_mark, key.skb_priority) = (m.pkt_mark, m.skb_priority);
        }
        key.in_port.set(u32::from(packet.in_port.0));
        let sending = self.translate_packet(
            bridge,
            (packet.frame, key),
            Start::PacketOut(packet.acts),
            None,
        )?;
        self.send(bridge, sending)
    }

    /// Translates a packet with its headers and metadata (`in_port` is an OpenFlow port), by the tables of
    /// `version` or the newest. Changes nothing, and takes no lock of a bridge.
    ///
    /// # Errors
    /// NoBridge.
    pub fn translate_packet(
        &self,
        bridge: &str,
        (frame, mut key): (Frame, Flow),
        start: Start<'_>,
        version: Option<u64>,
    ) -> Result<Sending, BackerError> {
        let b = self.bridge(bridge)?;
        let snapshot = self.snapshot();
        let mut input = Input::new(b.id, &key, self.clock.now());
        input.packet = Some(frame.data());
        input.start = start;
        input.tables_version = version;
        let out = xlate::translate(&snapshot, input);
        let in_port = OfPort((key.in_port.get() & 0xffff) as u16);
        let odp = b.iface_by_number(in_port).map_or(OdpPort::NONE, |i| i.odp);
        let id = b.id;
        key.in_port.set(odp.0);
        Ok(Sending {
            bridge: id,
            frame,
            key,
            out,
        })
    }

    /// Applies what a translated packet does, and executes it. The tables of no bridge may be locked.
    ///
    /// # Errors
    /// What the datapath says.
    pub fn send(&self, bridge: &str, sending: Sending) -> Result<(), BackerError> {
        let Sending {
            frame, key, out, ..
        } = sending;
        let delta = FlowStats {
            n_packets: 1,
            n_bytes: frame.len() as u64,
            used: Some(self.clock.now()),
            tcp_flags: key.tcp_flags.get(),
        };
        self.world().apply(&out, &delta);
        self.execute(frame, Arc::new(key), &out)
            .map_err(|source| BackerError::PacketOut {
                bridge: bridge.to_owned(),
                source,
            })
    }

    /// Does with a traced packet what its translation says, except sending it anywhere. `flow` is what the
    /// translation of its pass began with.
    pub fn traced(&self, bridge: BridgeId, packet: &[u8], flow: &Flow, out: &xlate::Output) {
        self.world().teach(out, flow.tcp_flags.get());
        if out.error.is_some() {
            return;
        }
        let mut out = out.clone();
        out.actions
            .retain(|a| !matches!(a, Action::Output(_) | Action::Recirc(_)));
        let mut key = *flow;
        let of_bridge = self.bridges.values().find(|b| b.id == bridge);
        let port = u16::try_from(flow.in_port.get()).map_or(OfPort::NONE, OfPort);
        let iface = of_bridge.and_then(|b| b.iface_by_number(port));
        key.in_port.set(iface.map_or(OdpPort::NONE, |i| i.odp).0);
        // It is a trial: what the datapath says of it is of no consequence.
        drop(self.execute(HeapPool::global().copy_from(packet), Arc::new(key), &out));
    }

    fn execute(&self, frame: Frame, key: Arc<Flow>, out: &xlate::Output) -> Result<(), DpifError> {
        let mut ops = [Op::Execute(Execute {
            frame: Some(frame),
            key,
            actions: Arc::new(out.actions.clone()),
            needs_help: out.slow.has(SlowReason::ACTION),
            probe: false,
            result: Err(DpifError::Again),
        })];
        if out.actions.is_empty() {
            return Ok(());
        }
        self.dpif.operate(&mut ops);
        if out.actions.iter().any(goes_up) {
            // Whoever sent the packet sees what comes of it before the answer to what he sends next.
            self.dpif.quiesce(UP_WAIT);
        }
        match ops {
            [Op::Execute(e)] => e.result,
            _ => Ok(()),
        }
    }
}

//! What the main thread does now and then, and packets from controllers.

use crate::backer::Backer;
use crate::error::BackerError;
use base::clock::Nanos;
use base::sync::{Arc, lock, write};
use dpif::{DpifError, Execute, Op};
use flow::{Flow, Metadata, OdpPort, OfPort};
use odp::{FlowStats, SlowReason};
use openflow::Act;
use packet::Frame;
use udpif::world::{Fact, facts};
use xlate::{Input, output::Start};

/// Rules looked at for expiry in one go.
const EXPIRY_BUDGET: usize = 4_096;
/// Rules swept out of the tables in one go.
const SWEEP_BUDGET: usize = 4_096;

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

impl Backer {
    /// Housekeeping: datapath, port states, MAC aging, rule expiry. To be called every 100 ms or so, and
    /// whenever a device changed. True when there is more to do at once.
    pub fn run(&mut self) -> bool {
        self.dpif.run();
        // Ports come and go by our own hand; somebody else's doing is found by the devices' states.
        while self.dpif.port_poll().is_some() {}
        self.poll_ports();
        self.age_macs();
        self.expire_rules()
    }

    /// Looks for devices that changed, and tells translation.
    fn poll_ports(&mut self) {
        let mut changed = Vec::new();
        for bridge in self.bridges.values_mut() {
            for port in bridge.ports.values_mut() {
                for iface in port.ifaces.values_mut() {
                    let seq = iface.device.change_seq();
                    if seq != iface.seen_seq {
                        iface.seen_seq = seq;
                        changed.push(Fact::Port(bridge.id, iface.ofp));
                    }
                }
            }
        }
        if !changed.is_empty() {
            changed.push(Fact::Untracked);
            self.publish(&changed);
        }
    }

    fn age_macs(&self) {
        let now = self.clock.now();
        for bridge in self.bridges.values() {
            let changes = {
                let mut macs = write(&bridge.macs);
                macs.run(now);
                macs.take_changes()
            };
            self.udpif().post(facts::of_macs(bridge.id, &changes));
        }
    }

    /// Removes rules whose time is over, once the packets of that time are credited.
    fn expire_rules(&mut self) -> bool {
        let now = self.clock.now();
        let counted = self.udpif().counted_until();
        let fresh = counted != self.expired_at;
        self.expired_at = counted;
        let mut more = false;
        for bridge in self.bridges.values() {
            let mut ofproto = lock(&bridge.ofproto);
            let due = fresh || ofproto.next_expiry().is_some_and(|t| t <= now);
            if due {
                more |= ofproto.expire(now, counted, EXPIRY_BUDGET);
            }
            // What readers still hold is swept later; that is not work to be done at once.
            ofproto.sweep(SWEEP_BUDGET);
            let changes = ofproto.take_changes();
            drop(ofproto);
            self.udpif().post(facts::of_changes(bridge.id, &changes));
        }
        more
    }

    /// Sends a packet through a list of actions of a bridge, and credits it.
    ///
    /// # Errors
    /// NoBridge, or what the datapath says.
    pub fn packet_out(&self, bridge: &str, packet: PacketOut<'_>) -> Result<(), BackerError> {
        let b = self.bridge(bridge)?;
        let now = self.clock.now();
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
        let snapshot = self.snapshot();
        let mut input = Input::new(b.id, &key, now);
        input.packet = Some(packet.frame.data());
        input.start = Start::PacketOut(packet.acts);
        let out = xlate::translate(&snapshot, input);
        let delta = FlowStats {
            n_packets: 1,
            n_bytes: packet.frame.len() as u64,
            used: Some(now),
            tcp_flags: key.tcp_flags.get(),
        };
        self.world().apply(&out, &delta);
        let odp = b
            .iface_by_number(packet.in_port)
            .map_or(OdpPort::NONE, |i| i.odp);
        key.in_port.set(odp.0);
        self.execute(packet.frame, Arc::new(key), &out)
            .map_err(|source| BackerError::PacketOut {
                bridge: bridge.to_owned(),
                source,
            })
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
        match ops {
            [Op::Execute(e)] => e.result,
            _ => Ok(()),
        }
    }

    /// When [`Self::run`] has something to do again at the latest, if nothing happens.
    #[must_use]
    pub fn next_run(&self) -> Nanos {
        self.clock.now().plus_millis(500)
    }
}

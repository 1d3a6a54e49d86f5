//! Packets between translation and controllers: what a controller is shown of a packet that was sent up, and the
//! frozen translation that a controller hands back to let a packet go on.
//!
//! A continuation goes out with the packet and comes back in `NXT_RESUME`, possibly altered: nothing of it is
//! trusted further than a packet-out of the same controller would be.

use base::sync::Arc;
use flow::{Flow, Match, Metadata, TunTable};
use ofproto::ControllerPacket;
use openflow::{Act, Acts, Continuation};
use udpif::world::PacketIn;
use xlate::recirc::FrozenMetadata;
use xlate::{BridgeId, FrozenState, FrozenStep};

/// A packet as controllers get it: whole, whatever length the action asked for, because there are no buffers.
/// `tun` places tunnel metadata.
pub(super) fn to_controller(p: PacketIn, tun: &TunTable) -> ControllerPacket {
    let continuation = match &p.continuation {
        Some(state) => continuation(state, p.odp_port.0),
        None => Continuation::default(),
    };
    ControllerPacket {
        controller_id: p.controller_id,
        packet: openflow::PacketIn {
            packet: p.frame.data().to_vec(),
            total_len: p.frame.len(),
            buffer_id: u32::MAX,
            reason: p.reason,
            table_id: p.table,
            cookie: p.cookie,
            metadata: Match::of_context(&p.flow, Some(tun)),
            userdata: p.userdata,
            continuation,
        },
    }
}

fn continuation(state: &FrozenState, odp_port: u32) -> Continuation {
    let mut frames: Vec<openflow::Frame> = Vec::new();
    for step in &state.steps {
        match step {
            FrozenStep::Unroll { table, cookie } => frames.push(openflow::Frame {
                table_id: *table,
                cookie: *cookie,
                acts: Acts::new(),
            }),
            FrozenStep::Act(act) => {
                if frames.is_empty() {
                    frames.push(openflow::Frame::default());
                }
                if let Some(last) = frames.last_mut() {
                    last.acts.push(act.clone());
                }
            }
        }
    }
    frames.retain(|f| !f.acts.is_empty());
    Continuation {
        bridge: state.bridge.0.to_be_bytes(),
        stack: state.stack.clone(),
        mirrors: state.mirrors,
        conntracked: state.conntracked,
        frames,
        action_set: state.action_set.clone(),
        odp_port,
    }
}

/// Headers and metadata of a packet that a controller lets go on; `in_port` is an OpenFlow port.
pub(super) fn resumed_flow(pin: &openflow::PacketIn) -> Flow {
    let metadata = Metadata {
        packet_type: pin.metadata.flow.packet_type.get(),
        ..Metadata::default()
    };
    let mut flow = Flow::zero();
    flow::extract(&pin.packet, &metadata, &mut flow);
    let given = pin.metadata.flow.lines().as_flattened();
    for (f, g) in flow.lines_mut().as_flattened_mut().iter_mut().zip(given) {
        *f |= g;
    }
    flow
}

/// The frozen translation that a controller hands back.
pub(super) fn frozen(pin: &openflow::PacketIn) -> Arc<FrozenState> {
    let c = &pin.continuation;
    let mut steps = Vec::new();
    for frame in &c.frames {
        steps.push(FrozenStep::Unroll {
            table: frame.table_id,
            cookie: frame.cookie,
        });
        steps.extend(frame.acts.iter().cloned().map(FrozenStep::Act));
    }
    if steps.is_empty() {
        // Without a step the tables would be searched; there is still the end of the pipeline to do.
        steps.push(FrozenStep::Act(Act::Note(Vec::new())));
    }
    Arc::new(FrozenState {
        table: 0,
        bridge: BridgeId(u128::from_be_bytes(c.bridge)),
        ingress: None,
        metadata: FrozenMetadata::of(&pin.metadata.flow),
        stack: c.stack.clone(),
        mirrors: c.mirrors,
        conntracked: c.conntracked,
        was_mpls: false,
        steps,
        action_set: c.action_set.clone(),
        userdata: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::OfPort;

    #[test]
    fn a_frozen_translation_comes_back_as_it_went() {
        let out = |port| {
            FrozenStep::Act(Act::Output {
                port: OfPort(port),
                max_len: 0,
            })
        };
        let unroll = |table, cookie| FrozenStep::Unroll { table, cookie };
        let mut flow = Flow::zero();
        flow.in_port.set(7);
        flow.metadata = wire::U64::new(5);
        let state = FrozenState {
            table: 0,
            bridge: BridgeId(77),
            ingress: None,
            metadata: FrozenMetadata::of(&flow),
            stack: vec![vec![1, 2], vec![3]],
            mirrors: 2,
            conntracked: true,
            was_mpls: false,
            steps: vec![unroll(1, 9), out(1), out(2), unroll(0, 3), out(4)],
            action_set: vec![Act::Output {
                port: OfPort(3),
                max_len: 0,
            }],
            userdata: Vec::new(),
        };
        let pin = openflow::PacketIn {
            metadata: Match::of_context(&flow, None),
            continuation: continuation(&state, 4),
            ..openflow::PacketIn::default()
        };
        assert_eq!(*frozen(&pin), state);
        let nothing = openflow::PacketIn::default();
        assert_eq!(frozen(&nothing).steps.len(), 1, "tables are not searched");
    }
}

//! Execution with help: what a provider cannot do to a packet is done above it.
//!
//! The plain executor of `odp` changes the packet; each output, userspace action and the like is passed
//! down as an execution of its own, in order. Meters are passed down in front of the next such action,
//! which is an approximation: their verdict is not known here.

use crate::error::DpifError;
use crate::front::Front;
use crate::types::{Execute, Op};
use base::rng::Rng;
use base::sync::Arc;
use flow::Flow;
use odp::execute::{Datapath, Packet};
use odp::{Action, DropReason, SetKey};
use packet::Frame;

/// Runs `execute` in pieces; its outcome is the first failure.
pub(crate) fn execute(front: &Front, execute: &mut Execute) -> Result<(), DpifError> {
    let frame = execute.frame.take().ok_or(DpifError::Invalid)?;
    let mut helper = Helper {
        front,
        key: &execute.key,
        meters: Vec::new(),
        rng: Rng::new(base::clock::monotonic_ns()),
        result: Ok(()),
    };
    let packet = Packet::new(frame, &execute.key);
    odp::execute::execute(packet, &execute.actions, &mut helper);
    helper.result
}

struct Helper<'a> {
    front: &'a Front,
    key: &'a Flow,
    /// Meters since the last action that was passed down.
    meters: Vec<Action>,
    rng: Rng,
    result: Result<(), DpifError>,
}

impl Helper<'_> {
    fn pass_down(&mut self, frame: Frame, key: Arc<Flow>, actions: Vec<Action>) {
        let mut ops = [Op::Execute(Execute {
            frame: Some(frame),
            key,
            actions: Arc::new(actions),
            needs_help: false,
            probe: false,
            result: Err(DpifError::Again),
        })];
        self.front.pass_down(&mut ops);
        if let [Op::Execute(Execute { result: Err(e), .. })] = ops
            && self.result.is_ok()
        {
            self.result = Err(e);
        }
    }
}

impl Datapath for Helper<'_> {
    fn perform(&mut self, action: &Action, packet: Packet) {
        let mut actions = std::mem::take(&mut self.meters);
        if let Some(tunnel) = &packet.tunnel {
            actions.push(Action::Set(SetKey::Tunnel(tunnel.clone())));
        }
        actions.push(action.clone());
        let (mut key, _) = packet.extract();
        key.recirc_id = self.key.recirc_id;
        self.pass_down(packet.frame, Arc::from(key), actions);
    }
    fn dropped(&mut self, _packet: Packet, _reason: DropReason) {}
    fn meter(&mut self, id: u32, _packet: &Packet) -> bool {
        self.meters.push(Action::Meter(id));
        true
    }
    fn sample(&mut self, probability: u32) -> bool {
        probability == u32::MAX || self.rng.below(1 << 32) < u64::from(probability)
    }
}

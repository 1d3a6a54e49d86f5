//! [`Job`]: messages being applied together, in pieces, so that a long bundle does not hold up its thread.
//!
//! *Start*: each message in order changes the version being prepared; packets are translated with what the
//! messages before them did. *Finish*: the version is published, ports are changed, what happened is
//! announced. When a message fails, *undo* takes everything back. One job at a time per switch; meanwhile
//! nothing else changes its tables.

use super::Cx;
use super::bundle::{ATOMIC, Cause, Entry, Work};
use crate::event::Requester;
use crate::provider::PacketPlan;
use crate::txn::Txn;
use crate::walk::Walk;
use openflow::{FlowModCommand, GroupMod, Header, Message, OfpError, PortMod};
use std::collections::VecDeque;

/// What remains to be done with a message once its version is published.
#[derive(Debug)]
enum Rest {
    Group(Box<GroupMod>, bool),
    Port(PortMod),
}

#[derive(Debug)]
enum Stage {
    Start,
    Finish,
    Undo(OfpError, Cause),
}

/// See the file's essay.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) by: Requester,
    /// The reply when all went well, the request's header, and its beginning for when it did not.
    pub(crate) commit: Option<(Message, Header, Cause)>,
    flags: u16,
    txn: Txn,
    entries: VecDeque<Entry>,
    /// A deletion that is under way.
    deleting: Option<Walk>,
    stage: Stage,
    rest: VecDeque<Rest>,
    /// What came of it, so far.
    pub(crate) outcome: Outcome,
}

/// What came of a job.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Packets to send now.
    pub(crate) plans: Vec<PacketPlan>,
    /// Group mods that other controllers may want to hear of, each with "the group was there before".
    pub(crate) groups: Vec<(Box<GroupMod>, bool)>,
    /// Flow mods: adds, modifications, deletions.
    pub(crate) flow_mods: [u32; 3],
    /// The message that failed, and why.
    pub(crate) failed: Option<(OfpError, Cause)>,
}

impl Job {
    /// A job for messages of one controller.
    pub(crate) fn new(
        cx: &mut Cx<'_>,
        by: Requester,
        flags: u16,
        entries: VecDeque<Entry>,
    ) -> Self {
        Self {
            by,
            commit: None,
            flags,
            txn: cx.of.begin(cx.now),
            entries,
            deleting: None,
            stage: Stage::Start,
            rest: VecDeque::new(),
            outcome: Outcome::default(),
        }
    }

    /// Works on it, looking at no more than about `budget` messages and flows. True when there is more to do.
    pub(crate) fn run(&mut self, cx: &mut Cx<'_>, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            let more = match &self.stage {
                Stage::Start => self.start(cx, &mut left),
                Stage::Finish => self.finish(cx, &mut left),
                Stage::Undo(..) => self.undo(cx, &mut left),
            };
            if !more {
                return false;
            }
        }
        true
    }

    fn start(&mut self, cx: &mut Cx<'_>, left: &mut usize) -> bool {
        if let Some(walk) = &mut self.deleting {
            let more = cx.of.delete_some(&mut self.txn, walk, *left);
            if more {
                *left = 0;
            } else {
                *left -= 1;
                self.deleting = None;
            }
            return true;
        }
        *left -= 1;
        let Some(entry) = self.entries.pop_front() else {
            cx.of.publish(&mut self.txn);
            self.stage = Stage::Finish;
            return true;
        };
        if let Err(error) = self.start_one(cx, entry.work) {
            self.entries.clear();
            self.stage = Stage::Undo(error, entry.cause);
        }
        true
    }

    fn undo(&mut self, cx: &mut Cx<'_>, left: &mut usize) -> bool {
        if cx.of.undo(&mut self.txn, *left) {
            *left = 0;
            return true;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finish);
        if let Stage::Undo(error, cause) = stage {
            self.outcome = Outcome {
                failed: Some((error, cause)),
                ..Outcome::default()
            };
        }
        false
    }

    fn start_one(&mut self, cx: &mut Cx<'_>, work: Work) -> Result<(), OfpError> {
        let by = Some(self.by);
        match work {
            Work::Flow(fm) => {
                let kind = match fm.command {
                    FlowModCommand::Add => 0,
                    FlowModCommand::Modify | FlowModCommand::ModifyStrict => 1,
                    FlowModCommand::Delete | FlowModCommand::DeleteStrict => 2,
                };
                self.outcome.flow_mods[kind] += 1;
                self.deleting = cx.of.start_flow_mod_slowly(&mut self.txn, fm, by)?;
            }
            Work::Group(gm) => {
                let spec = super::group::spec(&gm);
                let existed = cx.of.start_group_mod(&mut self.txn, spec, by)?;
                self.rest.push_back(Rest::Group(gm, existed));
            }
            // Ports cannot be changed at a version.
            Work::Port(_) if self.flags & ATOMIC != 0 => return Err(OfpError::OFPBFC_MSG_FAILED),
            Work::Port(pm) => {
                cx.of.check_port_mod(&pm)?;
                self.rest.push_back(Rest::Port(pm));
            }
            Work::Packet(po) => {
                cx.of.check_references(&po.acts)?;
                let mut plan = cx.provider.translate(&po, self.txn.version())?;
                for (fm, _) in std::mem::take(&mut plan.learns) {
                    let fm = cx.of.prepare_flow_mod(fm, None)?;
                    cx.of.start_flow_mod(&mut self.txn, fm, None)?;
                }
                self.outcome.plans.push(plan);
            }
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>, left: &mut usize) -> bool {
        for rest in self.rest.drain(..) {
            match rest {
                Rest::Group(gm, existed) => self.outcome.groups.push((gm, existed)),
                Rest::Port(pm) => super::port::apply_port_mod(cx, &pm, self.by.conn),
            }
        }
        let more = cx.of.finish(&mut self.txn, *left);
        *left = 0;
        more
    }
}

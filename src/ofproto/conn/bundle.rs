//! Bundles: messages collected by a controller, to be applied together.
//!
//! Messages are checked and made compact when they arrive, so that a wrong one is refused at once. Limits:
//! [`BUNDLES_MAX`] bundles per connection, [`MESSAGES_MAX`] messages in each.

use crate::flow_mod::PreparedFlowMod;

use base::clock::Nanos;
use openflow::{GroupMod, OfpError, PacketOut, PortMod};
use std::collections::{BTreeMap, VecDeque};

/// Bundles a connection can have.
pub(crate) const BUNDLES_MAX: usize = 1024;
/// Messages a bundle can have.
pub(crate) const MESSAGES_MAX: usize = 1 << 22;
/// Flag: all or nothing.
pub(crate) const ATOMIC: u16 = 1;

/// A message as it came, kept for errors about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause(Box<[u8]>);

impl Cause {
    pub(crate) fn of(message: &[u8]) -> Self {
        Self(message.into())
    }
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a message of a bundle does.
#[derive(Debug)]
pub(crate) enum Work {
    Flow(PreparedFlowMod),
    Group(Box<GroupMod>),
    Port(PortMod),
    Packet(Box<PacketOut>),
}

/// A message of a bundle.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) cause: Cause,
}

/// A bundle.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) flags: u16,
    closed: bool,
    used: Nanos,
    /// The message that opened it.
    cause: Cause,
    pub(crate) entries: VecDeque<Entry>,
}

/// The bundles of one connection, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Bundles(BTreeMap<u32, Bundle>);

type Verdict = Result<(), OfpError>;

impl Bundles {
    fn create(&mut self, id: u32, flags: u16, message: &[u8], now: Nanos) -> Verdict {
        if self.0.len() >= BUNDLES_MAX {
            return Err(OfpError::OFPBFC_OUT_OF_BUNDLES);
        }
        let bundle = Bundle {
            flags,
            closed: false,
            used: now,
            cause: Cause::of(message),
            entries: VecDeque::new(),
        };
        self.0.insert(id, bundle);
        Ok(())
    }

    pub(crate) fn open(&mut self, id: u32, flags: u16, message: &[u8], now: Nanos) -> Verdict {
        if self.0.remove(&id).is_some() {
            tracing::info!(target: "bundles", "Bundle {id:x} already exists.");
            return Err(OfpError::OFPBFC_BAD_ID);
        }
        self.create(id, flags, message, now)
    }

    pub(crate) fn close(&mut self, id: u32, flags: u16, now: Nanos) -> Verdict {
        let bundle = self.0.get_mut(&id).ok_or(OfpError::OFPBFC_BAD_ID)?;
        let error = if bundle.closed {
            OfpError::OFPBFC_BUNDLE_CLOSED
        } else if bundle.flags != flags {
            OfpError::OFPBFC_BAD_FLAGS
        } else {
            bundle.closed = true;
            bundle.used = now;
            return Ok(());
        };
        self.0.remove(&id);
        Err(error)
    }

    /// Takes a bundle out, to commit or discard it.
    pub(crate) fn take(&mut self, id: u32) -> Result<Bundle, OfpError> {
        self.0.remove(&id).ok_or(OfpError::OFPBFC_BAD_ID)
    }

    /// Adds a message that came inside `outer`; opens the bundle when there is none.
    pub(crate) fn add(
        &mut self,
        (id, flags): (u32, u16),
        work: Work,
        (message, outer): (&[u8], &[u8]),
        now: Nanos,
    ) -> Verdict {
        if !self.0.contains_key(&id) {
            self.create(id, flags, outer, now)?;
        }
        let bundle = self.0.get_mut(&id).ok_or(OfpError::OFPBFC_BAD_ID)?;
        let error = if bundle.closed {
            OfpError::OFPBFC_BUNDLE_CLOSED
        } else if bundle.flags != flags {
            OfpError::OFPBFC_BAD_FLAGS
        } else if bundle.entries.len() >= MESSAGES_MAX {
            OfpError::OFPBFC_MSG_TOO_MANY
        } else {
            bundle.used = now;
            let cause = Cause::of(message);
            bundle.entries.push_back(Entry { work, cause });
            return Ok(());
        };
        self.0.remove(&id);
        Err(error)
    }

    /// Removes bundles that were not used for `idle_ms`; gives the messages that opened them.
    pub(crate) fn expire(&mut self, idle_ms: u64, now: Nanos) -> Vec<Cause> {
        let old: Vec<u32> = self
            .0
            .iter()
            .filter(|(_, b)| b.used.plus_millis(idle_ms) <= now)
            .map(|(id, _)| *id)
            .collect();
        let gone = old.iter().filter_map(|id| self.0.remove(id));
        gone.map(|b| b.cause).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

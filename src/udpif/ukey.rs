//! What is remembered of one datapath flow.
//!
//! A ukey lives in one [`crate::shard::Shard`] and is read and written under that shard's lock only. To
//! translate it again without holding the lock, a revalidator *claims* it: a claimed ukey is changed by
//! nobody else, and is not removed, until the claim is given back. So there is one writer per ukey.

use crate::index::Seat;
use crate::packed::PackedFlow;
use crate::state::{IllegalTransition, UkeyState};
use base::clock::Nanos;
use base::sync::Arc;
use dpif::PmdId;
use flow::Mask;
use odp::{Actions, FlowStats, Ufid};

/// Names a flow of one packet thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UkeyId {
    /// Identity of the flow.
    pub ufid: Ufid,
    /// The packet thread that holds it.
    pub pmd: PmdId,
}

impl UkeyId {
    /// A hash, the same for the life of the process.
    #[must_use]
    pub fn hash(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "a ufid is a hash itself")]
        let (low, high) = (self.ufid.0 as u64, (self.ufid.0 >> 64) as u64);
        base::hash::mix(low ^ u64::from(self.pmd.0), high)
    }
}

/// A datapath flow as userspace remembers it.
#[derive(Debug)]
pub struct Ukey<E> {
    /// Name.
    pub id: UkeyId,
    /// Key, masked.
    pub key: PackedFlow,
    /// Mask it is installed with.
    pub mask: Arc<Mask>,
    /// Actions it is installed with.
    pub actions: Arc<Actions>,
    /// Whom its packets are credited to, and what they refresh.
    pub effects: Arc<E>,
    /// Its place in the shard's index of what translations depend on. The shard's business.
    pub(crate) seat: Seat,
    /// Counters already credited.
    pub pushed: FlowStats,
    /// When it was made.
    pub created: Nanos,
    /// When its installation was confirmed; a miss raised later means that the datapath lost the flow.
    pub confirmed: Option<Nanos>,
    /// The dump in which it was last seen.
    pub dump_round: u64,
    /// Packets of the last dump, for min-revalidate-pps.
    pub recent_packets: u32,
    /// Dumps in a row that did not show it.
    pub missed_dumps: u8,
    /// Something it depends on changed.
    pub stale: bool,
    /// A revalidator is at work on it.
    pub claimed: bool,
    state: UkeyState,
}

/// What a new ukey is made from.
#[derive(Debug)]
pub struct NewUkey<E> {
    /// Name.
    pub id: UkeyId,
    /// Key, masked.
    pub key: PackedFlow,
    /// Mask.
    pub mask: Arc<Mask>,
    /// Actions.
    pub actions: Arc<Actions>,
    /// Effects.
    pub effects: Arc<E>,
    /// Now.
    pub created: Nanos,
}

impl<E> Ukey<E> {
    /// A ukey in the state Created.
    #[must_use]
    pub fn new(new: NewUkey<E>) -> Self {
        Self {
            id: new.id,
            key: new.key,
            mask: new.mask,
            actions: new.actions,
            effects: new.effects,
            seat: Seat::default(),
            pushed: FlowStats::default(),
            created: new.created,
            confirmed: None,
            dump_round: 0,
            recent_packets: 0,
            missed_dumps: 0,
            stale: false,
            claimed: false,
            state: UkeyState::Created,
        }
    }

    /// Reads something of each of its cache lines, of which it has four.
    pub(crate) fn touch(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
        let id = self.id.ufid.0 as u64;
        id ^ self.key.touch() ^ self.pushed.n_packets ^ u64::from(self.recent_packets)
    }

    /// State.
    #[must_use]
    pub fn state(&self) -> UkeyState {
        self.state
    }

    /// Moves to the next state.
    ///
    /// # Errors
    /// The transition is illegal; the state stays.
    pub fn transition(&mut self, to: UkeyState) -> Result<(), IllegalTransition> {
        if self.state.may_become(to) {
            self.state = to;
            return Ok(());
        }
        Err(IllegalTransition {
            from: self.state,
            to,
        })
    }

    /// Takes note of counters read from the datapath and returns what was not credited before. Counters
    /// that went backwards (a flow replaced behind our back) add nothing.
    pub fn take_delta(&mut self, stats: &FlowStats) -> FlowStats {
        let delta = FlowStats {
            n_packets: stats.n_packets.saturating_sub(self.pushed.n_packets),
            n_bytes: stats.n_bytes.saturating_sub(self.pushed.n_bytes),
            used: stats.used.max(self.pushed.used),
            tcp_flags: stats.tcp_flags,
        };
        self.pushed = FlowStats {
            n_packets: stats.n_packets.max(self.pushed.n_packets),
            n_bytes: stats.n_bytes.max(self.pushed.n_bytes),
            used: delta.used,
            tcp_flags: stats.tcp_flags | self.pushed.tcp_flags,
        };
        delta
    }

    /// When the flow was last used, as far as is known.
    #[must_use]
    pub fn last_used(&self, stats: &FlowStats) -> Nanos {
        stats.used.max(self.pushed.used).unwrap_or(self.created)
    }

    /// Bytes of memory it occupies, not counting what is shared with others.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::mask_hash;
    use flow::Flow;
    use wire::Ipv4;

    #[test]
    fn identity_is_of_the_masked_key_and_the_mask() {
        let mut wide = Mask::empty();
        wide.0.nw_dst = Ipv4([255, 0, 0, 0]);
        let mut narrow = wide;
        narrow.0.nw_dst = Ipv4([255, 255, 0, 0]);
        let ufid_of = |d, mask| {
            let mut f = Flow::zero();
            f.nw_dst = Ipv4(d);
            PackedFlow::masked(&f, mask).ufid(mask_hash(mask))
        };
        assert_eq!(ufid_of([10, 0, 0, 1], &wide), ufid_of([10, 9, 9, 9], &wide));
        assert_ne!(
            ufid_of([10, 0, 0, 1], &wide),
            ufid_of([10, 0, 0, 1], &narrow)
        );
        assert_ne!(ufid_of([10, 0, 0, 1], &wide), ufid_of([11, 0, 0, 1], &wide));
    }

    #[test]
    fn a_ukey_is_small() {
        // With the one line that most keys have.
        assert!(
            size_of::<Ukey<()>>() <= 256,
            "{} bytes",
            size_of::<Ukey<()>>()
        );
    }
}

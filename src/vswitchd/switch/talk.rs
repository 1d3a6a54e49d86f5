//! While somebody talks, his messages are served as they come: whoever waits for each answer before he says
//! the next thing (`ovs-ofctl add-flows` does) would otherwise wait for a whole turn each time.
//!
//! In between the core is let go of (`sched_yield`) rather than slept on or spun on: the kernel likes to put two
//! that wait for each other on one core, where the next message comes soonest when the other may run at once and
//! need not wake us. Where somebody else takes the core instead, sleeping serves everybody better.

use super::Switch;
use crate::controllers::{Conversation, Heard};
use crate::slice::Slice;
use base::clock::monotonic_ns;
use base::poll::PollSet;
use std::time::Duration;

/// How long a turn is prolonged at most while somebody talks, microseconds. All others wait so long.
const TALK_US: u64 = 2000;
/// How long the next message is waited for, microseconds.
const QUIET_US: u64 = 100;
/// Letting go of the core for longer than this means that somebody else wanted it.
const LONG_YIELD_NS: u64 = 300_000;
/// Turns in which we sleep instead after that.
const SLEEPY_TURNS: u8 = 64;

impl Switch {
    /// See the file's essay. True when there is more to do at once.
    pub(super) fn talk_on(&mut self, slice_us: u64) -> bool {
        if !self.conversations.values().any(Conversation::is_talking) {
            return false;
        }
        self.sleepy_turns = self.sleepy_turns.saturating_sub(1);
        let (whole, mut patience) = (Slice::micros(TALK_US), Slice::micros(QUIET_US));
        let mut heard = Heard::Nothing;
        while !whole.is_over() && self.packet_ins.is_empty() {
            heard = self.serve_again(slice_us);
            if heard != Heard::Nothing {
                patience = Slice::micros(QUIET_US);
            } else if self.sleepy_turns > 0 {
                if !self.wait_for_talkers() {
                    break;
                }
            } else if patience.is_over() {
                break;
            } else {
                self.let_go();
            }
        }
        self.post_changes();
        heard == Heard::More
    }

    /// Lets others have the core, if they want it.
    fn let_go(&mut self) {
        let before = monotonic_ns();
        std::thread::yield_now();
        if monotonic_ns() - before > LONG_YIELD_NS {
            self.sleepy_turns = SLEEPY_TURNS;
        }
    }

    /// Sleeps a little on those who talk. False when nothing was said.
    fn wait_for_talkers(&self) -> bool {
        let mut set = PollSet::new();
        for conversation in self.conversations.values().filter(|c| c.is_talking()) {
            conversation.wait_for_talkers(&mut set);
        }
        // Packets for controllers are part of what they talk about.
        set.fd(self.packet_ins.fd(), false);
        set.within(Duration::from_micros(QUIET_US));
        set.wait()
    }

    fn serve_again(&mut self, slice_us: u64) -> Heard {
        let now = self.clock.now();
        let mut heard = Heard::Nothing;
        for (name, conversation) in &mut self.conversations {
            let owner = self
                .backers
                .values_mut()
                .find(|b| b.bridges().contains_key(name));
            if let Some(backer) = owner.filter(|_| conversation.is_talking()) {
                heard = heard.max(conversation.again(backer, (now, slice_us)));
            }
        }
        heard
    }

    /// Connects anew to the controllers of a bridge, or of all. False when there is no such bridge.
    pub(crate) fn reconnect(&mut self, bridge: Option<&str>) -> bool {
        let now = self.clock.now();
        let wanted = |name: &String| bridge.is_none_or(|b| b == name);
        let chosen = self.conversations.iter_mut().filter(|(n, _)| wanted(n));
        let n = chosen.map(|(_, c)| c.reconnect(now)).count();
        n > 0 || bridge.is_none()
    }

    /// Tells those who keep flows true what messages changed.
    fn post_changes(&self) {
        for (name, conversation) in &self.conversations {
            if let Some(backer) = self.backer_of(name).filter(|_| conversation.is_talking()) {
                drop(backer.tables(name, |_| ()));
            }
        }
    }
}

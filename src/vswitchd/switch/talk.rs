//! While somebody talks, his messages are served as they come: whoever waits for each answer before he says
//! the next thing would otherwise wait for a whole turn each time.

use super::Switch;
use crate::controllers::{Conversation, Slice};

/// How long a turn is prolonged at most while somebody talks, microseconds.
const TALK_US: u64 = 2000;
/// How long the next message is waited for without sleeping, microseconds.
const QUIET_US: u64 = 50;
/// Turns in which nothing is waited for without sleeping after such a wait was in vain.
const SKIPS: u8 = 64;
/// How long changes may stay unposted while somebody talks, microseconds.
const POST_US: u64 = 500;

impl Switch {
    /// See the file's essay. True when somebody still talks when the time is over.
    pub(super) fn talk_on(&mut self, slice_us: u64) -> bool {
        if !self.conversations.values().any(Conversation::is_talking) {
            return false;
        }
        // Where the last waits were in vain (a busy machine, a slow peer), sleeping serves everybody better.
        let patience_us = if self.talk_skips == 0 { QUIET_US } else { 0 };
        self.talk_skips = self.talk_skips.saturating_sub(1);
        let whole = Slice::micros(TALK_US);
        let (mut quiet, mut post) = (Slice::micros(patience_us), Slice::micros(POST_US));
        let (mut heard, mut unposted) = (true, false);
        while (heard || !quiet.is_over()) && !whole.is_over() {
            heard = self.serve_again(slice_us);
            unposted |= heard;
            if heard {
                quiet = Slice::micros(patience_us);
            }
            if unposted && post.is_over() {
                self.post_changes();
                (unposted, post) = (false, Slice::micros(POST_US));
            }
        }
        if unposted {
            self.post_changes();
        }
        if patience_us > 0 && quiet.is_over() {
            self.talk_skips = SKIPS;
        }
        heard
    }

    fn serve_again(&mut self, slice_us: u64) -> bool {
        let now = self.clock.now();
        let mut heard = false;
        for (name, conversation) in &mut self.conversations {
            let owner = self
                .backers
                .values_mut()
                .find(|b| b.bridges().contains_key(name));
            if let Some(backer) = owner.filter(|_| conversation.is_talking()) {
                heard |= conversation.again(backer, (now, slice_us));
            }
        }
        heard
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

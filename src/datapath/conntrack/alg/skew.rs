//! Sequence numbers behind a message whose length was changed.

/// One direction: how far numbers are shifted behind the last changed message, and before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Skew {
    /// Sequence number of the last message that was changed, as its sender means it.
    at: u32,
    before: i32,
    after: i32,
}

/// `a` comes after `b`, modulo 2^32.
const fn later(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

impl Skew {
    /// Nothing is shifted.
    pub(in super::super) const fn is_nothing(&self) -> bool {
        self.before == 0 && self.after == 0
    }

    /// The message at `seq` grew. A message that is sent again grew already.
    pub(super) const fn grow(&mut self, seq: u32, grown: i32) {
        if self.before == self.after || later(seq, self.at) {
            self.at = seq;
            self.before = self.after;
            self.after = self.after.wrapping_add(grown);
        }
    }

    /// What to add to a sequence number of this direction.
    pub(in super::super) const fn of_seq(&self, seq: u32) -> i32 {
        if later(seq, self.at) {
            self.after
        } else {
            self.before
        }
    }

    /// What to subtract from an acknowledgement of this direction's numbers.
    pub(in super::super) const fn of_ack(&self, ack: u32) -> i32 {
        if later(ack.wrapping_sub(self.before.cast_unsigned()), self.at) {
            self.after
        } else {
            self.before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_add_up_and_messages_sent_again_do_not() {
        let mut s = Skew::default();
        s.grow(100, 3);
        s.grow(100, 3);
        assert_eq!((s.of_seq(100), s.of_seq(101)), (0, 3));
        s.grow(200, -1);
        assert_eq!((s.of_seq(150), s.of_seq(201)), (3, 2));
        assert_eq!((s.of_ack(203), s.of_ack(210)), (3, 2));
    }
}

//! Life of a ukey: which state may follow which.
//!
//! Pure; no locks, no ukey. An illegal transition is a bug of this room: it is refused, counted and
//! logged by whoever holds the ukey ([`crate::counters::Counters`]), never a panic.

/// Where a ukey and its datapath flow stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum UkeyState {
    /// Made by a handler or a revalidator, nobody else can see it.
    Created,
    /// In the map; the flow's installation is on its way to the datapath.
    Visible,
    /// In the map, and the flow is in the datapath.
    Operational,
    /// In the map; the flow's removal is on its way to the datapath.
    Evicting,
    /// In the map as a tombstone, so that a late line of a running dump is not taken for a new flow.
    Evicted,
    /// Out of the map.
    Deleted,
}

impl UkeyState {
    /// Every state, in the order of life.
    pub const ALL: [Self; 6] = [
        Self::Created,
        Self::Visible,
        Self::Operational,
        Self::Evicting,
        Self::Evicted,
        Self::Deleted,
    ];

    /// True when `next` may follow `self`.
    ///
    /// Besides the straight line, a visible ukey may be evicted before its installation was confirmed
    /// (a purge) or turn out never to have been installed (the datapath refused).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Created, Self::Visible)
                | (
                    Self::Visible,
                    Self::Operational | Self::Evicting | Self::Evicted
                )
                | (Self::Operational, Self::Evicting)
                | (Self::Evicting, Self::Evicted)
                | (Self::Evicted, Self::Deleted)
        )
    }

    /// True while the datapath may hold the flow, so that it counts against the flow limit.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Visible | Self::Operational | Self::Evicting)
    }
}

/// A transition that must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Invalid state transition for ukey: {from:?} -> {to:?}")]
pub struct IllegalTransition {
    /// State it was in.
    pub from: UkeyState,
    /// State it was told to enter.
    pub to: UkeyState,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The twin: the drawing of the state machine, as a list.
    const ARROWS: &[(UkeyState, UkeyState)] = &[
        (UkeyState::Created, UkeyState::Visible),
        (UkeyState::Visible, UkeyState::Operational),
        (UkeyState::Visible, UkeyState::Evicting),
        (UkeyState::Visible, UkeyState::Evicted),
        (UkeyState::Operational, UkeyState::Evicting),
        (UkeyState::Evicting, UkeyState::Evicted),
        (UkeyState::Evicted, UkeyState::Deleted),
    ];

    #[test]
    fn arrows_are_exactly_those_of_the_drawing() {
        for a in UkeyState::ALL {
            for b in UkeyState::ALL {
                assert_eq!(a.may_become(b), ARROWS.contains(&(a, b)), "{a:?} -> {b:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_legal_walk_goes_forward_and_ends(choices in prop::collection::vec(0usize..6, 0..40)) {
            let mut at = UkeyState::Created;
            let mut steps = 0;
            for c in choices {
                let next = UkeyState::ALL[c];
                if at.may_become(next) {
                    prop_assert!(next > at);
                    at = next;
                    steps += 1;
                }
            }
            prop_assert!(steps <= 5);
        }
    }
}

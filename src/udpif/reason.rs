//! Why a datapath flow was removed. Each removal has exactly one reason, counted and shown.

use base::sync::Counter;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a datapath flow was removed. The discriminant indexes counters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DelReason { $($(#[$doc])* $name,)* }
        impl DelReason {
            /// Every reason, by discriminant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The words shown to people.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// No packet for longer than max-idle.
    Idle = "flow idle timeout",
    /// More flows than the flow limit: idle for longer than the shortened limit, or among the coldest.
    Limit = "kill all flows condition detected",
    /// The translation now looks at bits that the installed flow ignores.
    MaskChanged = "flow is too wide",
    /// The translation now says that it must not be cached.
    AvoidCaching = "cache avoidance flag set",
    /// The bridge or port that the flow belongs to is gone.
    PortGone = "bridge not found",
    /// The key could not be translated.
    BadTranslation = "translation error",
    /// The datapath refused the changed actions.
    UpdateFailed = "datapath update failed",
    /// Translating it again would cost more than it is worth (min-revalidate-pps).
    TooExpensive = "too expensive to revalidate",
    /// The datapath does not have it any more.
    MissingInDatapath = "flow missing in the datapath",
    /// A flow nobody here installed, and that only its maker could keep alive (recirculation).
    Foreign = "unexpected flow",
    /// `revalidator/purge`, or the handlers were restarted.
    Purge = "user requested flow deletion",
    /// All flows were flushed.
    Flush = "flow flush",
}

/// A counter for each reason. Written by several threads.
#[derive(Debug)]
pub struct DelCounts(Vec<Counter>);

impl Default for DelCounts {
    fn default() -> Self {
        Self(DelReason::ALL.iter().map(|_| Counter::new()).collect())
    }
}

impl DelCounts {
    /// Counts one removal.
    pub fn add(&self, reason: DelReason) {
        self.0[reason as usize].add_shared(1);
    }
    /// Removals for this reason.
    #[must_use]
    pub fn get(&self, reason: DelReason) -> u64 {
        self.0[reason as usize].get()
    }
    /// Removals for any reason.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_index_counters() {
        let counts = DelCounts::default();
        for (i, &r) in DelReason::ALL.iter().enumerate() {
            assert_eq!(r as usize, i);
            counts.add(r);
            assert_eq!(counts.get(r), 1);
        }
        assert_eq!(counts.total(), DelReason::ALL.len() as u64);
    }
}

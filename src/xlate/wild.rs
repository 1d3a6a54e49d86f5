//! [`Wild`]: the wildcards of one translation, and the only door to them.
//!
//! A bit that translation looks at and does not mark is a wrong datapath flow: a packet that differs in it
//! gets the actions of another. Every place that marks has a number ([`Site`]), so that a test can mute one
//! at a time and must then find such a packet (design section 7).

use flow::Mask;

/// A place that marks a field as looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
#[expect(missing_docs, reason = "each names the place in the code that uses it")]
pub enum Site {
    Always,
}

/// Wildcards under construction.
#[derive(Debug, Clone)]
pub struct Wild {
    mask: Mask,
    mute: Option<Site>,
}

impl Wild {
    /// Nothing looked at yet.
    #[must_use]
    pub fn new(mute: Option<Site>) -> Self {
        Self {
            mask: Mask::empty(),
            mute,
        }
    }
    /// `site` looked at what `set` sets.
    pub fn mark(&mut self, site: Site, set: impl FnOnce(&mut flow::Flow)) {
        if self.mute != Some(site) {
            set(&mut self.mask.0);
        }
    }
    /// The wildcards so far.
    #[must_use]
    pub fn mask(&self) -> &Mask {
        &self.mask
    }
}

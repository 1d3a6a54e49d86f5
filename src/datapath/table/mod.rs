//! Flow tables of one packet thread: which megaflow a packet belongs to.
//!
//! * [`mask`], [`entry`]: megaflows and their masks, made by control threads.
//! * [`index`]: hash to small number, in cache lines, eight words of which are looked at at once ([`eight`]).
//! * [`live`]: counters and what else a hit touches. [`flows`]: all flows by number, with the list that dumps read.
//! * [`cache`]: signature cache in front of everything.
//! * [`plain`], [`stencil`]: keys of plain packets without parsing, and flows of theirs without keys.
//! * [`port`]: the classifier of one ingress port (and pass): subtables, ranked, bounded.
//! * [`Tables`]: them together, and the lookup of a whole batch, whose keys are in [`Keys`].
//!
//! Only the packet thread touches tables. Flows overlap only if they do the same, so the first match wins.

pub(crate) mod cache;
mod eight;
pub(crate) mod entry;
pub(crate) mod flows;
pub(crate) mod index;
mod keys;
pub(crate) mod live;
pub(crate) mod mask;
mod plain;
pub(crate) mod port;
#[cfg(test)]
pub(crate) mod reference;
mod stencil;
mod tables;

pub(crate) use entry::DpFlow;
pub(crate) use flows::{FlowList, Flows};
pub(crate) use keys::{Keys, tcp_flags};
pub(crate) use live::{Live, Run};
pub(crate) use mask::Masks;
pub(crate) use tables::{Found, LookupTotals, Tables};

use packet::BATCH_MAX;
use std::num::NonZeroU32;

/// No flow.
pub(crate) const NONE: u32 = u32::MAX;

/// Packets of a batch, as bits.
type Bits = u32;

#[inline]
fn each(mut bits: Bits) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let left = NonZeroU32::new(bits)?;
        bits &= bits - 1;
        // Said twice, so that an index into a batch needs no check.
        Some(left.trailing_zeros() as usize % BATCH_MAX)
    })
}

#[inline]
fn first_n(n: usize) -> Bits {
    (u32::MAX).checked_shr(32 - n as u32).unwrap_or(0)
}

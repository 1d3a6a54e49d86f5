//! What all header views share: a fixed-size, unaligned struct of big-endian fields laid over bytes.
//!
//! A view borrows the packet; [`Header::at`] checks the length once and no accessor can panic afterwards.
//! Variable parts (IPv4 options, extension headers, TLVs) are reached by iterators in the protocol's file.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A protocol header of fixed size.
pub trait Header: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Sized {
    /// Octets of the fixed part.
    const LEN: usize = size_of::<Self>();

    /// The header that begins at `data[ofs]`; `None` when it does not fit.
    #[inline]
    #[must_use]
    fn at(data: &[u8], ofs: usize) -> Option<&Self> {
        Self::ref_from_prefix(data.get(ofs..)?).ok().map(|(h, _)| h)
    }

    /// The header that begins at `data[ofs]`, to be changed; `None` when it does not fit.
    #[inline]
    #[must_use]
    fn at_mut(data: &mut [u8], ofs: usize) -> Option<&mut Self> {
        Self::mut_from_prefix(data.get_mut(ofs..)?)
            .ok()
            .map(|(h, _)| h)
    }

    /// The header at the front of `data` and what follows it; `None` when it does not fit.
    #[inline]
    #[must_use]
    fn split(data: &[u8]) -> Option<(&Self, &[u8])> {
        Self::ref_from_prefix(data).ok()
    }
}

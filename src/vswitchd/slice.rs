//! [`Slice`]: how long a part of a turn may work before others get theirs.
//!
//! Real time, whatever the switch's clock says: it bounds how long others wait.

use base::clock::monotonic_ns;

/// See the file's essay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    until_ns: u64,
}

impl Slice {
    /// A slice that begins now.
    pub(crate) fn micros(n: u64) -> Self {
        Self {
            until_ns: monotonic_ns() + n * 1000,
        }
    }

    /// True when it is used up.
    pub(crate) fn is_over(self) -> bool {
        monotonic_ns() >= self.until_ns
    }
}

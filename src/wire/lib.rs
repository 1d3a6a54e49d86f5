//! `wire`: typed header views, one protocol per file; addresses and checksums. No allocation, no unsafe,
//! no state. Wire numbers are big-endian types until read.

pub mod addr;

pub use addr::{EthAddr, Ipv4, Ipv6};
pub use zerocopy::big_endian::{U16, U32, U64, U128};

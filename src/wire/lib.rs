//! `wire`: typed header views, one protocol per file; addresses and checksums. No allocation, no unsafe,
//! no state. Wire numbers are big-endian types until read.
//!
//! Every protocol file has the same shape: `*Header` structs that lay over bytes (see [`header::Header`]),
//! the protocol's numbers as constants, accessors for parts of fields, and checked constructors where a
//! length in the header must be believed before anything else is. `at` is for headers whose fixed part is
//! all that is wanted; `checked` also compares the lengths the header claims with the bytes there are.

pub mod addr;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod geneve;
pub mod gre;
pub mod gtpu;
pub mod header;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod mpls;
pub mod nsh;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vlan;
pub mod vxlan;

pub use addr::{EthAddr, Ipv4, Ipv6};
pub use header::Header;
pub use zerocopy::big_endian::{U16, U32, U64, U128};

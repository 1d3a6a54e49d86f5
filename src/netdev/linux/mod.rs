//! The kernel's side of a port: facts and changes over rtnetlink, driver facts over ethtool, flags that
//! are put back. Shared by every class whose ports are kernel devices.
//!
//! Everything is tied to the network namespace of the thread that opened the device ([`Host`]): its
//! control and netlink sockets keep working when another thread, in another namespace, uses them.
//!
//! Threads: one `netdev_nl` thread per namespace blocks on notifications and publishes them into
//! [`Link`]s; everything else runs on the caller. Packet threads only read [`Link::generation`] and
//! [`Link::is_up`].

mod ethtool;
mod host;
pub(crate) mod ioctl;
mod link;
mod netlink;
pub(crate) mod socket;
mod tc;

pub use host::changes;
pub(crate) use host::{Host, changes_fd, changes_seen};
pub(crate) use link::{Link, check_name};
pub(crate) use netlink::{LinkChange, LinkInfo};
pub(crate) use tc::Tc;

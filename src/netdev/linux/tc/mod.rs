//! Linux traffic control of one device over rtnetlink: the disciplines of the QoS table, their queues, and ingress
//! policing.
//!
//! * [`discipline`], [`classes`], [`police`]: settings to the kernel's bytes and back. [`units`]: its units.
//! * [`message`]: requests and answers. [`device`]: what a port does with all that.
//!
//! What the kernel lacks (a qdisc or filter that is not built in) is its errno, with the log lines that Open
//! vSwitch has. `unsafe` is not needed here.

mod classes;
mod device;
mod discipline;
mod message;
mod police;
#[cfg(test)]
mod tests;
mod units;

pub(super) use classes::class_of_queue;
pub(crate) use device::Tc;

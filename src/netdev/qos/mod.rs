//! QoS that this process does itself, for ports whose packets no kernel queues (`dpdk`, vhost-user, AF_XDP).
//!
//! * [`bucket`]: tokens by time. [`meter`]: the markers of RFC 2697 and RFC 4115 over buckets.
//! * [`discipline`]: what the QoS table configures: `egress-policer` and `trtcm-policer` with its queues.
//! * [`policer`]: ingress policing, by bytes and by packets.
//! * [`port`]: what a port keeps of all that, and how its queues use it.
//!
//! Time is an argument: nanoseconds that never run backwards (what does is taken as no time passed). A packet
//! weighs its bytes behind the Ethernet header, as in Open vSwitch. A policer drops; nothing waits here.
//!
//! Threads: a port's queues share its policers under a lock that is held for one burst, and only while
//! something is configured; otherwise a burst costs one relaxed load.
//!
//! Limits: [`discipline::QUEUES_MAX`] queues; rates and sizes are any `u64`.

mod bucket;
mod discipline;
mod meter;
mod policer;
mod port;
#[cfg(test)]
mod tests;

pub(crate) use policer::PolicingRates;
pub(crate) use port::PortQos;

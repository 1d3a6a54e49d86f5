//! Tests of vhost-user ports: rings against a plain twin, a well-behaved guest, and hostile ones.

mod hostile;
mod messages;
mod port;
mod reference;
mod rings;
mod sharing;

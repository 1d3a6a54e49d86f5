//! OpenFlow connections: bytes in and out, and the patience to connect again. What the messages mean is
//! `ofproto`'s business.

mod channel;
mod rconn;

pub(crate) use channel::Channel;
pub(crate) use rconn::{Rconn, State, reason};

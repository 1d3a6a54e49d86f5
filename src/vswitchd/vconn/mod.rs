//! OpenFlow connections: bytes in and out, and the patience to connect again. What the messages mean is
//! `ofproto`'s business.

mod channel;
mod door;
mod rconn;

pub(crate) use channel::Channel;
pub(crate) use door::Door;
pub(crate) use rconn::{ASKED_FOR, Rconn, State};

/// The kernel's words, without the number.
pub(crate) fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

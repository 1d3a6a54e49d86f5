//! OpenFlow conversations: the sockets of every bridge, joined to what `ofproto` says on them.
//!
//! * [`conversation`]: one bridge's listeners and connections.
//! * [`below`]: what `ofproto` needs from the datapath (the provider).
//! * [`packets`]: packets on their way up, and frozen ones on their way back.
//! * [`ports`]: ports as controllers see them, kept like the devices.
//! * [`sink`]: packets on their way up, from handlers to the main thread.

mod below;
mod conversation;
mod packets;
mod ports;
mod sink;

pub(crate) use conversation::Conversation;
pub(crate) use sink::PacketIns;

//! OpenFlow conversations: the sockets of every bridge, joined to what `ofproto` says on them.
//!
//! * [`conversation`]: one bridge's listeners and connections.
//! * [`configure`]: what is configured about them and shown of them.
//! * [`below`]: what `ofproto` needs from the datapath (the provider).
//! * [`own_rules`]: rules that a bridge has of its own. [`next_hop`]: the way to the controllers. [`snoop`]: watchers.
//! * [`packets`]: packets on their way up, and frozen ones on their way back.
//! * [`ports`]: ports as controllers see them, kept like the devices.
//! * [`sink`]: packets on their way up, from handlers to the main thread.

mod below;
mod configure;
mod conversation;
mod next_hop;
mod own_rules;
mod packets;
mod ports;
mod sink;
mod snoop;

pub(crate) use conversation::{Conversation, Heard};
pub(crate) use own_rules::has_owners;
pub(crate) use sink::PacketIns;

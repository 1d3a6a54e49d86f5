//! Actions as bytes, both ways, for every version.
//!
//! [`table`] says which (vendor, type) is which action in which version and how long it is; [`decode`] and
//! [`encode`] do the rest, with the long ones beside them.

mod complex;
mod decode;
mod encode;
mod fields;
mod learn;
mod table;

pub(crate) use decode::{ActRules, decode_action_set, decode_actions, decode_list};
pub(crate) use encode::{put_act, put_actions};

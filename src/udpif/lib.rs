//! `udpif`: keeps a datapath's flows equal to what translation says, and credits their packets.
//!
//! * [`translator`]: what this room needs from above, as a trait; its effects and additions are opaque here.
//! * [`handler`]: upcalls -> translations -> installations and releases, in batches.
//! * [`state`], [`ukey`], [`shard`], [`map`]: what is remembered of each installed flow; `index`: from facts to the
//!   flows that rest on them.
//! * [`deps`]: dependencies and changes.
//! * [`revalidate`], [`dump`], [`round`]: what is translated again, deleted, counted.
//! * [`limit`]: how many flows there may be and how long they live; `pace`: how long a dump took for that.
//! * [`reason`], [`counters`], `credits`, [`show`]: why, how often, in words.
//! * [`threads`]: handlers and revalidators; in manual mode the caller does their work.
//!
//! Every packet is credited exactly once: those that hit a flow through the flow's counters (a ukey knows how
//! much of them was credited), those that waited for a flow through the answer of the operation that
//! released them, and a deleted flow's last ones through the answer of its deletion.
//!
//! Threads: everything public may be called from any control thread. Nothing here is ever called by a
//! packet thread, and no lock of this room is held while a datapath operation waits for one.
//!
//! Limits: [`map::SHARDS`] shards; [`handler::BATCH_MAX`] upcalls in a batch; a ukey of an ordinary flow takes
//! about 300 bytes; the number of ukeys is bounded by the flow limit ([`limit`]).

#![warn(clippy::wildcard_enum_match_arm)]

mod core;
pub mod counters;
mod credits;
pub mod deps;
pub mod dump;
pub mod handler;
mod index;
pub mod limit;
pub mod map;
mod pace;
pub mod packed;
pub mod reason;
pub mod revalidate;
mod round;
pub mod shard;
mod show;
pub mod state;
#[cfg(test)]
mod suite;
mod threads;
pub mod translator;
mod udpif;
pub mod ukey;
pub mod world;

pub use counters::Counters;
pub use deps::{Change, Dep, DepKey, Deps};
pub use limit::Settings;
pub use reason::DelReason;
pub use translator::{Ask, Translation, Translator};
pub use udpif::{Threading, Udpif, UdpifError};

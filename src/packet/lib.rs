//! `packet`: move-only frames, batches, and the trait of the pools that frames come from.
//!
//! A [`Frame`] has one owner. The kernel, a pool, a [`Batch`] and a tx ring are the only places a frame
//! can be; dropping one returns its buffer to its pool. Nothing here parses headers: offsets found by
//! `flow::extract` are only remembered in the frame.
//!
//! Limits: a batch holds [`BATCH_MAX`] frames; a frame's data is at most 65,535 + headers bytes (a GSO
//! frame from a local sender).

pub mod batch;
pub mod frame;
pub mod heap;
pub mod pool;

pub use batch::{BATCH_MAX, Batch};
pub use frame::{Frame, FrameParts, GsoKind, HEADROOM, OdpPort, RxFlags};
pub use heap::HeapPool;
pub use pool::{FramePool, PoolOwner, PoolPtr};

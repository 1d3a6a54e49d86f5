//! `backer` (in progress).

pub mod features;
pub mod numbers;
pub mod probe;

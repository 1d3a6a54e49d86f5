//! `base`: what every other room stands on and nothing about networking.
//!
//! * [`clock`]: the only reader of time. Time is an argument everywhere else; a virtual clock makes
//!   whole-switch runs repeatable.
//! * [`sync`]: the one door for atomics and locks.
//! * [`log`]: rate limits for log lines (the lines themselves go through `tracing`, whose `target`
//!   is the Open vSwitch module name, e.g. `target: "ofproto_dpif_xlate"`).
//! * [`pages`]: large arrays on large pages.
//! * [`large`]: whether the kernel gave those.
//! * [`poll`]: waiting for descriptors.
//! * [`cpu`]: cores, pinning, NUMA nodes.
//! * [`requires`]: what the build needs of the processor.
//! * [`hash`]: the seeded flow hash.
//! * [`rng`]: a small seeded generator for simulations and fault injection.

pub mod clock;
pub mod cpu;
pub mod hash;
pub mod large;
pub mod log;
pub mod pages;
pub mod poll;
pub mod requires;
pub mod rng;
pub mod sync;

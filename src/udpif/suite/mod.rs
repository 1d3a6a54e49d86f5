//! The whole room over a toy world and the fake datapath.

mod cases;
mod random;
mod toy;

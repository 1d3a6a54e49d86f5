//! The backer over the fake datapath: packets go in and come out.

mod cases;
mod ports;
mod rig;

//! The tables against their stupid twin, a list of flows, and the rules about time, limits and events.

mod conn;
mod model;
mod session;
mod state;

//! `ovsdb`: a client of the Open vSwitch database protocol (RFC 7047 with the `monitor_cond_since`
//! extension). Knows no switch: tables, rows and columns only.
//!
//! * [`jsonrpc`]: JSON-RPC 1.0 messages over a byte stream, with bounded buffers. Also carries unixctl.
//! * [`address`]: `unix:`, `tcp:`, `ssl:`, and the listening `punix:`, `ptcp:`, `pssl:`. [`stream`], [`listener`]: what
//!   is behind them, all non-blocking. [`tls`]: keys and certificates. [`outbox`]: what waits for a slow peer.
//! * [`value`]: atoms, sets and maps; [`schema`]: tables and column types.
//! * [`replica`]: a copy of the monitored part of the database, kept by updates.
//! * [`session`]: the connection that stays up: reconnects with back-off, probes, locks, monitors, transacts.
//! * [`txn`]: building transactions.
//!
//! Threads: one that asks the system what names mean (`resolve`); else none: the main loop calls `run(now)` and waits on the descriptors that are named to it.
//! Limits: a message is at most [`jsonrpc::MESSAGE_MAX`] bytes and 128 levels deep.

pub mod address;
pub mod jsonrpc;
pub mod listener;
pub mod outbox;
mod reconnect;
pub mod replica;
mod resolve;
pub mod schema;
pub mod session;
pub mod stream;
pub mod tls;
pub mod txn;
pub mod value;

pub use address::{Address, remark_on_default_port};
pub use jsonrpc::{Message, Rpc, RpcError};
pub use listener::Listener;
pub use outbox::{Outbox, OutboxError};
pub use replica::{Change, Replica, Row};
pub use schema::{BaseType, Column, Schema, Table};
pub use session::{Event, Session, TxnId};
pub use stream::{Dial, Stream, StreamError};
pub use tls::Tls;
pub use txn::Transaction;
pub use value::{Atom, Datum};

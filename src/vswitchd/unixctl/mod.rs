//! The control socket: JSON-RPC 1.0 commands as `ovs-appctl` sends them.
//!
//! A [`Server`] holds a table of commands over some context `C` (the switch). `run` is called from the main
//! loop. A command answers at once, or leaves a [`Reply::Later`] that is asked again every turn until it has
//! its answer (`time/warp`, `revalidator/wait`). One request per connection at a time.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, a request of 16 MiB; a client that does not read its answer is not
//! served further until it has.

mod client;
mod command;

pub(crate) use client::call;
pub(crate) use command::{Commands, Outcome, Reply};

use ovsdb::{Address, Listener, Message, Rpc};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Connections served at the same time; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 500;

/// One client.
struct Connection<C> {
    rpc: Rpc,
    pending: Option<(Value, Box<command::Deferred<C>>)>,
    dead: bool,
}

/// The control socket of a daemon.
pub(crate) struct Server<C> {
    listener: Option<Listener>,
    path: PathBuf,
    commands: Commands<C>,
    connections: Vec<Connection<C>>,
}

impl<C> std::fmt::Debug for Server<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Server({}, {} connections)",
            self.path.display(),
            self.connections.len()
        )
    }
}

impl<C> Server<C> {
    /// Listens at `path`; nothing is served when it is `none`.
    ///
    /// # Errors
    /// The kernel's, in words.
    pub(crate) fn listen(path: &Path, commands: Commands<C>) -> Result<Self, String> {
        let listener = if path.as_os_str() == "none" {
            None
        } else {
            let address = Address::PassiveUnix(path.to_owned());
            Some(Listener::bind(&address).map_err(|e| e.to_string())?)
        };
        Ok(Self {
            listener,
            path: path.to_owned(),
            commands,
            connections: Vec::new(),
        })
    }

    /// Takes new clients, serves requests, flushes answers. Returns true when something was done.
    pub(crate) fn run(&mut self, context: &mut C) -> bool {
        let mut busy = false;
        while self.connections.len() < CONNECTIONS_MAX {
            let Some(stream) = self.listener.as_ref().and_then(Listener::accept) else {
                break;
            };
            busy = true;
            self.connections.push(Connection {
                rpc: Rpc::new(stream),
                pending: None,
                dead: false,
            });
        }
        for connection in &mut self.connections {
            busy |= connection.run(&self.commands, context);
        }
        self.connections.retain(|c| !c.dead);
        busy
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, set: &mut base::poll::PollSet) {
        if let Some(l) = &self.listener
            && self.connections.len() < CONNECTIONS_MAX
        {
            set.fd(l.as_raw_fd(), false);
        }
        for c in &self.connections {
            // A client with an answer pending is only watched for the answer's sake.
            if c.pending.is_some() {
                set.within(std::time::Duration::from_millis(1));
            } else {
                set.fd(c.rpc.as_raw_fd(), c.rpc.backlog() > 0);
            }
        }
    }

    /// True while an answer is on its way to a client.
    pub(crate) fn has_unsent(&self) -> bool {
        self.connections.iter().any(|c| c.rpc.backlog() > 0)
    }
}

impl<C> Connection<C> {
    fn run(&mut self, commands: &Commands<C>, context: &mut C) -> bool {
        let mut busy = false;
        if self.rpc.flush().is_err() {
            self.dead = true;
            return true;
        }
        // A few requests a turn, so that one client cannot keep the others waiting.
        for _ in 0..10 {
            if self.rpc.backlog() > 0 {
                break;
            }
            if let Some((id, mut later)) = self.pending.take() {
                match later(context) {
                    Some(outcome) => self.answer(id, outcome),
                    None => {
                        self.pending = Some((id, later));
                        break;
                    }
                }
                busy = true;
                continue;
            }
            match self.rpc.receive() {
                Ok(Some(Message::Request { id, method, params })) => {
                    busy = true;
                    match commands.run(context, &method, &params) {
                        Reply::Now(outcome) => self.answer(id, outcome),
                        Reply::Later(later) => self.pending = Some((id, later)),
                    }
                }
                Ok(Some(_)) | Err(_) => {
                    self.dead = true;
                    return true;
                }
                Ok(None) => break,
            }
        }
        busy
    }

    fn answer(&mut self, id: Value, outcome: Outcome) {
        let body = |mut text: String| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            Value::String(text)
        };
        let message = match outcome {
            Ok(text) => Message::Reply {
                id,
                result: body(text),
            },
            Err(text) => Message::Error {
                id,
                error: body(text),
            },
        };
        self.dead |= self.rpc.send(&message).is_err();
    }
}

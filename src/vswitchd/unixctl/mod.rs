//! The control socket: JSON-RPC 1.0 commands as `ovs-appctl` sends them.
//!
//! A [`Server`] holds a table of commands over some context `C` (the switch). `run` is called from the main
//! loop. A command answers at once, or leaves a [`Reply::Later`] that is asked again every turn until it has
//! its answer (`time/warp`, `revalidator/wait`), or a [`Reply::Stream`] whose pieces are made when the client has
//! taken the ones before. One request per connection at a time.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, a request of [`REQUEST_MAX`] bytes; a client that does not read its
//! answer is not served further until it has.

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

/// Bytes of the longest request.
const REQUEST_MAX: usize = 16 << 20;

/// What a client still has to get.
enum Pending<C> {
    Answer(Value, Box<command::Deferred<C>>),
    Pieces(Box<command::Pieces<C>>),
}

/// One client.
struct Connection<C> {
    rpc: Rpc,
    pending: Option<Pending<C>>,
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
                rpc: Rpc::new(stream).limited_to(REQUEST_MAX),
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
            match c.pending {
                // A client with an answer pending is only watched for the answer's sake.
                Some(Pending::Answer(..)) => set.within(std::time::Duration::from_millis(1)),
                _ => set.fd(c.rpc.as_raw_fd(), c.rpc.backlog() > 0),
            }
        }
    }

    /// True while an answer is on its way to a client.
    pub(crate) fn has_unsent(&self) -> bool {
        let unsent = |c: &Connection<C>| {
            c.rpc.backlog() > 0 || matches!(c.pending, Some(Pending::Pieces(_)))
        };
        self.connections.iter().any(unsent)
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
            match self.pending.take() {
                Some(Pending::Answer(id, mut later)) => {
                    match later(context) {
                        Some(outcome) => self.answer(id, outcome),
                        None => {
                            self.pending = Some(Pending::Answer(id, later));
                            break;
                        }
                    }
                    busy = true;
                    continue;
                }
                Some(Pending::Pieces(pieces)) => {
                    self.piece(pieces, context);
                    busy = true;
                    continue;
                }
                None => {}
            }
            match self.rpc.receive() {
                Ok(Some(Message::Request { id, method, params })) => {
                    busy = true;
                    match commands.run(context, &method, &params) {
                        Reply::Now(outcome) => self.answer(id, outcome),
                        Reply::Later(later) => self.pending = Some(Pending::Answer(id, later)),
                        Reply::Stream(pieces) => {
                            self.send(format!("{{\"id\":{id},\"result\":\""));
                            self.pending = Some(Pending::Pieces(pieces));
                        }
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

    /// Sends the next piece of a long text, as the inside of a JSON string.
    fn piece(&mut self, mut pieces: Box<command::Pieces<C>>, context: &mut C) {
        let mut text = String::new();
        let more = pieces(context, &mut text);
        let quoted = Value::String(text).to_string();
        self.send(quoted[1..quoted.len() - 1].to_owned());
        if more {
            self.pending = Some(Pending::Pieces(pieces));
        } else {
            self.send("\",\"error\":null}".to_owned());
        }
    }

    fn send(&mut self, text: String) {
        if !text.is_empty() {
            self.dead |= self.rpc.send_bytes(text.into_bytes()).is_err();
        }
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

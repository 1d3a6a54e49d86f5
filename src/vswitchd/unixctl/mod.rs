//! The control socket: JSON-RPC 1.0 commands as `ovs-appctl` sends them.
//!
//! A [`Server`] holds a table of commands over some context `C` (the switch). `run` is called from the main
//! loop. A command answers at once, or leaves a [`Reply::Later`] that is asked again every turn until it has
//! its answer (`time/warp`, `revalidator/wait`), or a [`Reply::Stream`] whose pieces are made when the client has
//! taken the ones before. One request per connection at a time.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections, a request of [`REQUEST_MAX`] bytes, [`TURN_US`] of work in a turn, after which
//! the next turn goes on with the client after the last one served; a client that does not read its answer is not served
//! further until it has.

mod client;
mod command;

pub(crate) use client::call;
pub(crate) use command::{Commands, Outcome, Reply};

use crate::slice::Slice;
use ovsdb::{Address, Listener, Message, Rpc, Tls};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Connections served at the same time; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 500;

/// How long clients are served in one turn, microseconds: beyond the request under way, nobody else waits longer.
const TURN_US: u64 = 5000;

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
    /// The connection that is served first.
    first: usize,
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
            Some(Listener::bind(&address, &Tls::default()).map_err(|e| e.to_string())?)
        };
        Ok(Self {
            listener,
            path: path.to_owned(),
            commands,
            connections: Vec::new(),
            first: 0,
        })
    }

    /// Takes new clients, serves requests, flushes answers. Returns true when something was done.
    pub(crate) fn run(&mut self, context: &mut C) -> bool {
        let mut busy = false;
        let slice = Slice::micros(TURN_US);
        while self.connections.len() < CONNECTIONS_MAX && !slice.is_over() {
            let accepted = self.listener.as_ref().map(Listener::accept);
            let Some(Ok(Some(stream))) = accepted else {
                break;
            };
            busy = true;
            self.connections.push(Connection {
                rpc: Rpc::new(stream).limited_to(REQUEST_MAX),
                pending: None,
                dead: false,
            });
        }
        let n = self.connections.len();
        let first = std::mem::take(&mut self.first);
        for i in 0..n {
            let at = (first + i) % n;
            let served = self.connections[at].run(&self.commands, context);
            busy |= served;
            if served && slice.is_over() {
                self.first = at + 1;
                break;
            }
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
                _ => set.fd(c.rpc.as_raw_fd(), c.rpc.wants_write()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A server with one command that repeats its argument, and one whose answer is long.
    fn server(dir: &tempfile::TempDir) -> Server<u32> {
        let mut commands = Commands::default();
        commands.add("say", "TEXT", 1..=1, |_: &mut u32, args| {
            Ok(args[0].to_owned())
        });
        commands.add_slow("long", "", 0..=0, |_, _| {
            let mut left = 1000;
            Reply::Stream(Box::new(move |_, out| {
                out.push_str("line \"quoted\"\n");
                left -= 1;
                left > 0
            }))
        });
        Server::listen(&dir.path().join("ctl"), commands).unwrap()
    }

    /// Sends bytes, and turns the server until `want` bytes came back or it hung up.
    fn talk(server: &mut Server<u32>, bytes: &[u8], want: usize) -> Vec<u8> {
        let mut client = UnixStream::connect(&server.path).unwrap();
        client.set_nonblocking(true).unwrap();
        let (mut sent, mut got, mut buf, mut idle) = (0, Vec::new(), vec![0; 1 << 16], 0);
        while got.len() < want && idle < 50 {
            let mut moved = server.run(&mut 0);
            if sent < bytes.len()
                && let Ok(n) = client.write(&bytes[sent..])
            {
                sent += n;
                moved = true;
            }
            match client.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => got.extend_from_slice(&buf[..n]),
                Err(_) if moved => {}
                Err(_) => idle += 1,
            }
        }
        got
    }

    fn answers(server: &mut Server<u32>) -> bool {
        let request = br#"{"id":1,"method":"say","params":["yes"]}"#;
        let got = talk(server, request, 1);
        String::from_utf8_lossy(&got).contains("yes")
    }

    #[test]
    fn a_turn_ends_when_its_time_is_over_and_everybody_gets_his() {
        const CLIENTS: u32 = 40;
        let dir = tempfile::tempdir().unwrap();
        let mut commands = Commands::default();
        commands.add("work", "", 0..=0, |served: &mut u32, _| {
            *served += 1;
            let until = base::clock::monotonic_ns() + 1_000_000;
            while base::clock::monotonic_ns() < until {}
            Ok(String::new())
        });
        let mut server = Server::listen(&dir.path().join("ctl"), commands).unwrap();
        let request = br#"{"id":1,"method":"work","params":[]}"#;
        let mut clients: Vec<UnixStream> = (0..CLIENTS)
            .map(|_| {
                let mut client = UnixStream::connect(&server.path).unwrap();
                client.write_all(request).unwrap();
                client
            })
            .collect();
        let (mut served, mut turns) = (0, 0);
        while served < CLIENTS {
            let before = served;
            assert!(server.run(&mut served), "more is to be done");
            // None takes less than a fifth of a turn; the last may end after it.
            assert!(served - before <= 6, "{}", served - before);
            turns += 1;
        }
        assert!(turns > 6);
        for client in &mut clients {
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 1, "each was answered");
        }
    }

    #[test]
    fn requests_cut_and_changed_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = server(&dir);
        let sound = serde_json::json!({"id": 1, "method": "say", "params": ["yes"]});
        let text = sound.to_string();
        for cut in 0..text.len() {
            talk(&mut server, &text.as_bytes()[..cut], 1);
        }
        let kinds = serde_json::json!([null, true, -1, 1e300, "", [], [[]], {}, {"id": 1}, "long"]);
        for key in ["id", "method", "params", "error", "more"] {
            for kind in kinds.as_array().unwrap() {
                let mut odd = sound.clone();
                odd[key] = kind.clone();
                talk(&mut server, odd.to_string().as_bytes(), 1);
                odd["params"] = serde_json::json!([kind]);
                talk(&mut server, odd.to_string().as_bytes(), 1);
            }
        }
        assert!(answers(&mut server));
        server.run(&mut 0);
        assert!(
            server.connections.is_empty(),
            "all who hung up are forgotten"
        );
    }

    #[test]
    fn an_argument_of_a_megabyte_and_a_million_levels() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = server(&dir);
        let word = "x".repeat(1 << 20);
        let request = serde_json::json!({"id": 7, "method": "say", "params": [word]}).to_string();
        let got = talk(&mut server, request.as_bytes(), word.len() + 1);
        assert!(got.len() > word.len());
        let deep = "[".repeat(1_000_000);
        talk(&mut server, deep.as_bytes(), 1);
        assert!(answers(&mut server), "another client is not disturbed");
    }

    #[test]
    fn a_stream_is_one_answer_and_waits_for_its_reader() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = server(&dir);
        let request = br#"{"id":3,"method":"long","params":[]}"#;
        let got = talk(&mut server, request, usize::MAX);
        let answer: Value = serde_json::from_slice(&got).unwrap();
        assert_eq!(answer["id"], 3);
        assert!(answer["error"].is_null());
        assert_eq!(
            answer["result"].as_str().unwrap(),
            "line \"quoted\"\n".repeat(1000)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, method in "[a-z]{0,5}", arg: String) {
            let dir = tempfile::tempdir().unwrap();
            let mut server = server(&dir);
            talk(&mut server, &bytes, 1);
            let cut = serde_json::json!({"id": 1, "method": method, "params": [arg]}).to_string();
            talk(&mut server, &cut.as_bytes()[..bytes.len().min(cut.len())], 1);
            prop_assert!(answers(&mut server));
        }
    }
}

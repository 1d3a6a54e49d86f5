//! JSON-RPC 1.0 over a byte stream, as OVSDB and unixctl use it: messages follow each other without
//! delimiters.
//!
//! Bounds: a message that does not end within [`MESSAGE_MAX`] bytes or nests over 128 levels closes the
//! connection; a peer that does not read holds at most [`BACKLOG_MAX`] bytes of ours, then it is closed.

use crate::outbox::{Outbox, OutboxError};
use crate::stream::Stream;
use serde_json::{Map, Value, json};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};

/// Bytes of the longest message taken (a whole database's contents must fit).
pub const MESSAGE_MAX: usize = 256 << 20;
/// Bytes queued for a peer that does not read.
pub const BACKLOG_MAX: usize = 256 << 20;
/// Bytes read in one go.
const READ_BYTES: usize = 64 << 10;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A call that wants an answer.
    Request {
        /// Id to answer with.
        id: Value,
        /// What to do.
        method: String,
        /// With what.
        params: Value,
    },
    /// A call that wants none.
    Notify {
        /// What happened.
        method: String,
        /// With what.
        params: Value,
    },
    /// An answer.
    Reply {
        /// Id of the request.
        id: Value,
        /// Result.
        result: Value,
    },
    /// A refusal.
    Error {
        /// Id of the request.
        id: Value,
        /// Why.
        error: Value,
    },
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The peer closed it.
    #[error("connection closed by peer")]
    Closed,
    /// The bytes are not JSON.
    #[error("syntax error: {0}")]
    Syntax(String),
    /// JSON, but no message.
    #[error("not a JSON-RPC message: {0}")]
    NotAMessage(&'static str),
    /// A bound was reached.
    #[error("{0} over {1} bytes")]
    TooLong(&'static str, usize),
    /// The kernel's.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<OutboxError> for RpcError {
    fn from(e: OutboxError) -> Self {
        match e {
            OutboxError::Closed => Self::Closed,
            OutboxError::Full(_) => Self::TooLong("backlog", BACKLOG_MAX),
            OutboxError::Io(e) => Self::Io(e),
        }
    }
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// [`RpcError::NotAMessage`].
    pub fn from_json(v: Value) -> Result<Self, RpcError> {
        let Value::Object(mut m) = v else {
            return Err(RpcError::NotAMessage("not an object"));
        };
        let mut take = |k: &str| m.remove(k).unwrap_or(Value::Null);
        let (id, method, params) = (take("id"), take("method"), take("params"));
        let (result, error) = (take("result"), take("error"));
        match method {
            Value::String(_) if !params.is_array() => {
                Err(RpcError::NotAMessage("params is no array"))
            }
            Value::String(method) if id.is_null() => Ok(Self::Notify { method, params }),
            Value::String(method) => Ok(Self::Request { id, method, params }),
            Value::Null if id.is_null() => Err(RpcError::NotAMessage("no method and no id")),
            Value::Null if !error.is_null() => Ok(Self::Error { id, error }),
            Value::Null => Ok(Self::Reply { id, result }),
            _ => Err(RpcError::NotAMessage("method is no string")),
        }
    }

    /// The message as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Request { id, method, params } => {
                json!({"id": id, "method": method, "params": params})
            }
            Self::Notify { method, params } => {
                json!({"id": null, "method": method, "params": params})
            }
            Self::Reply { id, result } => json!({"id": id, "result": result, "error": null}),
            Self::Error { id, error } => {
                let mut m = Map::new();
                m.insert("id".into(), id.clone());
                m.insert("result".into(), Value::Null);
                m.insert("error".into(), error.clone());
                Value::Object(m)
            }
        }
    }
}

/// Finds where one JSON text ends in a stream, byte by byte, remembering where it stopped.
#[derive(Debug, Default)]
struct Scanner {
    at: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    started: bool,
}

/// Deepest nesting; `serde_json` refuses more anyway, this refuses before the message has ended.
const DEPTH_MAX: u32 = 128;

impl Scanner {
    /// Where the first object of `buf` ends, if it does.
    fn end(&mut self, buf: &[u8]) -> Result<Option<usize>, RpcError> {
        while let Some(&b) = buf.get(self.at) {
            self.at += 1;
            if self.in_string {
                match b {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match b {
                b'"' if self.started => self.in_string = true,
                b'{' | b'[' => {
                    self.started = true;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(RpcError::Syntax(format!("nested over {DEPTH_MAX} deep")));
                    }
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if self.started => {}
                _ => return Err(RpcError::Syntax(format!("unexpected byte 0x{b:02x}"))),
            }
        }
        Ok(None)
    }
}

/// A connection that speaks JSON-RPC.
#[derive(Debug)]
pub struct Rpc {
    stream: Stream,
    input: Vec<u8>,
    scanner: Scanner,
    output: Outbox,
    message_max: usize,
    /// Bytes received in all; a caller sees activity by its change.
    pub received: u64,
}

impl Rpc {
    /// Speaks over a stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            scanner: Scanner::default(),
            output: Outbox::new(BACKLOG_MAX),
            message_max: MESSAGE_MAX,
            received: 0,
        }
    }

    /// Takes no message longer than so many bytes.
    #[must_use]
    pub fn limited_to(mut self, message_max: usize) -> Self {
        self.message_max = message_max;
        self
    }

    /// Queues a message and writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end.
    pub fn send(&mut self, message: &Message) -> Result<(), RpcError> {
        self.send_bytes(message.to_json().to_string().into_bytes())
    }

    /// As [`Rpc::send`], for a message (or a piece of one) that is text already.
    ///
    /// # Errors
    /// The connection's end.
    pub fn send_bytes(&mut self, text: Vec<u8>) -> Result<(), RpcError> {
        Ok(self.output.send(text, &mut self.stream)?)
    }

    /// Writes what the peer takes.
    ///
    /// # Errors
    /// The connection's end.
    pub fn flush(&mut self) -> Result<(), RpcError> {
        Ok(self.output.flush(&mut self.stream)?)
    }

    /// True once the connection under it is there.
    ///
    /// # Errors
    /// Why it will not come.
    pub fn is_connected(&mut self) -> io::Result<bool> {
        self.stream.is_connected()
    }

    /// Bytes the peer has not taken yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.output.bytes()
    }

    /// True when there is something to do once the descriptor is writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.output.bytes() > 0 || self.stream.wants_write()
    }

    /// True until the connection under it is made.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        self.stream.is_on_its_way()
    }

    /// The next message, if one is there.
    ///
    /// # Errors
    /// The connection's end; also a peer that sends what is no message.
    pub fn receive(&mut self) -> Result<Option<Message>, RpcError> {
        loop {
            if let Some(end) = self.scanner.end(&self.input)? {
                let text: Vec<u8> = self.input.drain(..end).collect();
                self.scanner = Scanner::default();
                let v =
                    serde_json::from_slice(&text).map_err(|e| RpcError::Syntax(e.to_string()))?;
                return Message::from_json(v).map(Some);
            }
            if self.input.len() > self.message_max {
                return Err(RpcError::TooLong("message", self.message_max));
            }
            let have = self.input.len();
            self.input.resize(have + READ_BYTES, 0);
            let got = self.stream.read(&mut self.input[have..]);
            self.input
                .truncate(have + got.as_ref().copied().unwrap_or(0));
            match got {
                Ok(0) => return Err(RpcError::Closed),
                Ok(n) => self.received += n as u64,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsRawFd for Rpc {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn pair() -> (Rpc, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        (Rpc::new(Stream::Unix(a)), b)
    }

    #[test]
    fn messages_without_delimiters_in_any_pieces() {
        let (mut rpc, mut peer) = pair();
        let text =
            r#"{"id":1,"method":"a","params":["}\"{"]} {"id":null,"method":"b","params":[]}"#;
        let mut got = Vec::new();
        for byte in text.bytes() {
            peer.write_all(&[byte]).unwrap();
            while let Some(m) = rpc.receive().unwrap() {
                got.push(m);
            }
        }
        assert_eq!(got.len(), 2);
        assert!(matches!(&got[0], Message::Request { params, .. } if params[0] == "}\"{"));
        assert!(matches!(&got[1], Message::Notify { method, .. } if method == "b"));
        drop(peer);
        assert!(matches!(rpc.receive(), Err(RpcError::Closed)));
    }

    #[test]
    fn a_million_levels_are_refused_at_once() {
        let (mut rpc, mut peer) = pair();
        peer.write_all(&[b'['; 1000]).unwrap();
        assert!(matches!(rpc.receive(), Err(RpcError::Syntax(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let (mut rpc, mut peer) = pair();
            peer.write_all(&bytes).unwrap();
            while let Ok(Some(_)) = rpc.receive() {}
        }

        #[test]
        fn messages_go_both_ways(method in "[a-z]{1,9}", word: String) {
            let m = Message::Request { id: json!(7), method, params: json!([word]) };
            prop_assert_eq!(Message::from_json(m.to_json()).unwrap(), m);
        }
    }
}

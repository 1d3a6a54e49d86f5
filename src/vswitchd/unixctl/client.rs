//! The other end of the control socket, for the `ringway` command.

use super::Outcome;
use ovsdb::{Address, Dial, Message, Rpc, Stream};
use serde_json::{Value, json};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// Sends one command and waits for its answer.
///
/// # Errors
/// The daemon's refusal, or why it could not be asked, naming the socket.
pub(crate) fn call(socket: &Path, method: &str, args: &[String]) -> Outcome {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", socket.display());
    let address = Address::Unix(socket.to_owned());
    let stream = Stream::begin(&address, &Dial::default()).map_err(|e| e.to_string())?;
    let mut rpc = Rpc::new(stream);
    let request = Message::Request {
        id: json!(0),
        method: method.to_owned(),
        params: json!(args),
    };
    rpc.send(&request).map_err(|e| fail(&e))?;
    loop {
        match rpc.receive().map_err(|e| fail(&e))? {
            Some(Message::Reply { result, .. }) => return Ok(text(&result)),
            Some(Message::Error { error, .. }) => return Err(text(&error)),
            Some(_) => return Err(fail(&"not an answer")),
            None => {}
        }
        rpc.flush().map_err(|e| fail(&e))?;
        let mut set = base::poll::PollSet::new();
        set.fd(rpc.as_raw_fd(), rpc.wants_write());
        set.within(Duration::from_secs(1));
        set.wait();
    }
}

fn text(v: &Value) -> String {
    v.as_str()
        .map_or_else(|| v.to_string(), |s| s.trim_end_matches('\n').to_owned())
}

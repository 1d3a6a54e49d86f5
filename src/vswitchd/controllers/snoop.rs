//! Watchers of one bridge's conversation with its controllers (`<bridge>.snoop`).
//!
//! A watcher says hello like a controller, and is then shown copies of what is said; whatever it says is read and
//! thrown away. Bounds: [`SNOOPERS_MAX`] watchers; one who does not read is dropped.

use crate::vconn::Channel;
use base::poll::PollSet;
use openflow::Hello;
use ovsdb::{Address, Listener, Tls};
use std::os::fd::AsRawFd;

/// Watchers of one bridge's conversation.
const SNOOPERS_MAX: usize = 16;
/// Messages of a watcher thrown away in one turn.
const MESSAGES_PER_TURN: usize = 50;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Snoopers {
    listener: Option<Listener>,
    watchers: Vec<Channel>,
}

impl Snoopers {
    /// Lets watchers in at an address.
    pub(super) fn listen(address: &Address) -> Self {
        let listener = Listener::bind(address, &Tls::default())
            .inspect_err(|e| tracing::error!(target: "connmgr", "{e}"))
            .ok();
        Self {
            listener,
            watchers: Vec::new(),
        }
    }

    /// Lets in who waits, and drops who is gone. `versions` may be spoken.
    pub(super) fn run(&mut self, versions: u32) {
        while self.watchers.len() < SNOOPERS_MAX {
            let accepted = self.listener.as_ref().map(Listener::accept);
            let Some(Ok(Some(stream))) = accepted else {
                break;
            };
            let mut watcher = Channel::new(stream);
            if watcher.send(Hello { versions }.encode(1)).is_ok() {
                self.watchers.push(watcher);
            }
        }
        self.watchers.retain_mut(|w| {
            let mut said = 0;
            loop {
                match w.receive() {
                    Ok(Some(_)) if said < MESSAGES_PER_TURN => said += 1,
                    Ok(_) => return w.flush().is_ok(),
                    Err(_) => return false,
                }
            }
        });
    }

    /// Shows a message.
    pub(super) fn copy(&mut self, message: &[u8]) {
        self.watchers
            .retain_mut(|w| w.send(message.to_vec()).is_ok());
    }

    /// Names what to wait for.
    pub(super) fn wait(&self, set: &mut PollSet) {
        if let Some(l) = &self.listener {
            set.fd(l.as_raw_fd(), false);
        }
        for w in &self.watchers {
            set.fd(w.as_raw_fd(), w.wants_write());
        }
    }
}

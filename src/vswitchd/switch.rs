//! [`Switch`]: the whole running switch as the main thread sees it.

use crate::model::Model;
use crate::options::{Options, Source};
use base::clock::Clock;
use base::poll::PollSet;
use netdev::Registry;
use netdev::dummy::Dummies;
use std::path::PathBuf;

/// The switch.
#[derive(Debug)]
pub(crate) struct Switch {
    program: String,
    clock: Clock,
    registry: Registry,
    dummies: Option<Dummies>,
    source: Source,
    model: Model,
    configured: bool,
    exit: Option<bool>,
}

impl Switch {
    /// A switch that has read nothing yet.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let clock = Clock::real();
        let (registry, dummies) =
            crate::registry::new(options.dummy, &clock).map_err(|e| e.to_string())?;
        let mut switch = Self {
            program: options.program.clone(),
            clock,
            registry,
            dummies,
            source: options.source.clone(),
            model: Model::default(),
            configured: false,
            exit: None,
        };
        switch.reload();
        Ok(switch)
    }

    /// Reads the file again; a wrong one changes nothing.
    pub(crate) fn reload(&mut self) {
        let Source::Toml(path) = &self.source else {
            return;
        };
        let path: PathBuf = path.clone();
        match crate::config::load(&path) {
            Ok(model) => self.model = model,
            Err(faults) => {
                for fault in faults.lines() {
                    tracing::error!(target: "bridge", "{fault}");
                }
            }
        }
        self.configured = true;
    }

    /// One turn. Returns true when something was done.
    pub(crate) fn run(&mut self) -> bool {
        self.registry.run();
        false
    }

    /// Names what to wait for.
    pub(crate) fn wait(&self, set: &mut PollSet) {
        for fd in self.registry.wake_fds() {
            set.fd(fd, false);
        }
    }

    /// Moves time forward.
    pub(crate) fn warp(&mut self, ms: u64) {
        self.clock.advance(ms);
    }

    /// Ends everything in order.
    pub(crate) fn shutdown(self) {
        netdev::flags::restore_all();
    }

    pub(crate) fn program(&self) -> &str {
        &self.program
    }
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
    pub(crate) fn dummies(&self) -> Option<&Dummies> {
        self.dummies.as_ref()
    }
    /// True once the first configuration is in force.
    pub(crate) fn is_configured(&self) -> bool {
        self.configured
    }
    pub(crate) fn request_exit(&mut self, cleanup: bool) {
        self.exit = Some(cleanup);
    }
    pub(crate) fn exit_requested(&self) -> bool {
        self.exit.is_some()
    }
}

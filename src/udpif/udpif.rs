//! [`Udpif`]: the room's door as a value.

use crate::core::Core;
use crate::counters::Counters;
use crate::deps::Change;
use crate::limit::Settings;
use crate::reason::DelReason;
use crate::round::Rounds;
use crate::show;
use crate::threads::{Control, Threads, handle_some};
use crate::translator::Translator;
use base::clock::{Clock, Nanos};
use base::sync::{Arc, Mutex, Ordering, lock};
use dpif::{Dpif, DpifError};

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threading {
    /// Handler and revalidator threads.
    Real,
    /// The caller, by [`Udpif::run_handlers_once`] and [`Udpif::run_revalidator_once`]: repeatable.
    Manual,
}

/// Why threads could not be set.
#[derive(Debug, thiserror::Error)]
pub enum UdpifError {
    /// The datapath refused the number of handlers.
    #[error("failed to configure handlers in dpif {dpif}: {source}")]
    Handlers {
        /// Datapath.
        dpif: String,
        /// Why.
        source: DpifError,
    },
    /// The kernel refused a thread.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Keeps one datapath equal to what a translator says. See the crate's text.
#[derive(Debug)]
pub struct Udpif<T: Translator> {
    pub(crate) core: Arc<Core<T>>,
    rounds: Arc<Rounds<T>>,
    threading: Threading,
    control: Mutex<Arc<Control>>,
    threads: Mutex<Option<Threads<T>>>,
    /// Handlers the datapath was told about, in manual mode.
    manual_handlers: Mutex<u32>,
}

impl<T: Translator> Udpif<T> {
    /// A udpif without threads. Upcalls stay off until [`Self::set_threads`].
    #[must_use]
    pub fn new(
        dpif: Arc<dyn Dpif>,
        translator: Arc<T>,
        clock: Clock,
        threading: Threading,
    ) -> Self {
        let core = Arc::new(Core::new(dpif, translator, clock));
        Self {
            rounds: Arc::new(Rounds::new(core.clone())),
            core,
            threading,
            control: Mutex::new(Arc::new(Control::default())),
            threads: Mutex::new(None),
            manual_handlers: Mutex::new(0),
        }
    }

    /// The translator.
    #[must_use]
    pub fn translator(&self) -> &Arc<T> {
        &self.core.translator
    }
    /// The datapath.
    #[must_use]
    pub fn dpif(&self) -> &Arc<dyn Dpif> {
        &self.core.dpif
    }

    // ---- threads

    /// Sets the number of handler and revalidator threads (0: by the number of cores) and starts them;
    /// upcalls are on afterwards. Flows stay.
    ///
    /// # Errors
    /// The datapath's or the kernel's; then no threads run.
    pub fn set_threads(&self, handlers: u32, revalidators: u32) -> Result<(), UdpifError> {
        let (h, r) = thread_counts(handlers, revalidators, base::cpu::online().len());
        let mut threads = lock(&self.threads);
        let running = threads
            .as_ref()
            .map(|t| (t.n_handlers, t.n_revalidators))
            .or_else(|| match *lock(&self.manual_handlers) {
                0 => None,
                n => Some((n, r)),
            });
        if running == Some((h, r)) {
            return Ok(());
        }
        tracing::info!(
            target: "ofproto_dpif_upcall",
            "Setting n-handler-threads to {h}, setting n-revalidator-threads to {r}"
        );
        *threads = None; // stopped
        tracing::info!(target: "ofproto_dpif_upcall", "Starting {} threads", h + r);
        let dpif = &self.core.dpif;
        dpif.handlers_set(h)
            .map_err(|source| UdpifError::Handlers {
                dpif: format!("{}@{}", dpif.type_name(), dpif.name()),
                source,
            })?;
        match self.threading {
            Threading::Real => {
                let control = Arc::new(Control::default());
                *lock(&self.control) = control.clone();
                *threads = Some(Threads::start(&self.rounds, &control, h, r)?);
            }
            Threading::Manual => *lock(&self.manual_handlers) = h,
        }
        dpif.recv_set(true);
        Ok(())
    }

    /// Ends the threads; upcalls are off afterwards. Flows stay and go on forwarding.
    pub fn stop(&self) {
        *lock(&self.threads) = None;
        *lock(&self.manual_handlers) = 0;
        self.core.dpif.recv_set(false);
    }

    /// Handles every upcall that waits, on the caller. Returns how many there were.
    pub fn run_handlers_once(&self) -> usize {
        let handlers = *lock(&self.manual_handlers);
        let mut total = 0;
        loop {
            let n: usize = (0..handlers).map(|h| handle_some(&self.core, h)).sum();
            total += n;
            if n == 0 {
                return total;
            }
        }
    }

    /// A full round on the caller. Does nothing while paused.
    pub fn run_revalidator_once(&self) {
        self.run_round(true);
    }

    /// A quick round on the caller: only what changed. Does nothing while paused.
    pub fn run_changes_once(&self) {
        self.run_round(false);
    }

    /// True when something changed that no round has looked at.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.core.pending.is_due()
    }

    fn run_round(&self, full: bool) {
        if !lock(&self.control).is_paused() {
            self.rounds.run_alone(full);
        }
    }

    // ---- changes

    /// Posts changes. They must be visible to translations already.
    pub fn post(&self, changes: impl IntoIterator<Item = Change<T::Probe>>) {
        self.core.pending.post(changes);
    }

    // ---- commands

    /// Asks for a full round that begins after this call (`revalidator/wait`); in manual mode it is over
    /// when this returns. The token is for [`Self::is_done`].
    pub fn request_round(&self) -> u64 {
        let token = self.rounds.request();
        if self.threading == Threading::Manual {
            self.run_revalidator_once();
        }
        token
    }
    /// True when the round of a token is over.
    #[must_use]
    pub fn is_done(&self, token: u64) -> bool {
        self.rounds.is_done(token)
    }

    /// `revalidator/pause`: returns when no round runs; none begins until [`Self::resume`].
    pub fn pause(&self) {
        lock(&self.control).set_paused(true);
        self.core.pending.wake.change();
        drop(self.rounds.hold());
    }
    /// `revalidator/resume`.
    pub fn resume(&self) {
        lock(&self.control).set_paused(false);
        self.core.pending.wake.change();
    }
    /// `revalidator/purge`: removes every flow that was installed here, its last counters credited.
    pub fn purge(&self) {
        self.rounds.purge(DelReason::Purge);
    }
    /// Removes every flow of the datapath, whoever installed it.
    ///
    /// # Errors
    /// The datapath's.
    pub fn flush(&self) -> Result<(), DpifError> {
        self.rounds.purge(DelReason::Flush);
        let flushed = self.core.dpif.flow_flush();
        self.core.recount_flows();
        flushed
    }
    /// `upcall/enable-megaflows`, `upcall/disable-megaflows`: flushes, and answers in words.
    pub fn set_megaflows(&self, on: bool) -> &'static str {
        self.core.megaflows.store(on, Ordering::Relaxed);
        // A datapath that is gone has no flows either.
        drop(self.flush());
        if on {
            "megaflows enabled"
        } else {
            "megaflows disabled"
        }
    }
    /// `upcall/enable-ufid`, `upcall/disable-ufid`: whether dumps are terse.
    pub fn set_ufid(&self, on: bool) -> &'static str {
        self.core.ufid.store(on, Ordering::Relaxed);
        if on {
            "Datapath dumping tersely using UFID enabled for supported datapaths"
        } else {
            "Datapath dumping tersely using UFID disabled"
        }
    }
    /// `upcall/set-flow-limit`.
    pub fn set_flow_limit(&self, limit: u32) -> String {
        self.core.flow_limit.store(limit, Ordering::Relaxed);
        format!("set flow_limit to {limit}\n")
    }
    /// `upcall/show`, this datapath's part.
    #[must_use]
    pub fn show(&self) -> String {
        let threads = lock(&self.threads);
        let (handlers, revalidators) = threads
            .as_ref()
            .map_or((1, 1), |t| (t.n_handlers, t.n_revalidators));
        show::show(&self.core, handlers as usize + 1, revalidators as usize)
    }
    /// Counters and reasons of removal, in words.
    #[must_use]
    pub fn details(&self) -> String {
        show::details(&self.core)
    }

    // ---- settings and numbers

    /// The operator's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        **self.core.settings.load()
    }
    /// Changes the operator's settings. A lower `flow-limit` takes effect after the next dump.
    pub fn set_settings(&self, settings: Settings) {
        if self.settings() != settings {
            self.core.settings.store(Arc::new(settings));
            self.core.pending.wake.change();
        }
    }
    /// The dynamic flow limit.
    #[must_use]
    pub fn flow_limit(&self) -> u32 {
        self.core.limit()
    }
    /// Flows in the datapath.
    #[must_use]
    pub fn n_flows(&self) -> u64 {
        self.core.n_flows()
    }
    /// Flows installed here that may be in the datapath.
    #[must_use]
    pub fn n_ukeys(&self) -> usize {
        self.core.map.live()
    }
    /// Bytes that ukeys occupy (tables around them and what they share not counted).
    #[must_use]
    pub fn ukey_bytes(&self) -> usize {
        self.core.map.bytes()
    }
    /// How long the last dump took, milliseconds.
    #[must_use]
    pub fn dump_ms(&self) -> u64 {
        self.core.dump_ms.load(Ordering::Relaxed)
    }
    /// Packets that hit flows before this time are credited: when the last finished dump began.
    #[must_use]
    pub fn counted_until(&self) -> Nanos {
        Nanos(self.core.counted_until.load(Ordering::Relaxed))
    }
    /// Counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }
    /// For `memory/show`: (handlers, revalidators, udpif keys).
    #[must_use]
    pub fn memory(&self) -> (u32, u32, usize) {
        let threads = lock(&self.threads);
        let (h, r) = threads
            .as_ref()
            .map_or((0, 0), |t| (t.n_handlers, t.n_revalidators));
        (h, r, self.core.map.keys_of(0, 1))
    }
}

/// Numbers of (handlers, revalidators) for what the operator asked (0: not said) on `cores` cores.
fn thread_counts(handlers: u32, revalidators: u32, cores: usize) -> (u32, u32) {
    let threads = u32::try_from(cores).unwrap_or(u32::MAX).max(2);
    let r = match (handlers, revalidators) {
        (_, r) if r > 0 => r,
        (0, _) => threads / 4 + 1,
        (h, _) => threads.saturating_sub(h).max(1),
    };
    let h = match handlers {
        0 => threads.saturating_sub(r).max(1),
        h => h,
    };
    (h, r)
}

#[cfg(test)]
mod tests {
    use super::thread_counts;

    #[test]
    fn threads_by_cores_as_the_peer_counts() {
        assert_eq!(thread_counts(0, 0, 2), (1, 1));
        assert_eq!(thread_counts(0, 0, 16), (11, 5));
        assert_eq!(thread_counts(3, 0, 16), (3, 13));
        assert_eq!(thread_counts(0, 4, 16), (12, 4));
        assert_eq!(thread_counts(20, 0, 16), (20, 1));
        assert_eq!(thread_counts(2, 2, 1), (2, 2));
    }
}

//! [`PmdHandle`]: how control threads reach a packet thread, with a thread behind it or without.
//!
//! Without (`Threading::Manual`), what would be a message is carried out at once on the caller, and
//! polling happens when somebody calls [`PmdHandle::step`]: a whole switch in one thread.

use super::ops::{Answers, Request};
use super::{Job, Pmd, PmdShared};
use crate::mailbox::ask;
use base::sync::{Arc, AtomicBool, JoinHandle, Mutex, lock, spawn};

/// Something to be done on a packet thread.
type Call = Box<dyn FnOnce(&mut Pmd) + Send>;

/// What a packet thread is sent.
pub(crate) enum Message {
    Ops(Request),
    Call(Call),
    Stop,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ops(_) => "Ops",
            Self::Call(_) => "Call",
            Self::Stop => "Stop",
        })
    }
}

#[derive(Debug)]
enum Runner {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Manual(Mutex<Box<Pmd>>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PmdHandle {
    pub(crate) shared: Arc<PmdShared>,
    runner: Runner,
    /// Which tx queue of each device it sends through.
    pub(crate) txq: u32,
    /// Only polls queues that are pinned to it.
    pub(crate) isolated: AtomicBool,
}

/// The tx queue of the thread of ports that are not polled: behind those of all others.
const MAIN_TXQ: u32 = netdev::CONTROL_TXQ;

impl PmdHandle {
    /// A packet thread that only runs when it is told to.
    pub(crate) fn manual(pmd: Pmd) -> Self {
        Self::new(
            Arc::clone(pmd.shared()),
            Runner::Manual(Mutex::new(Box::new(pmd))),
        )
    }

    fn new(shared: Arc<PmdShared>, runner: Runner) -> Self {
        Self {
            shared,
            runner,
            txq: MAIN_TXQ,
            isolated: AtomicBool::new(false),
        }
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// The kernel's, when no thread can be made.
    pub(crate) fn start(mut pmd: Pmd, pin: bool) -> std::io::Result<Self> {
        let shared = Arc::clone(pmd.shared());
        let name = match shared.core {
            Some(core) => format!("pmd-c{:02}/id:{}", core.0, shared.numa),
            None => "dp-main".to_owned(),
        };
        let thread = spawn(&name, move || {
            if let Some(core) = pmd.shared().core.filter(|_| pin)
                && let Err(e) = base::cpu::pin_current(core)
            {
                tracing::warn!(target: "dpif_netdev", "cannot pin to core {}: {e}", core.0);
            }
            super::sleep::run(&mut pmd);
        })?;
        Ok(Self::new(shared, Runner::Thread(Mutex::new(Some(thread)))))
    }

    /// Runs something on the packet thread between two batches and waits for it. `None` when it could not
    /// be carried out.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Pmd) -> T + Send + 'static,
    ) -> Option<T> {
        match &self.runner {
            Runner::Manual(pmd) => {
                let mut pmd = lock(pmd);
                pmd.tick();
                Some(f(&mut pmd))
            }
            Runner::Thread(_) => {
                let (asked, reply) = ask();
                let call: Call = Box::new(move |pmd| asked.give(f(pmd)));
                self.shared.mailbox.send(Message::Call(call));
                reply.wait()
            }
        }
    }

    /// Sends operations without waiting for them.
    pub(crate) fn send_jobs(&self, jobs: Vec<Job>) -> crate::mailbox::Reply<Answers> {
        let (asked, reply) = ask();
        let request = Request::new(jobs, asked);
        match &self.runner {
            Runner::Manual(pmd) => {
                let mut pmd = lock(pmd);
                pmd.accept(request);
                pmd.run_all_messages();
            }
            Runner::Thread(_) => self.shared.mailbox.send(Message::Ops(request)),
        }
        reply
    }

    /// One round of polling on the caller; true when anything was done. Nothing for real threads.
    pub(crate) fn step(&self) -> bool {
        match &self.runner {
            Runner::Manual(pmd) => {
                let mut pmd = lock(pmd);
                let any = pmd.turn();
                if !any {
                    pmd.tick();
                }
                any
            }
            Runner::Thread(_) => false,
        }
    }

    /// Receives until every queue is empty; true when there was anything.
    pub(crate) fn drain(&self) -> bool {
        const ROUNDS_MAX: usize = 100_000;
        self.call(|pmd| {
            pmd.tick();
            let rounds = (0..ROUNDS_MAX).take_while(|_| pmd.poll_all() > 0).count();
            pmd.tick();
            rounds > 0
        })
        .unwrap_or(false)
    }

    /// Ends the thread, after it has carried out what was sent to it.
    pub(crate) fn stop(&self) {
        if let Runner::Thread(thread) = &self.runner
            && let Some(thread) = lock(thread).take()
        {
            self.shared.mailbox.send(Message::Stop);
            // A thread that panicked outside of any batch has said so already.
            let _ = thread.join();
            self.shared.mailbox.close();
        }
    }
}

impl Drop for PmdHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

//! Device flags that this process changed, and their old values: put back when the device is closed, and
//! by [`restore_all`] at normal exit, at SIGTERM and after a panic.
//!
//! Promiscuity is not here: it is a packet-socket membership that ends with the process, so that even
//! SIGKILL leaves no device promiscuous.

use crate::linux::{Host, LinkChange};
use base::clock;
use base::sync::{Arc, Mutex, MutexGuard, TryLockError, lock};
use std::time::Duration;

/// What was changed on one device.
#[derive(Debug)]
struct Saved {
    host: Arc<Host>,
    index: u32,
    /// Bits changed, and what all bits were before.
    mask: u32,
    before: u32,
}

static SAVED: Mutex<Vec<Saved>> = Mutex::new(Vec::new());

/// Remembers the old values of the bits in `mask` that are not remembered yet.
pub(crate) fn remember(host: &Arc<Host>, index: u32, mask: u32, flags: u32) {
    let mut all = lock(&SAVED);
    let known = all
        .iter_mut()
        .find(|s| s.index == index && Arc::ptr_eq(&s.host, host));
    match known {
        Some(saved) => {
            let new = mask & !saved.mask;
            saved.before = saved.before & !new | flags & new;
            saved.mask |= new;
        }
        None => all.push(Saved {
            host: Arc::clone(host),
            index,
            mask,
            before: flags & mask,
        }),
    }
}

/// Forgets a device that is no more.
pub(crate) fn forget(host: &Arc<Host>, index: u32) {
    lock(&SAVED).retain(|s| s.index != index || !Arc::ptr_eq(&s.host, host));
}

/// Puts back the flags of one device.
pub(crate) fn restore(host: &Arc<Host>, index: u32) {
    let saved = {
        let mut all = lock(&SAVED);
        let at = all
            .iter()
            .position(|s| s.index == index && Arc::ptr_eq(&s.host, host));
        at.map(|at| all.swap_remove(at))
    };
    if let Some(saved) = saved {
        // A device that cannot be changed any more has nothing to put back.
        drop(saved.host.change(index, saved.change()));
    }
}

impl Saved {
    fn change(&self) -> LinkChange {
        LinkChange {
            flags: self.before,
            flags_mask: self.mask,
            ..LinkChange::default()
        }
    }
}

/// Puts back every flag this process changed and has not put back yet. Returns how many devices it
/// changed. Safe to call from a panic hook and more than once: it waits at most 100 ms for other threads.
pub fn restore_all() -> usize {
    let Some(mut all) = patiently(&SAVED) else {
        return 0;
    };
    let mut done = 0;
    for saved in all.drain(..) {
        for _ in 0..100 {
            match saved.host.try_change(saved.index, saved.change()) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    clock::sleep(Duration::from_millis(1));
                }
                Ok(()) => {
                    done += 1;
                    break;
                }
                Err(_) => break,
            }
        }
    }
    done
}

/// Locks unless the holder does not let go for 100 ms (it may be the thread that is dying here).
fn patiently<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    for _ in 0..100 {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(p)) => return Some(p.into_inner()),
            Err(TryLockError::WouldBlock) => clock::sleep(Duration::from_millis(1)),
        }
    }
    None
}

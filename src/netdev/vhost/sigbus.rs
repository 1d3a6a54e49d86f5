//! Guest memory that goes away under us: `SIGBUS` costs the guest its port, not the switch its life.
//!
//! A guest's memory is a file that its owner may cut short (or whose huge pages may run out) at any time;
//! touching what is no longer there raises `SIGBUS`. Every mapping is listed in a fixed table. The handler
//! finds the mapping that the address is in, puts anonymous zero pages in the whole mapping's place, marks
//! it lost, and the interrupted access goes on with zeros; whoever uses the mapping sees the mark at the
//! next burst and stops. Any other `SIGBUS` goes where it would have gone without us.
//!
//! The handler only does what may be done in one: atomics and `mmap`.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a signal handler is installed, and replaces mappings of which this table knows that they are
// guest memory, which nobody refers to otherwise than by volatile access or copying.

use base::sync::{AtomicBool, AtomicUsize, Mutex, OnceLock, Ordering, lock};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Mappings that can be watched at a time, in the whole process.
const WATCHED_MAX: usize = 4096;

/// One mapping of the table. Free while `start` is 0.
#[derive(Debug)]
pub(super) struct Watch {
    start: AtomicUsize,
    len: AtomicUsize,
    lost: AtomicBool,
}

static TABLE: [Watch; WATCHED_MAX] = [const {
    Watch {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; WATCHED_MAX];
static CHANGES: Mutex<()> = Mutex::new(());
/// What was installed before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

impl Watch {
    /// True once the memory behind the mapping went away.
    #[inline]
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Watches a mapping; the first call installs the handler.
///
/// # Errors
/// The table is full, or the kernel refuses the handler.
pub(super) fn watch(start: NonNull<u8>, len: usize) -> io::Result<&'static Watch> {
    let _changing = lock(&CHANGES);
    install()?;
    let free = TABLE
        .iter()
        .find(|w| w.start.load(Ordering::Relaxed) == 0)
        .ok_or_else(|| io::Error::other("too many regions of guest memory in all"))?;
    free.lost.store(false, Ordering::Relaxed);
    free.len.store(len, Ordering::Relaxed);
    // Pairs with the Acquire in the handler: who sees the start sees the length.
    free.start.store(start.as_ptr() as usize, Ordering::Release);
    Ok(free)
}

/// Ends the watch of a mapping that is about to be taken out.
pub(super) fn unwatch(watch: &'static Watch) {
    let _changing = lock(&CHANGES);
    watch.start.store(0, Ordering::Release); // pairs with the Acquire in the handler
}

fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_sigbus as *const () as usize;
    // On the alternative stack where a thread has one: that is what the handler before us expects.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: both point to live sigactions; the handler has the signature SA_SIGINFO asks for.
    let rc = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, before.as_mut_ptr()) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled it in.
    let before = unsafe { before.assume_init() };
    // Cannot be set already: the caller holds CHANGES.
    let _ = BEFORE.set(before);
    Ok(())
}

extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a live siginfo of a SIGBUS, which has an address.
    let info_ref = unsafe { &*info };
    // SAFETY: as above.
    let at = unsafe { info_ref.si_addr() } as usize;
    for watch in &TABLE {
        let start = watch.start.load(Ordering::Acquire); // pairs with the Release in watch()
        let len = watch.len.load(Ordering::Relaxed);
        if start != 0 && at.wrapping_sub(start) < len && replace(start, len) {
            watch.lost.store(true, Ordering::Relaxed);
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Puts zero pages in a mapping's place.
fn replace(start: usize, len: usize) -> bool {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: the thread's errno is always there.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // SAFETY: start and len are those of a mapping of guest memory, which is only accessed by volatile
    // reads and copies; they work on any memory.
    let now = unsafe { libc::mmap(start as *mut libc::c_void, len, prot, flags, -1, 0) };
    // SAFETY: as above.
    unsafe { *errno = saved };
    now as usize == start
}

/// Lets the handler before us have the signal.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(before) = BEFORE.get() else {
        return;
    };
    let handler = before.sa_sigaction;
    if handler != libc::SIG_DFL
        && handler != libc::SIG_IGN
        && before.sa_flags & libc::SA_SIGINFO != 0
    {
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: with SA_SIGINFO and neither of the two constants it is a function of this type.
        let handler = unsafe { std::mem::transmute::<usize, Handler>(handler) };
        handler(signal, info, context);
        return;
    }
    // The access is repeated after we return, and then has its usual effect.
    // SAFETY: `before` is what the kernel gave us.
    unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
}

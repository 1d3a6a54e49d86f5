//! `libringway_dpdk.so`: looked for, opened, and its functions made safe to call.
//!
//! The twin of `shim/ringway_dpdk.h`; who changes one changes the other, and [`ABI`]. The file is looked for
//! beside the running binary, then where packages put it. It stays open for the life of the process.
//! Threads: any, except that a queue has one caller of `rx` or `tx` at a time, which its owner sees to.

#![expect(unsafe_code, reason = "see UNSAFETY")]
// UNSAFETY: a C library is opened by name and its functions are called through pointers.

use packet::{Batch, Frame, PoolPtr};
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};

/// `RW_DPDK_ABI` of the header.
const ABI: u32 = 2;
const FILE: &str = "libringway_dpdk.so";
/// Where packages put the library.
const DIRS: [&str; 3] = [
    "/usr/lib/ringway",
    "/usr/local/lib/ringway",
    "/usr/local/lib",
];

/// Bytes to be sent.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Bytes<'a> {
    data: *const u8,
    len: u64,
    of: PhantomData<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        Self {
            data: data.as_ptr(),
            len: data.len() as u64,
            of: PhantomData,
        }
    }
}

/// What became of a burst.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) sent: u32,
    pub(super) full: u32,
    pub(super) no_mem: u32,
    reserved: u32,
}

/// Facts about a port.
#[derive(Clone, Copy)]
#[repr(C)]
#[derive(Debug)]
pub(super) struct Info {
    driver: [u8; 64],
    bus: [u8; 128],
    pub(super) mac: [u8; 6],
    pub(super) mtu: u16,
    pub(super) min_mtu: u16,
    pub(super) max_mtu: u16,
    pub(super) max_rxq: u16,
    pub(super) max_txq: u16,
    pub(super) min_rx_bufsize: u32,
    pub(super) max_rx_pktlen: u32,
    pub(super) max_mac_addrs: u32,
    pub(super) max_hash_mac_addrs: u32,
    pub(super) max_vfs: u16,
    pub(super) max_vmdq_pools: u16,
    /// Smallest, largest number of rx descriptors, and what it must be a multiple of.
    pub(super) rxd: [u16; 3],
    /// As `rxd`, for tx.
    pub(super) txd: [u16; 3],
    /// NUMA node, or -1.
    pub(super) socket: i32,
    pub(super) rx_checksum: u32,
}

impl Info {
    pub(super) fn driver(&self) -> String {
        text_of(&self.driver)
    }
    pub(super) fn bus(&self) -> String {
        text_of(&self.bus)
    }
}

/// How a port is to be set up; what it was set up with.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct Setup {
    pub(super) pool: Pool,
    pub(super) n_rxq: u16,
    pub(super) n_txq: u16,
    pub(super) rxd: u16,
    pub(super) txd: u16,
    pub(super) mtu: u16,
    pub(super) lsc: u16,
    pub(super) rx_checksum: u16,
    pub(super) scatter: u16,
    pub(super) socket: i32,
    pub(super) mtu_fixed: u32,
}

/// Where a setup failed (`enum rw_step`).
pub(super) const STEPS: [&str; 6] = [
    "",
    "configure error",
    "MTU setup error",
    "unable to set up a tx queue",
    "unable to set up an rx queue",
    "start error",
];

/// A link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct LinkState {
    /// `u32::MAX` when not known.
    pub(super) speed_mbps: u32,
    pub(super) up: u16,
    pub(super) full_duplex: u16,
}

/// Counters that every device has.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Counts {
    pub(super) ipackets: u64,
    pub(super) opackets: u64,
    pub(super) ibytes: u64,
    pub(super) obytes: u64,
    pub(super) imissed: u64,
    pub(super) ierrors: u64,
    pub(super) oerrors: u64,
    pub(super) rx_nombuf: u64,
}

/// A pool of mbufs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Pool(NonNull<c_void>);

// SAFETY: a mempool may be used from any thread (it is an argument of thread-safe functions).
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// A text that DPDK can print about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Dump {
    /// Its lcores and what runs on them.
    Lcores,
    /// Its log types and their levels.
    Log,
    /// Its heaps.
    Malloc,
    /// Its pools of mbufs.
    Pools,
}

/// `RW_DUMP_POOL`.
const DUMP_POOL: u32 = Dump::Pools as u32 + 1;

pub(super) type LogFn = extern "C" fn(u32, *const c_char, usize);
pub(super) type EventFn = extern "C" fn(u16, u32);
type XstatFn = extern "C" fn(*mut c_void, *const c_char, u64);

/// `struct rw_ops`.
#[repr(C)]
struct Ops {
    abi: u32,
    size: u32,
    version: unsafe extern "C" fn() -> *const c_char,
    init: unsafe extern "C" fn(c_int, *mut *mut c_char, LogFn, EventFn) -> c_int,
    strerror: unsafe extern "C" fn(c_int) -> *const c_char,
    thread_attach: unsafe extern "C" fn() -> c_int,
    thread_detach: unsafe extern "C" fn(),
    dump: unsafe extern "C" fn(u32, Option<Pool>) -> *mut c_char,
    text_free: unsafe extern "C" fn(*mut c_char),
    log_set: unsafe extern "C" fn(*const c_char, u32) -> c_int,
    pool_create: unsafe extern "C" fn(*const c_char, u32, u32, c_int, *mut c_int) -> *mut c_void,
    pool_idle: unsafe extern "C" fn(Pool) -> c_int,
    pool_free: unsafe extern "C" fn(Pool),
    release: unsafe extern "C" fn(*const u64, u32),
    find: unsafe extern "C" fn(*const c_char, *mut u16) -> c_int,
    probe: unsafe extern "C" fn(*const c_char) -> c_int,
    detach: unsafe extern "C" fn(u16, u32) -> c_int,
    same_device: unsafe extern "C" fn(u16, u16) -> c_int,
    info: unsafe extern "C" fn(u16, *mut Info) -> c_int,
    configure: unsafe extern "C" fn(u16, *mut Setup, *mut u32) -> c_int,
    stop: unsafe extern "C" fn(u16) -> c_int,
    set_link: unsafe extern "C" fn(u16, u32) -> c_int,
    promiscuous: unsafe extern "C" fn(u16, u32) -> c_int,
    set_mac: unsafe extern "C" fn(u16, *const u8) -> c_int,
    link: unsafe extern "C" fn(u16, *mut LinkState) -> c_int,
    stats: unsafe extern "C" fn(u16, *mut Counts) -> c_int,
    xstats: unsafe extern "C" fn(u16, XstatFn, *mut c_void) -> c_int,
    rx: unsafe extern "C" fn(u16, u16, *const c_void, *mut Frame, u32, *mut u64) -> u32,
    tx: unsafe extern "C" fn(u16, u16, *const c_void, u32, *const Frame, u32, *mut Sent) -> c_int,
    tx_bytes: unsafe extern "C" fn(u16, u16, Pool, *const Bytes<'_>, u32, *mut Sent),
}

/// A negative errno as an error; anything else as itself.
fn check(result: c_int) -> Result<u32, c_int> {
    u32::try_from(result).map_err(|_| result.saturating_neg())
}

fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The text at a pointer that the library gave out.
fn text_at(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: every text of the library ends with a zero byte and outlives this call.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// A string for C; what follows a zero byte is lost.
fn c(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The opened library.
#[derive(Clone, Copy)]
pub(super) struct Library(&'static Ops);

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Library")
    }
}

/// Files to try, in order.
fn candidates() -> Vec<PathBuf> {
    let beside = std::fs::read_link("/proc/self/exe")
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    // Tests run from a directory below that of the binary.
    let above = beside
        .as_deref()
        .filter(|d| d.ends_with("deps"))
        .and_then(Path::parent);
    let mut dirs: Vec<PathBuf> = beside.iter().cloned().collect();
    dirs.extend(above.map(Path::to_path_buf));
    dirs.extend(DIRS.map(PathBuf::from));
    dirs.into_iter().map(|d| d.join(FILE)).collect()
}

impl Library {
    /// Finds and opens the library.
    ///
    /// # Errors
    /// In words: what is missing, the package to install and the script to run.
    pub(super) fn open() -> Result<Self, String> {
        let files = candidates();
        let Some(file) = files.iter().find(|f| f.exists()) else {
            let dirs: Vec<_> = files.iter().filter_map(|f| f.parent()).collect();
            return Err(format!(
                "{FILE} is missing (looked for in {}): apt-get install libdpdk-dev, then run \
                 scripts/build-dpdk",
                dirs.iter()
                    .map(|d| d.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ));
        };
        let path = CString::new(OsStr::as_bytes(file.as_os_str())).unwrap_or_default();
        // SAFETY: a path that ends with a zero byte; the file is ours, its initialisers are DPDK's.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: right after dlopen failed there is a text, which text_at copies at once.
            let why = text_at(unsafe { libc::dlerror() });
            return Err(format!(
                "{}: {why}: apt-get install libdpdk-dev, then run scripts/build-dpdk",
                file.display()
            ));
        }
        // SAFETY: an open handle and a name that ends with a zero byte.
        let table = unsafe { libc::dlsym(handle, c"ringway_dpdk_ops".as_ptr()) }.cast::<Ops>();
        let head = table.cast::<[u32; 2]>();
        // SAFETY: dlsym gives null or the address of the table, whose first two words are these in every version.
        let head = unsafe { head.as_ref() }.copied();
        if head != Some([ABI, size_of::<Ops>() as u32]) {
            return Err(format!(
                "{} was built for another version of the switch: run scripts/build-dpdk again",
                file.display()
            ));
        }
        // SAFETY: the table has this layout (just checked), is constant, and the library is never closed.
        let ops = unsafe { &*table };
        Ok(Self(ops))
    }

    /// DPDK's name and version.
    pub(super) fn version(self) -> String {
        // SAFETY: no arguments; returns a constant text.
        text_at(unsafe { (self.0.version)() })
    }

    /// An errno in words.
    pub(super) fn strerror(self, errno: i32) -> String {
        // SAFETY: any number will do; the text is valid until this thread asks again.
        text_at(unsafe { (self.0.strerror)(errno) })
    }

    /// Starts DPDK with this command line.
    ///
    /// # Errors
    /// An errno; DPDK has logged more.
    pub(super) fn init(self, args: &[String], log: LogFn, event: EventFn) -> Result<(), i32> {
        // DPDK keeps pointers to its arguments: they are never freed.
        let args: Vec<*mut c_char> = args.iter().map(|a| c(a).into_raw()).collect();
        let count = c_int::try_from(args.len()).unwrap_or(0);
        let args = Vec::leak(args.into_iter().chain([ptr::null_mut()]).collect());
        // SAFETY: `count` texts and a null behind them, all alive for ever.
        check(unsafe { (self.0.init)(count, args.as_mut_ptr(), log, event) }).map(drop)
    }

    /// Makes the calling thread one of DPDK's; its lcore.
    ///
    /// # Errors
    /// An errno: there are as many threads as DPDK can have.
    pub(super) fn thread_attach(self) -> Result<u32, i32> {
        // SAFETY: concerns the calling thread only.
        check(unsafe { (self.0.thread_attach)() })
    }

    /// Takes the calling thread from DPDK's list again.
    pub(super) fn thread_detach(self) {
        // SAFETY: concerns the calling thread only; does nothing to a thread that is not in the list.
        unsafe { (self.0.thread_detach)() }
    }

    /// A text about DPDK's insides.
    pub(super) fn dump(self, what: Dump) -> String {
        self.dump_text(what as u32, None)
    }

    /// A text about a pool.
    pub(super) fn dump_pool(self, pool: Pool) -> String {
        self.dump_text(DUMP_POOL, Some(pool))
    }

    fn dump_text(self, what: u32, pool: Option<Pool>) -> String {
        // SAFETY: a known number, with a pool that is not freed yet where one is needed; returns null or a text
        // of ours.
        let text = unsafe { (self.0.dump)(what, pool) };
        let copy = text_at(text);
        // SAFETY: the text came from dump() (or is null) and is not used again.
        unsafe { (self.0.text_free)(text) };
        copy
    }

    /// Sets log levels of all types that match a pattern; false when it is no pattern.
    pub(super) fn log_set(self, pattern: &str, level: u32) -> bool {
        let pattern = c(pattern);
        // SAFETY: a text that ends with a zero byte.
        unsafe { (self.0.log_set)(pattern.as_ptr(), level) >= 0 }
    }

    /// A new pool of `n` mbufs of `room` bytes each, headroom included.
    ///
    /// # Errors
    /// An errno.
    pub(super) fn pool_create(
        self,
        name: &str,
        n: u32,
        room: u32,
        socket: i32,
    ) -> Result<Pool, i32> {
        let name = c(name);
        let mut error = 0;
        // SAFETY: a text that ends with a zero byte, and a place for the error.
        let pool = unsafe { (self.0.pool_create)(name.as_ptr(), n, room, socket, &raw mut error) };
        NonNull::new(pool).map(Pool).ok_or(error)
    }

    /// True when every mbuf of the pool is at home.
    pub(super) fn pool_is_idle(self, pool: Pool) -> bool {
        // SAFETY: pools are freed by memory.rs alone, which forgets them then.
        unsafe { (self.0.pool_idle)(pool) == 1 }
    }

    /// Frees a pool that is idle and that no port uses.
    pub(super) fn pool_free(self, pool: Pool) {
        // SAFETY: memory.rs calls this once per pool, after the last port let go and the last mbuf came home.
        unsafe { (self.0.pool_free)(pool) }
    }

    /// The port that device arguments mean, if there is one.
    pub(super) fn find(self, devargs: &str) -> Result<u16, i32> {
        let devargs = c(devargs);
        let mut port = 0;
        // SAFETY: a text that ends with a zero byte, and a place for the number.
        check(unsafe { (self.0.find)(devargs.as_ptr(), &raw mut port) }).map(|_| port)
    }

    /// Has a driver take up the device that the arguments name.
    ///
    /// # Errors
    /// An errno.
    pub(super) fn probe(self, devargs: &str) -> Result<(), i32> {
        let devargs = c(devargs);
        // SAFETY: a text that ends with a zero byte.
        check(unsafe { (self.0.probe)(devargs.as_ptr()) }).map(drop)
    }

    /// Closes a port, and removes its device where no other port has it.
    ///
    /// # Errors
    /// An errno.
    pub(super) fn detach(self, port: u16, remove: bool) -> Result<(), i32> {
        // SAFETY: any number will do; the caller's queues are gone.
        check(unsafe { (self.0.detach)(port, u32::from(remove)) }).map(drop)
    }

    /// True when two ports are of one device.
    pub(super) fn same_device(self, a: u16, b: u16) -> bool {
        // SAFETY: any numbers will do.
        unsafe { (self.0.same_device)(a, b) != 0 }
    }

    /// Facts about a port.
    ///
    /// # Errors
    /// An errno.
    pub(super) fn info(self, port: u16) -> Result<Info, i32> {
        let mut info = MaybeUninit::<Info>::zeroed();
        // SAFETY: any number will do; a place for the facts.
        check(unsafe { (self.0.info)(port, info.as_mut_ptr()) })?;
        // SAFETY: all fields are numbers, for which zero bytes are a value.
        Ok(unsafe { info.assume_init() })
    }

    /// Sets a stopped port up and starts it.
    ///
    /// # Errors
    /// Where it failed (an index into [`STEPS`]) and an errno.
    pub(super) fn configure(self, port: u16, setup: &mut Setup) -> Result<(), (u32, i32)> {
        let mut step = 0;
        // SAFETY: the pool is alive while the caller holds a share of it; places for answers.
        let result = unsafe { (self.0.configure)(port, setup, &raw mut step) };
        check(result).map(drop).map_err(|e| (step, e))
    }

    /// Stops a port.
    pub(super) fn stop(self, port: u16) {
        // SAFETY: any number will do; the caller's queues are gone. A port that stands still says so: no matter.
        unsafe { (self.0.stop)(port) };
    }

    /// Turns the link on or off.
    ///
    /// # Errors
    /// An errno; `ENOTSUP` where the device cannot.
    pub(super) fn set_link(self, port: u16, up: bool) -> Result<(), i32> {
        // SAFETY: any numbers will do.
        check(unsafe { (self.0.set_link)(port, u32::from(up)) }).map(drop)
    }

    /// Receives everything, or not.
    ///
    /// # Errors
    /// An errno; `ENOTSUP` where the device cannot.
    pub(super) fn promiscuous(self, port: u16, on: bool) -> Result<(), i32> {
        // SAFETY: any numbers will do.
        check(unsafe { (self.0.promiscuous)(port, u32::from(on)) }).map(drop)
    }

    /// Sets the port's address.
    ///
    /// # Errors
    /// An errno.
    pub(super) fn set_mac(self, port: u16, mac: [u8; 6]) -> Result<(), i32> {
        // SAFETY: six bytes.
        check(unsafe { (self.0.set_mac)(port, mac.as_ptr()) }).map(drop)
    }

    /// The link now; down when the device does not say.
    pub(super) fn link(self, port: u16) -> LinkState {
        let mut link = LinkState::default();
        // SAFETY: any number will do; a place for the answer.
        unsafe { (self.0.link)(port, &raw mut link) };
        link
    }

    /// The port's counters.
    pub(super) fn stats(self, port: u16) -> Option<Counts> {
        let mut counts = Counts::default();
        // SAFETY: any number will do; a place for the answer.
        let result = unsafe { (self.0.stats)(port, &raw mut counts) };
        check(result).ok().map(|_| counts)
    }

    /// The driver's own counters, by name.
    pub(super) fn xstats(self, port: u16) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = Vec::new();
        // SAFETY: `push` is called with this pointer during this call only.
        unsafe { (self.0.xstats)(port, push, (&raw mut all).cast()) };
        all
    }

    /// Gives mbufs back: the tokens of frames that [`Library::rx`] made.
    #[inline]
    pub(super) fn release(self, mbufs: &[u64]) {
        // SAFETY: each came out of rx() and its frame is gone; on 64-bit machines a token is a pointer.
        unsafe { (self.0.release)(mbufs.as_ptr(), mbufs.len() as u32) }
    }

    /// Receives frames into the free places of a batch; how many.
    ///
    /// # Safety
    /// `pool` is that of all mbufs, which gives them back by [`Library::release`].
    #[inline]
    pub(super) unsafe fn rx(
        self,
        (port, queue): (u16, u16),
        pool: PoolPtr,
        batch: &mut Batch,
        malformed: &mut u64,
    ) -> usize {
        let places = batch.spare();
        let (first, n) = (places.as_mut_ptr().cast::<Frame>(), places.len() as u32);
        // SAFETY: `n` places; the caller is the queue's only one.
        let got = unsafe { (self.0.rx)(port, queue, pool.as_ptr(), first, n, malformed) };
        debug_assert!(got <= n);
        // SAFETY: the driver gave these mbufs to us alone, the library wrote a whole frame of each.
        unsafe { batch.grow(got as usize) };
        got as usize
    }

    /// Sends a batch whose frames are mbufs of at most `limit` bytes and finished; it is empty afterwards. `None`,
    /// and nothing was done, when it is not such a batch.
    #[inline]
    pub(super) fn tx(
        self,
        (port, queue): (u16, u16),
        pool: PoolPtr,
        limit: u32,
        batch: &mut Batch,
    ) -> Option<Sent> {
        let mut sent = MaybeUninit::<Sent>::uninit();
        let (frames, n) = (batch.as_ptr(), batch.len() as u32);
        let answer = sent.as_mut_ptr();
        // SAFETY: `n` frames; a place for the answer; the caller is the queue's only one.
        let done = unsafe { (self.0.tx)(port, queue, pool.as_ptr(), limit, frames, n, answer) };
        if done == 0 {
            return None;
        }
        // SAFETY: the mbufs are the driver's now, or freed.
        unsafe { batch.forget_all() };
        // SAFETY: written when anything was done.
        Some(unsafe { sent.assume_init() })
    }

    /// Sends copies of bytes, in mbufs out of `pool`.
    #[inline]
    pub(super) fn tx_bytes(self, (port, queue): (u16, u16), pool: Pool, all: &[Bytes<'_>]) -> Sent {
        let mut sent = Sent::default();
        let (first, n) = (all.as_ptr(), all.len() as u32);
        // SAFETY: bytes that are borrowed; the pool is alive; the caller is the queue's only one.
        unsafe { (self.0.tx_bytes)(port, queue, pool, first, n, &raw mut sent) };
        sent
    }
}

/// Takes one counter from the library.
extern "C" fn push(all: *mut c_void, name: *const c_char, value: u64) {
    // SAFETY: xstats() passes the address of its vector, and waits.
    if let Some(all) = unsafe { all.cast::<Vec<(String, u64)>>().as_mut() } {
        all.push((text_at(name), value));
    }
}

/// The bytes of a line that the library logs.
pub(super) fn line(text: *const c_char, len: usize) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library passes `len` bytes that stay until its log function returns.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    String::from_utf8_lossy(bytes).into_owned()
}

//! The room's limits, each with its unit and reason.

/// Datapath port numbers end below this. Tables indexed by port have one place more, for everything else.
pub const PORTS_MAX: u32 = 65_535;
/// Recirculations of one packet (as the peer's).
pub const RECIRC_MAX: u8 = 8;
/// Distinct masks per ingress port. Beyond it flows go under a coarser mask that is there.
pub const MASKS_PER_PORT: usize = 128;
/// Flows under one hash that may share a bucket chain when placed under a coarser mask.
pub const COARSE_CHAIN: usize = 8;
/// Flows per ingress port that are verified exactly because no mask could take them.
pub const EXACT_PER_PORT: usize = 4096;
/// Sets of the flow cache of one packet thread; each is 64 bytes and holds 8 entries: one large page.
pub const CACHE_SETS: usize = 32_768;
/// Flows with which what a packet thread looks packets up in is put on large pages; before, each array costs
/// what it holds.
pub const MANY_FLOWS: usize = 4096;
/// Flows of one packet thread.
pub const FLOWS_MAX: usize = 1 << 22;

/// Ordinary upcalls that can wait for one handler.
pub const UPCALL_QUEUE: usize = 4096;
/// Urgent upcalls that can wait for one handler.
pub const URGENT_QUEUE: usize = 512;
/// Upcalls any port may have waiting, however many ports there are.
pub const UPCALL_SHARE_MIN: usize = 64;
/// Flows of packet threads that are gone whose last figures wait to be asked for: 80 bytes each.
pub const GRAVES_MAX: usize = 1 << 20;

/// Upcalls per second, port and packet thread, unless configured.
pub const UPCALL_BUDGET: u64 = 500_000;
/// Urgent upcalls per second, port and packet thread.
pub const URGENT_BUDGET: u64 = 1000;
/// Urgent upcalls at once.
pub const URGENT_BURST: u64 = 500;

/// Packets parked for one missed flow: more than arrive at full rate while a translation takes 100 us is
/// not worth the memory.
pub const PARK_PER_FLOW: usize = 256;
/// Packets parked per ingress port: a fraction of the smallest frame pool.
pub const PARK_PER_PORT: usize = 1024;
/// Missed flows pending per ingress port and packet thread.
pub const PENDING_PER_PORT: usize = 1024;
/// Missed flows pending per packet thread.
pub const PENDING_MAX: usize = 16_384;
/// How long a packet waits for its flow, milliseconds.
pub const PARK_TIMEOUT_MS: u64 = 2000;

/// Messages waiting for one packet thread; senders wait beyond.
pub const MAILBOX: usize = 128;
/// Flow operations between two rounds of polling.
pub const OPS_PER_TURN: usize = 32;
/// Frames taken from one rx queue before the next one's turn.
pub const RX_BURSTS: usize = 1;
/// How old the time that packets are booked at may be, microseconds: a fast round takes a tenth of that.
pub const CLOCK_EVERY_US: u64 = 2;
/// Empty rounds of polling before a packet thread goes to sleep: about 50 us of polling two queues.
pub const IDLE_SPINS: u32 = 1000;
/// Longest sleep of a packet thread whose queues all have descriptors, milliseconds.
pub const SLEEP_MS: u64 = 200;
/// Sleep of a packet thread that has queues without descriptors, microseconds.
pub const NAP_US: u64 = 50;

/// Longest sleep that `pmd-maxsleep` can ask for, microseconds (as the peer's).
pub const SLEEP_MAX_US: u64 = 10_000;
/// By how much such sleeps grow each round, microseconds (as the peer's).
pub const SLEEP_STEP_US: u64 = 1;
/// Packets at once from one rx queue that end such sleeps (as the peer's).
pub const SLEEP_PACKETS: u64 = 16;

/// Meters of a datapath.
pub const METERS_MAX: u32 = 1 << 18;
/// Bands of a meter.
pub const METER_BANDS_MAX: u8 = 8;

/// Rounds without packets after which a thread that never sleeps looks at the clock.
pub const TICK_ROUNDS: u32 = 1024;

/// Seconds of one interval of load statistics.
pub const INTERVAL_S: u64 = 5;
/// Intervals kept.
pub const INTERVALS: usize = 12;
/// Bins of the histograms of `pmd-perf-show` (as the peer's).
pub const HISTOGRAM_BINS: usize = 32;
/// Rounds, and milliseconds, that are remembered for `pmd-perf-show` (as the peer's).
pub const HISTORY_LEN: usize = 1000;
/// Milliseconds between rankings of subtables by hits.
pub const RANK_MS: u64 = 1000;
/// Sample nesting that is announced; actions may nest deeper, see `actions`.
pub const NESTING_SHOWN: u32 = 10;

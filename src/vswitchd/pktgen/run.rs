//! Sending and receiving.
//!
//! Two threads: the caller's sends, another receives. They share two flags and nothing else; what was
//! received is handed over when the receiver ends.

use super::Args;
use super::frames::{self, Maker};
use super::latency::Latency;
use base::clock::monotonic_ns;
use base::sync::{Arc, AtomicBool, Ordering};
use netdev::{Device, RxQueue, TxQueue};
use packet::{BATCH_MAX, Batch, HeapPool};
use std::thread::JoinHandle;

/// Nothing received for so long after the last packet was sent: what is missing is lost. Nanoseconds.
const SETTLE: u64 = 200_000_000;

/// What one run did.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) bytes: u64,
    /// Packets the device would not take.
    pub(super) refused: u64,
    pub(super) seconds: f64,
    /// Packets of ours that came back.
    pub(super) received: u64,
    /// From the first to the last of them.
    receiving: f64,
    pub(super) latency: Latency,
}

impl Outcome {
    /// Packets sent a second.
    pub(super) fn tx_pps(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
    /// Packets received a second, while any were.
    pub(super) fn rx_pps(&self) -> f64 {
        if self.receiving > 0.0 {
            self.received as f64 / self.receiving
        } else {
            0.0
        }
    }
    /// Share of sent packets that did not come back, 0 to 1.
    pub(super) fn loss(&self) -> f64 {
        let lost = self.sent.saturating_sub(self.received);
        if self.sent == 0 {
            1.0
        } else {
            lost as f64 / self.sent as f64
        }
    }
}

#[derive(Debug, Default)]
struct Sent {
    sent: u64,
    bytes: u64,
    refused: u64,
}

/// Open devices.
#[derive(Debug)]
pub(super) struct Bench {
    args: Args,
    maker: Maker,
    tx: Box<dyn TxQueue>,
    rx: Option<Box<dyn RxQueue>>,
    /// Keeps them open.
    _devices: Vec<Arc<dyn Device>>,
}

#[derive(Debug)]
struct Received {
    packets: u64,
    first: u64,
    last: u64,
    latency: Latency,
    queue: Box<dyn RxQueue>,
}

impl Bench {
    /// Opens what `args` names.
    pub(super) fn open(args: &Args) -> Result<Self, String> {
        let clock = base::clock::Clock::real();
        let (registry, _) =
            crate::registry::new(crate::options::Dummy::Off, &clock).map_err(|e| e.to_string())?;
        let open = |name: &str| {
            let device = registry
                .open(name, &args.class)
                .map_err(|e| e.to_string())?;
            if device.needs_reconfigure() {
                device.reconfigure().map_err(|e| e.to_string())?;
            }
            Ok::<_, String>(device)
        };
        let device = open(&args.dev)?;
        let maker = Maker::new(args, device.etheraddr())?;
        let tx = device.tx_open(0).map_err(|e| e.to_string())?;
        let mut devices = vec![device];
        let mut rx = None;
        if let Some(name) = &args.rx_dev {
            let device = open(name)?;
            rx = Some(device.rx_open(0).map_err(|e| e.to_string())?);
            devices.push(device);
        }
        Ok(Self {
            args: args.clone(),
            maker,
            tx,
            rx,
            _devices: devices,
        })
    }

    /// Sends for as long as was asked, at `rate` packets a second (0: as fast as can be).
    pub(super) fn trial(&mut self, rate: u64) -> Result<Outcome, String> {
        let sending = Arc::new(AtomicBool::new(true));
        let receiver = match self.rx.take() {
            Some(queue) => Some(receive(queue, Arc::clone(&sending))?),
            None => None,
        };
        let (sum, nanos) = self.send(rate);
        sending.store(false, Ordering::Release);
        let mut outcome = Outcome {
            sent: sum.sent,
            bytes: sum.bytes,
            refused: sum.refused,
            seconds: nanos as f64 / 1e9,
            received: 0,
            receiving: 0.0,
            latency: Latency::new(),
        };
        if let Some(receiver) = receiver {
            let got = receiver.join().map_err(|_| "the receiver failed")??;
            outcome.received = got.packets;
            outcome.receiving = got.last.saturating_sub(got.first) as f64 / 1e9;
            outcome.latency = got.latency;
            self.rx = Some(got.queue);
        }
        Ok(outcome)
    }

    fn send(&mut self, rate: u64) -> (Sent, u64) {
        let begin = monotonic_ns();
        let end = begin + self.args.seconds * 1_000_000_000;
        let (mut sum, mut now) = (Sent::default(), begin);
        while now < end {
            let due = u128::from(now - begin) * u128::from(rate) / 1_000_000_000;
            let tried = u128::from(sum.sent + sum.refused);
            let n = match rate {
                0 => BATCH_MAX,
                _ => usize::try_from(due.saturating_sub(tried))
                    .map_or(BATCH_MAX, |n| n.min(BATCH_MAX)),
            };
            if n > 0 {
                self.send_batch(n, now, &mut sum);
            }
            now = monotonic_ns();
        }
        (sum, now - begin)
    }

    fn send_batch(&mut self, n: usize, now: u64, sum: &mut Sent) {
        let mut batch = Batch::new();
        for _ in 0..n {
            let (template, flow) = self.maker.next();
            let mut frame = HeapPool::global().copy_from(template);
            frames::personalize(frame.data_mut(), flow);
            frames::stamp(frame.data_mut(), now);
            if batch.push(frame).is_err() {
                break;
            }
        }
        let report = self.tx.send(&mut batch);
        self.tx.flush();
        sum.sent += u64::from(report.sent);
        sum.bytes += report.bytes;
        sum.refused += u64::from(report.full + report.too_big + report.error);
    }
}

type Receiver = JoinHandle<Result<Received, String>>;

/// Receives until nobody sends any more and nothing has come for a while.
fn receive(mut queue: Box<dyn RxQueue>, sending: Arc<AtomicBool>) -> Result<Receiver, String> {
    let _left_over = queue.drain();
    base::sync::spawn("pktgen-rx", move || {
        let mut got = Received {
            packets: 0,
            first: 0,
            last: 0,
            latency: Latency::new(),
            queue,
        };
        let mut batch = Batch::new();
        let mut busy = monotonic_ns();
        loop {
            let n = got.queue.recv(&mut batch).map_err(|e| e.to_string())?;
            let now = monotonic_ns();
            for frame in batch.iter() {
                if let Some(sent) = frames::stamped(frame.data()) {
                    got.packets += 1;
                    got.latency.add(now.saturating_sub(sent));
                    got.last = now;
                    got.first = if got.first == 0 { now } else { got.first };
                }
            }
            batch.release_all();
            // Acquire pairs with the sender's Release: what it sent is on its way.
            if n > 0 || sending.load(Ordering::Acquire) {
                busy = now;
            } else if now.saturating_sub(busy) > SETTLE {
                return Ok(got);
            }
            if n == 0 {
                std::thread::yield_now();
            }
        }
    })
    .map_err(|e| e.to_string())
}

//! Raw rates of real ports, without a datapath: what a port can do at best.
//!
//! `rate sink CLASS DEV [KEY=VALUE...]` receives and drops.
//! `rate fwd CLASS FROM TO COPIES [KEY=VALUE...]` forwards, each packet `COPIES` times.
//! Prints packets per second once a second until killed; the last core of the machine polls.

use base::sync::Arc;
use netdev::{Config, Device, RxQueue, TxQueue};
use packet::Batch;

fn open(class: &str, name: &str, options: &[String]) -> Arc<dyn Device> {
    let providers = netdev::providers();
    let provider = providers
        .iter()
        .find(|p| p.class() == class)
        .expect("a class of real ports");
    let device = provider.open(name).unwrap_or_else(|e| fail(&e));
    let config: Config = options
        .iter()
        .filter_map(|o| o.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    device.set_config(&config).unwrap_or_else(|e| fail(&e));
    device.request_txq(1);
    device.reconfigure().unwrap_or_else(|e| fail(&e));
    println!("{name}: {:?}", device.status());
    device
}

fn fail<T>(e: &netdev::NetdevError) -> T {
    eprintln!("{e}");
    std::process::exit(1)
}

/// Counts and prints once a second.
#[derive(Default)]
struct Meter {
    started_ns: u64,
    packets: u64,
    lost: u64,
    batches: u64,
    loops: u64,
}

impl Meter {
    fn tick(&mut self) {
        self.loops += 1;
        if !self.loops.is_multiple_of(1024) {
            return;
        }
        let now = base::clock::monotonic_ns();
        if self.started_ns == 0 {
            self.started_ns = now;
        }
        let elapsed = now - self.started_ns;
        if elapsed >= 1_000_000_000 {
            let per_s = |n: u64| n * 1_000 / (elapsed / 1_000_000);
            println!(
                "{} packets/s, {} lost/s, {} per batch",
                per_s(self.packets),
                per_s(self.lost),
                self.packets / self.batches.max(1)
            );
            *self = Self {
                started_ns: now,
                ..Self::default()
            };
        }
    }
}

fn sink(rx: &mut dyn RxQueue) {
    let mut meter = Meter::default();
    let mut batch = Batch::new();
    loop {
        let n = rx.recv(&mut batch).unwrap_or_else(|e| fail(&e));
        if n > 0 {
            meter.packets += n as u64;
            meter.batches += 1;
            batch.release_all();
        }
        meter.tick();
    }
}

fn forward(rx: &mut dyn RxQueue, tx: &mut dyn TxQueue, copies: usize) {
    let mut meter = Meter::default();
    let mut batch = Batch::new();
    loop {
        if rx.recv(&mut batch).unwrap_or_else(|e| fail(&e)) > 0 {
            for last in (1..=copies).rev().map(|left| left == 1) {
                let report = if last {
                    tx.send(&mut batch)
                } else {
                    tx.send_copies(batch.as_slice())
                };
                meter.packets += u64::from(report.sent);
                meter.lost += u64::from(report.full + report.too_big + report.error);
            }
            tx.flush();
            meter.batches += 1;
        }
        meter.tick();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Some(core) = base::cpu::online().last() {
        drop(base::cpu::pin_current(*core));
    }
    match words[..] {
        ["sink", class, dev, ..] => {
            let device = open(class, dev, &args[3..]);
            sink(&mut *device.rx_open(0).unwrap_or_else(|e| fail(&e)));
        }
        ["fwd", class, from, to, copies, ..] => {
            let (a, b) = (open(class, from, &args[5..]), open(class, to, &args[5..]));
            let mut rx = a.rx_open(0).unwrap_or_else(|e| fail(&e));
            let mut tx = b.tx_open(0).unwrap_or_else(|e| fail(&e));
            forward(&mut *rx, &mut *tx, copies.parse().unwrap_or(1));
        }
        _ => eprintln!(
            "usage: rate sink CLASS DEV [K=V...] | rate fwd CLASS FROM TO COPIES [K=V...]"
        ),
    }
}

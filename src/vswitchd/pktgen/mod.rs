//! `ringway pktgen`: a packet generator and receiver over any port class, to measure any switch with.
//!
//! One thread sends UDP frames of `flows` different 5-tuples in turn, as fast as the device takes them or at
//! a given rate. With a second device, another thread counts what comes back there and how long it took.
//! It runs where it is started (a namespace's own devices), independent of any switch.
//! [`frames`] makes the frames, [`run`] sends and receives, [`latency`] holds times, [`search`] is RFC 2544's.

mod frames;
mod latency;
mod run;
mod search;

use serde_json::json;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// What to send.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Device to send out of.
    #[arg(long)]
    dev: String,
    /// Port class to open it as.
    #[arg(long, default_value = "system")]
    class: String,
    /// Device where the packets come back: loss and latency are measured there.
    #[arg(long)]
    rx_dev: Option<String>,
    /// Ethernet destination.
    #[arg(long)]
    dst_mac: String,
    /// First IPv4 source; flow n has this plus n.
    #[arg(long, default_value = "10.0.0.1")]
    src_ip: Ipv4Addr,
    /// IPv4 destination.
    #[arg(long)]
    dst_ip: Ipv4Addr,
    /// Number of different 5-tuples.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16_000_000))]
    flows: u32,
    /// Octets of a frame without FCS, or "imix" (64, 594 and 1518 with FCS, 7:4:1).
    #[arg(long, default_value = "60", value_parser = frames::parse_sizes)]
    size: frames::Sizes,
    /// Packets a second; 0 for as many as possible.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Seconds to run, or of each trial of a search.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Search for the highest rate without loss (RFC 2544).
    #[arg(long, requires = "rx_dev", conflicts_with = "rate")]
    search: bool,
    /// Percent of packets that may be lost in a search.
    #[arg(long, default_value_t = 0.0, requires = "search")]
    loss: f64,
    /// Report as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Sends; returns the report.
///
/// # Errors
/// A device or argument that will not do, by name.
pub(crate) fn run(args: &Args) -> Result<String, String> {
    if args.rx_dev.is_some()
        && matches!(args.size, frames::Sizes::One(s) if usize::from(s) < frames::STAMPED_MIN)
    {
        let min = frames::STAMPED_MIN;
        return Err(format!("--size: latency needs {min} octets at least"));
    }
    if !(0.0..=100.0).contains(&args.loss) {
        return Err(format!("--loss {}: expected 0 to 100 percent", args.loss));
    }
    let mut bench = run::Bench::open(args)?;
    if !args.search {
        let outcome = bench.trial(args.rate)?;
        return Ok(report(args, &outcome));
    }
    let goal = search::Goal {
        loss: args.loss / 100.0,
        step: 0.01,
    };
    let mut best = None;
    let found = search::search(goal, |rate| {
        let outcome = bench.trial(rate)?;
        let trial = search::Trial {
            rate: outcome.tx_pps(),
            loss: outcome.loss(),
        };
        if trial.loss <= goal.loss {
            best = Some(outcome);
        }
        Ok::<_, String>(trial)
    })?;
    match best.filter(|_| found.is_some()) {
        Some(outcome) => Ok(report(args, &outcome)),
        None => Err(format!(
            "no rate came through with {} % loss or less",
            args.loss
        )),
    }
}

fn report(args: &Args, o: &run::Outcome) -> String {
    let quantiles = [0.5, 0.9, 0.99, 0.999].map(|q| o.latency.quantile(q));
    if args.json {
        return json!({
            "sent": o.sent, "sent_bytes": o.bytes, "refused": o.refused, "seconds": o.seconds,
            "tx_mpps": o.tx_pps() / 1e6,
            "received": args.rx_dev.as_ref().map(|_| o.received),
            "rx_mpps": args.rx_dev.as_ref().map(|_| o.rx_pps() / 1e6),
            "loss": args.rx_dev.as_ref().map(|_| o.loss()),
            "latency_ns": quantiles, "latency_max_ns": o.latency.max(),
        })
        .to_string();
    }
    let mut text = format!(
        "sent {} packets ({} bytes) in {:.3} s = {:.3} Mpps; not taken by the device: {}",
        o.sent,
        o.bytes,
        o.seconds,
        o.tx_pps() / 1e6,
        o.refused,
    );
    if args.rx_dev.is_some() {
        let _ = write!(
            text,
            "\nreceived {} packets = {:.3} Mpps; lost {:.4} %",
            o.received,
            o.rx_pps() / 1e6,
            o.loss() * 100.0,
        );
        if let [Some(p50), Some(p90), Some(p99), Some(p999)] =
            quantiles.map(|q| q.map(|ns| ns as f64 / 1e3))
        {
            let _ = write!(
                text,
                "\nlatency us: 50 % {p50:.1}, 90 % {p90:.1}, 99 % {p99:.1}, 99.9 % {p999:.1}, max {:.1}",
                o.latency.max() as f64 / 1e3,
            );
        }
    }
    text
}

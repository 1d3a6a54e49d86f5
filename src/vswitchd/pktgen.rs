//! `ringway pktgen`: a packet generator over any port class, for quick looks at packet rates.
//!
//! One thread sends UDP frames of `flows` different 5-tuples in turn, as fast as the device takes them or at a
//! given rate. It runs where it is started (a namespace's own device), independent of any switch.

use base::clock::monotonic_ns;
use netdev::{TxQueue, TxReport};
use packet::{BATCH_MAX, Batch, HeapPool};
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
    /// Bytes of a frame without FCS.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(42..=1514))]
    size: u16,
    /// Packets a second; 0 for as many as possible.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Seconds to run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
}

/// Sends; returns the report.
///
/// # Errors
/// A device or argument that will not do, by name.
pub(crate) fn run(args: &Args) -> Result<String, String> {
    let clock = base::clock::Clock::real();
    let (registry, _) =
        crate::registry::new(crate::options::Dummy::Off, &clock).map_err(|e| e.to_string())?;
    let device = registry
        .open(&args.dev, &args.class)
        .map_err(|e| e.to_string())?;
    if device.needs_reconfigure() {
        device.reconfigure().map_err(|e| e.to_string())?;
    }
    let template = template(args, device.etheraddr())?;
    let mut queue = device.tx_open(0).map_err(|e| e.to_string())?;
    let begin = monotonic_ns();
    let end = begin + args.seconds * 1_000_000_000;
    let (mut sum, mut flow, mut now) = (TxReport::default(), 0, begin);
    while now < end {
        let due = (now - begin).saturating_mul(args.rate) / 1_000_000_000;
        if args.rate == 0 || u64::from(sum.sent) < due {
            send_batch(args, &template, queue.as_mut(), &mut flow, &mut sum);
        }
        now = monotonic_ns();
    }
    let seconds = (now - begin) as f64 / 1e9;
    let rate = f64::from(sum.sent) / seconds / 1e6;
    Ok(format!(
        "sent {} packets ({} bytes) in {seconds:.3} s = {rate:.3} Mpps; not taken by the device: {}",
        sum.sent,
        sum.bytes,
        sum.full + sum.too_big + sum.error
    ))
}

fn send_batch(
    args: &Args,
    template: &[u8],
    queue: &mut dyn TxQueue,
    flow: &mut u32,
    sum: &mut TxReport,
) {
    let mut batch = Batch::new();
    for _ in 0..BATCH_MAX {
        let mut frame = HeapPool::global().copy_from(template);
        personalize(frame.data_mut(), *flow);
        *flow = if *flow + 1 < args.flows { *flow + 1 } else { 0 };
        if batch.push(frame).is_err() {
            break;
        }
    }
    let report = queue.send(&mut batch);
    queue.flush();
    sum.sent += report.sent;
    sum.bytes += report.bytes;
    sum.full += report.full;
    sum.too_big += report.too_big;
    sum.error += report.error;
}

/// Ethernet, IPv4 and UDP headers in front of zeroes; the UDP checksum is left out, as IPv4 allows.
fn template(args: &Args, src_mac: wire::EthAddr) -> Result<Vec<u8>, String> {
    let dst: wire::EthAddr = args
        .dst_mac
        .parse()
        .map_err(|()| format!("--dst-mac {}: expected an Ethernet address", args.dst_mac))?;
    let mut p = vec![0; usize::from(args.size)];
    p[..6].copy_from_slice(&dst.0);
    p[6..12].copy_from_slice(&src_mac.0);
    p[12..14].copy_from_slice(&[8, 0]);
    p[14] = 0x45;
    p[16..18].copy_from_slice(&(args.size - 14).to_be_bytes());
    (p[22], p[23]) = (64, 17);
    p[26..30].copy_from_slice(&args.src_ip.octets());
    p[30..34].copy_from_slice(&args.dst_ip.octets());
    p[38..40].copy_from_slice(&(args.size - 34).to_be_bytes());
    Ok(p)
}

/// Makes a frame belong to flow `n`, and finishes its IPv4 checksum.
fn personalize(p: &mut [u8], n: u32) {
    let src = u32::from_be_bytes([p[26], p[27], p[28], p[29]]).wrapping_add(n);
    p[26..30].copy_from_slice(&src.to_be_bytes());
    let port = |base: u32| u16::try_from(base + (n & 0x3fff)).unwrap_or(1024);
    p[34..36].copy_from_slice(&port(1024).to_be_bytes());
    p[36..38].copy_from_slice(&port(2048).to_be_bytes());
    p[24..26].fill(0);
    let sum: u32 = p[14..34]
        .chunks(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !((sum & 0xffff) + (sum >> 16));
    p[24..26].copy_from_slice(&sum.to_be_bytes()[2..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_sound_and_differ_by_flow() {
        let args = Args {
            dev: String::new(),
            class: String::new(),
            dst_mac: "02:00:00:00:00:01".to_owned(),
            src_ip: Ipv4Addr::new(10, 0, 0, 255),
            dst_ip: Ipv4Addr::new(10, 1, 0, 1),
            flows: 2,
            size: 60,
            rate: 0,
            seconds: 1,
        };
        let t = template(&args, wire::EthAddr::ZERO).unwrap();
        for n in [0, 1, 70_000] {
            let mut p = t.clone();
            personalize(&mut p, n);
            let words: u32 = p[14..34]
                .chunks(2)
                .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
                .sum();
            assert_eq!((words & 0xffff) + (words >> 16), 0xffff);
        }
        assert!(
            template(
                &Args {
                    dst_mac: "x".into(),
                    ..args
                },
                wire::EthAddr::ZERO
            )
            .is_err()
        );
    }
}

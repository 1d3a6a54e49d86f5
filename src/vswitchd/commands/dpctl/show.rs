//! `dpctl/show`: a datapath's totals and ports.

use super::{Flags, Out};
use crate::switch::Switch;
use dpif::Dpif;
use std::fmt::Write;

/// `dpctl/show [-s] [dp...]`.
pub(super) fn show(s: &mut Switch, out: &mut Out, f: Flags, args: &[&str]) {
    if args.is_empty() {
        for dpif in super::all(s) {
            out.text += &one(s, &*dpif, f);
        }
    }
    for name in args {
        match super::find(s, name) {
            Ok(dpif) => out.text += &one(s, &*dpif, f),
            Err(e) => out.fail(format_args!("opening datapath {name} failed"), Some(&e)),
        }
    }
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

fn one(s: &Switch, dpif: &dyn Dpif, f: Flags) -> String {
    let mut out = String::new();
    let t = dpif.stats();
    put(
        &mut out,
        format_args!("{}@{}:\n", dpif.type_name(), dpif.name()),
    );
    put(
        &mut out,
        format_args!(
            "  lookups: hit:{} missed:{} lost:{}\n",
            t.n_hit, t.n_missed, t.n_lost
        ),
    );
    put(&mut out, format_args!("  flows: {}\n", t.n_flows));
    for port in dpif.ports() {
        put(
            &mut out,
            format_args!("  port {}: {}", port.number, port.name),
        );
        let device = s.registry().get(&port.name);
        if port.class != "system" {
            put(&mut out, format_args!(" ({}", port.class));
            for (i, (k, v)) in device.iter().flat_map(|d| d.get_config()).enumerate() {
                put(
                    &mut out,
                    format_args!("{} {k}={v}", if i == 0 { ':' } else { ',' }),
                );
            }
            out.push(')');
        }
        out.push('\n');
        if let Some(d) = device.filter(|_| f.statistics) {
            statistics(&mut out, &d.stats());
        }
    }
    out
}

fn statistics(out: &mut String, s: &netdev::Stats) {
    let n = |v: Option<u64>| v.map_or_else(|| "?".to_owned(), |v| v.to_string());
    put(
        out,
        format_args!(
            "    RX packets:{} errors:{} dropped:{} overruns:{} frame:{}\n",
            n(s.rx_packets),
            n(s.rx_errors),
            n(s.rx_dropped),
            n(s.rx_over_errors),
            n(s.rx_frame_errors)
        ),
    );
    put(
        out,
        format_args!(
            "    TX packets:{} errors:{} dropped:{} aborted:? carrier:?\n",
            n(s.tx_packets),
            n(s.tx_errors),
            n(s.tx_dropped)
        ),
    );
    put(out, format_args!("    collisions:{}\n", n(s.collisions)));
    put(
        out,
        format_args!(
            "    RX bytes:{}{}  TX bytes:{}{}\n",
            n(s.rx_bytes),
            human(s.rx_bytes),
            n(s.tx_bytes),
            human(s.tx_bytes)
        ),
    );
}

/// A number of bytes once more, in the largest unit that it fills.
fn human(bytes: Option<u64>) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let n = bytes.unwrap_or(0);
    let unit = UNITS.iter().find(|(bits, _)| n >> bits > 0);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    unit.map_or_else(String::new, |(bits, name)| {
        format!(" ({:.1} {name})", n as f64 / (1u64 << bits) as f64)
    })
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes() {
        assert_eq!(human(None), "");
        assert_eq!(human(Some(1023)), "");
        assert_eq!(human(Some(1536)), " (1.5 KiB)");
        assert_eq!(human(Some(3 << 40)), " (3.0 TiB)");
    }
}

//! What the database shows about a device: the status and statistics columns of an `Interface` row.

use netdev::{Device, Duplex, LinkFeatures, Stats};
use ovsdb::{Atom, Datum, Row};

/// Status columns of an interface. `ofport` -1 means that the port could not be added, and why.
pub(crate) fn interface_row(
    device: Option<&dyn Device>,
    ofport: Option<i64>,
    error: Option<&str>,
) -> Row {
    let mut row = Row::new();
    let mut put = |column: &str, value: Datum| {
        row.insert(column.to_owned(), value);
    };
    let none = || Datum::optional(None::<i64>);
    put("error", Datum::optional(error));
    put("ofport", Datum::optional(ofport));
    let Some(d) = device else {
        for column in [
            "admin_state",
            "link_state",
            "duplex",
            "link_speed",
            "mac_in_use",
            "mtu",
            "ifindex",
            "link_resets",
        ] {
            put(column, none());
        }
        put("status", Datum::map(Vec::<(String, String)>::new()));
        return row;
    };
    let state = |up: bool| Datum::one(if up { "up" } else { "down" });
    put("admin_state", state(d.flags().up));
    put("link_state", state(d.carrier()));
    put("link_resets", Datum::one(signed(d.carrier_resets())));
    put("mac_in_use", Datum::one(d.etheraddr().to_string()));
    put("mtu", Datum::optional(d.mtu().map(i64::from)));
    put("ifindex", Datum::one(d.ifindex().map_or(0, i64::from)));
    let features = d.features();
    put("link_speed", Datum::optional(features.and_then(speed_bps)));
    put(
        "duplex",
        Datum::optional(features.and_then(duplex).map(|d| match d {
            Duplex::Full => "full",
            Duplex::Half => "half",
        })),
    );
    put("status", Datum::map(d.status()));
    row
}

/// The `statistics` column; counters that are not known are left out.
pub(crate) fn statistics(s: &Stats) -> Datum {
    let known = [
        ("rx_packets", s.rx_packets),
        ("tx_packets", s.tx_packets),
        ("rx_bytes", s.rx_bytes),
        ("tx_bytes", s.tx_bytes),
        ("rx_errors", s.rx_errors),
        ("tx_errors", s.tx_errors),
        ("rx_dropped", s.rx_dropped),
        ("tx_dropped", s.tx_dropped),
        ("rx_frame_err", s.rx_frame_errors),
        ("rx_over_err", s.rx_over_errors),
        ("rx_crc_err", s.rx_crc_errors),
        ("collisions", s.collisions),
        ("rx_missed_errors", s.rx_missed_errors),
    ];
    let known = known
        .iter()
        .filter_map(|(n, v)| Some(((*n).to_owned(), Atom::Integer(signed((*v)?)))));
    let custom = s
        .custom
        .iter()
        .map(|(n, v)| (n.clone(), Atom::Integer(signed(*v))));
    Datum::map(known.chain(custom))
}

/// The database has no unsigned numbers; a counter beyond its range stands still.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Speed, as the device says it or by its feature bits.
fn speed_bps(f: LinkFeatures) -> Option<i64> {
    if f.speed_mbps > 0 {
        return Some(i64::from(f.speed_mbps) * 1_000_000);
    }
    let kbps = speed_kbps(f.current);
    (kbps > 0).then(|| i64::from(kbps) * 1000)
}

/// Speed in kb/s by the feature bits of OpenFlow 1.1 and up (10M, 100M, 1G half and full, then 10G, 40G, 100G, 1T);
/// 0 without such a bit.
pub(crate) fn speed_kbps(bits: u32) -> u32 {
    const SPEEDS: [(u32, u32); 7] = [
        (1 << 9, 1_000_000_000),
        (1 << 8, 100_000_000),
        (1 << 7, 40_000_000),
        (1 << 6, 10_000_000),
        (1 << 4 | 1 << 5, 1_000_000),
        (1 << 2 | 1 << 3, 100_000),
        (1 << 0 | 1 << 1, 10_000),
    ];
    let fastest = SPEEDS.iter().find(|(b, _)| bits & b != 0);
    fastest.map_or(0, |(_, kbps)| *kbps)
}

/// Duplex by the same bits.
fn duplex(f: LinkFeatures) -> Option<Duplex> {
    const FULL: u32 = 1 << 1 | 1 << 3 | 1 << 5 | 0xf << 6;
    const HALF: u32 = 1 << 0 | 1 << 2 | 1 << 4;
    if f.current & FULL != 0 {
        Some(Duplex::Full)
    } else if f.current & HALF != 0 {
        Some(Duplex::Half)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_counters_stay_unknown() {
        let s = Stats {
            rx_packets: Some(3),
            custom: vec![("x".into(), 1)],
            ..Stats::default()
        };
        assert_eq!(statistics(&s), Datum::map([("rx_packets", 3), ("x", 1)]));
    }

    #[test]
    fn speeds() {
        let f = LinkFeatures {
            current: 1 << 6,
            ..LinkFeatures::default()
        };
        assert_eq!(
            (speed_bps(f), duplex(f)),
            (Some(10_000_000_000), Some(Duplex::Full))
        );
        assert_eq!(speed_bps(LinkFeatures::default()), None);
        let row = interface_row(None, Some(-1), Some("no"));
        assert_eq!(
            (row["ofport"].int(), row["error"].str()),
            (Some(-1), Some("no"))
        );
    }
}

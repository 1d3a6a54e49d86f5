//! What the datapath can do, as operators see it: `dpif/show-dp-features`, `dpif/set-dp-features`.
//!
//! Two copies are kept: what was found at start (never changes) and what is in force, which can be set lower.

use dpif::Features;
use std::fmt::Write;

/// A value of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Flag(bool),
    Number(u32),
}

/// A feature: its name, its title, how to read and write it.
#[derive(Debug)]
struct Feature {
    name: &'static str,
    title: &'static str,
    read: fn(&Features) -> Value,
    write: fn(&mut Features, Value),
}

macro_rules! flag {
    ($name:literal, $title:literal, $field:ident) => {
        Feature {
            name: $name,
            title: $title,
            read: |f| Value::Flag(f.$field),
            write: |f, v| {
                if let Value::Flag(on) = v {
                    f.$field = on;
                }
            },
        }
    };
}
macro_rules! number {
    ($name:literal, $title:literal, $field:ident) => {
        Feature {
            name: $name,
            title: $title,
            read: |f| Value::Number(f.$field),
            write: |f, v| {
                if let Value::Number(n) = v {
                    f.$field = n;
                }
            },
        }
    };
}

/// In the order of `dpif/show-dp-features`.
const FEATURES: &[Feature] = &[
    flag!("masked_set_action", "Masked set action", masked_set_action),
    flag!("tnl_push_pop", "Tunnel push pop", tnl_push_pop),
    flag!("ufid", "Ufid", ufid),
    flag!("trunc", "Truncate action", trunc),
    flag!("clone", "Clone action", clone),
    number!("sample_nesting", "Sample nesting", sample_nesting),
    flag!("ct_eventmask", "Conntrack eventmask", ct_eventmask),
    flag!("ct_clear", "Conntrack clear", ct_clear),
    number!("max_hash_alg", "Max dp_hash algorithm", max_hash_alg),
    flag!("check_pkt_len", "Check pkt length action", check_pkt_len),
    flag!("ct_timeout", "Conntrack timeout policy", ct_timeout),
    flag!(
        "explicit_drop_action",
        "Explicit Drop action",
        explicit_drop_action
    ),
    flag!(
        "lb_output_action",
        "Optimized Balance TCP mode",
        lb_output_action
    ),
    flag!(
        "ct_zero_snat",
        "Conntrack all-zero IP SNAT",
        ct_all_zero_nat
    ),
    flag!("add_mpls", "MPLS Label add", add_mpls),
    number!("max_vlan_headers", "Max VLAN headers", max_vlan_headers),
    number!("max_mpls_depth", "Max MPLS depth", max_mpls_depth),
    flag!("recirc", "Recirc", recirc),
    flag!("ct_state", "CT state", ct_state),
    flag!("ct_zone", "CT zone", ct_zone),
    flag!("ct_mark", "CT mark", ct_mark),
    flag!("ct_label", "CT label", ct_label),
    flag!("ct_state_nat", "CT state NAT", ct_state_nat),
    flag!("ct_orig_tuple", "CT orig tuple", ct_orig_tuple),
    flag!("ct_orig_tuple6", "CT orig tuple for IPv6", ct_orig_tuple6),
    flag!("nd_ext", "IPv6 ND Extension", nd_ext),
];

/// What `Datapath.capabilities` shows: numbers where they are limits, else whether it is there.
pub(crate) fn capabilities(f: &Features) -> Vec<(String, String)> {
    let text = |feature: &Feature| match (feature.read)(f) {
        Value::Number(n) if feature.name.starts_with("max_") => n.to_string(),
        Value::Number(n) => (n > 0).to_string(),
        Value::Flag(on) => on.to_string(),
    };
    let mut all: Vec<_> = FEATURES
        .iter()
        .map(|x| (x.name.to_owned(), text(x)))
        .collect();
    // Of every datapath, whatever else it can.
    all.push(("ct_flush".to_owned(), "true".to_owned()));
    all
}

/// The text of `dpif/show-dp-features`.
#[must_use]
pub fn show(found: &Features) -> String {
    let mut out = String::new();
    for f in FEATURES {
        let line = match (f.read)(found) {
            Value::Flag(on) => writeln!(out, "{}: {}", f.title, if on { "Yes" } else { "No" }),
            Value::Number(n) => writeln!(out, "{}: {n}", f.title),
        };
        line.expect("a String takes everything");
    }
    out
}

fn show_one(f: &Feature, now: &Features, found: &Features) -> String {
    let text = |v| match v {
        Value::Flag(on) => format!("{on}"),
        Value::Number(n) => format!("{n}"),
    };
    format!(
        "{} ({}) : [run time]:{}, [boot time]:{}\n",
        f.name,
        f.title,
        text((f.read)(now)),
        text((f.read)(found))
    )
}

/// Shows features (without `value`) or lowers one; returns the answer's text and whether `now` changed.
pub fn set(
    now: &mut Features,
    found: &Features,
    name: Option<&str>,
    value: Option<&str>,
) -> (String, bool) {
    let Some(name) = name else {
        let all = FEATURES.iter().map(|f| show_one(f, now, found));
        return (all.collect(), false);
    };
    let Some(f) = FEATURES.iter().find(|f| f.name == name) else {
        return ("Unexpected support field".to_owned(), false);
    };
    let Some(value) = value else {
        return (show_one(f, now, found), false);
    };
    match parse((f.read)(found), value) {
        Ok(v) => {
            (f.write)(now, v);
            (String::new(), true)
        }
        Err(why) => (why.to_owned(), false),
    }
}

/// A value that is not beyond what was found. The words are the peer's, its slip of the pen included.
fn parse(found: Value, text: &str) -> Result<Value, &'static str> {
    match found {
        Value::Flag(can) => match text.to_ascii_lowercase().as_str() {
            "true" if can => Ok(Value::Flag(true)),
            "true" => Err("Can not enable features not supported by the datapth"),
            "false" => Ok(Value::Flag(false)),
            _ => Err("Boolean value expected"),
        },
        Value::Number(max) => match text.parse::<i64>() {
            Err(_) => Err("Integer number expected"),
            Ok(n) if n < 0 => Err("Negative number not expected"),
            Ok(n) if n > i64::from(max) => Err("Can not set value beyond the datapath capability"),
            Ok(n) => Ok(Value::Number(u32::try_from(n).unwrap_or(max))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_peer() {
        let found = Features {
            max_vlan_headers: 1,
            ..Features::all()
        };
        let text = show(&found);
        assert!(text.starts_with("Masked set action: Yes\nTunnel push pop: Yes\nUfid: Yes\n"));
        assert!(text.ends_with("CT orig tuple for IPv6: Yes\nIPv6 ND Extension: Yes\n"));
        let mut now = found.clone();
        let mut s = |n, v| set(&mut now, &found, n, v);
        assert_eq!(s(Some("clone"), Some("false")), (String::new(), true));
        assert_eq!(
            s(Some("clone"), None).0,
            "clone (Clone action) : [run time]:false, [boot time]:true\n"
        );
        let why = |r: (String, bool)| {
            assert!(!r.1);
            r.0
        };
        assert_eq!(why(s(Some("xx"), None)), "Unexpected support field");
        assert_eq!(
            why(s(Some("clone"), Some("maybe"))),
            "Boolean value expected"
        );
        assert_eq!(
            why(s(Some("sample_nesting"), Some("20"))),
            "Can not set value beyond the datapath capability"
        );
        assert_eq!(
            why(s(Some("sample_nesting"), Some("-1"))),
            "Negative number not expected"
        );
        assert_eq!(
            why(s(Some("sample_nesting"), Some("z"))),
            "Integer number expected"
        );
        assert_eq!(s(None, None).0.lines().count(), 26);
    }
}

//! `--user`: the switch goes on as somebody else, with no more than what its ports need.

use crate::kit::{Lab, Vswitchd, outcome};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Numbers of `nobody`: user and group.
fn nobody() -> (String, String) {
    let number = |what| {
        let said = outcome(Command::new("id").args([what, "nobody"]));
        said.expect("every Debian has nobody").trim().to_owned()
    };
    (number("-u"), number("-g"))
}

/// What follows a word at the beginning of a line, as words.
fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.expect("a field of proc(5)")
        .split_whitespace()
        .collect()
}

/// Bits of capabilities(7): `CAP_NET_BROADCAST`, `CAP_NET_ADMIN`, `CAP_NET_RAW`, `CAP_IPC_LOCK`, `CAP_PERFMON`, `CAP_BPF`.
const NEEDED: u64 = 1 << 11 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 38 | 1 << 39;

#[test]
fn every_thread_is_nobody_and_ports_work() {
    let lab = Lab::new(2);
    let mut v = Vswitchd::database();
    // Directory and database must be the user's, as for Open vSwitch.
    let open = |path| std::fs::set_permissions(path, Permissions::from_mode(0o777));
    open(v.dir().to_owned()).unwrap();
    open(v.file("db.sock")).unwrap();
    v.start_with(&lab, &["--user=nobody"]);
    let mut words = vec!["add-br", "br0", "--", "set", "bridge", "br0"];
    words.push("datapath_type=netdev");
    for (port, class) in [("p1", "type=afxdp"), ("p2", "type=system")] {
        words.extend(["--", "add-port", "br0", port]);
        words.extend(["--", "set", "interface", port, class]);
    }
    v.vsctl(&words);
    for port in ["p1", "p2"] {
        assert_eq!(v.vsctl(&["get", "interface", port, "error"]), "[]\n");
    }
    lab.ping(1, 2);

    // What a container withholds from us cannot be kept.
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = u64::from_str_radix(field(&ours, "CapPrm:")[0], 16).unwrap();
    let (uid, gid) = nobody();
    let threads = v.threads();
    assert!(threads.len() > 3, "{}", threads.len());
    for status in &threads {
        assert_eq!(field(status, "Uid:"), [uid.as_str(); 4], "{status}");
        assert_eq!(field(status, "Gid:"), [gid.as_str(); 4], "{status}");
        for set in ["CapEff:", "CapPrm:"] {
            let held = u64::from_str_radix(field(status, set)[0], 16).unwrap();
            assert_eq!(held, NEEDED & ours, "{status}");
        }
        assert_eq!(field(status, "CapInh:"), ["0000000000000000"], "{status}");
    }
    assert!(v.alive());
}

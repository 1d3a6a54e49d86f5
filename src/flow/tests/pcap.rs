//! Extraction and flow text against `ovs-ofctl parse-pcap`, where it is installed: the same packets, right
//! and spoiled, must give the same flows.

mod dice;

use dice::Dice;
use flow::{Flow, Metadata, extract};
use std::process::Command;

/// A capture file of `packets`.
fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |n: u32| out.extend_from_slice(&n.to_be_bytes());
    // Magic, version 2.4, zone, accuracy, snap length, link type Ethernet.
    for n in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65535, 1] {
        put(n);
    }
    for p in packets {
        for n in [0, 0, p.len() as u32, p.len() as u32] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.extend_from_slice(p);
    }
    out
}

#[test]
fn same_flows_as_the_peer() {
    let mut state = 99u32;
    let mut byte = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let packets: Vec<Vec<u8>> = (0..6000)
        .map(|_| {
            let entropy: Vec<u8> = (0..300).map(|_| byte()).collect();
            Dice {
                entropy: &entropy,
                at: 0,
            }
            .packet()
        })
        .filter(|p| !p.is_empty())
        .collect();
    let dir = std::env::temp_dir().join(format!("ringway-pcap-{}", std::process::id()));
    std::fs::write(&dir, capture(&packets)).expect("temporary file");
    let tool = Command::new("ovs-ofctl")
        .arg("parse-pcap")
        .arg(&dir)
        .output();
    let _ = std::fs::remove_file(&dir);
    let Ok(tool) = tool else {
        println!("ovs-ofctl is not installed: nothing was compared");
        return;
    };
    let theirs = String::from_utf8_lossy(&tool.stdout);
    assert_eq!(theirs.lines().count(), packets.len());
    for (p, theirs) in packets.iter().zip(theirs.lines()) {
        let mut f = Flow::zero();
        extract(
            p,
            &Metadata {
                in_port: 0xffff,
                ..Metadata::default()
            },
            &mut f,
        );
        assert_eq!(f.to_string(), theirs, "{p:02x?}");
    }
}

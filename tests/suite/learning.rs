//! Bridges forward between hosts: every class, VLANs, patch ports, rules, and the commands that show it.

use crate::kit::{Daemon, Lab, Raw, mac, tcp, until};

/// A bridge with ports `p1` to `pN` of a class; `more` follows in each port's table.
fn bridge(ports: usize, class: &str, more: &str) -> String {
    let port = |n| format!("[bridge.br0.port.p{n}]\nclass = \"{class}\"\nnumber = {n}\n{more}\n");
    "[bridge.br0]\n".to_owned() + &(1..=ports).map(port).collect::<String>()
}

/// Pings both ways, then looks at what the switch says of it.
fn learns(lab: &Lab, switch: &Daemon) {
    lab.ping(1, 2);
    lab.ping(2, 1);
    let fdb = switch.ask(&["fdb", "br0"]);
    for n in [1, 2] {
        assert!(fdb.contains(&mac(n)), "{fdb}");
    }
    let flows = switch.ask(&["dump-flows"]);
    let there = flows
        .lines()
        .find(|l| l.contains("eth_type(0x0800)") && l.contains(&format!("eth(src={}", mac(1))));
    let there = there.unwrap_or_else(|| unreachable!("{flows}"));
    assert!(
        there.contains("ipv4(frag=no)"),
        "looks at no address: {there}"
    );
    assert!(!there.contains("icmp"), "looks at no layer 4: {there}");
    let more = switch.ask(&["dump-flows", "--more"]);
    assert!(more.contains("ufid:"), "{more}");
    assert!(
        switch
            .ask(&["upcall", "show"])
            .contains("flows         : (current")
    );
}

fn learns_on_afxdp(mode: &str) {
    let lab = Lab::new(2);
    for n in [1, 2] {
        // In generic mode the kernel's super-packets would not fit a frame.
        lab.host(n)
            .run("ethtool -K eth0 tso off gso off >/dev/null 2>&1");
    }
    let options = format!("options = {{ xdp-mode = \"{mode}\" }}");
    let switch = Daemon::start(&lab, &bridge(2, "afxdp", &options));
    assert!(switch.shown("p1").contains(&format!("xdp-mode: {mode}")));
    learns(&lab, &switch);
    tcp(lab.host(1), lab.host(2), "192.0.2.2", 2_000_000);
}

#[test]
fn a_learning_switch_on_native_afxdp() {
    learns_on_afxdp("native");
}

#[test]
fn a_learning_switch_on_generic_afxdp() {
    learns_on_afxdp("generic");
}

#[test]
fn jumbo_frames_pass_afxdp_ports_that_have_the_mtu_for_them() {
    let lab = Lab::new(2);
    let switch = Daemon::start(&lab, &bridge(2, "afxdp", "mtu = 9000"));
    for n in [1, 2] {
        let shown = switch.shown(&format!("p{n}"));
        assert!(shown.contains("multi-buffer: true"), "{shown}");
        lab.host(n).run("ip link set eth0 mtu 9000");
    }
    for (from, to) in [(1, 2), (2, 1)] {
        let ping = format!("ping -c 3 -i 0.1 -W 2 -M do -s 8900 192.0.2.{to}");
        lab.host(from).run(&ping);
        tcp(
            lab.host(from),
            lab.host(to),
            &format!("192.0.2.{to}"),
            8_000_000,
        );
    }
}

#[test]
fn a_learning_switch_on_packet_sockets_with_every_offload_on() {
    let lab = Lab::new(2);
    let switch = Daemon::start(&lab, &bridge(2, "system", ""));
    learns(&lab, &switch);
    for n in [1, 2] {
        let features = lab.host(n).run("ethtool -k eth0");
        assert!(features.contains("tx-checksum-ip-generic: on"));
        assert!(features.contains("tcp-segmentation-offload: on"));
    }
    tcp(lab.host(1), lab.host(2), "192.0.2.2", 8_000_000);
    tcp(lab.host(2), lab.host(1), "192.0.2.1", 8_000_000);
}

#[test]
fn offloads_of_a_packet_socket_are_finished_towards_afxdp() {
    let lab = Lab::new(2);
    let config =
        "[bridge.br0.port.p1]\nclass = \"system\"\n[bridge.br0.port.p2]\nclass = \"afxdp\"\n";
    let switch = Daemon::start(&lab, config);
    learns(&lab, &switch);
    tcp(lab.host(1), lab.host(2), "192.0.2.2", 4_000_000);
}

#[test]
fn the_host_takes_part_by_its_local_port_and_a_tap() {
    let lab = Lab::new(1);
    let config = bridge(1, "afxdp", "") + "[bridge.br0.port.t0]\nclass = \"tap\"\n";
    let switch = Daemon::start(&lab, &config);
    lab.switch
        .run("ip addr add 192.0.2.100/24 dev br0; ip link set br0 up; ip link set t0 up");
    let answer = lab.host(1).attempt("ping -c 3 -i 0.2 -W 2 192.0.2.100");
    assert!(
        answer.is_ok(),
        "{answer:?}\n{}",
        switch.ask(&["dump-flows"])
    );
    lab.switch.run("ping -c 2 -i 0.1 -W 2 192.0.2.1");
    tcp(lab.host(1), &lab.switch, "192.0.2.100", 2_000_000);
    tcp(&lab.switch, lab.host(1), "192.0.2.1", 2_000_000);
}

#[test]
fn vlans_keep_access_ports_apart_and_a_trunk_carries_tags() {
    let lab = Lab::new(4);
    let config = bridge(4, "afxdp", "");
    let config = config
        .replace("number = 1\n", "number = 1\ntag = 10\n")
        .replace("number = 2\n", "number = 2\ntag = 10\n")
        .replace("number = 3\n", "number = 3\ntag = 20\n")
        .replace("number = 4\n", "number = 4\ntrunks = [10]\n");
    let switch = Daemon::start(&lab, &config);
    lab.ping(1, 2);
    assert!(lab.apart(1, 3));
    let frame = |from: u8, tag: &[u8]| {
        let addresses = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, from];
        [&addresses, tag, &[0x88, 0xb5], &[from; 50]].concat()
    };
    let [mut one, mut three, mut four] = [1, 3, 4].map(|n| Raw::on(lab.host(n)));
    assert!(four.send(&frame(4, &[0x81, 0, 0, 20])) && four.send(&frame(4, &[0x81, 0, 0, 10])));
    assert_eq!(one.receive(|f| f[11] == 4), frame(4, &[]));
    assert!(three.never(|f| f[11] == 4), "VLAN 20 is not on the trunk");
    assert!(one.send(&frame(1, &[])) && three.send(&frame(3, &[])));
    assert_eq!(four.receive(|f| f[11] == 1), frame(1, &[0x81, 0, 0, 10]));
    assert!(four.never(|f| f[11] == 3), "VLAN 20 is not on the trunk");
    let fdb = switch.ask(&["fdb", "br0"]);
    let vlan = |n: usize| {
        let line = fdb.lines().find(|l| l.contains(&mac(n)))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    assert_eq!(
        [1, 2, 3, 4].map(vlan),
        [Some(10), Some(10), Some(20), Some(10)],
        "{fdb}"
    );
}

#[test]
fn patch_ports_join_two_bridges() {
    let lab = Lab::new(2);
    let config = r#"
[bridge.br0.port.p1]
class = "afxdp"
[bridge.br0.port.to1]
class = "patch"
options = { peer = "to0" }
[bridge.br1.port.p2]
class = "afxdp"
[bridge.br1.port.to0]
class = "patch"
options = { peer = "to1" }
"#;
    let switch = Daemon::start(&lab, config);
    lab.ping(1, 2);
    lab.ping(2, 1);
    for bridge in ["br0", "br1"] {
        let fdb = switch.ask(&["fdb", bridge]);
        assert!(
            fdb.contains(&mac(1)) && fdb.contains(&mac(2)),
            "{bridge}:\n{fdb}"
        );
    }
    switch.reload(&config.replace("[bridge.br1.port.to0]", "[bridge.br1.port.other]"));
    until("the bridges are apart", || lab.apart(1, 2));
}

#[test]
fn rules_of_the_file_are_followed_and_traced() {
    let lab = Lab::new(3);
    let config = bridge(3, "afxdp", "").replace(
        "[bridge.br0]\n",
        r#"[bridge.br0]
fail-mode = "secure"
rules = [
    "priority=100,icmp,nw_dst=192.0.2.3,actions=drop",
    "priority=50,arp,actions=NORMAL",
    "priority=50,in_port=p1,actions=resubmit(,1)",
    "priority=50,in_port=p2,actions=output:p1",
    "table=1,ip,actions=output:p2",
]
"#,
    );
    let switch = Daemon::start(&lab, &config);
    lab.ping(1, 2);
    assert!(lab.apart(1, 3), "dropped by a rule");
    assert!(lab.apart(3, 1), "no rule lets it in");
    let trace = |flow: &str| switch.ask(&["trace", "br0", flow]);
    let through = trace("in_port=p1,icmp,nw_src=192.0.2.1,nw_dst=192.0.2.2");
    assert!(
        through.contains("Datapath actions: ") && through.contains("resubmit(,1)"),
        "{through}"
    );
    assert!(!through.contains("Datapath actions: drop"), "{through}");
    assert!(trace("in_port=p1,icmp,nw_dst=192.0.2.3").contains("Datapath actions: drop"));
    let drops = switch.ask(&["drops"]);
    assert!(drops.contains("p1: "), "{drops}");
    let nonsense = switch.try_ask(&["trace", "br0", "in_port=p1,colour=red"]);
    assert!(nonsense.is_err_and(|e| e.contains("colour")));
}

#[test]
fn a_frame_passes_unchanged() {
    let lab = Lab::new(2);
    let _switch = Daemon::start(&lab, &bridge(2, "afxdp", ""));
    let (mut a, mut b) = (Raw::on(lab.host(1)), Raw::on(lab.host(2)));
    let mut frame = vec![255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.extend(0..=255);
    assert!(a.send(&frame));
    assert_eq!(b.receive(|f| f[12..14] == [0x88, 0xb5]), frame);
}

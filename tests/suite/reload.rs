//! SIGHUP: only what differs in the file is touched; a wrong file changes nothing.

use crate::kit::{Daemon, Lab, Stream, until};

const START: &str = r#"[bridge.br0]
rules = ["priority=9,arp,actions=NORMAL", "priority=1,actions=NORMAL"]
[bridge.br0.port.p1]
class = "afxdp"
[bridge.br0.port.p2]
class = "afxdp"
"#;

/// The ids of the XDP programs of the ports that are never touched.
fn programs(lab: &Lab) -> Vec<String> {
    let of = |p| lab.switch.run(&format!("ip -d -o link show {p}"));
    ["p1", "p2"]
        .map(|p| {
            of(p)
                .split("prog/xdp id ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .to_owned()
        })
        .to_vec()
}

#[test]
fn only_differences_are_applied() {
    let lab = Lab::new(3);
    let switch = Daemon::start(&lab, START);
    lab.ping(1, 2);
    let before = programs(&lab);
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    until("packets are counted", || {
        switch.rule_packets("br0", "priority=1 ") > Some(0)
    });
    let counted = switch.rule_packets("br0", "priority=1 ").unwrap();

    let third = "[bridge.br0.port.p3]\nclass = \"afxdp\"\n";
    switch.reload(&(START.to_owned() + third));
    until("p3 is added", || switch.shown("p3").contains("link up"));
    lab.ping(1, 3);
    switch.reload(&(START.to_owned() + third + "tag = 7\n"));
    until("the tag is in force", || lab.apart(1, 3));
    switch.reload(&(START.to_owned() + third));
    until("the tag is gone", || !lab.apart(1, 3));

    let more = START.replace(
        "rules = [",
        "rules = [\"priority=20,icmp,nw_dst=192.0.2.3,actions=drop\",",
    );
    switch.reload(&(more + third));
    until("the rule is in force", || lab.apart(1, 3));
    assert!(switch.rule_packets("br0", "nw_dst=192.0.2.3").is_some());
    switch.reload(&(START.to_owned() + third));
    until("the rule is gone", || !lab.apart(1, 3));
    assert_eq!(switch.rule_packets("br0", "nw_dst=192.0.2.3"), None);

    switch.reload(START);
    until("p3 is removed", || switch.shown("p3").is_empty());
    assert!(!lab.switch.run("ip -d link show p3").contains("xdp"));
    assert!(switch.rule_packets("br0", "priority=1 ").unwrap() >= counted);
    assert_eq!(programs(&lab), before, "the sockets of the others stayed");
    let count = stream.stop();
    assert!(count.sent > 0);
    assert_eq!(
        count.lost, 0,
        "of {} on ports that were not touched",
        count.sent
    );
}

#[test]
fn a_wrong_file_is_named_by_line_and_changes_nothing() {
    let lab = Lab::new(2);
    let switch = Daemon::start(&lab, START);
    lab.ping(1, 2);
    let (before, flows) = (switch.ask(&["show"]), programs(&lab));
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    for (from, to, message) in [
        (
            "[bridge.br0]\n",
            "[bridge.br0]\ncolour = 1\n",
            "ringway.toml:2: bridge.br0.colour: unknown key, expected one of",
        ),
        (
            "class = \"afxdp\"\n[",
            "tag = 5000\n[",
            "ringway.toml:4: bridge.br0.port.p1.tag: expected a number from 0 to 4095",
        ),
        (
            "actions=NORMAL\", ",
            "actions=NORMALLY\", ",
            "ringway.toml:2: bridge.br0.rules: ",
        ),
        (
            "[bridge.br0.port.p2]\n",
            "[bridge.br1.port.p1]\n",
            "belongs to bridge br0 already",
        ),
        ("rules = [", "rules = [[", "ringway.toml:"),
    ] {
        let wrong = START.replacen(from, to, 1);
        assert_ne!(wrong, START);
        switch.reload(&wrong);
        until(message, || switch.log().contains(message));
    }
    let counters_aside = |shown: &str| shown.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        counters_aside(&switch.ask(&["show"])),
        counters_aside(&before)
    );
    assert_eq!(programs(&lab), flows);
    assert_eq!(stream.stop().lost, 0);
}

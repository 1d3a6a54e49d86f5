//! What the database may do to a running switch: `flow-restore-wait`, going away, coming back without anything.

use crate::kit::{Lab, Vswitchd, until};

const PORTS: [&str; 2] = ["p1", "p2"];

/// A bridge with the two hosts of the lab.
fn bridge(v: &Vswitchd) {
    let mut words = vec!["add-br", "br0", "--", "set", "bridge", "br0"];
    words.push("datapath_type=netdev");
    for port in PORTS {
        words.extend(["--", "add-port", "br0", port]);
        words.extend(["--", "set", "interface", port, "type=system"]);
    }
    v.vsctl(&words);
}

#[test]
fn nothing_is_forwarded_or_connected_until_flows_are_restored() {
    let lab = Lab::new(2);
    let mut v = Vswitchd::database();
    let waits = "other_config:flow-restore-wait=true";
    v.vsctl(&["--no-wait", "set", "Open_vSwitch", ".", waits]);
    v.start(&lab);
    bridge(&v);
    // A controller that listens hears nothing either.
    let socket = v.file("controller");
    let controller = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    controller.set_nonblocking(true).unwrap();
    v.vsctl(&[
        "set-controller",
        "br0",
        &format!("unix:{}", socket.display()),
    ]);
    v.vsctl(&["set-fail-mode", "br0", "secure"]);
    // Rules are put back meanwhile; packets that miss wait for nothing.
    v.ofctl(&["add-flow", "br0", "actions=normal"]);
    assert!(lab.apart(1, 2), "misses are not answered yet");
    assert!(controller.accept().is_err(), "nor are controllers met");
    assert_eq!(v.ctl(&["dpctl/dump-flows"]), "");
    assert!(v.ofctl(&["dump-flows", "br0"]).contains("actions=NORMAL"));

    v.vsctl(&[
        "remove",
        "Open_vSwitch",
        ".",
        "other_config",
        "flow-restore-wait",
    ]);
    lab.ping(1, 2);
    until("the controller is met", || controller.accept().is_ok());
    // Once over, it does not come again.
    v.vsctl(&["set", "Open_vSwitch", ".", waits]);
    v.ctl(&["revalidator/purge"]);
    lab.ping(2, 1);
    assert!(v.alive());
}

#[test]
fn an_emptied_database_is_not_believed_at_once() {
    let lab = Lab::new(2);
    let mut v = Vswitchd::database();
    v.start(&lab);
    bridge(&v);
    lab.ping(1, 2);
    v.ofctl(&["add-flow", "br0", "table=9,priority=7,actions=drop"]);

    // It goes, and returns as it was: nothing changes, not even a rule.
    v.stop_serving();
    until("the loss is noticed", || {
        v.log().contains("connection closed by peer")
    });
    lab.ping(2, 1);
    v.serve("conf.db");
    let connected = |v: &Vswitchd| v.log().matches("db.sock: connected").count();
    until("it is read again", || connected(&v) == 2);
    v.vsctl(&["set", "bridge", "br0", "other_config:x=y"]);
    assert!(v.ofctl(&["dump-flows", "br0"]).contains("priority=7"));
    lab.ping(1, 2);

    // One that comes back empty is read twice before it is believed.
    v.stop_serving();
    v.create("empty.db");
    v.serve("empty.db");
    until("the bridge goes", || v.ctl(&["ofproto/list"]).is_empty());
    assert!(connected(&v) >= 4, "{}", v.log());
    let doubts = "the database came back without bridges, reading it again";
    assert_eq!(v.log().matches(doubts).count(), 1);
    assert!(v.alive());
}

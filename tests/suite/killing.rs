//! What is left when the switch ends: nothing, however it ends.

use crate::kit::{Daemon, Lab, Stream, until};

/// Two AF_XDP ports and one packet socket, whose device is made promiscuous.
const CONFIG: &str = r#"
[bridge.br0.port.p1]
class = "afxdp"
[bridge.br0.port.p2]
class = "afxdp"
options = { xdp-mode = "generic" }
[bridge.br0.port.p3]
class = "system"
"#;

/// The lab with its switch, and what the devices were like before that.
fn changed() -> (Lab, Daemon, String) {
    let lab = Lab::new(3);
    let before = lab.devices();
    assert_eq!(before.lines().count(), 3, "{before}");
    let switch = Daemon::start(&lab, CONFIG);
    let held = lab.devices();
    assert!(
        held.contains("prog/xdp") && held.contains("promiscuity 1"),
        "{held}"
    );
    lab.ping(1, 2);
    lab.ping(1, 3);
    (lab, switch, before)
}

#[test]
fn killed_under_traffic_it_leaves_no_program_and_no_flag_and_starts_again() {
    let (lab, mut switch, before) = changed();
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    let other = Stream::new(lab.host(2), lab.host(3), "192.0.2.3");
    for _ in 0..3 {
        lab.ping(1, 3);
        switch.kill();
        // At once, while the kernel still takes the dead one's sockets apart.
        switch.again(&lab);
        assert_eq!(
            switch.shown("p1").matches("error").count(),
            0,
            "{}",
            switch.ask(&["show"])
        );
        lab.ping(1, 2);
    }
    switch.kill();
    until("everything is as before", || lab.devices() == before);
    let (first, second) = (stream.stop(), other.stop());
    assert!(first.sent > 0 && second.sent > 0);
}

#[test]
fn told_to_end_it_puts_everything_back() {
    for signal in ["TERM", "INT"] {
        let (lab, mut switch, before) = changed();
        let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
        assert!(!switch.leftovers().is_empty());
        switch.signal(signal);
        assert_eq!(switch.ended().code(), Some(0), "{}", switch.log());
        assert_eq!(switch.leftovers(), Vec::<String>::new());
        until("everything is as before", || lab.devices() == before);
        let own = lab.switch.run("ip -o link show");
        assert!(!own.contains("br0") && !own.contains("ovs-netdev"), "{own}");
        drop(stream);
        switch.again(&lab);
        lab.ping(1, 2);
    }
}

//! Devices that go away and come back under their name.

use crate::kit::{Daemon, Lab, Stream, until};
use base::clock::{monotonic_ns, sleep};
use std::time::Duration;

fn config(class: &str) -> String {
    let port = |n, class| format!("[bridge.br0.port.p{n}]\nclass = \"{class}\"\n");
    [(1, "afxdp"), (2, "afxdp"), (3, class), (4, "afxdp")]
        .map(|(n, class)| port(n, class))
        .concat()
}

/// Takes port 3 away and gives it back while others talk, `rounds` times; prints how long it took to be back.
fn comes_and_goes(class: &str, rounds: usize) {
    let lab = Lab::new(4);
    let switch = Daemon::start(&lab, &config(class));
    lab.ping(1, 2);
    lab.ping(3, 4);
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    let mut longest_ms = 0;
    for round in 0..rounds {
        lab.switch.run("ip link del p3");
        until("the loss is shown", || switch.shown("p3").contains("error"));
        assert!(
            !switch.shown("p1").contains("error"),
            "{}",
            switch.ask(&["show"])
        );
        lab.plug(3);
        let begin = monotonic_ns();
        until("it is attached again", || {
            let shown = switch.shown("p3");
            shown.contains("port ") && !shown.contains("error")
        });
        longest_ms = longest_ms.max((monotonic_ns() - begin) / 1_000_000);
        lab.ping(3, 4);
        assert!(!switch.shown("p3").contains("error"), "round {round}");
    }
    println!("{class}: {rounds} times re-attached, after {longest_ms} ms at most");
    let count = stream.stop();
    assert!(count.sent > 0);
    assert_eq!(count.lost, 0, "of {} on the other ports", count.sent);
}

#[test]
fn an_afxdp_device_comes_back_twenty_times_and_others_lose_nothing() {
    comes_and_goes("afxdp", 20);
}

#[test]
fn a_packet_socket_device_comes_back() {
    comes_and_goes("system", 5);
}

#[test]
fn no_core_spins_while_a_device_is_gone() {
    let lab = Lab::new(4);
    let switch = Daemon::start(&lab, &config("afxdp"));
    lab.ping(3, 4);
    lab.switch.run("ip link del p3");
    until("the loss is shown", || switch.shown("p3").contains("error"));
    let before = switch.ticks();
    sleep(Duration::from_secs(2));
    let used = switch.ticks() - before;
    assert!(used < 40, "{used} of 200 ticks used");
}

#[test]
fn a_device_that_was_not_there_at_the_start_is_taken_when_it_comes() {
    let lab = Lab::new(4);
    lab.switch.run("ip link del p3");
    let switch = Daemon::start(&lab, &config("afxdp"));
    assert!(
        switch.shown("p3").contains("error: p3"),
        "{}",
        switch.ask(&["show"])
    );
    lab.ping(1, 2);
    lab.plug(3);
    until("it is attached", || switch.shown("p3").contains("port "));
    lab.ping(3, 4);
}

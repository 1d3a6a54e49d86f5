//! The idle switch. Figures are printed, not judged: `scripts/measure-idle` does that on a quiet machine.

use crate::kit::{Daemon, Lab};
use base::clock::sleep;
use std::time::Duration;

#[test]
fn an_idle_switch_sleeps_and_wakes() {
    let lab = Lab::new(4);
    let ports = (1..=4).map(|n| format!("[bridge.br0.port.p{n}]\nclass = \"afxdp\"\n"));
    let switch = Daemon::start(&lab, &ports.collect::<String>());
    lab.ping(1, 2);
    let before = switch.ticks();
    sleep(Duration::from_secs(2));
    let idle = switch.ticks() - before;
    let pings = lab
        .host(1)
        .run("ping -q -c 10 -i 0.2 -W 2 192.0.2.2 | tail -n 1");
    println!(
        "idle with 4 ports: {idle} ticks in 2 s = {}.{} % of a core",
        idle / 2,
        idle % 2 * 5
    );
    println!("after idling: {pings}");
}

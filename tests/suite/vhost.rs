//! vhost-user ports and DPDK's virtio-user as their guest: traffic with counts, several queues, both
//! ways of connecting, a guest that is killed and one that comes back. Needs testpmd (package dpdk-dev);
//! its memory is a memfd of ordinary pages, no huge ones.

use crate::kit::{Daemon, Lab, until};
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};

/// The rules of both ports, as `ovs-ofctl` shows them.
const RULES: [&str; 2] = ["in_port=1 ", "in_port=2 "];

/// A testpmd that is told what to do on its standard input.
struct Testpmd {
    child: Child,
    input: ChildStdin,
    log: std::path::PathBuf,
}

impl Testpmd {
    /// One with virtio-user ports of the given arguments, each with `queues` pairs.
    fn start(lab: &Lab, dir: &Path, ports: &[String], queues: u32) -> Self {
        let log = dir.join("testpmd.log");
        let out = std::fs::File::create(&log).unwrap();
        let mut command = lab.switch.command("stdbuf");
        command.args(["-oL", "dpdk-testpmd"]);
        command.args("--no-pci --no-huge -m 192 --no-telemetry -l 0,1 --main-lcore 0".split(' '));
        let unique = dir.file_name().unwrap().to_string_lossy();
        command.arg(format!(
            "--file-prefix=ringway{}{queues}",
            unique.trim_matches('.')
        ));
        for (i, port) in ports.iter().enumerate() {
            command.arg(format!("--vdev=net_virtio_user{i},{port},queues={queues}"));
        }
        let queues = format!("--rxq={queues} --txq={queues}");
        command.args([
            "--",
            "-i",
            "--total-num-mbufs=8192",
            "--txd=256",
            "--rxd=256",
        ]);
        command.args(queues.split(' '));
        command
            .stdin(Stdio::piped())
            .stderr(out.try_clone().unwrap());
        let mut child = command.stdout(out).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        Self { child, input, log }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
    /// Waits until it has come up.
    fn wait(&mut self) {
        until("testpmd is ready", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            self.said().contains("testpmd>")
        });
    }
    /// Stops forwarding; gives what port `i` received and sent since the start.
    fn stop(&mut self, ports: usize) -> Vec<[u64; 2]> {
        self.tell("stop");
        until("testpmd has stopped", || {
            self.said().matches("Forward statistics for port").count() >= ports
                && self.said().contains("Accumulated forward statistics")
        });
        let said = self.said();
        let of = |name: &str| -> Vec<u64> {
            // "RX-packets: 5   RX-dropped: 0   RX-total: 5", once per port and once for all.
            let totals = said.lines().filter_map(|l| l.split(name).nth(1));
            totals.filter_map(|n| n.trim().parse().ok()).collect()
        };
        let (rx, tx) = (of("RX-total:"), of("TX-total:"));
        rx.into_iter().zip(tx).map(|(rx, tx)| [rx, tx]).collect()
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("testpmd said:\n{}", self.said());
        }
    }
}

fn config(dir: &Path) -> String {
    format!(
        r#"
[bridge.br0]
fail-mode = "secure"
rules = ["in_port=v0,actions=output:v1", "in_port=v1,actions=output:v0"]
[bridge.br0.port.v0]
class = "dpdkvhostuserclient"
options = {{ vhost-server-path = "{}/v0.sock" }}
[bridge.br0.port.v1]
class = "dpdkvhostuser"
"#,
        dir.display()
    )
}

/// The guest's arguments for both ports: v0's socket is the guest's, v1's the switch's.
fn ports(dir: &Path, switch: &Daemon) -> [String; 2] {
    [
        format!("path={}/v0.sock,server=1", dir.display()),
        format!("path={}/v1", switch.dir().display()),
    ]
}

fn link_is_up(switch: &Daemon, port: &str) -> bool {
    switch.shown(port).contains("link up")
}

#[test]
fn every_packet_of_a_testpmd_comes_back_by_the_other_port() {
    let lab = Lab::new(0);
    let dir = tempfile::TempDir::new().unwrap();
    let switch = Daemon::start(&lab, &config(dir.path()));
    assert!(switch.shown("v0").contains("status: disconnected"));
    for queues in [1, 2] {
        let before = RULES.map(|r| switch.rule_packets("br0", r));
        let mut guest = Testpmd::start(&lab, dir.path(), &ports(dir.path(), &switch), queues);
        guest.wait();
        until("both links are up", || {
            link_is_up(&switch, "v0") && link_is_up(&switch, "v1")
        });
        let shown = switch.shown("v0");
        let vrings = format!("num_of_vrings: {}", 2 * queues);
        assert!(
            shown.contains("mode: client") && shown.contains(&vrings),
            "{shown}"
        );
        assert!(switch.shown("v1").contains("mode: server"));
        // A first burst by each queue; what comes in on one port goes out by the other, and round again.
        guest.tell("start tx_first");
        let since = |i: usize| {
            let now = switch.rule_packets("br0", RULES[i]);
            now.unwrap_or(0) - before[i].unwrap_or(0)
        };
        until("packets go round", || (0..2).all(|i| since(i) > 2000));
        let counts = guest.stop(2);
        let [[rx0, tx0], [rx1, tx1]] = [counts[0], counts[1]];
        assert!(rx0.min(rx1) > 1000, "{counts:?}");
        // What was sent is received by the other port, or still under way: at most both first bursts.
        let bursts = u64::from(queues) * 64;
        assert!(tx0 >= rx1 && tx0 - rx1 <= bursts, "{counts:?}");
        assert!(tx1 >= rx0 && tx1 - rx0 <= bursts, "{counts:?}");
        until("the rules have counted all", || {
            since(0) == tx0 && since(1) == tx1
        });
        drop(guest); // killed
        until("both links are down", || {
            !link_is_up(&switch, "v0") && !link_is_up(&switch, "v1")
        });
        // DPDK does not take a socket over that a killed one left.
        std::fs::remove_file(dir.path().join("v0.sock")).unwrap();
    }
}

#[test]
fn a_switch_that_is_killed_comes_back_to_its_guest() {
    let lab = Lab::new(0);
    let dir = tempfile::TempDir::new().unwrap();
    let mut switch = Daemon::start(&lab, &config(dir.path()));
    let port = &ports(dir.path(), &switch)[0];
    let mut guest = Testpmd::start(&lab, dir.path(), std::slice::from_ref(port), 1);
    guest.wait();
    until("the link is up", || link_is_up(&switch, "v0"));
    switch.kill();
    switch.again(&lab);
    until("the link is up again", || link_is_up(&switch, "v0"));
    // The socket of the port that listens was left by the killed switch, and is taken over.
    assert!(switch.shown("v1").contains("mode: server"));
    guest.tell("set fwd txonly");
    guest.tell("start");
    until("packets come", || {
        switch.rule_packets("br0", RULES[0]).unwrap_or(0) > 1000
    });
}

//! What cannot be is named, and everything else forwards.

use crate::kit::{Daemon, Lab, file_in, outcome, ringway, until};
use std::path::Path;
use std::process::{Command, Stdio};

/// Starts with a file that will not do; what it says.
fn refused(lab: &Lab, config: &str) -> String {
    let dir = tempfile::TempDir::new().unwrap();
    let file = file_in(dir.path(), "wrong.toml", config);
    let mut command = lab.switch.command("timeout");
    command
        .args(["20", ringway(), "run", "--config"])
        .arg(file)
        .env("OVS_RUNDIR", dir.path());
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{config}: {said}");
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|f| f.file_name())
        .collect();
    assert_eq!(left, ["wrong.toml"]);
    said
}

#[test]
fn a_wrong_file_at_the_start_ends_it_and_is_named() {
    let lab = Lab::new(0);
    let said = refused(&lab, "[bridge.br0]\nports = 1\n");
    assert!(
        said.contains("wrong.toml:2: bridge.br0.ports: unknown key, expected one of"),
        "{said}"
    );
    let said = refused(
        &lab,
        "[bridge.br0]\nrules = [\"actions=NORMAL\",\n \"in_port=nobody,actions=drop\"]\n",
    );
    assert!(
        said.contains("wrong.toml:3: bridge.br0.rules: ") && said.contains("nobody"),
        "{said}"
    );
    let said = refused(&lab, "[bridge.br0.port.p1]\n[bridge.br1.port.p1]\n");
    assert!(
        said.contains("wrong.toml:2: bridge.br1.port.p1: port p1 belongs to bridge br0 already"),
        "{said}"
    );
    let missing = Command::new(ringway())
        .args(["run", "--config", "/nonexistent/ringway.toml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&missing.stderr)
            .contains("/nonexistent/ringway.toml: No such file")
    );
    let nobody = outcome(
        Command::new(ringway())
            .arg("show")
            .env("OVS_RUNDIR", "/nonexistent"),
    );
    assert!(nobody.is_err_and(|e| e.contains("no switch runs here")));
}

/// Attaches a program of somebody else to a device of the switch's namespace.
fn attach_foreign(lab: &Lab, device: &str) {
    let dir = tempfile::TempDir::new().unwrap();
    let source =
        "int pass(void *c) { return 2; } char l[] __attribute__((section(\"license\"))) = \"GPL\";";
    let (c, o) = (
        file_in(dir.path(), "foreign.c", source),
        dir.path().join("foreign.o"),
    );
    let mut clang = Command::new("clang");
    clang
        .args(["-target", "bpf", "-O2", "-c"])
        .arg(c)
        .arg("-o")
        .arg(&o)
        .stdin(Stdio::null());
    outcome(&mut clang).unwrap();
    let object = o.display();
    lab.switch.run(&format!(
        "ip link set dev {device} xdpgeneric obj {object} sec .text"
    ));
}

#[test]
fn ports_that_cannot_be_are_named_and_the_others_forward() {
    let lab = Lab::new(4);
    attach_foreign(&lab, "p3");
    lab.switch.run("ip link set p4 mtu 9000");
    let config = r#"
[bridge.br0.port.p1]
class = "afxdp"
options = { n_rxq = 1, colour = "red" }
[bridge.br0.port.p2]
class = "system"
options = { taste = "sweet" }
[bridge.br0.port.p3]
class = "afxdp"
[bridge.br0.port.p4]
class = "afxdp"
options = { multi-buffer = false }
[bridge.br0.port.missing]
class = "afxdp"
[bridge.br0.port.odd]
class = "carrier-pigeon"
[bridge.br0.port.both]
class = "patch"
"#;
    let switch = Daemon::start(&lab, config);
    lab.ping(1, 2);
    for (port, pieces) in [
        ("p1", &["unknown option: colour"][..]),
        ("p2", &["unknown option: taste"]),
        ("p3", &["p3", "XDP program", "id"]),
        ("p4", &["p4", "9000"]),
        ("missing", &["error: missing", "no such network device"]),
        ("odd", &["error: odd", "carrier-pigeon"]),
        ("both", &["both", "peer"]),
    ] {
        let shown = switch.shown(port);
        for piece in pieces {
            assert!(
                shown.contains(piece),
                "{port} should say {piece}: {shown}\n{}",
                switch.ask(&["show"])
            );
        }
    }
    // What was in the way goes: the ports come.
    lab.switch
        .run("ip link set dev p3 xdpgeneric off; ip link set p4 mtu 1500");
    for port in ["p3", "p4"] {
        until("it is attached", || {
            switch.shown(port).contains("xdp-mode: native")
        });
    }
    lab.ping(3, 4);
    lab.ping(1, 3);
}

/// Case: `ringway drops | head -1` ended in a panic.
#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let lab = Lab::new(0);
    let daemon = Daemon::start(&lab, "");
    let program = daemon.file("ovs-vswitchd");
    std::os::unix::fs::symlink(ringway(), &program).unwrap();
    for (program, word) in [(Path::new(ringway()), "drops"), (&program, "--help")] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let out = Command::new(program)
            .arg(word)
            .env("OVS_RUNDIR", daemon.dir())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    }
}

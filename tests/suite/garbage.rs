//! Octets that are no messages: on `<bridge>.mgmt`, on the control socket, and from a database that lies. Whoever
//! sends them gets an error or is hung up on; a second client is served meanwhile, and memory does not grow.

use crate::kit::{Daemon, Lab, Vswitchd, until};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// The hello of OpenFlow 1.4.
const HELLO: [u8; 8] = [5, 0, 0, 8, 0, 0, 0, 1];
const BARRIER: [u8; 8] = [5, 20, 0, 8, 0, 0, 0, 9];
/// Memory that all of it together may cost, KiB.
const GROWN_MAX: usize = 64 << 10;
/// Patience with a switch that must answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers that look like chance but are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }
    fn octets(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.roll() as u8).collect()
    }
}

fn dial(path: &Path) -> UnixStream {
    let peer = UnixStream::connect(path).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Somebody polite.
struct Polite(UnixStream);

impl Polite {
    fn new(path: &Path) -> Self {
        let mut peer = dial(path);
        peer.write_all(&HELLO).unwrap();
        Self(peer)
    }

    /// Asks for a barrier, and waits for its reply.
    fn is_served(&mut self) {
        self.0.write_all(&BARRIER).unwrap();
        loop {
            let mut head = [0; 8];
            self.0.read_exact(&mut head).unwrap();
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            self.0.read_exact(&mut vec![0; len - 8]).unwrap();
            if head[1] == 21 {
                return;
            }
        }
    }
}

/// Writes, and reads whatever comes until the other side hangs up or a barrier sent last is answered.
fn pester(path: &Path, octets: &[u8]) {
    let mut peer = dial(path);
    let mut reader = peer.try_clone().unwrap();
    // It may hang up in the middle of it all.
    let all = [octets, &BARRIER].concat();
    drop(peer.write_all(&all));
    drop(peer.shutdown(std::net::Shutdown::Write));
    drop(reader.read_to_end(&mut Vec::new()));
}

/// A header of OpenFlow 1.4 over octets.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
    [&[5, kind, len[0], len[1], 0, 0, 0, 7][..], body].concat()
}

/// A flow mod whose actions are `clone` in `clone`, as deep as a message can be long.
fn nested(depth: usize) -> Vec<u8> {
    let acts = 16 * depth;
    let mut body = vec![0; 40];
    body[22..24].copy_from_slice(&[0xff; 2]);
    body[24..36].fill(0xff);
    body[36..40].fill(0);
    body.extend([0, 1, 0, 4, 0, 0, 0, 0, 0, 4]);
    body.extend(u16::try_from(acts + 8).unwrap().to_be_bytes());
    body.extend([0; 4]);
    for level in 0..depth {
        body.extend([0xff, 0xff]);
        body.extend(u16::try_from(acts - 16 * level).unwrap().to_be_bytes());
        body.extend([0, 0, 0x23, 0x20, 0, 42, 0, 0, 0, 0, 0, 0]);
    }
    message(14, &body)
}

#[test]
fn garbage_on_the_openflow_socket() {
    let lab = Lab::new(1);
    let mut switch = Daemon::start(&lab, "[bridge.br0.port.p1]\nclass = \"system\"\n");
    let mgmt = switch.file("br0.mgmt");
    let mut polite = Polite::new(&mgmt);
    polite.is_served();
    let before = switch.rss_kib();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200 {
        let n = dice.below(300);
        pester(&mgmt, &dice.octets(n));
        // Behind a hello, in sound frames: any type, any body.
        let mut all = HELLO.to_vec();
        for _ in 0..20 {
            let n = dice.below(200);
            let kind = dice.below(40) as u8;
            all.extend(message(kind, &dice.octets(n)));
        }
        pester(&mgmt, &all);
        polite.is_served();
    }
    for depth in [1, 100, 4000] {
        pester(&mgmt, &[&HELLO[..], &nested(depth)].concat());
        polite.is_served();
    }
    // Half a message, and then nothing: costs no processor time worth the name.
    let mut half = dial(&mgmt);
    half.write_all(&HELLO).unwrap();
    half.write_all(&message(14, &[0; 100])[..60]).unwrap();
    polite.is_served();
    let ticks = switch.ticks();
    base::clock::sleep(Duration::from_secs(1));
    let used = switch.ticks() - ticks;
    assert!(used < 50, "{used} ticks of 100 for half a message");
    assert!(switch.alive());
    let grown = switch.rss_kib().saturating_sub(before);
    assert!(grown < GROWN_MAX, "{grown} KiB");
    assert!(!switch.log().contains("panic"), "{}", switch.log());
}

/// Sends octets to the control socket; what came back until it hung up or answered.
fn command(path: &Path, octets: &[u8]) -> String {
    let mut peer = dial(path);
    let mut reader = peer.try_clone().unwrap();
    drop(peer.write_all(octets));
    drop(peer.shutdown(std::net::Shutdown::Write));
    let mut got = Vec::new();
    drop(reader.read_to_end(&mut got));
    String::from_utf8_lossy(&got).into_owned()
}

#[test]
fn garbage_on_the_control_socket() {
    let lab = Lab::new(1);
    let mut v = Vswitchd::database();
    v.start(&lab);
    v.vsctl(&[
        "add-br",
        "br0",
        "--",
        "set",
        "bridge",
        "br0",
        "datapath_type=netdev",
    ]);
    let ctl = v.file("ctl");
    let list = v.ctl(&["list-commands"]);
    let commands: Vec<&str> = list
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| c.contains('/') && !c.starts_with("vlog/") && !c.contains("wait"))
        .collect();
    assert!(commands.len() > 50);
    let before = v.rss_kib();
    let word = "x".repeat(1 << 20);
    let deep = "clone(".repeat(10_000);
    let mut dice = Dice(7);
    for name in &commands {
        // Every command with arguments of nobody: nested, endless, empty, numbers that do not fit.
        let odd = [
            word.as_str(),
            &deep,
            "",
            "br0",
            "-1",
            "99999999999999999999",
            "a/../b",
            "%s%n\u{0}",
        ];
        for n in 0..4 {
            let args: Vec<&str> = (0..n).map(|_| odd[dice.below(odd.len())]).collect();
            let quoted: Vec<String> = args.iter().map(|a| format!("{a:?}")).collect();
            let json = quoted.join(",").replace("\\u{0}", "\\u0000");
            let request = format!("{{\"id\":1,\"method\":\"{name}\",\"params\":[{json}]}}");
            command(&ctl, request.as_bytes());
        }
    }
    for _ in 0..100 {
        let n = dice.below(400);
        command(&ctl, &dice.octets(n));
    }
    command(&ctl, "[".repeat(1_000_000).as_bytes());
    command(&ctl, "{\"a\":".repeat(1_000_000).as_bytes());
    for wrong in [
        r#"{"id":1,"method":7,"params":[]}"#,
        r#"{"id":1,"method":"version","params":7}"#,
        r#"{"id":{},"method":"version","params":[[]]}"#,
    ] {
        command(&ctl, wrong.as_bytes());
    }
    let flow = format!("in_port=1,actions={deep}");
    assert!(v.try_ctl(&["ofproto/trace", "br0", &flow]).is_err());
    assert!(v.ctl(&["version"]).contains("3.1.0"));
    assert!(v.alive());
    let grown = v.rss_kib().saturating_sub(before);
    assert!(grown < GROWN_MAX, "{grown} KiB");
    assert!(!v.log().contains("panicked"), "{}", v.log());
}

/// Takes connections of a daemon for its database, and says these octets on each in turn.
fn lie(listener: &UnixListener, lies: &[Vec<u8>]) {
    for lie in lies {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        // Its first request, so that answers can be to something.
        let mut some = [0; 4096];
        drop(peer.read(&mut some));
        drop(peer.write_all(lie));
        // Until it hangs up, or has nothing more to say.
        while matches!(peer.read(&mut some), Ok(n) if n > 0) {}
    }
}

/// Answers that a database server should not give.
fn lies() -> Vec<Vec<u8>> {
    let mut dice = Dice(99);
    let long = "n".repeat(64 << 10);
    let reply = |result: &str| {
        (0..4)
            .map(|id| format!("{{\"id\":{id},\"result\":{result},\"error\":null}}"))
            .collect::<String>()
            .into_bytes()
    };
    let schema = |columns: &str| {
        reply(&format!(
            "{{\"name\":\"Open_vSwitch\",\"version\":\"8.3.1\",\"tables\":{{\"Bridge\":{{\"columns\":{columns}}},\"Open_vSwitch\":{{\"columns\":{{}}}}}}}}"
        ))
    };
    vec![
        dice.octets(5000),
        "[".repeat(1_000_000).into_bytes(),
        "{\"id\":0,\"result\":".repeat(1000).into_bytes(),
        reply("7"),
        reply("null"),
        reply(&format!("\"{long}\"")),
        schema("7"),
        schema("{\"name\":{\"type\":\"nosuch\"}}"),
        schema("{\"name\":{\"type\":{\"key\":\"string\",\"max\":-1}}}"),
        schema(&format!("{{\"{long}\":{{\"type\":\"string\"}}}}")),
        br#"{"id":null,"method":"update3","params":[7]}"#.to_vec(),
        br#"{"id":null,"method":"update3","params":["x","y",{"Bridge":{"zz":{"insert":7}}}]}"#
            .to_vec(),
        br#"{"id":null,"method":"update2","params":[null,{"Bridge":[]}]}"#.to_vec(),
        br#"{"id":"x","method":"echo","params":{}}"#.to_vec(),
        br#"{"id":0,"error":{"error":"unknown database"},"result":null}"#.to_vec(),
        format!("{{\"id\":null,\"method\":\"{long}\",\"params\":[]}}").into_bytes(),
    ]
}

#[test]
fn a_database_that_lies() {
    let lab = Lab::new(2);
    let mut v = Vswitchd::database();
    v.start(&lab);
    let mut words = vec!["add-br", "br0", "--", "set", "bridge", "br0"];
    words.push("datapath_type=netdev");
    for port in ["p1", "p2"] {
        words.extend(["--", "add-port", "br0", port]);
        words.extend(["--", "set", "interface", port, "type=system"]);
    }
    v.vsctl(&words);
    lab.ping(1, 2);
    let mut polite = Polite::new(&v.file("br0.mgmt"));
    let before = v.rss_kib();
    v.stop_serving();
    let listener = UnixListener::bind(v.file("db.sock")).unwrap();
    // The daemon's patience with a database that drops it grows to 8 s: a few lies, chosen anew each run by none.
    for lie_now in lies().chunks(4) {
        let (mut all, first) = (lie_now.to_vec(), lie_now[0].clone());
        all.push(first);
        lie(&listener, &all[..2]);
        polite.is_served();
        assert!(v.alive());
    }
    lab.ping(2, 1);
    assert!(v.ctl(&["version"]).contains("3.1.0"));
    let grown = v.rss_kib().saturating_sub(before);
    assert!(grown < GROWN_MAX, "{grown} KiB");
    // A sound database is taken again.
    drop(listener);
    v.serve("conf.db");
    until("it is read", || {
        v.try_ctl(&["ofproto/list"])
            .is_ok_and(|l| l.contains("br0"))
    });
    v.vsctl(&["set", "bridge", "br0", "other_config:x=y"]);
    assert!(!v.log().contains("panicked"), "{}", v.log());
}

#[test]
fn names_and_values_of_nobody_in_the_database() {
    let lab = Lab::new(1);
    let mut v = Vswitchd::database();
    v.start(&lab);
    let long = "n".repeat(60 << 10);
    let add = "add-br br0 -- set bridge br0 datapath_type=netdev";
    v.vsctl(&add.split(' ').collect::<Vec<_>>());
    let mut polite = Polite::new(&v.file("br0.mgmt"));
    // Each is one more wrong thing; what is sound is served all the while.
    let odd: [&[&str]; 8] = [
        &["add-port", "br0", "a/../../etc/passwd"],
        &["add-port", "br0", "."],
        &[
            "add-port",
            "br0",
            "q1",
            "--",
            "set",
            "interface",
            "q1",
            "type=nosuch",
        ],
        &[
            "add-port",
            "br0",
            "q2",
            "--",
            "set",
            "interface",
            "q2",
            "ofport_request=65279",
        ],
        &[
            "add-br",
            "x/y",
            "--",
            "set",
            "bridge",
            "x/y",
            "datapath_type=netdev",
        ],
        &["set", "bridge", "br0", "other_config:hwaddr=zz:zz"],
        &["set", "bridge", "br0", "other_config:mac-aging-time=-5"],
        &["set-controller", "br0", "nosuch:1.2.3.4"],
    ];
    for words in odd {
        let waits = [&["--no-wait"], words].concat();
        v.vsctl(&waits);
        polite.is_served();
    }
    for key in ["hwaddr", "datapath-id", "flow-eviction-threshold"] {
        let value = format!("other_config:{key}={long}");
        v.vsctl(&["--no-wait", "set", "bridge", "br0", &value]);
    }
    let name = format!("br0 {long}");
    v.vsctl(&["--no-wait", "add-port", "br0", &name]);
    polite.is_served();
    // All of it is read, named where it is wrong, and nothing left the run directory.
    v.vsctl(&["set", "bridge", "br0", "other_config:x=y"]);
    until("the wrong type is named", || {
        v.vsctl(&["get", "interface", "q1", "error"])
            .contains("network device q1 (Address family not supported")
    });
    assert!(v.log().contains("q1 of unknown type nosuch"));
    assert!(v.alive());
    assert!(!v.dir().parent().unwrap().join("y.mgmt").exists());
    assert!(!v.log().contains("panicked"), "{}", v.log());
}

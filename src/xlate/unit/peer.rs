//! Open vSwitch itself as the oracle: the same rules and the same packets must give the same trace.
//!
//! Needs `ovs-vswitchd` and friends 3.1 (Debian 12); without them the tests say so and pass.

use super::{Rig, dice, vary};
use crate::*;
use base::rng::Rng;
use flow::{Flow, NoNames};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running Open vSwitch with a dummy datapath, in a directory of its own.
pub(crate) struct Peer {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        for c in &mut self.children {
            drop(c.kill());
            drop(c.wait());
        }
    }
}

impl Peer {
    /// Starts it; `None` when it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        if !Path::new(schema).exists() || !Path::new("/usr/sbin/ovs-vswitchd").exists() {
            println!("no Open vSwitch here: not compared");
            return None;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut peer = Self {
            dir,
            children: Vec::new(),
        };
        peer.tool("ovsdb-tool", &["create", "conf.db", schema]);
        peer.spawn(
            "/usr/sbin/ovsdb-server",
            &[
                "--remote=punix:db.sock",
                "--unixctl=db.ctl",
                "-vconsole:off",
                "conf.db",
            ],
        );
        peer.wait_for("db.sock");
        peer.vsctl("--no-wait init");
        peer.spawn(
            "/usr/sbin/ovs-vswitchd",
            &[
                "unix:db.sock",
                "--enable-dummy",
                "--disable-system",
                "--unixctl=vs.ctl",
                "-vconsole:off",
            ],
        );
        peer.wait_for("vs.ctl");
        Some(peer)
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let child = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .env("OVS_RUNDIR", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        self.children.push(child);
    }

    fn wait_for(&self, file: &str) {
        let path = self.dir.path().join(file);
        // Sockets have no event to wait for before they exist.
        for _ in 0..10_000 {
            if UnixStream::connect(&path).is_ok() {
                return;
            }
            std::thread::yield_now();
            drop(Command::new("true").status());
        }
        panic!("{file} does not answer");
    }

    fn tool(&self, program: &str, args: &[&str]) -> (bool, String) {
        let out = Command::new(program)
            .args(args)
            .current_dir(&self.dir)
            .env("OVS_RUNDIR", self.dir.path())
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.success(), text.into_owned())
    }

    pub(crate) fn vsctl(&self, args: &str) {
        let mut all = vec!["--db=unix:db.sock"];
        all.extend(args.split_whitespace());
        let (ok, text) = self.tool("ovs-vsctl", &all);
        assert!(ok, "ovs-vsctl {args}: {text}");
    }

    /// Adds a flow; false when it is refused.
    pub(crate) fn add_flow(&self, bridge: &str, flow: &str) -> bool {
        let with = |version| {
            self.tool("ovs-ofctl", &["-O", version, "add-flow", bridge, flow])
                .0
        };
        if fits_1_0(flow) {
            with("OpenFlow10")
        } else {
            with("OpenFlow15")
        }
    }

    /// The flows of a bridge as it has them.
    pub(crate) fn understood(&self, bridge: &str) -> Vec<String> {
        let text = self.ctl("bridge/dump-flows", &[bridge]);
        let own = text.lines().filter(|l| !l.starts_with("table_id=254"));
        own.map(|l| {
            let table = l
                .strip_prefix("table_id=")
                .and_then(|t| t.split_once(','))
                .map_or("0", |(t, _)| t);
            let rule = &l[l.find("priority=").expect("every flow has one")..];
            format!("table={table},{}", rule.replace(",actions=", " actions="))
        })
        .collect()
    }

    pub(crate) fn ofctl(&self, args: &[&str]) {
        let (ok, text) = self.tool("ovs-ofctl", args);
        assert!(ok, "ovs-ofctl {args:?}: {text}");
    }

    /// A control command.
    pub(crate) fn ctl(&self, method: &str, params: &[&str]) -> String {
        let mut s = UnixStream::connect(self.dir.path().join("vs.ctl")).expect("connects");
        let req = serde_json::json!({"id": 0, "method": method, "params": params});
        s.write_all(req.to_string().as_bytes()).expect("sends");
        let mut buf = Vec::new();
        let mut chunk = [0; 65536];
        loop {
            let n = s.read(&mut chunk).expect("receives");
            assert!(n > 0, "{method}: connection closed");
            buf.extend_from_slice(&chunk[..n]);
            if let Ok(v) = serde_json::from_slice::<Value>(&buf) {
                let text = |k: &str| v[k].as_str().map(str::to_owned);
                return text("result").or_else(|| text("error")).unwrap_or_default();
            }
        }
    }
}

/// True for flows that OpenFlow 1.0 with Nicira extensions can carry as they are written.
fn fits_1_0(flow: &str) -> bool {
    if ["write_", "clear_actions", "goto_table"]
        .iter()
        .any(|i| flow.contains(i))
    {
        return false;
    }
    let parsed = openflow::parse_flow_mod(
        flow,
        openflow::FlowModCommand::Add,
        openflow::Names::default(),
    );
    parsed.is_ok_and(|p| p.protocols.contains(openflow::Protocols::OF10_NXM_TID))
}

/// A packet in the syntax of `ofproto/trace BRIDGE`; `None` for one that it cannot express.
fn flow_text(f: &Flow) -> Option<String> {
    let tpid = f.vlans[0].tpid.get();
    if !matches!(tpid, 0 | 0x8100)
        || f.vlans[1].is_present()
        || f.packet_type.get() != 0
        || f.tunnel.is_set()
    {
        return None;
    }
    let mut text = String::new();
    f.format(&mut text, &NoNames);
    // Later labels have no field; the second tag is absent.
    if text.contains("mpls_lse") {
        return None;
    }
    text = text.replace("vlan_tci1=0x0000,", "");
    // The names of ports are TCP's; those of ICMP are version 4's.
    for (proto, from, to) in [
        (17, "tp_", "udp_"),
        (132, "tp_", "sctp_"),
        (58, "icmp_", "icmpv6_"),
    ] {
        if f.nw_proto == proto && wire::ethernet::is_ip_type(f.dl_type.get()) {
            text = text.replace(&format!("{from}src"), &format!("{to}src"));
            text = text.replace(&format!("{from}dst"), &format!("{to}dst"));
            text = text.replace(&format!("{from}type"), &format!("{to}type"));
            text = text.replace(&format!("{from}code"), &format!("{to}code"));
        }
    }
    Some(text)
}

/// Recirculation ids by order of appearance: which are free differs.
fn renumbered(text: &str) -> String {
    let mut known: Vec<String> = Vec::new();
    let mut out = String::new();
    let mut rest = text;
    while let Some((at, mark)) = ["recirc(", "recirc_id="]
        .iter()
        .filter_map(|m| rest.find(m).map(|at| (at, *m)))
        .min()
    {
        let start = at + mark.len();
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|c: char| !c.is_ascii_hexdigit() && c != 'x')
            .unwrap_or(rest.len());
        let digits = &rest[..end];
        let n = match digits.strip_prefix("0x") {
            Some(h) => u32::from_str_radix(h, 16).unwrap_or(0),
            None => digits.parse().unwrap_or(0),
        }
        .to_string();
        rest = &rest[end..];
        if n == "0" {
            out.push('0');
            continue;
        }
        let i = known.iter().position(|k| *k == n).unwrap_or_else(|| {
            known.push(n);
            known.len() - 1
        });
        out.push_str(&format!("#{i}"));
    }
    out.push_str(rest);
    out
}

/// Lines that are compared, and how: order of outputs does not count where packets are flooded.
fn key_lines(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| {
            ["Final flow:", "Megaflow:", "Datapath actions:"]
                .iter()
                .any(|p| l.starts_with(p))
        })
        .map(str::to_owned)
        .collect()
}

/// Splits at the commas outside parentheses.
fn tokens(actions: &str) -> Vec<&str> {
    let (mut depth, mut from, mut all) = (0, 0, Vec::new());
    for (i, c) in actions.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                all.push(&actions[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    all.push(&actions[from..]);
    all
}

/// What leaves, each with the tags it has then: in this form order does not count.
fn departures(actions: &str, mut tags: Vec<String>, out: &mut Vec<String>) {
    for t in tokens(actions) {
        if let Some(inner) = t.strip_prefix("clone(") {
            departures(inner.strip_suffix(')').unwrap_or(inner), tags.clone(), out);
        } else if t == "pop_vlan" {
            tags.pop();
        } else if t.starts_with("push_vlan") {
            tags.push(t.to_owned());
        } else {
            out.push(format!("{tags:?} {t}"));
        }
    }
}

fn unordered(line: &str, tag: Option<&str>) -> Vec<String> {
    let Some(actions) = line.strip_prefix("Datapath actions: ") else {
        return vec![line.to_owned()];
    };
    let mut parts = Vec::new();
    departures(
        actions,
        tag.map(str::to_owned).into_iter().collect(),
        &mut parts,
    );
    parts.sort();
    parts.dedup();
    parts
}

/// The tag a traced packet comes with, as the action that would push it.
fn tag_of(trace: &str) -> Option<String> {
    let flow = trace.lines().find(|l| l.starts_with("Flow: "))?;
    let field = |name: &str| {
        let (_, v) = flow.split_once(name)?;
        Some(v.split(',').next().unwrap_or(v).to_owned())
    };
    let (vid, pcp) = (field("dl_vlan=")?, field("dl_vlan_pcp=")?);
    Some(format!("push_vlan(vid={vid},pcp={pcp})"))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(default)
}

/// Two bridges with four ports each, joined by patch ports.
fn configure(peer: &Peer) {
    let mut cmd = String::new();
    for (br, ports) in [("br0", [1, 2, 3, 4]), ("br1", [11, 12, 13, 14])] {
        cmd += &format!(
            "-- add-br {br} -- set bridge {br} datapath-type=dummy fail-mode=secure \
             -- add-port {br} patch-{br} -- set interface patch-{br} type=patch \
             options:peer=patch-{} ofport_request=5 ",
            if br == "br0" { "br1" } else { "br0" }
        );
        for (ofp, p) in (1..).zip(ports) {
            cmd += &format!(
                "-- add-port {br} p{p} -- set interface p{p} type=dummy ofport_request={ofp} "
            );
        }
    }
    peer.vsctl(&cmd);
}

/// The same bridges.
fn rig() -> Rig {
    let mut rig = Rig::new(4);
    rig.add_bridge("br1");
    for i in 0..2 {
        rig.change(i, |br| {
            if i == 1 {
                for n in 1..=4 {
                    super::add_port(br, n, 10 + u32::from(n));
                }
            }
            super::add_port(br, 5, flow::OdpPort::NONE.0);
            let patch = br.ports.get_mut(&flow::OfPort(5)).expect("just added");
            patch.peer = Some((Rig::id(1 - i), flow::OfPort(5)));
        });
    }
    rig
}

fn list(vlans: Option<&VlanSet>) -> String {
    let ids: Vec<String> = (0..4096)
        .filter(|v| vlans.is_some_and(|s| s.contains(*v)))
        .map(|v| v.to_string())
        .collect();
    ids.join(",")
}

/// The columns of a port that make it such a bundle.
fn columns(b: &XBundle) -> String {
    let mode = match b.vlan_mode {
        VlanMode::Access => "access",
        VlanMode::Trunk => "trunk",
        VlanMode::NativeTagged => "native-tagged",
        VlanMode::NativeUntagged => "native-untagged",
        VlanMode::Dot1qTunnel => "dot1q-tunnel",
    };
    let tags = match b.priority_tags {
        PriorityTags::Never => "never",
        PriorityTags::IfNonzero => "if-nonzero",
        PriorityTags::Always => "always",
    };
    format!(
        "-- set port {} vlan_mode={mode} tag={} trunks=[{}] cvlans=[{}] protected={} \
         other_config:priority-tags={tags} ",
        b.name,
        b.vlan.map_or_else(|| "[]".to_owned(), |v| v.to_string()),
        list(b.trunks.as_ref()),
        list(b.cvlans.as_ref()),
        b.protected
    )
}

/// Gives both the same VLAN modes.
fn vary_vlans(r: &mut Rng, rig: &mut Rig, peer: &Peer) {
    let mut cmd = String::new();
    for i in 0..2 {
        rig.change(i, |br| {
            for b in br.bundles.values_mut().filter(|b| b.id.0 != 0) {
                vary::vary_bundle(r, b);
                b.lacp = false;
                cmd += &columns(b);
            }
        });
    }
    peer.vsctl(&cmd);
}

/// Gives both the same rules; what Open vSwitch made of them.
fn same_rules(r: &mut Rng, rig: &mut Rig, peer: &Peer, seed: u64) -> Vec<String> {
    let mut all = Vec::new();
    for (i, br) in ["br0", "br1"].into_iter().enumerate() {
        peer.ofctl(&["del-flows", br]);
        let mut left = if i == 0 { 12 } else { 3 };
        while left > 0 {
            let f = dice::rule(r);
            // Open vSwitch runs the action set too often and too rarely after check_pkt_larger.
            let odd = ["check_pkt_larger", "write_actions"][seed as usize % 2];
            let apart = f.contains(odd) || f.contains("learn") || f.contains("group");
            left -= i32::from(!apart && peer.add_flow(br, &f));
        }
        if i == 1 && r.below(2) == 0 {
            assert!(peer.add_flow(br, "priority=0 actions=normal"));
        }
        // As they were understood: OpenFlow versions change them on the way.
        for f in peer.understood(br) {
            rig.flows(i, &f);
            all.push(f);
        }
    }
    all
}

#[test]
fn traces_are_those_of_open_vswitch() {
    let Some(peer) = Peer::start() else {
        return;
    };
    configure(&peer);
    let first = number("RINGWAY_PEER_SEED", 1);
    let (mut compared, mut whole) = (0, 0);
    for seed in first..first + number("RINGWAY_PEER_TABLES", 20) {
        let mut r = Rng::new(seed);
        let mut rig = rig();
        vary_vlans(&mut r, &mut rig, &peer);
        let flows = same_rules(&mut r, &mut rig, &peer, seed);
        for _ in 0..30 {
            let mut packet = dice::packet(&mut r);
            packet.in_port = wire::U32::new(1 + r.below(4) as u32);
            dice::canonical(&mut packet);
            let Some(text) = flow_text(&packet) else {
                continue;
            };
            let theirs = peer.ctl("ofproto/trace", &["br0", &text]);
            if theirs.starts_with("Bad openflow flow syntax") {
                continue;
            }
            rig.snap.recirc = base::sync::Arc::default();
            let req = TraceRequest {
                bridge: Rig::id(0),
                flow: &packet,
                packet: None,
                actions: None,
                ct_states: &[],
                names: false,
                now: rig.now,
            };
            let ours = renumbered(trace(&rig.snap, &req, &mut |_, _| ()).trim_end());
            // Our flow text leaves out what a later fragment of ICMPv6 cannot have.
            let theirs = theirs.replace("nw_frag=later,icmp_type=0,icmp_code=0", "nw_frag=later");
            let theirs = renumbered(theirs.trim_end());
            compared += 1;
            whole += u32::from(ours == theirs);
            assert!(
                alike(&ours, &theirs),
                "seed {seed}\n{}\n=== ours\n{ours}\n=== Open vSwitch\n{theirs}\n{}",
                flows.join("\n"),
                first_difference(&ours, &theirs),
            );
        }
    }
    println!("{compared} traces equal, {whole} of them to the last byte");
}

/// Equal, but for the order in which packets are flooded.
fn alike(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let flooded = ["flooding", "FLOOD", "ALL"]
        .iter()
        .any(|w| ours.contains(w));
    let (a, b) = (key_lines(ours), key_lines(theirs));
    if flooded {
        let tag = tag_of(ours);
        let tag = tag.as_deref();
        return a.len() == b.len()
            && a.iter()
                .zip(&b)
                .all(|(a, b)| unordered(a, tag) == unordered(b, tag));
    }
    false
}

fn first_difference(ours: &str, theirs: &str) -> String {
    ours.lines()
        .zip(theirs.lines())
        .find(|(a, b)| a != b)
        .map_or_else(
            || "one is longer".into(),
            |(a, b)| format!("<<< {a}\n>>> {b}"),
        )
}

//! OpenFlow text against what `ovs-ofctl` 3.1 says: recorded cases always, random matches where the tool
//! is installed.

use flow::{ExactFlow, FieldId, FieldInfo, Match, NoNames, OfPort, PortNames};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::io::Write;
use std::process::{Command, Stdio};

/// What we make of a match: normalized text and usable protocols, or the error.
fn ours(text: &str) -> String {
    match Match::parse(text, &NoNames) {
        Ok((mut m, usable)) => {
            m.normalize();
            format!("{m}|{:x}", usable.bits())
        }
        Err(e) => format!("ERR {e}"),
    }
}

#[test]
fn recorded_cases() {
    for line in include_str!("cases/matches.tsv").lines() {
        let (text, want) = line.split_once('\t').expect("two columns");
        assert_eq!(ours(text), want, "{text}");
    }
}

#[test]
fn text_survives_a_round_trip() {
    for line in include_str!("cases/matches.tsv").lines() {
        let (text, _) = line.split_once('\t').expect("two columns");
        let Ok((mut m, _)) = Match::parse(text, &NoNames) else {
            continue;
        };
        m.normalize();
        let printed = m.to_string().replace("gtpu_", "tun_gtpu_");
        let (mut again, _) = Match::parse(&printed, &NoNames).expect(&printed);
        again.normalize();
        assert_eq!(again.to_string().replace("gtpu_", "tun_gtpu_"), printed);
    }
}

/// A field with a value and perhaps a mask, as text.
fn term(info: &'static FieldInfo) -> impl Strategy<Value = String> {
    let bytes = || prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 16);
    (bytes(), bytes(), any::<bool>()).prop_map(move |(v, m, masked)| {
        let n = info.n_bytes.min(16);
        let top = 8 * n - usize::from(info.n_bits).min(8 * n);
        let cut = |mut b: Vec<u8>| {
            b.truncate(n);
            for bit in 0..top {
                b[bit / 8] &= !(0x80 >> (bit % 8));
            }
            b
        };
        let (v, mut m) = (cut(v), cut(m));
        if info.format == flow::field::Format::Ipv6 {
            // The peer takes a mask that begins with a digit for a prefix length.
            m[0] = 0xff;
        }
        let mut text = format!("{}=", info.name);
        let mask = Some(&m[..]).filter(|m| masked && info.maskable && m.iter().any(|&b| b != 0));
        if info.variable_len() {
            // Written with as many octets as the value has.
            let hex: String = v.iter().map(|b| format!("{b:02x}")).collect();
            return format!("{text}0x{hex}");
        }
        info.id.format(&mut text, &v, mask, &NoNames);
        text
    })
}

fn prerequisites(id: FieldId) -> &'static str {
    use flow::Prereqs as R;
    match id.info().prereqs {
        R::None => "",
        R::Ethernet => "eth,",
        R::Arp => "arp,",
        R::VlanVid => "dl_vlan=5,",
        R::Ipv4 => "ip,",
        R::Ipv6 | R::IpAny => "ipv6,",
        R::Nsh => "dl_type=0x894f,nsh_mdtype=1,",
        R::CtValid => "ct_state=+new,ct_nw_proto=6,",
        R::Mpls => "mpls,",
        R::Tcp => "tcp,",
        R::Udp => "udp6,",
        R::Sctp => "sctp,",
        R::Icmpv4 => "icmp,",
        R::Icmpv6 => "icmp6,",
        R::Nd | R::NdSolicit => "icmp6,icmp_type=135,icmp_code=0,",
        R::NdAdvert => "icmp6,icmp_type=136,icmp_code=0,",
    }
}

fn random_match() -> impl Strategy<Value = String> {
    // The peer uses the value of these as the mask, too: a slip we do not share (and it does not
    // send a ct_nw_proto of 0).
    let slips = [
        "tun_erspan_ver",
        "tun_erspan_dir",
        "tun_erspan_hwid",
        "tun_gtpu_flags",
        "tun_gtpu_msgtype",
        "ct_nw_proto",
    ];
    let fields: Vec<_> = FieldId::all()
        .filter(|id| !id.info().exact.is_empty() && !slips.contains(&id.name()))
        .collect();
    let some = prop::collection::vec(prop::sample::select(fields), 1..4);
    some.prop_flat_map(|ids| {
        let words: String = prerequisites(ids[0]).into();
        let terms: Vec<_> = ids
            .into_iter()
            .filter(|id| id.info().prereqs == flow::Prereqs::None || prerequisites(*id) == words)
            .map(|id| term(id.info()))
            .collect();
        (Just(words), terms).prop_map(|(words, terms)| format!("{words}{}", terms.join(",")))
    })
}

/// `ovs-ofctl parse-flows` over `lines`: one answer each, or `None` when the tool is not here.
fn theirs(lines: &[String]) -> Option<Vec<Option<String>>> {
    let mut child = Command::new("ovs-ofctl")
        .args(["-F", "NXM,OXM", "parse-flows", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().expect("piped");
    let text: String = lines
        .iter()
        .map(|l| format!("{l},actions=drop\n"))
        .collect();
    // It stops reading at the first error, which then stands in its stderr.
    let writer = base::sync::spawn("feed", move || drop(input.write_all(text.as_bytes())));
    let out = child.wait_with_output().ok()?;
    writer.expect("thread").join().expect("thread");
    let errors = String::from_utf8_lossy(&out.stderr);
    let refused = errors.lines().find(|l| l.starts_with("ovs-ofctl:"));
    assert_eq!(refused, None);
    let out = String::from_utf8(out.stdout).expect("text");
    // A message that its own decoder refuses has no text.
    let flows = out.lines().filter(|l| l.starts_with("NXT_FLOW_MOD"));
    let text = |l: &str| {
        Some(
            l.split_once(": ADD ")?
                .1
                .trim_end_matches("actions=drop")
                .trim()
                .into(),
        )
    };
    Some(flows.map(text).collect())
}

#[test]
fn random_matches_print_as_theirs() {
    let mut runner = TestRunner::deterministic();
    let mut lines = Vec::new();
    while lines.len() < 3000 {
        let text = random_match()
            .new_tree(&mut runner)
            .expect("strategy")
            .current();
        let Ok((_, usable)) = Match::parse(&text, &NoNames) else {
            continue;
        };
        // Those that can travel as NXM.
        if usable.contains(flow::Protocols::OF10_NXM_TID) {
            lines.push(text);
        }
    }
    let Some(theirs) = theirs(&lines) else {
        println!("ovs-ofctl is not installed: only the recorded cases were compared");
        return;
    };
    assert_eq!(theirs.len(), lines.len());
    let mut compared = 0;
    for (line, theirs) in lines.iter().zip(theirs) {
        if theirs.is_some() {
            assert_eq!(
                ours(line).rsplit_once('|').map(|(t, _)| t.to_owned()),
                theirs,
                "{line}"
            );
            compared += 1;
        }
    }
    assert!(compared > 2500, "{compared}");
}

struct Names;

impl PortNames for Names {
    fn number(&self, name: &str) -> Option<OfPort> {
        ["p1", "my-port"]
            .iter()
            .position(|n| *n == name)
            .map(|i| OfPort(i as u16 + 1))
    }
    fn name(&self, port: OfPort) -> Option<&str> {
        ["p1", "my-port"]
            .get(usize::from(port.0).wrapping_sub(1))
            .copied()
    }
}

#[test]
fn names_and_priority() {
    let parse = |t| Match::parse(t, &Names).expect("valid").0;
    let mut out = String::new();
    parse("in_port=p1,actset_output=\"my-port\"").format(&mut out, &Names, 7);
    assert_eq!(out, "priority=7,actset_output=\"my-port\",in_port=p1");
    out.clear();
    Match::catchall().format(&mut out, &Names, 0x8000);
    assert_eq!(out, "");
}

#[test]
fn exact_flows() {
    let f = |t| ExactFlow::parse(t, &NoNames, None);
    let say = |t| {
        f(t).map(|x| x.flow.to_string())
            .unwrap_or_else(|e| e.to_string())
    };
    assert_eq!(
        say("in_port=1,tcp,nw_src=1.2.3.4,tp_dst=80,tcp_flags=0x2"),
        "tcp,in_port=1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,\
         nw_src=1.2.3.4,nw_dst=0.0.0.0,nw_tos=0,nw_ecn=0,nw_ttl=0,nw_frag=no,tp_src=0,tp_dst=80,\
         tcp_flags=syn"
    );
    assert_eq!(
        say("in_port=ANY,arp,dl_vlan=3,arp_op=1,reg0=5"),
        "arp,reg0=0x5,in_port=ANY,dl_vlan=3,dl_vlan_pcp=0,vlan_tci1=0x0000,\
         dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,arp_spa=0.0.0.0,arp_tpa=0.0.0.0,\
         arp_op=1,arp_sha=00:00:00:00:00:00,arp_tha=00:00:00:00:00:00"
    );
    assert_eq!(say("tp_srx=1"), "tp_srx=1: unknown field tp_srx");
    assert_eq!(
        say("tcp_src=1"),
        "tcp_src=1: prerequisites not met for setting tcp_src"
    );
    assert_eq!(say("ip,tcp"), "ip,tcp: Ethernet type set multiple times");
    assert_eq!(
        say("reg0=1,reg0=2"),
        "reg0=1,reg0=2: field reg0 set multiple times"
    );
    assert_eq!(
        say("reg0=1/2"),
        "reg0=1/2: bad value for reg0 (1/2: wildcards not allowed here)"
    );
    assert_eq!(f("ip").expect("valid").flow.in_port.get(), 0xffff);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_panics(text in "[a-z0-9_=,/:.()*+|\\[\\]-]{0,60}|\\PC{0,40}", key in 0usize..200) {
        let _ = Match::parse(&text, &NoNames);
        let _ = ExactFlow::parse(&text, &NoNames, None);
        let _ = text.parse::<flow::Subfield>();
        let _ = flow::text::parse_port(&text, &NoNames);
        if let Some(id) = FieldId::all().nth(key) {
            let _ = id.parse(&text, &NoNames);
        }
    }
}

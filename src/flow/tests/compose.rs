//! Composed packets: they have the flow they were made from, and their checksums are right.

mod dice;

use dice::Dice;
use flow::compose::{Payload, compose, expand};
use flow::{ExactFlow, Flow, Metadata, NoNames, extract};
use proptest::prelude::*;

fn flow_of(packet: &[u8]) -> Flow {
    let mut f = Flow::zero();
    extract(packet, &Metadata::default(), &mut f);
    f
}
fn written(text: &str) -> Flow {
    let mut f = ExactFlow::parse(text, &NoNames, None).expect(text).flow;
    f.in_port.set(0);
    f
}

#[test]
fn flows_survive_composition() {
    for text in [
        "tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_tos=8,nw_ttl=64,tcp_src=1,tcp_dst=80,tcp_flags=0x10",
        "tcp,nw_src=1.2.3.4,tcp_flags=0x2",
        "udp,dl_vlan=5,dl_vlan_pcp=3,dl_src=00:00:00:00:00:01,udp_dst=53",
        "udp,nw_frag=first,udp_dst=53",
        "ip,nw_proto=17,nw_frag=later",
        "sctp,sctp_src=7",
        "icmp,icmp_type=8,icmp_code=0",
        "icmp,icmp_type=3,icmp_code=4",
        "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,ipv6_label=0x12345,nw_tos=4,nw_ttl=9,udp_src=1",
        "icmp6,icmpv6_type=128",
        "icmp6,icmpv6_type=135,icmpv6_code=0,nd_target=fe80::9,nd_sll=00:00:00:00:00:07",
        "arp,arp_op=1,arp_spa=1.1.1.1,arp_tpa=2.2.2.2,arp_sha=00:00:00:00:00:01",
        "mpls,mpls_label=5,mpls_tc=3,mpls_ttl=9,mpls_bos=1",
        "dl_type=0x88cc",
        "dl_src=00:00:00:00:00:01,dl_type=0x5ff",
    ] {
        let mut f = written(text);
        let packet = compose(&f, Payload::default());
        if f.is_nd(None) {
            // The option's type is not written, it is what the option's presence says.
            f.tcp_flags.set(1);
        }
        assert_eq!(flow_of(&packet), f, "{text}");
        let mut long = packet;
        expand(&mut long, &f, 200);
        assert_eq!((long.len(), flow_of(&long)), (200, f), "{text}");
    }
}

#[test]
fn bytes_are_where_they_belong() {
    let p = compose(
        &written("udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64"),
        Payload::Counting(2),
    );
    assert_eq!(p.len(), 14 + 20 + 8 + 2);
    assert_eq!(p[12..14], [8, 0]);
    assert_eq!(p[16..18], [0, 30]);
    assert_eq!(p[38..40], [0, 10]);
    assert_eq!(p[42..], [0, 1]);
    let p = compose(&written("dl_vlan=5,dl_type=0x1234"), Payload::Bytes(b"x"));
    assert_eq!(p[12..], [0x81, 0, 0, 5, 0x12, 0x34]);
    let p = compose(&written("tcp,tcp_flags=0x2"), Payload::default());
    assert_eq!(p.len(), 14 + 20 + 20);
}

/// The peer's tool makes the same octets, where it is installed.
#[test]
fn same_octets_as_the_peer() {
    for text in [
        "tcp,nw_src=1.2.3.4,nw_dst=5.6.7.8,nw_tos=8,nw_ttl=64,tcp_src=1,tcp_dst=80,tcp_flags=0x10",
        "udp,dl_vlan=5,dl_vlan_pcp=3,dl_src=00:00:00:00:00:01,udp_dst=53,nw_frag=first",
        "icmp,icmp_type=8,icmp_code=0",
        "udp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,ipv6_label=0x12345,nw_tos=4,nw_ttl=9,udp_src=1",
        "icmp6,icmpv6_type=135,icmpv6_code=0,nd_target=fe80::9,nd_sll=00:00:00:00:00:07",
        "arp,arp_op=1,arp_spa=1.1.1.1,arp_tpa=2.2.2.2,arp_sha=00:00:00:00:00:01",
        "mpls,mpls_label=5,mpls_tc=3,mpls_ttl=9,mpls_bos=1",
        "sctp,sctp_src=7",
        "dl_type=0x88cc",
    ] {
        let tool = std::process::Command::new("ovs-ofctl")
            .args(["compose-packet", text])
            .output();
        let Ok(tool) = tool else {
            println!("ovs-ofctl is not installed: nothing was compared");
            return;
        };
        // A hex dump: offset, sixteen octets, characters.
        let dump = String::from_utf8_lossy(&tool.stdout);
        let theirs: String = dump
            .lines()
            .filter_map(|l| l.get(10..l.len().min(57)))
            .collect();
        let theirs: String = theirs.chars().filter(char::is_ascii_hexdigit).collect();
        let ours = compose(&written(text), Payload::default());
        let ours: String = ours.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(ours, theirs, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a flow says, the packet made of it is one that an independent parser accepts, with right
    /// checksums.
    #[test]
    fn composition_is_sound(entropy in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..100) {
        let f = flow_of(&Dice { entropy: &entropy, at: 0 }.packet());
        let packet = compose(&f, Payload::Counting(len));
        // Types that no packet has become others once, then all stays as it is.
        let once = compose(&flow_of(&packet), Payload::Counting(len));
        prop_assert_eq!(&compose(&flow_of(&once), Payload::Counting(len)), &once);
        let Ok(s) = etherparse::SlicedPacket::from_ethernet(&packet) else { return Ok(()) };
        let Some(etherparse::NetSlice::Ipv4(ip)) = &s.net else { return Ok(()) };
        prop_assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let header = ip.header().to_header();
        match &s.transport {
            Some(etherparse::TransportSlice::Udp(u)) => prop_assert_eq!(
                u.to_header().checksum,
                u.to_header().calc_checksum_ipv4(&header, u.payload()).expect("short")
            ),
            // Its TCP header does not hold the reserved bits.
            Some(etherparse::TransportSlice::Tcp(t)) if f.tcp_flags.get() < 0x200 => prop_assert_eq!(
                t.checksum(),
                t.to_header().calc_checksum_ipv4(&header, t.payload()).expect("short")
            ),
            _ => {}
        }
    }

    #[test]
    fn any_flow_composes(bytes in prop::collection::vec(any::<u8>(), 704)) {
        let mut f = Flow::zero();
        f.bytes_mut().copy_from_slice(&bytes);
        for t in [0x800u16, 0x86dd, 0x806, 0x8847, 0x5ff] {
            f.dl_type.set(t);
            let mut p = compose(&f, Payload::Counting(70_000));
            let n = p.len() + 10;
            expand(&mut p, &f, n);
            flow_of(&p);
        }
    }
}

//! Datapath keys as text: round trips, what is shown and what is left out, and that no text panics.

mod dice;

use flow::dpkey::{Fitness, format_key};
use flow::{Flow, Mask, Metadata, NoOdpNames, OdpKey, OdpNames, OdpPort, OdpTextError, extract};
use proptest::prelude::*;

fn key(text: &str) -> OdpKey {
    OdpKey::parse(text, &NoOdpNames).expect(text).0
}
fn terse(k: &OdpKey) -> String {
    let mut out = String::new();
    format_key(&mut out, (&k.flow, Some(&k.mask)), &NoOdpNames, false);
    out
}
fn unmasked(f: &Flow) -> String {
    let mut out = String::new();
    format_key(&mut out, (f, None), &NoOdpNames, true);
    out
}

const META: &str = "skb_priority(0),skb_mark(0),ct_state(0),ct_zone(0),ct_mark(0),ct_label(0),\
                    recirc_id(0),dp_hash(0),in_port(7),packet_type(ns=0,id=0),\
                    eth(src=00:00:00:00:00:01,dst=00:00:00:00:00:02)";

/// What follows the metadata, with the fitness of the whole.
const KEYS: [(&str, Fitness); 14] = [
    ("", Fitness::Perfect),
    (",eth_type(0x1234)", Fitness::Perfect),
    (
        ",eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=47,tos=0x4,ttl=3,frag=no)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=6,tos=0,ttl=3,frag=first),\
         tcp(src=1,dst=2),tcp_flags(syn|ack)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=6,tos=0,ttl=3,frag=later)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=1,tos=0,ttl=3,frag=no),\
         icmp(type=8,code=0)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x86dd),ipv6(src=fe80::1,dst=::2,label=0x12345,proto=132,tclass=0,hlimit=9,\
         frag=no),sctp(src=1,dst=2)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x86dd),ipv6(src=fe80::1,dst=::2,label=0,proto=58,tclass=0,hlimit=255,frag=no),\
         icmpv6(type=135,code=0),\
         nd(target=::3,sll=00:00:00:00:00:04,tll=00:00:00:00:00:00)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x0806),arp(sip=1.2.3.4,tip=5.6.7.8,op=2,sha=00:00:00:00:00:01,\
         tha=00:00:00:00:00:02)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x8847),mpls(label=1,tc=2,ttl=3,bos=0,label=4,tc=5,ttl=6,bos=1)",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x8100),vlan(vid=5,pcp=6),encap(eth_type(0x88cc))",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x88a8),vlan(vid=5,pcp=6),encap(eth_type(0x8100),vlan(vid=7,pcp=0),\
         encap(eth_type(0x0800),ipv4(src=1.2.3.4,dst=5.6.7.8,proto=17,tos=0,ttl=3,frag=no),\
         udp(src=1,dst=2)))",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x8100),vlan(vid=5,pcp=6),encap()",
        Fitness::Perfect,
    ),
    (
        ",eth_type(0x894f),nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x1234,si=255,c1=0x1,c2=0x2,\
         c3=0x3,c4=0x4)",
        Fitness::Perfect,
    ),
];

#[test]
fn keys_survive_a_round_trip() {
    for (tail, want) in KEYS {
        let text = format!("{META}{tail}");
        let (k, fitness) = OdpKey::parse(&text, &NoOdpNames).expect(&text);
        assert_eq!(unmasked(&k.flow), text);
        assert_eq!(fitness, want, "{text}");
    }
}

#[test]
fn what_is_missing_or_too_much() {
    let fit = |tail: &str| {
        OdpKey::parse(&format!("{META}{tail}"), &NoOdpNames)
            .map(|(_, f)| f)
            .map_err(|e| e.to_string())
    };
    assert_eq!(fit(",eth_type(0x0800)"), Ok(Fitness::TooLittle));
    assert_eq!(
        fit(",eth_type(0x1234),tcp(src=1,dst=2)"),
        Ok(Fitness::TooMuch)
    );
    assert_eq!(
        fit(",eth_type(0x8100),vlan(vid=1,pcp=0)"),
        Ok(Fitness::TooLittle)
    );
    assert_eq!(
        fit(",eth_type(0x8847),mpls(label=1,tc=0,ttl=1,bos=0)"),
        Ok(Fitness::TooLittle)
    );
    assert_eq!(
        fit(",eth_type(0x0123)"),
        Err("invalid Ethertype 291 in flow key".into())
    );
    assert_eq!(
        fit(",tunnel(tun_id=1)"),
        Err("tunnel options missing TTL".into())
    );
    assert_eq!(
        fit(",nonsense(1)"),
        Err("syntax error at nonsense(1)".into())
    );
    assert_eq!(
        fit(",eth_type(0x8100),vlan(vid=1,cfi=0),encap()"),
        Err("OVS_KEY_ATTR_VLAN 0x0001 is nonzero but CFI bit is not set".into())
    );
    let no_type = OdpKey::parse("in_port(1),eth()", &NoOdpNames)
        .expect("valid")
        .0;
    assert_eq!(
        no_type.check_mask().map_err(|e| e.to_string()),
        Err("mask expected for non-Ethernet II frame".into())
    );
}

#[test]
fn defaults_of_what_is_not_said() {
    let k = key("eth_type(0x0800),ipv4(proto=17),udp()");
    assert_eq!(k.flow.packet_type.get(), 0x10800);
    assert_eq!(k.flow.in_port.get(), OdpPort::NONE.0);
    assert_eq!(k.mask.0.recirc_id.get(), u32::MAX);
    assert_eq!(key("eth(),ipv4()").flow.dl_type.get(), 0x800);
    assert_eq!(
        key("ufid:12345678-1234-1234-1234-123456789abc, eth()")
            .flow
            .dl_type
            .get(),
        0x5ff
    );
}

/// A megaflow as the translation of a packet leaves it.
#[test]
fn terse_and_verbose() {
    let mut k = key(&format!(
        "{META},eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no),\
         tcp(src=1,dst=80),tcp_flags(syn)"
    ));
    k.mask = Mask::empty();
    let m = &mut k.mask.0;
    m.recirc_id.set(u32::MAX);
    m.in_port.set(u32::MAX);
    m.packet_type.set(u32::MAX);
    m.dl_type.set(u16::MAX);
    m.nw_frag = 3;
    m.nw_dst = wire::Ipv4([255, 255, 0, 0]);
    m.vlans[0].tci.set(u16::MAX);
    assert_eq!(
        terse(&k),
        "recirc_id(0),in_port(7),packet_type(ns=0,id=0),eth_type(0x0800),\
         ipv4(dst=10.0.0.2/255.255.0.0,frag=no)"
    );
    let mut verbose = String::new();
    format_key(&mut verbose, (&k.flow, Some(&k.mask)), &Ports, true);
    assert_eq!(
        verbose,
        "skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),\
         recirc_id(0),dp_hash(0/0),in_port(veth7),packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01/00:00:00:00:00:00,dst=00:00:00:00:00:02/00:00:00:00:00:00),\
         eth_type(0x0800),ipv4(src=10.0.0.1/0.0.0.0,dst=10.0.0.2/255.255.0.0,proto=6/0,tos=0/0,\
         ttl=64/0,frag=no),tcp(src=1/0,dst=80/0),tcp_flags(0/0)"
    );
    k.mask.0.packet_type.set(0);
    assert!(
        terse(&k).contains("in_port(7),eth(),eth_type"),
        "{}",
        terse(&k)
    );
}

#[test]
fn masks_survive_a_round_trip() {
    for text in [
        "tunnel(tun_id=0x7b/0xff,src=1.1.2.92/255.255.255.0,dst=1.1.2.88,tos=0x8,ttl=64,tp_dst=4789,\
         vxlan(gbp(id=10/0xff,flags=0xb)),flags(-df+csum+key)),recirc_id(0),in_port(1),\
         packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01),eth_type(0x0800),ipv4(frag=no)",
        "tunnel(tun_id=0x7b,src=1.1.2.92,dst=1.1.2.88,ttl=64,geneve({class=0xffff,type=0x80,len=4,\
         0xa/0xf}{class=0xffff,type=0,len=4,0x1}),flags(-df-csum+key)),recirc_id(0),in_port(6081),\
         packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01),eth_type(0x0800),ipv4(frag=no)",
        "skb_priority(0x5/0xf),skb_mark(0x5),ct_state(-new+est+trk),ct_zone(0x3),ct_mark(0x1/0x3),\
         ct_label(0x1/0x1),ct_tuple4(src=1.1.1.1,dst=2.2.2.0/255.255.255.0,proto=6,tp_src=1,\
         tp_dst=0x2),recirc_id(0x9),dp_hash(0x1/0xf),in_port(1),packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01/ff:ff:ff:00:00:00),eth_type(0x0800),ipv4(proto=6,frag=no),\
         tcp(dst=80),tcp_flags(+syn-ack)",
        "recirc_id(0),in_port(1),packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01),eth_type(0x8100),vlan(vid=5/0xff,pcp=3),\
         encap(eth_type(0x0806),arp(sip=1.1.1.1,op=1/0xff,sha=00:00:00:00:00:01))",
        "recirc_id(0),in_port(1),packet_type(ns=0,id=0),\
         eth(src=00:00:00:00:00:01),eth_type(0x894f),\
         nsh(flags=0x01/0x03,mdtype=1,spi=0x1234,c2=0x5)",
        "recirc_id(0),in_port(1),packet_type(ns=1,id=0x800),eth_type(0x0800),ipv4(frag=no)",
    ] {
        let text = text
            .replace("tp_dst=0x2)", "tp_dst=2)")
            .replace("op=1/0xff,", "op=1,");
        assert_eq!(terse(&key(&text)), text);
        key(&text).check_mask().expect(&text);
    }
}

struct Ports;

impl OdpNames for Ports {
    fn number(&self, name: &str) -> Option<OdpPort> {
        name.strip_prefix("veth")
            .and_then(|n| n.parse().ok())
            .map(OdpPort)
    }
    fn name(&self, port: OdpPort) -> Option<&str> {
        (port.0 == 7).then_some("veth7")
    }
}

#[test]
fn port_names() {
    let k = OdpKey::parse("in_port(veth12),eth()", &Ports)
        .expect("known")
        .0;
    assert_eq!(k.flow.in_port.get(), 12);
    assert!(OdpKey::parse("in_port(eth12),eth()", &Ports).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every packet's key can be printed and read again.
    #[test]
    fn packets_keys_survive(entropy in prop::collection::vec(any::<u8>(), 0..300)) {
        let packet = dice::Dice { entropy: &entropy, at: 0 }.packet();
        let mut f = Flow::zero();
        extract(&packet, &Metadata { in_port: 3, ..Metadata::default() }, &mut f);
        let text = unmasked(&f);
        let (k, _) = OdpKey::parse(&text, &NoOdpNames).expect(&text);
        prop_assert_eq!(unmasked(&k.flow), text);
    }

    #[test]
    fn no_text_panics(text in "([a-z0-9_=,/:.(){}|+-]|eth_type\\(|encap\\(|tunnel\\(|geneve\\(|mpls\\(){0,40}") {
        let _ = OdpKey::parse(&text, &NoOdpNames);
    }

    /// What was read prints, and what prints reads the same.
    #[test]
    fn masked_text_is_stable(n in 0usize..KEYS.len(), bits in prop::collection::vec(any::<u8>(), 704)) {
        let mut k = key(&format!("{META}{}", KEYS[n].0));
        k.mask = Mask::for_packet(&k.flow);
        for (m, b) in k.mask.0.bytes_mut().iter_mut().zip(&bits) {
            *m &= b;
        }
        k.mask.0.recirc_id.set(u32::MAX);
        let stable = |k: &OdpKey| terse(k).replace(",eth_type(0/0xffff)", "");
        // A mask may forget what the key needs; what is left of it then stays.
        if let Ok((once, _)) = OdpKey::parse(&stable(&k), &NoOdpNames) {
            let twice = OdpKey::parse(&stable(&once), &NoOdpNames).expect("printed").0;
            prop_assert_eq!(stable(&twice), stable(&once));
        }
    }
}

#[test]
fn a_tunnel_key_larger_than_a_message_is_named() {
    let text = |n: usize| format!("tunnel({}ttl=64)", "dst=1.1.1.1,".repeat(n));
    // 8 octets each in a nested attribute of at most 65531.
    let (long, short) = (text(8191), text(8190));
    assert_eq!(
        OdpKey::parse(&long, &NoOdpNames).err(),
        Some(OdpTextError::TooLong { at: long.clone() })
    );
    assert!(OdpKey::parse(&short, &NoOdpNames).is_ok());
}

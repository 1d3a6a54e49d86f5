//! Text of actions: examples of every form, refusals, and that what is written is read back.

use super::*;
use crate::action::{
    Action, Actions, CtAction, HashAlg, NatAction, NatRange, NshPush, SetKey, TunnelPush,
};
use crate::drops::DropReason;
use crate::ufid::FlowStats;
use crate::userspace::{SlowReason, Userspace, UserspaceCookie};
use base::clock::Nanos;
use flow::{NshKey, OdpPort, OfPort, TunnelKey};
use proptest::prelude::*;
use std::collections::BTreeMap;
use wire::{EthAddr, Ipv4, Ipv6, U32};
use zerocopy::FromZeros;

/// Texts that come out as they went in.
const SAME: &[&str] = &[
    "1,2,77",
    "userspace(pid=1)",
    "userspace(pid=5,sFlow(vid=4,pcp=3,output=17),actions,tunnel_out_port=3)",
    "userspace(pid=0,slow_path(0))",
    "userspace(pid=0,slow_path(lacp,match))",
    "userspace(pid=4294967295,userdata(00ff10),actions)",
    "userspace(pid=5,flow_sample(probability=1,collector_set_id=2,obs_domain_id=3,obs_point_id=4,\
     output_port=5,egress))",
    "userspace(pid=5,ipfix(output_port=4),tunnel_out_port=9)",
    "userspace(pid=0,controller(reason=1,dont_send=1,continuation=0,recirc_id=3,rule_cookie=0x1f,\
     controller_id=2,max_len=65535))",
    "set(eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02))",
    "set(eth(dst=02:00:00:00:00:02/ff:ff:00:00:00:00))",
    "set(ipv4(src=10.1.2.3,dst=10.1.2.4,proto=6,tos=0x10,ttl=3,frag=later))",
    "set(ipv4(src=10.1.2.3/255.255.0.0,tos=0x4/0xfc,ttl=3/0xf))",
    "set(ipv4(tos=0/0x3))",
    "set(ipv6(dst=fe80::1,label=0x5,tclass=0x2/0x3,hlimit=4))",
    "set(ipv6(src=::1/ffff::,label=0x5/0xf))",
    "set(tcp(src=1,dst=2))",
    "set(udp(dst=2/0xff00))",
    "set(sctp(src=9))",
    "set(icmp(type=8,code=0))",
    "set(icmpv6(type=135/0xf0))",
    "set(arp(sip=1.2.3.4,op=2,tha=02:00:00:00:00:02))",
    "set(nd(target=fe80::7,tll=02:00:00:00:00:02))",
    "set(nd_ext(nd_reserved=0x9,nd_options_type=2))",
    "set(mpls(label=16,tc=1,ttl=64,bos=1))",
    "set(mpls(label=0/0x0,tc=0/0,ttl=63/0xff,bos=0/0))",
    "set(skb_priority(0x3))",
    "set(skb_mark(0x1/0xff))",
    "set(nsh(flags=1,ttl=0x02/0x0f,spi=0x5,c2=0x7/0x000000ff))",
    "set(tunnel(tun_id=0x7,src=1.1.1.1,dst=2.2.2.2,tos=0x4,ttl=64,tp_src=1,tp_dst=4789,\
     vxlan(gbp(id=5,flags=0x8)),flags(df|csum|key)))",
    "set(tunnel(ipv6_src=::1,ipv6_dst=::2,ttl=64,geneve({class=0x102,type=0x80,len=8,0x1000000ff}\
     {class=0,type=0x1,len=0}),flags(oam)))",
    "set(tunnel(dst=2.2.2.2,ttl=0,erspan(ver=1,idx=0x5),flags(0)))",
    "set(tunnel(dst=2.2.2.2,ttl=1,erspan(ver=2,dir=1,hwid=0x3),flags(0)))",
    "set(tunnel(dst=2.2.2.2,ttl=1,gtpu(flags=0x30,msgtype=255),flags(0)))",
    "push_vlan(vid=5,pcp=7),pop_vlan",
    "push_vlan(tpid=0x88a8,vid=0,pcp=0,cfi=0)",
    "push_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847),pop_mpls(eth_type=0x800)",
    "add_mpls(label=5,tc=0,ttl=64,bos=1,eth_type=0x8847)",
    "push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),pop_eth",
    "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x7,si=255,c1=0x1,c2=0x0,c3=0x0,c4=0xff)",
    "push_nsh(flags=0,ttl=63,mdtype=2,np=1,spi=0x7,si=2,md2=0x11223344),pop_nsh()",
    "sample(sample=12.5%,actions(1,2)),3",
    "clone(clone(push_vlan(vid=1,pcp=0),4),5)",
    "check_pkt_len(size=1500,gt(drop),le(3,4))",
    "recirc(0x2a),hash(l4(7)),hash(sym_l4(0))",
    "trunc(128),meter(3),lb_output(2),ct_clear",
    "ct,ct(commit),ct(force_commit,zone=7,mark=0x5/0xf,helper=tftp,timeout=tp1)",
    "ct(commit,label=0xff00000000000000000000/0xfff00000000000000000000)",
    "ct(nat),ct(commit,nat(src)),ct(commit,nat(dst=10.0.0.1-10.0.0.9:80-90,persistent,hash))",
    "ct(commit,nat(src=fe80::1,random)),ct(commit,nat(src=[fe80::1]-[fe80::9]:1024))",
    "tnl_pop(4789)",
    "tnl_push(tnl_port(5),header(size=50,type=4,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x0800),ipv4(src=1.1.1.1,dst=1.1.1.2,proto=17,tos=0x4,ttl=64,frag=0x4000),\
     udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x7b)),out_port(100))",
    "tnl_push(tnl_port(5),header(size=78,type=5,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=0,proto=17,tclass=0x3,hlimit=64),\
     udp(src=0,dst=6081,csum=0xffff),geneve(oam,crit,vni=0x7b,\
     options({class=0xffff,type=0x80,len=4,0xa}))),out_port(100))",
    "tnl_push(tnl_port(5),header(size=50,type=3,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x0800),ipv4(src=1.1.1.1,dst=1.1.1.2,proto=47,tos=0,ttl=64,frag=0x4000),\
     gre((flags=0xb000,proto=0x6558),csum=0x0,key=0x7,seq=0x1)),out_port(100))",
    "tnl_push(tnl_port(5),header(size=54,type=107,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x0800),ipv4(src=1.1.1.1,dst=1.1.1.2,proto=47,tos=0,ttl=64,frag=0x4000),\
     erspan(ver=2,sid=0x3ff,dir=1,hwid=0x3f)),out_port(100))",
    "tnl_push(tnl_port(5),header(size=70,type=108,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=0,proto=47,tclass=0x0,hlimit=64),\
     erspan(ver=1,sid=0x1,idx=0x5)),out_port(100))",
    "tnl_push(tnl_port(5),header(size=50,type=110,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,\
     dl_type=0x0800),ipv4(src=1.1.1.1,dst=1.1.1.2,proto=17,tos=0,ttl=64,frag=0x4000),\
     udp(src=0,dst=2152,csum=0x0),gtpu(flags=0x30,msgtype=255,teid=0x7)),out_port(100))",
];

#[test]
fn every_form_is_written_as_it_is_read() {
    for text in SAME {
        let actions = parse_actions(text, &NoOdpNames).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(format_actions(&actions, &NoOdpNames), *text);
    }
}

#[test]
fn some_are_read_in_other_spellings() {
    let cases = [
        ("", "drop"),
        ("DROP", "drop"),
        (" 1 2,,\t0x3 ", "1,2,3"),
        ("set(ipv4(ttl=0x80))", "set(ipv4(ttl=128))"),
        ("ct( )", "ct"),
        (
            "ct(commit,nat(src=1.1.1.1-1.1.1.1:5-5))",
            "ct(commit,nat(src=1.1.1.1:5))",
        ),
        (
            "push_nsh()",
            "push_nsh(flags=0,ttl=63,mdtype=1,np=3,spi=0x0,si=255,c1=0x0,c2=0x0,c3=0x0,c4=0x0)",
        ),
        (
            "check_pkt_len(size=0x10,gt(DROP),le(5))",
            "check_pkt_len(size=16,gt(drop),le(5))",
        ),
        (
            "sample(sample=100%,actions(1))",
            "sample(sample=100.0%,actions(1))",
        ),
        ("recirc(7)", "recirc(0x7)"),
    ];
    for (given, shown) in cases {
        let actions = parse_actions(given, &NoOdpNames).unwrap_or_else(|e| panic!("{given}: {e}"));
        assert_eq!(format_actions(&actions, &NoOdpNames), shown);
    }
}

#[test]
fn nonsense_is_refused_where_it_begins() {
    let cases = [
        ("encap_nsh@:{@", "encap_nsh@:{@"),
        ("1,foo,2", "foo,2"),
        ("1)", ")"),
        ("set(foo(a=1))", "set(foo(a=1))"),
        ("set(tcp(src=1)", "set(tcp(src=1)"),
        ("push_vlan(vid=4096,pcp=0)", "push_vlan(vid=4096,pcp=0)"),
        ("ct(commit,force_commit)", "ct(commit,force_commit)"),
        ("ct(nat(src,dst))", "ct(nat(src,dst))"),
        (
            "ct(nat(src=9.9.9.9-1.1.1.1))",
            "ct(nat(src=9.9.9.9-1.1.1.1))",
        ),
        ("ct(helper=sixteencharsname)", "ct(helper=sixteencharsname)"),
        ("clone(1", ""),
        (
            "sample(sample=101%,actions(1))",
            "sample(sample=101%,actions(1))",
        ),
        ("1clone(2)", "clone(2)"),
    ];
    for (text, at) in cases {
        let e = parse_actions(text, &NoOdpNames).unwrap_err();
        assert_eq!(e, ActionsError::Syntax(at.to_owned()), "{text}");
    }
    let deep = "clone(".repeat(10_000) + &")".repeat(10_000);
    assert_eq!(
        parse_actions(&deep, &NoOdpNames),
        Err(ActionsError::TooDeep)
    );
    let many = "1,".repeat(ACTIONS_MAX + 1);
    assert_eq!(
        parse_actions(&many, &NoOdpNames),
        Err(ActionsError::TooMany)
    );
}

#[test]
fn ports_have_names() {
    let names = BTreeMap::from([
        (OdpPort(1), "p1".to_owned()),
        (OdpPort(2), "br-0".to_owned()),
    ]);
    let text = "p1,br-0,3,clone(br-0),tnl_pop(p1)";
    let actions = vec![
        Action::Output(OdpPort(1)),
        Action::Output(OdpPort(2)),
        Action::Output(OdpPort(3)),
        Action::Clone(vec![Action::Output(OdpPort(2))]),
        Action::TunnelPop(OdpPort(1)),
    ];
    assert_eq!(format_actions(&actions, &names), text);
    let read = parse_actions("p1,br-0,3,clone(br-0),tnl_pop(1)", &names);
    assert_eq!(read, Ok(actions));
}

#[test]
fn counters() {
    let mut s = FlowStats {
        n_packets: 3,
        n_bytes: 180,
        used: Some(Nanos::from_millis(1_000)),
        tcp_flags: 0x12,
    };
    let now = Nanos::from_millis(3_045);
    assert_eq!(
        format_stats(&s, now),
        "packets:3, bytes:180, used:2.045s, flags:S."
    );
    (s.used, s.tcp_flags) = (None, 0);
    assert_eq!(format_stats(&s, now), "packets:3, bytes:180, used:never");
    s.tcp_flags = 0xfff;
    assert!(format_stats(&s, now).ends_with("flags:FSRP.UECN[200][400][800]"));
}

#[test]
fn short_and_odd_headers_do_not_disturb() {
    for tnl_type in [0, 3, 4, 5, 107, 110] {
        for len in 0..60 {
            let push = TunnelPush {
                tnl_port: OdpPort(1),
                out_port: OdpPort(2),
                tnl_type,
                header: vec![0xff; len].into(),
            };
            let text = format_actions(&[Action::TunnelPush(Box::new(push))], &NoOdpNames);
            assert!(text.starts_with("tnl_push(") && text.ends_with(",out_port(2))"));
        }
    }
}

fn set_keys() -> impl Strategy<Value = (SetKey, SetKey)> {
    let mac = || any::<[u8; 6]>().prop_map(EthAddr);
    let v4 = || any::<[u8; 4]>().prop_map(Ipv4);
    let v6 = || any::<[u8; 16]>().prop_map(Ipv6);
    let key = prop_oneof![
        (mac(), mac()).prop_map(|(src, dst)| SetKey::Ethernet { src, dst }),
        (v4(), v4(), any::<[u8; 3]>(), 0u8..3).prop_map(|(src, dst, b, frag)| SetKey::Ipv4 {
            src,
            dst,
            proto: b[0],
            tos: b[1],
            ttl: b[2],
            frag
        }),
        (v6(), v6(), 0u32..1 << 20, any::<[u8; 3]>(), 0u8..3).prop_map(
            |(src, dst, label, b, frag)| SetKey::Ipv6 {
                src,
                dst,
                label,
                proto: b[0],
                tclass: b[1],
                hlimit: b[2],
                frag
            }
        ),
        any::<(u16, u16)>().prop_map(|(src, dst)| SetKey::Tcp { src, dst }),
        any::<(u8, u8)>().prop_map(|(type_, code)| SetKey::Icmpv6 { type_, code }),
        (v4(), v4(), any::<u16>(), mac(), mac()).prop_map(|(sip, tip, op, sha, tha)| SetKey::Arp {
            sip,
            tip,
            op,
            sha,
            tha
        }),
        (v6(), mac(), mac()).prop_map(|(target, sll, tll)| SetKey::Nd { target, sll, tll }),
        any::<u32>().prop_map(|lse| SetKey::Mpls { lse }),
        any::<u32>().prop_map(SetKey::SkbMark),
    ];
    // The key serves as its own mask: same kind, any bits.
    (key.clone(), key).prop_filter("same kind", |(a, b)| {
        std::mem::discriminant(a) == std::mem::discriminant(b)
    })
}

/// Clears what a mask cannot hold in text: partial `frag`, and the full mask, which is a plain `set`.
fn masked(key: SetKey, mut mask: SetKey) -> Action {
    match &mut mask {
        SetKey::Ipv4 { frag, .. } | SetKey::Ipv6 { frag, .. } => *frag = 0,
        _ => {}
    }
    Action::SetMasked { key, mask }
}

fn plain_actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        any::<u32>().prop_map(|p| Action::Output(OdpPort(p))),
        any::<(u16, u16)>().prop_map(|(tpid, tci)| Action::PushVlan { tpid, tci }),
        set_keys().prop_map(|(key, _)| Action::Set(key)),
        any::<(u32, u16)>().prop_map(|(lse, ethertype)| Action::PushMpls { lse, ethertype }),
        any::<(u32, bool)>().prop_map(|(basis, sym)| Action::Hash {
            alg: if sym { HashAlg::SymL4 } else { HashAlg::L4 },
            basis
        }),
        any::<u32>().prop_map(Action::Recirc),
        any::<u32>().prop_map(|max_len| Action::Trunc { max_len }),
        (
            any::<u16>(),
            any::<(u32, u128)>(),
            any::<[u8; 4]>(),
            any::<(u16, bool)>()
        )
            .prop_map(
                |(zone, (mark, label), ip, (port, src))| Action::Ct(Box::new(CtAction {
                    commit: true,
                    zone,
                    mark: Some((mark, 0xff)),
                    label: Some((label, u128::MAX)),
                    nat: Some(NatAction {
                        src,
                        dst: !src,
                        range: Some(NatRange {
                            min: ip.into(),
                            max: None,
                            ports: (port != 0).then_some((port, 0)),
                        }),
                        ..NatAction::default()
                    }),
                    ..CtAction::default()
                }))
            ),
        any::<(u8, u32, [u32; 4])>().prop_map(|(flags, path, c)| Action::PushNsh(Box::new(
            NshPush {
                key: NshKey {
                    flags,
                    ttl: 1,
                    mdtype: 1,
                    np: 3,
                    path_hdr: U32::new(path),
                    context: c.map(U32::new)
                },
                md2: Vec::new(),
            }
        ))),
        (any::<u32>(), 0u32..256).prop_map(|(pid, reason)| Action::Userspace(Userspace {
            pid,
            cookie: UserspaceCookie::SlowPath {
                bridge: 0,
                in_port: OfPort::NONE,
                reason: SlowReason(reason)
            },
            egress_tun_port: None,
            include_actions: false,
        })),
        Just(Action::Drop(DropReason::PolicyDrop)),
    ]
}

fn some_actions() -> impl Strategy<Value = Actions> {
    let nested = plain_actions().prop_recursive(3, 16, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            list().prop_map(Action::Clone),
            (any::<u16>(), list(), list()).prop_map(|(pkt_len, greater, less_equal)| {
                Action::CheckPktLen {
                    pkt_len,
                    greater,
                    less_equal,
                }
            }),
        ]
    });
    prop::collection::vec(nested, 1..6)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(actions in some_actions()) {
        let text = format_actions(&actions, &NoOdpNames);
        // A drop alone within an action is the same as nothing there.
        prop_assume!(!text.contains("(drop)"));
        prop_assert_eq!(parse_actions(&text, &NoOdpNames), Ok(actions), "{}", text);
    }

    #[test]
    fn masked_sets_are_stable((key, mask) in set_keys()) {
        let text = format_actions(&[masked(key, mask)], &NoOdpNames);
        let again = parse_actions(&text, &NoOdpNames);
        // A mask of nothing leaves an empty header, which is fine to write and read.
        prop_assert_eq!(format_actions(&again.unwrap(), &NoOdpNames), text);
    }

    #[test]
    fn tunnel_metadata_survives(id: u64, ip: [u8; 4], ttl: u8, ports: (u16, u16), flags in 0u16..16) {
        let mut t = TunnelKey::new_zeroed();
        t.tun_id.set(id);
        t.ip_dst = Ipv4(ip);
        t.ip_ttl = ttl;
        t.tp_src.set(ports.0);
        t.tp_dst.set(ports.1);
        t.flags.set(flags | if id != 0 { TunnelKey::F_KEY } else { 0 });
        let actions = vec![Action::Set(SetKey::Tunnel(Box::new(t)))];
        let text = format_actions(&actions, &NoOdpNames);
        prop_assert_eq!(parse_actions(&text, &NoOdpNames), Ok(actions), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse_actions(&text, &NoOdpNames);
    }

    /// Good text with one character changed: read or refused, and what is read can be written and read.
    #[test]
    fn damaged_text_does_not_panic(i in 0..SAME.len(), at: prop::sample::Index, c in "[ -~]") {
        let mut text = SAME[i].to_owned();
        let at = at.index(text.len());
        text.replace_range(at..=at, &c);
        if let Ok(actions) = parse_actions(&text, &NoOdpNames) {
            let shown = format_actions(&actions, &NoOdpNames);
            prop_assert!(parse_actions(&shown, &NoOdpNames).is_ok(), "{} -> {}", text, shown);
        }
    }
}

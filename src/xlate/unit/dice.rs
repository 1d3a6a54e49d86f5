//! Random packets, rules and bridges over small domains, so that things collide often.

use base::rng::Rng;
use flow::field::ct_state;
use flow::{Flow, Vlan};
use wire::ethernet::{is_ip_type, is_mpls_type, is_vlan_type};
use wire::{EthAddr, Ipv4, Ipv6, U16, U32, U128};

/// One of some things.
pub(crate) fn pick<T: Clone>(r: &mut Rng, from: &[T]) -> T {
    from[r.below(from.len() as u64) as usize].clone()
}

pub(crate) fn mac(r: &mut Rng) -> EthAddr {
    match r.below(16) {
        0 => EthAddr::BROADCAST,
        1 => EthAddr([0x01, 0x80, 0xc2, 0, 0, 0]),
        2 => EthAddr([0x01, 0x80, 0xc2, 0, 0, 0x30]),
        n => EthAddr([0, 0, 0, 0, 0, (1 + n % 4) as u8]),
    }
}

fn ipv6(r: &mut Rng) -> Ipv6 {
    let mut a = [0; 16];
    a[0] = 0xfe;
    a[1] = 0x80;
    a[15] = r.below(4) as u8;
    Ipv6(a)
}

fn tag(r: &mut Rng) -> Vlan {
    Vlan {
        tpid: U16::new(pick(r, &[0x8100, 0x8100, 0x88a8])),
        tci: U16::new(Vlan::CFI | pick(r, &[0, 0, 3]) << 13 | pick(r, &[0, 1, 2, 2, 10])),
    }
}

fn l4(r: &mut Rng, f: &mut Flow, v6: bool) {
    f.nw_proto = pick(
        r,
        &[6, 6, 6, 17, 17, 132, 47, if v6 { 58 } else { 1 }, 2, 0],
    );
    f.nw_tos = pick(r, &[0, 0, 1, 2, 3, 0x10, 0x40]);
    f.nw_ttl = pick(r, &[1, 2, 64, 64]);
    f.nw_frag = pick(r, &[0, 0, 0, 0, 1, 3]);
    f.tp_src = U16::new(pick(r, &[1, 2, 67, 80]));
    f.tp_dst = U16::new(pick(r, &[1, 2, 68, 80, 3784]));
    f.tcp_flags = U16::new(pick(r, &[2, 0x10, 1]));
    if f.nw_proto == 58 {
        f.tp_src = U16::new(pick(r, &[128, 135, 136]));
        f.tp_dst = U16::new(pick(r, &[0, 0, 1]));
        f.nd_target = ipv6(r);
        f.arp_sha = mac(r);
        f.arp_tha = mac(r);
    } else if f.nw_proto == 1 {
        f.tp_src = U16::new(pick(r, &[0, 8]));
        f.tp_dst = U16::new(pick(r, &[0, 1]));
    }
}

/// A packet's flow.
#[expect(clippy::too_many_lines, reason = "a flat list of choices")]
pub(crate) fn packet(r: &mut Rng) -> Flow {
    let mut f = Flow::zero();
    // Datapath ports: those of br0 and br1, and one that several tunnel ports share.
    f.in_port = U32::new(pick(r, &[1, 1, 2, 2, 3, 4, 60, 100, 11, 12, 61, 70]));
    if f.in_port.get() == 70 {
        f.tunnel.ip_src = Ipv4([1, 1, 1, r.below(2) as u8]);
        f.tunnel.ip_dst = Ipv4([2, 2, 2, r.below(2) as u8]);
        f.tunnel.tun_id = wire::U64::new(r.below(3));
        f.tunnel.ip_tos = pick(r, &[0, 0, 3]);
        f.tunnel.ip_ttl = 64;
        f.tunnel.gbp_id = U16::new(pick(r, &[0, 1]));
        f.tunnel.flags = U16::new(flow::TunnelKey::F_KEY);
    }
    f.dl_src = mac(r);
    f.dl_dst = mac(r);
    f.skb_priority = U32::new(pick(r, &[0, 0, 1]));
    f.pkt_mark = U32::new(pick(r, &[0, 0, 1]));
    match r.below(6) {
        0..=2 => {}
        3 | 4 => f.vlans[0] = tag(r),
        _ if r.below(4) == 0 => f.vlans = [tag(r); 2],
        _ if r.below(4) == 0 => {
            // As a tunnel port would tag it.
            let outer = Vlan {
                tpid: U16::new(0x88a8),
                tci: U16::new(Vlan::CFI | pick(r, &[2, 10])),
            };
            f.vlans = [outer; 2];
        }
        _ => f.vlans = [tag(r), tag(r)],
    }
    match r.below(13) {
        12 => {
            f.dl_type = U16::new(0x894f);
            f.nsh.ttl = pick(r, &[1, 2, 63]);
            f.nsh.np = pick(r, &[1, 3, 9]);
            f.nsh.mdtype = 1;
            if f.vlans[0].tci.get() == 0 && r.below(2) == 0 {
                f.packet_type = U32::new(0x1_894f);
            }
        }
        0 => f.dl_type = U16::new(pick(r, &[0x1234, 0x8902, 0x8809, 0x88cc, 0x8100])),
        1 => {
            f.dl_type = U16::new(Flow::DL_TYPE_NONE);
        }
        2 => {
            f.dl_type = U16::new(pick(r, &[0x0806, 0x0806, 0x8035]));
            f.nw_proto = pick(r, &[1, 2]);
            f.nw_src = Ipv4([10, 0, 0, r.below(3) as u8]);
            f.nw_dst = Ipv4([10, 0, 0, r.below(3) as u8]);
            f.arp_sha = mac(r);
            f.arp_tha = mac(r);
        }
        3 | 4 => {
            f.dl_type = U16::new(pick(r, &[0x8847, 0x8847, 0x8848]));
            let n = 1 + r.below(3) as usize;
            for i in 0..n {
                let bos = u32::from(i + 1 == n) * 0x100;
                let ttl = pick(r, &[1, 2, 64]);
                f.mpls_lse[i] = U32::new(pick(r, &[0, 16, 17]) << 12 | bos | ttl);
            }
        }
        5 | 6 => {
            f.dl_type = U16::new(0x86dd);
            f.ipv6_src = ipv6(r);
            f.ipv6_dst = ipv6(r);
            f.ipv6_label = U32::new(pick(r, &[0, 1]));
            l4(r, &mut f, true);
        }
        _ => {
            f.dl_type = U16::new(0x0800);
            f.nw_src = Ipv4([10, 0, pick(r, &[0, 0, 1]), r.below(3) as u8]);
            f.nw_dst = Ipv4([10, 0, pick(r, &[0, 0, 1]), r.below(3) as u8]);
            l4(r, &mut f, false);
        }
    }
    canonical(&mut f);
    f
}

/// A packet that comes back from conntrack, or for some other reason to look at it again; `hashed` when the
/// datapath computed a hash, which is never zero.
pub(crate) fn returning(r: &mut Rng, id: u32, hashed: bool) -> Flow {
    let mut f = packet(r);
    f.recirc_id = U32::new(id);
    if hashed {
        f.dp_hash = U32::new(pick(r, &[1, 2, 3, 0xdead]));
    }
    if is_ip_type(f.dl_type.get()) && r.below(4) != 0 {
        f.ct_state = ct_state::TRACKED | pick(r, &[ct_state::NEW, ct_state::ESTABLISHED]);
        f.ct_zone = U16::new(pick(r, &[0, 1]));
        f.ct_mark = U32::new(pick(r, &[0, 1]));
        f.ct_label = U128::new(pick(r, &[0, 1]));
        f.ct_nw_proto = pick(r, &[6, 17]);
        f.ct_nw_src = f.nw_dst;
        f.ct_nw_dst = f.nw_src;
        f.ct_ipv6_src = f.ipv6_dst;
        f.ct_ipv6_dst = f.ipv6_src;
        f.ct_tp_src = U16::new(1);
        f.ct_tp_dst = U16::new(2);
    }
    canonical(&mut f);
    f
}

/// A packet with one or two fields changed.
pub(crate) fn touch(r: &mut Rng, f: &Flow) -> Flow {
    let mut out = *f;
    let other = packet(r);
    for _ in 0..=r.below(2) {
        match r.below(29) {
            28 => out.vlans[0].tci = U16::new(Vlan::CFI | 10),
            22 => out.recirc_id = U32::new(pick(r, &[0, 1, 2, 3])),
            23 => out.vlans[1] = out.vlans[0],
            24 => out.nsh = other.nsh,
            25 => out.tunnel = other.tunnel,
            26 => out.vlans[0].tci ^= U16::new(0x2000),
            27 => out.vlans[1].tci ^= U16::new(1),
            0 => out.dl_src = other.dl_src,
            1 => out.dl_dst = other.dl_dst,
            2 => out.vlans = other.vlans,
            3 => out.vlans[0] = tag(r),
            4 => out.vlans[1] = tag(r),
            5 => {
                let i = r.below(3) as usize;
                let rest = out.mpls_lse[i].get() & 0xfff;
                out.mpls_lse[i] = U32::new(pick(r, &[0, 16, 17]) << 12 | rest);
            }
            6 => out.mpls_lse[0] ^= U32::new(1 << r.below(32)),
            7 => out.nw_src = Ipv4([10, 0, pick(r, &[0, 1]), r.below(3) as u8]),
            8 => out.nw_dst = Ipv4([10, 0, pick(r, &[0, 1]), r.below(3) as u8]),
            9 => out.nw_proto = pick(r, &[1, 2, 6, 17, 132, 58, 0]),
            10 => out.nw_tos = pick(r, &[0, 1, 2, 3, 0x10, 0x40]),
            11 => out.nw_ttl = pick(r, &[1, 2, 64, 255]),
            12 => out.nw_frag = pick(r, &[0, 1, 3]),
            13 => out.tp_src = U16::new(pick(r, &[1, 2, 67, 80, 8, 135])),
            14 => out.tp_dst = U16::new(pick(r, &[0, 1, 2, 68, 80, 3784])),
            15 => out.tcp_flags = U16::new(pick(r, &[1, 2, 0x10])),
            16 => {
                out.ipv6_src = ipv6(r);
                out.ipv6_dst = ipv6(r);
            }
            17 => out.arp_sha = mac(r),
            18 => out.arp_tha = mac(r),
            19 => {
                out.skb_priority = other.skb_priority;
                out.pkt_mark = other.pkt_mark;
            }
            20 => {
                out.ct_state = other.ct_state;
                out.ct_mark = other.ct_mark;
                out.ct_zone = other.ct_zone;
            }
            _ => {
                out.nd_target = ipv6(r);
                out.ipv6_label = other.ipv6_label;
            }
        }
    }
    canonical(&mut out);
    out
}

/// Zeroes what a packet with these headers cannot have.
#[expect(clippy::too_many_lines, reason = "a flat list of choices")]
pub(crate) fn canonical(f: &mut Flow) {
    let z = Flow::zero();
    for i in 0..Flow::VLANS_MAX {
        let ok = (i == 0 || f.vlans[i - 1].is_present())
            && f.vlans[i].is_present()
            && is_vlan_type(f.vlans[i].tpid.get());
        if !ok {
            f.vlans[i] = Vlan::default();
        }
    }
    let t = f.dl_type.get();
    if is_mpls_type(t) {
        let bottom = f.mpls_lse.iter().position(|l| l.get() & 0x100 != 0);
        for l in &mut f.mpls_lse[bottom.map_or(3, |b| b + 1)..] {
            *l = U32::ZERO;
        }
    } else {
        f.mpls_lse = z.mpls_lse;
    }
    if t != 0x894f {
        f.nsh = z.nsh;
    }
    if f.packet_type.get() != 0 {
        (f.dl_src, f.dl_dst) = (EthAddr::ZERO, EthAddr::ZERO);
        f.vlans = z.vlans;
    }
    if f.in_port.get() != 70 {
        f.tunnel = z.tunnel;
    }
    let (v4, v6, arp) = (t == 0x0800, t == 0x86dd, t == 0x0806 || t == 0x8035);
    if !v4 && !arp {
        f.nw_src = z.nw_src;
        f.nw_dst = z.nw_dst;
    }
    if !v6 {
        f.ipv6_src = z.ipv6_src;
        f.ipv6_dst = z.ipv6_dst;
        f.ipv6_label = z.ipv6_label;
        f.nd_target = z.nd_target;
    }
    if !v4 && !v6 {
        (f.nw_tos, f.nw_ttl, f.nw_frag) = (0, 0, 0);
        if !arp {
            f.nw_proto = 0;
        }
    }
    if f.nw_frag & Flow::FRAG_ANY == 0 {
        f.nw_frag = 0;
    }
    let later = f.nw_frag & Flow::FRAG_LATER != 0;
    let icmp = v4 && f.nw_proto == 1 || v6 && f.nw_proto == 58;
    let ports = (v4 || v6) && matches!(f.nw_proto, 6 | 17 | 132) || icmp;
    if !ports || later {
        (f.tp_src, f.tp_dst) = (U16::ZERO, U16::ZERO);
    }
    if icmp {
        f.tp_src &= U16::new(0xff);
        f.tp_dst &= U16::new(0xff);
    }
    if !((v4 || v6) && f.nw_proto == 6) || later {
        f.tcp_flags = U16::ZERO;
    }
    let nd = v6
        && f.nw_proto == 58
        && !later
        && matches!(f.tp_src.get(), 135 | 136)
        && f.tp_dst.get() == 0;
    if !nd {
        f.nd_target = z.nd_target;
        if !arp {
            (f.arp_sha, f.arp_tha) = (EthAddr::ZERO, EthAddr::ZERO);
        }
    }
    if f.ct_state & ct_state::TRACKED == 0 || !(v4 || v6) {
        f.ct_state = 0;
        f.ct_zone = z.ct_zone;
        f.ct_mark = z.ct_mark;
        f.ct_label = z.ct_label;
        f.ct_nw_proto = 0;
    }
    if f.ct_nw_proto == 0 {
        (f.ct_tp_src, f.ct_tp_dst) = (U16::ZERO, U16::ZERO);
    }
    if f.ct_nw_proto == 0 || !v4 {
        (f.ct_nw_src, f.ct_nw_dst) = (z.ct_nw_src, z.ct_nw_dst);
    }
    if f.ct_nw_proto == 0 || !v6 {
        (f.ct_ipv6_src, f.ct_ipv6_dst) = (z.ct_ipv6_src, z.ct_ipv6_dst);
    }
}

// ---- rules

fn ip4(r: &mut Rng) -> String {
    format!("10.0.{}.{}", pick(r, &[0, 0, 1]), r.below(3))
}

fn ip6(r: &mut Rng) -> String {
    ipv6(r).to_string()
}

#[expect(clippy::too_many_lines, reason = "a flat list of choices")]
fn matching(r: &mut Rng) -> String {
    let mut m = Vec::new();
    let word = pick(
        r,
        &[
            "",
            "",
            "",
            "",
            "ip",
            "ip",
            "tcp",
            "tcp",
            "udp",
            "icmp",
            "sctp",
            "arp",
            "ipv6",
            "tcp6",
            "icmp6",
            "mpls",
            "dl_type=0x1234",
        ],
    );
    if !word.is_empty() {
        m.push(word.to_owned());
    }
    for _ in 0..r.below(3) {
        let v4 = matches!(word, "ip" | "tcp" | "udp" | "icmp" | "sctp");
        let v6 = matches!(word, "ipv6" | "tcp6" | "icmp6");
        m.push(match r.below(14) {
            0 => format!("in_port={}", 1 + r.below(7)),
            1 => format!("dl_src={}", mac(r)),
            2 => format!("dl_dst={}", mac(r)),
            3 => format!("dl_vlan={}", pick(r, &[1, 2, 10])),
            4 => pick(
                r,
                &["vlan_tci=0", "vlan_tci=0x1000/0x1000", "dl_vlan_pcp=3"],
            )
            .to_owned(),
            5 if v4 => format!("nw_src={}{}", ip4(r), pick(r, &["", "/24", "/31"])),
            6 if v4 => format!("nw_dst={}{}", ip4(r), pick(r, &["", "/24"])),
            5 if v6 => format!("ipv6_src={}", ip6(r)),
            7 if v4 || v6 => pick(
                r,
                &[
                    "nw_tos=16",
                    "nw_ttl=1",
                    "nw_ecn=3",
                    "ip_frag=no",
                    "ip_frag=later",
                ],
            )
            .into(),
            8 if matches!(word, "tcp" | "udp" | "sctp" | "tcp6") => {
                pick(r, &["tp_src=1", "tp_dst=80", "tp_dst=0x2/0x2"]).into()
            }
            8 if word == "icmp" => "icmp_type=8".into(),
            8 if word == "arp" => pick(r, &["arp_op=1", "arp_spa=10.0.0.1"]).into(),
            _ if word == "mpls" => {
                pick(r, &["mpls_label=16", "mpls_label=17", "mpls_bos=1"]).into()
            }
            9 => format!("reg{}={}", r.below(2), r.below(2)),
            10 => pick(r, &["metadata=1", "metadata=0x1/0x1"]).to_owned(),
            11 if v4 || v6 => pick(
                r,
                &[
                    "ct_state=+trk",
                    "ct_state=-trk",
                    "ct_state=+est+trk",
                    "ct_mark=1",
                    "ct_zone=1",
                ],
            )
            .into(),
            12 => pick(r, &["pkt_mark=1", "actset_output=2", "tun_id=1"]).to_owned(),
            13 if word == "tcp" => "tcp_flags=+syn".into(),
            _ => continue,
        });
    }
    m.join(",")
}

/// One action in `ovs-ofctl` syntax. `depth` bounds nesting, `table` is where it will stand.
fn action(r: &mut Rng, depth: u32, table: u64) -> String {
    let port = 1 + r.below(7);
    let next = table + 1 + r.below(2);
    match r.below(73) {
        64 => format!(
            "push:{},pop:{}",
            pick(r, &["NXM_OF_IP_SRC[]", "NXM_NX_REG0[]", "NXM_OF_IP_DST[]"]),
            pick(r, &["NXM_OF_IP_SRC[]", "NXM_OF_IP_DST[]", "NXM_OF_ETH_DST[0..31]"])
        ),
        65 => "multipath(eth_src,50,modulo_n,2,0,NXM_OF_ETH_DST[0..1])".into(),
        66 => format!("strip_vlan,resubmit(,{next})"),
        67 => format!("pop_mpls:0x8847,resubmit(,{next})"),
        72 => format!("pop_mpls:0x8847,resubmit(,{next})"),
        68 => "ct(commit,zone=NXM_OF_ETH_SRC[0..15])".into(),
        69 => pick(r, &["dec_nsh_ttl", "decap", "encap(nsh(md_type=1))", "decap()"]).into(),
        70 => "push_vlan:0x8100,normal".into(),
        71 => format!("output:{}", 7 + r.below(2)),
        0..=7 => format!("output:{port}"),
        8 => "in_port".into(),
        9..=11 => "normal".into(),
        12 => pick(r, &["flood", "all", "local"]).into(),
        13..=18 => format!("resubmit(,{next})"),
        19 => format!("resubmit({port},{next})"),
        20 => format!("mod_dl_src:{}", mac(r)),
        21 => format!("mod_dl_dst:{}", mac(r)),
        22 => format!("mod_vlan_vid:{}", pick(r, &[1, 2, 10])),
        23 => format!("mod_vlan_pcp:{}", pick(r, &[0, 3])),
        24 | 25 => "strip_vlan".into(),
        26 | 27 => format!("push_vlan:{}", pick(r, &["0x8100", "0x88a8"])),
        28 => format!("mod_nw_src:{}", ip4(r)),
        29 => format!("mod_nw_dst:{}", ip4(r)),
        30 => format!("mod_nw_tos:{}", pick(r, &[0, 16])),
        31 => pick(r, &["mod_nw_ecn:1", "mod_nw_ttl:2", "mod_nw_ttl:64"]).into(),
        32 => pick(r, &["mod_tp_src:1", "mod_tp_dst:80"]).into(),
        33 | 34 => "dec_ttl".into(),
        35 | 36 => "push_mpls:0x8847".into(),
        37 | 38 => pick(r, &["pop_mpls:0x0800", "pop_mpls:0x8847", "pop_mpls:0x1234"]).into(),
        39 => pick(r, &["set_mpls_label:16", "set_mpls_tc:1", "set_mpls_ttl:64", "dec_mpls_ttl"]).into(),
        40 => set_field(r),
        41 => set_field(r),
        42 | 43 => moving(r),
        44 => pick(r, &["push:NXM_NX_REG0[]", "push:NXM_OF_IP_SRC[]", "push:NXM_OF_ETH_DST[0..15]",
            "push:NXM_OF_TCP_SRC[]", "push:NXM_OF_IN_PORT[]"]).into(),
        45 => pick(r, &["pop:NXM_NX_REG1[]", "pop:NXM_OF_IP_SRC[]", "pop:NXM_NX_REG0[0..15]"]).into(),
        46 => format!(
            "multipath({},50,{},{},0,NXM_NX_REG0[0..1])",
            pick(r, &["eth_src", "symmetric_l4", "symmetric_l3l4", "symmetric_l3l4+udp", "nw_src", "nw_dst", "symmetric_l3"]),
            pick(r, &["modulo_n", "hash_threshold", "hrw", "iter_hash"]),
            pick(r, &[2, 3])
        ),
        47 => format!("bundle({},0,hrw,ofport,members:1,2,3)", pick(r, &["eth_src", "nw_src", "symmetric_l3l4"])),
        48 => "output:NXM_NX_REG0[0..1]".into(),
        49 => pick(r, &["output:NXM_OF_VLAN_TCI[0..3]", "output:NXM_OF_IP_TOS[]"]).into(),
        50 => "learn(table=9,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:NXM_NX_REG0[]->NXM_NX_REG1[],output:NXM_OF_IN_PORT[])".into(),
        51 => pick(r, &["set_queue:1", "pop_queue", "enqueue:3:1", "fin_timeout(idle_timeout=1)"]).into(),
        52 => pick(r, &["set_tunnel:1", "set_field:1->tun_id", "load:2->NXM_NX_TUN_ID[]"]).into(),
        53 if depth > 0 => format!("clone({})", actions(r, depth - 1, table)),
        54 | 55 => ct(r, table),
        56 => "ct_clear".into(),
        57 if depth > 0 => "check_pkt_larger(100)->NXM_NX_REG0[0]".into(),
        58 => format!("group:{}", 1 + r.below(6)),
        59 => format!("controller(max_len=100,id={})", r.below(2)),
        60 => pick(r, &["exit", "note:1.2", "debug_recirc", "debug_slow"]).into(),
        61 => pick(r, &["output(port=3,max_len=100)", "sample(probability=1,collector_set_id=1)"]).into(),
        62 => format!("resubmit(,{next},ct)"),
        _ => "output:4".into(),
    }
}

fn set_field(r: &mut Rng) -> String {
    let v = match r.below(16) {
        0 => format!("{}->eth_src", mac(r)),
        1 => format!("{}->eth_dst", mac(r)),
        2 => format!("{}->ip_src", ip4(r)),
        3 => "0x4000/0xff00->reg0".into(),
        4 => "1->reg1".into(),
        5 => "80->tcp_dst".into(),
        6 => "1->udp_src".into(),
        7 => "16->ip_dscp".into(),
        8 => "10.0.0.1->arp_spa".into(),
        9 => "2->arp_op".into(),
        10 => format!("{}->ipv6_dst", ip6(r)),
        11 => "1->pkt_mark".into(),
        12 => "2->vlan_vid".into(),
        13 => "8->icmp_type".into(),
        14 => "1->ipv6_label".into(),
        _ => format!("{}->nd_target", ip6(r)),
    };
    format!("set_field:{v}")
}

fn moving(r: &mut Rng) -> String {
    pick(
        r,
        &[
            "move:NXM_OF_ETH_SRC[0..15]->NXM_NX_REG0[0..15]",
            "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]",
            "move:NXM_OF_IP_DST[0..7]->NXM_NX_REG1[0..7]",
            "move:NXM_OF_TCP_SRC[]->NXM_OF_TCP_DST[]",
            "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]",
            "move:NXM_NX_REG0[0..7]->NXM_OF_IP_SRC[0..7]",
            "move:NXM_OF_ETH_DST[]->NXM_OF_ETH_SRC[]",
            "move:NXM_NX_IP_TTL[]->NXM_NX_REG0[0..7]",
            "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
            "load:1->NXM_NX_REG0[]",
            "load:0->NXM_NX_REG1[3]",
            "load:0x10->NXM_OF_IP_TOS[]",
            "move:NXM_NX_CT_MARK[0..7]->NXM_NX_REG0[0..7]",
        ],
    )
    .into()
}

fn ct(r: &mut Rng, table: u64) -> String {
    let t = table + 1;
    match r.below(7) {
        0 => "ct()".into(),
        1 => format!("ct(table={t})"),
        2 => format!("ct(commit,zone=1,table={t})"),
        3 => "ct(commit,exec(set_field:1->ct_mark))".into(),
        4 => format!("ct(commit,nat(src=10.0.0.9),table={t})"),
        5 => "ct(commit,zone=NXM_NX_REG0[0..15])".into(),
        _ => "ct(commit,zone=2,exec(move:NXM_OF_ETH_SRC[0..31]->NXM_NX_CT_MARK[]))".into(),
    }
}

fn actions(r: &mut Rng, depth: u32, table: u64) -> String {
    let n = 1 + r.below(4);
    (0..n)
        .map(|_| action(r, depth, table))
        .collect::<Vec<_>>()
        .join(",")
}

fn instructions(r: &mut Rng, table: u64) -> String {
    match r.below(12) {
        0 => "drop".into(),
        1 => format!(
            "write_actions(set_field:{}->eth_dst,output:3),goto_table:{}",
            mac(r),
            table + 1
        ),
        2 => format!("write_metadata:1,goto_table:{}", table + 1),
        3 => format!("{},goto_table:{}", actions(r, 1, table), table + 1),
        4 => format!("clear_actions,goto_table:{}", table + 1),
        _ => actions(r, 2, table),
    }
}

/// A rule; not every one is valid.
pub(crate) fn rule(r: &mut Rng) -> String {
    let table = match r.below(8) {
        0..=3 => 0,
        4 | 5 => 1,
        6 => 2,
        _ => 3,
    };
    let m = matching(r);
    let sep = if m.is_empty() { "" } else { "," };
    let priority = 1 + r.below(4);
    format!(
        "table={table},priority={priority}{sep}{m} actions={}",
        instructions(r, table)
    )
}

// ---- bridges

//! Random bridges: ports, VLAN modes, groups, tunnels, rules.

use super::dice::*;
use super::{Rig, add_port};
use crate::*;
use base::rng::Rng;
use base::sync::{Arc, write};
use flow::{OdpPort, OfPort};
use ofproto::{Bucket, GroupType, SelectionConfig};
use wire::{EthAddr, Ipv4, Ipv6};

pub(crate) fn vary_bundle(r: &mut Rng, b: &mut XBundle) {
    match r.below(8) {
        0 | 1 => {
            b.vlan_mode = VlanMode::Access;
            b.vlan = Some(pick(r, &[0, 1, 10]));
        }
        2 => {
            b.vlan_mode = VlanMode::NativeTagged;
            b.vlan = Some(1);
        }
        3 => {
            b.vlan_mode = VlanMode::NativeUntagged;
            b.vlan = Some(10);
        }
        4 => {
            b.vlan_mode = VlanMode::Dot1qTunnel;
            b.vlan = Some(pick(r, &[2, 10]));
            if r.below(2) == 0 {
                b.cvlans = Some([1, 10].into_iter().collect());
            }
        }
        5 => b.trunks = Some([1, 10].into_iter().collect()),
        _ => {}
    }
    b.priority_tags = pick(
        r,
        &[
            PriorityTags::Never,
            PriorityTags::Never,
            PriorityTags::IfNonzero,
            PriorityTags::Always,
        ],
    );
    b.protected = r.below(10) == 0;
    b.lacp = r.below(10) == 0;
}

fn vary_port(r: &mut Rng, p: &mut XPort) {
    if r.below(6) == 0 {
        p.qdscp = vec![(1, 0x40)];
    }
    p.lldp = r.below(12) == 0;
    if r.below(12) == 0 {
        p.cfm = Some(CfmFilter {
            addr: EthAddr([0x01, 0x80, 0xc2, 0, 0, 0x30]),
            no_tunnel_key: false,
        });
    }
    if r.below(12) == 0 {
        p.bfd = Some(BfdFilter {
            eth_dst: pick(r, &[None, Some(EthAddr([0, 0, 0, 0, 0, 1]))]),
            nw_dst: pick(r, &[None, Some(Ipv4([10, 0, 0, 1]))]),
            no_tunnel_key: false,
        });
    }
    p.no_fwd = r.below(20) == 0;
    p.no_recv = r.below(15) == 0;
    p.no_recv_stp = r.below(15) == 0;
    p.no_flood = r.below(10) == 0;
    p.may_enable = r.below(10) != 0;
    if r.below(8) == 0 {
        p.stp = Some(pick(
            r,
            &[
                StpState::Forwarding,
                StpState::Learning,
                StpState::Blocking,
                StpState::Disabled,
            ],
        ));
    }
}

#[expect(clippy::too_many_lines, reason = "a flat list of choices")]
fn vary_bridge(r: &mut Rng, br: &mut XBridge) {
    for b in br.bundles.values_mut() {
        vary_bundle(r, b);
    }
    for p in br.ports.values_mut() {
        vary_port(r, p);
    }
    br.stp = r.below(4) == 0;
    if !br.stp {
        br.ports.values_mut().for_each(|p| p.stp = None);
    }
    br.netflow = r.below(6) == 0;
    br.in_band = r.below(6) == 0;
    br.forward_bpdu = r.below(4) == 0;
    br.packet_in_on_miss = r.below(4) == 0;
    br.frag = pick(
        r,
        &[
            FragHandling::Normal,
            FragHandling::Normal,
            FragHandling::Drop,
            FragHandling::NxMatch,
        ],
    );
    if r.below(5) == 0 {
        br.mirrors.push(XMirror {
            counts: Default::default(),
            name: "m".into(),
            select_src: pick(r, &[None, Some(vec![BundleId(1)])]),
            select_dst: pick(r, &[Some(vec![]), Some(vec![BundleId(2)])]),
            vlans: r.below(2).eq(&0).then(|| [1, 10].into_iter().collect()),
            out_bundle: (r.below(3) != 0).then_some(BundleId(4)),
            out_vlan: Some(10),
            snaplen: pick(r, &[0, 0, 100]),
        });
        if br.mirrors[0].out_bundle.is_some() {
            br.mirrors[0].out_vlan = None;
            // Trunks copied to a port with a native VLAN.
            if r.below(2) == 0 && br.ports.contains_key(&OfPort(4)) {
                br.mirrors[0].select_src = None;
                br.mirrors[0].vlans = None;
                br.bundles
                    .insert(BundleId(1), XBundle::new(BundleId(1), "p1", OfPort(1)));
                let mut out = XBundle::new(BundleId(4), "p4", OfPort(4));
                out.vlan_mode = VlanMode::NativeUntagged;
                out.vlan = Some(10);
                br.bundles.insert(BundleId(4), out);
            }
        }
    }
    if r.below(5) == 0
        && let Some(b) = br.bundles.get_mut(&BundleId(3))
    {
        b.bond = Some(Arc::new(XBond {
            mode: pick(r, &[BondMode::ActiveBackup, BondMode::Slb, BondMode::Tcp]),
            basis: 0,
            bond_id: 1,
            recirc_id: 0,
            active: Some(OfPort(3)),
            enabled: vec![OfPort(3), OfPort(6)],
            all_members_active: false,
            lacp: pick(r, &[LacpStatus::Disabled, LacpStatus::Negotiated]),
            fallback_active_backup: false,
            lb_output: false,
            members_by_hash: (0..256)
                .map(|i| Some(OfPort(if i % 2 == 0 { 3 } else { 6 })))
                .collect(),
        }));
    }
    let mut macs = write(&br.macs);
    for n in 0..r.below(4) {
        macs.add_static(
            pick(r, &[0, 1, 10]),
            EthAddr([0, 0, 0, 0, 0, n as u8]),
            l2::PortKey(1 + n as u32),
        );
    }
    drop(macs);
}

fn groups(r: &mut Rng, rig: &mut Rig, i: usize) {
    for (id, kind) in [
        (1, GroupType::All),
        (2, GroupType::Indirect),
        (3, GroupType::Select),
        (4, GroupType::Select),
        (5, GroupType::FastFailover),
    ] {
        let n = if kind == GroupType::Indirect {
            1
        } else {
            2 + r.below(2)
        };
        let buckets = (0..n)
            .map(|b| {
                let acts = openflow::parse_actions(
                    &format!(
                        "{}output:{}",
                        pick(r, &["set_field:80->tcp_dst,", "", "set_field:7->reg0,"]),
                        1 + r.below(4)
                    ),
                    openflow::Names::default(),
                )
                .expect("valid");
                let mut b = Bucket::new(b as u32, 1, acts);
                if kind == GroupType::FastFailover {
                    b.watch_port = OfPort(1 + r.below(4) as u16);
                }
                b
            })
            .collect();
        let mut config = SelectionConfig::default();
        if id == 3 {
            config.method = "hash".into();
            config.fields = [
                flow::FieldId::EthSrc,
                flow::FieldId::Ipv4Src,
                flow::FieldId::TcpDst,
            ]
            .into_iter()
            .map(|f| (f, f.exact_mask()))
            .collect();
            if r.below(3) == 0 {
                config.fields.clear();
            }
        }
        rig.switches[i].install_group(id, kind, buckets, config);
    }
}

/// Two tunnel ports on datapath port 70: one asks for one key from one host, one takes the rest.
fn tunnels(r: &mut Rng, br: &mut XBridge) {
    let to = |n: u8| {
        Ipv6(
            std::net::Ipv4Addr::new(1, 1, 1, n)
                .to_ipv6_mapped()
                .octets(),
        )
    };
    let mut cfg = TunnelConfig {
        remote_ip: FromFlow::Fixed(to(0)),
        local_ip: FromFlow::Fixed(Ipv6::default()),
        in_key: FromFlow::Fixed(Some(1)),
        out_key: pick(r, &[FromFlow::Fixed(Some(1)), FromFlow::Flow]),
        dst_port: 4789,
        ttl: pick(r, &[None, Some(64)]),
        tos: pick(r, &[None, Some(0)]),
        dont_fragment: true,
        csum: false,
        gbp: false,
        egress_pkt_mark: pick(r, &[None, Some(1)]),
        erspan: ErspanConfig::default(),
    };
    for i in [7, 8] {
        add_port(br, i, 70);
        let port = br.ports.get_mut(&OfPort(i)).expect("just added");
        port.class = pick(r, &["geneve", "vxlan", "erspan"]).to_owned();
        port.tunnel = Some(Box::new(cfg.clone()));
        port.packet_type = pick(r, &[PacketTypeMode::LegacyL2, PacketTypeMode::Aware]);
        cfg.remote_ip = FromFlow::Flow;
        cfg.in_key = FromFlow::Flow;
    }
}

/// Two bridges joined by patch ports (port 5 of each), with rules.
pub(crate) fn rig(r: &mut Rng) -> Rig {
    let mut rig = Rig::new(4);
    rig.add_bridge("br1");
    rig.snap.features.check_pkt_len = r.below(4) != 0;
    rig.snap.features.clone = r.below(4) != 0;
    rig.snap.features.masked_set_action = r.below(4) != 0;
    rig.snap.ct_timeouts.insert(1, 5);
    for i in 0..2 {
        rig.change(i, |br| {
            if i == 1 {
                add_port(br, 1, 11);
                add_port(br, 2, 12);
            }
            add_port(br, 5, OdpPort::NONE.0);
            add_port(br, 6, 60 + i as u32);
            if i == 0 {
                tunnels(r, br);
            }
            vary_bridge(r, br);
            let peer = (Rig::id(1 - i), OfPort(5));
            let patch = br.ports.get_mut(&OfPort(5)).expect("just added");
            patch.peer = Some(peer);
        });
        groups(r, &mut rig, i);
        let n = if i == 0 {
            4 + r.below(12)
        } else {
            2 + r.below(4)
        };
        let mut left = n;
        while left > 0 {
            if rig.try_flow(i, &rule(r)) {
                left -= 1;
            }
        }
        if i == 1 && r.below(2) == 0 {
            rig.flows(1, "priority=0 actions=normal");
        }
    }
    rig
}

//! Flows in text, both ways, against what `ovs-ofctl` 3.1 says.

use openflow::flow_mod::{Duration, FlowStats};
use openflow::{
    FlowFlags, FlowModCommand, Names, parse_flow_mod, parse_flow_stats_request, put_flow_stats,
};

/// A flow read and written again as `dump-flows --no-stats` would, flow-mod attributes in front.
fn round(command: FlowModCommand, text: &str) -> String {
    let fm = match parse_flow_mod(text, command, Names::default()) {
        Ok(parsed) => parsed.flow_mod,
        Err(e) => return format!("error: {e}"),
    };
    let stats = FlowStats {
        match_: fm.match_,
        priority: fm.priority,
        cookie: fm.new_cookie,
        table_id: if fm.table_id == 255 { 0 } else { fm.table_id },
        duration: Duration::default(),
        idle_timeout: fm.idle_timeout,
        hard_timeout: fm.hard_timeout,
        idle_age: None,
        hard_age: None,
        packet_count: 0,
        byte_count: 0,
        flags: fm.flags,
        importance: fm.importance,
        acts: fm.acts,
    };
    let mut out = String::new();
    put_flow_stats(&mut out, &stats, Names::default(), false);
    out
}

#[test]
fn added_flows() {
    let add = |text| round(FlowModCommand::Add, text);
    for (text, want) in [
        ("actions=drop", "actions=drop"),
        (
            "table=3,priority=7,tcp,tp_dst=80 cookie=0x5 idle_timeout=9 hard_timeout=8 importance=4 \
             send_flow_rem check_overlap actions=output:2,NORMAL",
            "cookie=0x5, table=3, idle_timeout=9, hard_timeout=8, send_flow_rem check_overlap \
             importance=4, priority=7,tcp,tp_dst=80 actions=output:2,NORMAL",
        ),
        (
            " cookie=0x1, duration=2.5s, table=1, n_packets=3, n_bytes=4, idle_age=5, ip actions=drop",
            "cookie=0x1, table=1, ip actions=drop",
        ),
        ("in_port=1", "error: must specify an action"),
        ("foo=1,actions=1", "error: unknown keyword foo"),
        ("table=256,actions=1", "error: unknown table \"256\""),
        (
            "cookie=1/2,actions=1",
            "error: flow additions cannot use a cookie mask",
        ),
        (
            "priority=65536,actions=1",
            "error: invalid priority \"65536\"",
        ),
        ("out_port=1,actions=1", "error: unknown keyword out_port"),
        ("table,actions=1", "error: field table missing value"),
        (
            "actions=push_vlan:0x8100,pop_mpls:0x800",
            "error: actions are invalid with specified match (OFPBAC_MATCH_INCONSISTENT)",
        ),
        (
            "actions=set_field:1->tcp_src",
            "error: actions are invalid with specified match (OFPBAC_MATCH_INCONSISTENT)",
        ),
        (
            "table=5,actions=goto_table:4",
            "error: actions are invalid with specified match (OFPBIC_BAD_TABLE_ID)",
        ),
        (
            "ip,actions=meter:0",
            "error: actions are invalid with specified match (OFPMMFC_INVALID_METER)",
        ),
        (
            "ct_state=+est+trk,ip actions=resubmit(1,2,ct)",
            "ct_state=+est+trk,ip actions=resubmit(1,2,ct)",
        ),
    ] {
        assert_eq!(add(text), want, "{text}");
    }
}

#[test]
fn other_commands() {
    let modify = parse_flow_mod(
        "in_port=1,actions=2",
        FlowModCommand::Modify,
        Names::default(),
    );
    let fm = modify.expect("it is right").flow_mod;
    assert_eq!((fm.new_cookie, fm.modify_cookie), (0, false));
    let with_mask = "cookie=1/-1,in_port=1,actions=2";
    let fm = parse_flow_mod(with_mask, FlowModCommand::Modify, Names::default())
        .expect("it is right")
        .flow_mod;
    assert_eq!((fm.cookie, fm.cookie_mask), (1, u64::MAX));
    assert_eq!(fm.new_cookie, u64::MAX);
    assert_eq!(
        round(FlowModCommand::Delete, "cookie=5"),
        "error: cannot set cookie (to match on a cookie, specify a mask, e.g. cookie=5/-1)"
    );
    assert_eq!(
        round(FlowModCommand::Delete, "priority=5"),
        "error: unknown keyword priority"
    );
    let fsr = parse_flow_stats_request("table=3,out_port=LOCAL,ip", false, Names::default());
    let fsr = fsr.expect("it is right");
    assert_eq!((fsr.table_id, fsr.out_port), (3, openflow::OfPort::LOCAL));
}

#[test]
fn a_dumped_flow() {
    let parsed = parse_flow_mod(
        "arp,arp_tpa=1.2.3.4,actions=1",
        FlowModCommand::Add,
        Names::default(),
    );
    let fm = parsed.expect("it is right").flow_mod;
    let stats = FlowStats {
        match_: fm.match_,
        priority: 1,
        cookie: 0,
        table_id: 0,
        duration: Duration {
            sec: 4,
            nsec: 200_000_000,
        },
        idle_timeout: 0,
        hard_timeout: 0,
        idle_age: Some(4),
        hard_age: Some(3),
        packet_count: u64::MAX,
        byte_count: 60,
        flags: FlowFlags::empty(),
        importance: 0,
        acts: fm.acts,
    };
    let mut out = String::new();
    put_flow_stats(&mut out, &stats, Names::default(), true);
    assert_eq!(
        out,
        "cookie=0x0, duration=4.200s, table=0, n_packets=?, n_bytes=60, idle_age=4, hard_age=3, \
         priority=1,arp,arp_tpa=1.2.3.4 actions=output:1"
    );
}

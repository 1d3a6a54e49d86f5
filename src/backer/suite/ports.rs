//! Ports that are refused what they are asked for, and queues with a DSCP.

use super::rig::{Rig, eth};
use crate::{BackerError, IfaceConfig, PortConfig, QosConfig, QueueConfig};
use flow::OfPort;

fn faulty(rx_drop: &str) -> PortConfig {
    let iface = IfaceConfig::new("f", "fault").number(7);
    PortConfig::new(iface.option("pair", "f").option("rx_drop", rx_drop))
}

#[test]
fn what_cannot_be_as_asked_leaves_and_can_come_back() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 2);
    rig.port("br0", faulty("5"));
    let ports = rig.backer.show();
    assert!(ports.contains("f 7/"), "{ports}");
    for _ in 0..2 {
        let refused = rig.backer.port_set("br0", faulty("many")).unwrap_err();
        assert!(
            matches!(&refused, BackerError::Device { interface, .. } if interface == "f"),
            "{refused}"
        );
        assert!(
            dpif::Dpif::port_by_name(&*rig.dp, "f").is_err(),
            "not half of it"
        );
        assert!(rig.backer.bridge("br0").unwrap().iface("f").is_none());
    }
    rig.port("br0", faulty("6"));
    let iface = rig.backer.bridge("br0").unwrap().iface("f").unwrap();
    assert_eq!((iface.ofp, iface.odp), (OfPort(7), rig.odp("f")));
}

#[test]
fn packets_of_a_queue_leave_with_its_dscp() {
    let mut rig = Rig::new();
    rig.bridge("br0", "p", 3);
    rig.flow("br0", "in_port=1,actions=set_queue:3,output:2,output:3");
    let queue = |dscp| QueueConfig {
        dscp,
        ..QueueConfig::default()
    };
    let mut p2 = PortConfig::new(IfaceConfig::new("p2", "dummy").number(2));
    p2.qos = Some(QosConfig {
        kind: "linux-htb".to_owned(),
        queues: [(3, queue(Some(46))), (4, queue(None))].into(),
        ..QosConfig::default()
    });
    rig.port("br0", p2.clone());
    let mut packet = eth(1, 2);
    packet.truncate(12);
    packet.extend([
        8, 0, 0x45, 3, 0, 20, 0, 0, 0, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    packet.resize(60, 0);
    let tos = |rig: &mut Rig| -> Vec<(String, u8)> {
        let sent = rig.send("p1", &packet).into_iter();
        sent.map(|(port, bytes)| (port, bytes[15])).collect()
    };
    let expected = |p2: u8| vec![("p2".to_owned(), p2), ("p3".to_owned(), 3)];
    assert_eq!(tos(&mut rig), expected(46 << 2 | 3));
    p2.qos = None;
    rig.port("br0", p2);
    rig.settle();
    assert_eq!(tos(&mut rig), expected(3));
}

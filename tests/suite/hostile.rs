//! Packets that lie, through the live switch: none is lost without a reason, and others are not hurt.

use crate::kit::{Daemon, Lab, Raw, Stream, until};

/// Nobody has this address: hosts look at such frames and say nothing.
const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 3];

/// Sound beginnings of every protocol that is parsed, to be spoiled.
fn sound() -> Vec<Vec<u8>> {
    let ipv4 = |protocol: u8, rest: &[u8]| {
        let total = (20 + rest.len()) as u8;
        let head = [
            0x45, 0, 0, total, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 3, 192, 0, 2, 99,
        ];
        [&[8, 0][..], &head, rest].concat()
    };
    let ipv6 = |next: u8, rest: &[u8]| {
        let mut head = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, rest.len() as u8, next, 64];
        head.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        head.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 99]);
        [&head[..], rest].concat()
    };
    let tcp = [
        4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 16, 0, 0, 0, 0, 0,
    ];
    let udp = [4, 0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];
    let mut neighbour = vec![135, 0, 0, 0, 0, 0, 0, 0];
    neighbour.extend([0xfe; 16]);
    neighbour.extend([1, 1, 2, 0, 0, 0, 0, 3]);
    let extended = [&[6_u8, 0, 0, 0, 0, 0, 0, 0][..], &tcp].concat();
    let arp = [
        8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 3, 192, 0, 2, 3, 0, 0, 0, 0, 0, 0, 192, 0, 2,
        99,
    ];
    let tagged = |rest: &[u8]| [&[0x88, 0xa8, 0, 1, 0x81, 0, 0x20, 2][..], rest].concat();
    let frames = [
        ipv4(6, &tcp),
        ipv4(17, &udp),
        ipv4(1, &[8, 0, 0, 0, 0, 1, 0, 1]),
        ipv4(132, &[4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0]),
        ipv6(6, &tcp),
        ipv6(0, &extended),
        ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9, 4, 0, 0, 53, 0, 12, 0, 0]),
        ipv6(58, &neighbour),
        arp.to_vec(),
        tagged(&ipv4(6, &tcp)),
        [
            &[0x88, 0x47, 0, 0, 0x10, 64, 0, 0, 0x21, 64][..],
            &ipv4(6, &tcp)[2..],
        ]
        .concat(),
        vec![0x12, 0x34, 1, 2, 3],
        vec![0, 3, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45],
    ];
    frames.map(|f| [&ETHERNET[..], &f].concat()).to_vec()
}

/// Each sound frame cut off at every offset, and with every byte of its headers all ones and all zeroes.
fn spoiled() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for frame in sound() {
        all.extend((14..=frame.len()).map(|n| frame[..n].to_vec()));
        for at in 12..frame.len() {
            for value in [0, 0xff] {
                let mut lie = frame.clone();
                lie[at] = value;
                all.push(lie);
            }
        }
    }
    all
}

/// Sum of the drops that ports 3 and 4 account for.
fn dropped(switch: &Daemon) -> usize {
    let drops = switch.ask(&["drops"]);
    let ours = drops
        .lines()
        .filter(|l| l.starts_with("p3: ") || l.starts_with("p4: "));
    ours.filter_map(|l| l.rsplit(": ").next()?.parse::<usize>().ok())
        .sum()
}

fn config(class: &str) -> String {
    let port = |n, class| format!("[bridge.br0.port.p{n}]\nclass = \"{class}\"\n");
    let ports = [(1, "afxdp"), (2, "afxdp"), (3, class), (4, "afxdp")];
    let rules = "[bridge.br0]\nfail-mode = \"secure\"\nrules = [\"in_port=p1,actions=output:p2\", \
        \"in_port=p2,actions=output:p1\", \"in_port=p3,actions=output:p4\"]\n";
    rules.to_owned() + &ports.map(|(n, class)| port(n, class)).concat()
}

/// Packets that the device of host 4 received.
fn arrived(lab: &Lab) -> usize {
    let line = lab
        .host(4)
        .run("ip -s -o link show eth0 | sed 's/.*RX:[^\\\\]*\\\\ *[0-9]* *\\([0-9]*\\).*/\\1/'");
    line.trim()
        .parse()
        .unwrap_or_else(|e| unreachable!("{line}: {e}"))
}

/// Frames whose VLAN tag is cut off never get as far as a packet socket.
fn kernel_eats(frame: &[u8]) -> bool {
    frame.len() < 20 && [[0x88, 0xa8], [0x81, 0]].contains(&[frame[12], frame[13]])
}

fn takes_lies(class: &str) {
    let lab = Lab::new(4);
    let mut switch = Daemon::start(&lab, &config(class));
    lab.ping(1, 2);
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    let (mut host, before) = (Raw::on(lab.host(3)), arrived(&lab) + dropped(&switch));
    let mut sent = 0;
    for frame in spoiled() {
        let taken = host.send(&frame);
        sent += usize::from(taken && (class == "afxdp" || !kernel_eats(&frame)));
    }
    assert!(sent > 1000);
    let account = || (arrived(&lab) + dropped(&switch) - before, sent);
    let mut last = (0, 0);
    until("nothing moves any more", || {
        let before = std::mem::replace(&mut last, account());
        last.0 == last.1 || last == before && last.0 > 0
    });
    assert_eq!(
        last.0,
        last.1,
        "forwarded or dropped for a reason; {}",
        switch.ask(&["drops"])
    );
    assert!(switch.alive());
    let count = stream.stop();
    assert_eq!(count.lost, 0, "of {} on the other ports", count.sent);
}

#[test]
fn truncated_and_lying_headers_on_afxdp() {
    takes_lies("afxdp");
}

#[test]
fn truncated_and_lying_headers_on_a_packet_socket() {
    takes_lies("system");
}

#[test]
fn frames_too_long_for_their_way_out_are_dropped_and_counted() {
    let lab = Lab::new(4);
    lab.host(3).run("ip link set eth0 mtu 9000");
    lab.switch.run("ip link set p3 mtu 9000");
    let mut switch = Daemon::start(&lab, &config("system"));
    lab.ping(1, 2);
    let stream = Stream::new(lab.host(1), lab.host(2), "192.0.2.2");
    let mut host = Raw::on(lab.host(3));
    let frame = [&ETHERNET[..], &[0x88, 0xb5], &[7; 8986]].concat();
    for _ in 0..50 {
        assert!(host.send(&frame));
    }
    until("all are counted", || dropped(&switch) == 50);
    println!("{}", switch.ask(&["drops"]));
    assert!(switch.alive());
    assert_eq!(stream.stop().lost, 0);
}

//! The one process-wide setting, in a process of its own.

use flow::dpkey::format_key;
use flow::{Flow, Metadata, NoOdpNames, extract, set_vlan_limit};

#[test]
fn tags_behind_the_limit_are_payload() {
    let mut packet = vec![0; 12];
    packet.extend([0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x88, 0xcc]);
    let flow = |limit| {
        set_vlan_limit(limit);
        let mut f = Flow::zero();
        let layers = extract(&packet, &Metadata::default(), &mut f);
        let mut text = String::new();
        format_key(&mut text, (&f, None), &NoOdpNames, true);
        let tail = text.find(",eth_type").map(|at| text[at..].to_owned());
        (
            [f.vlans[0].vid(), f.vlans[1].vid()],
            f.dl_type.get(),
            layers.l3,
            tail.unwrap_or_default(),
        )
    };
    let one = ",eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100))";
    let two = ",eth_type(0x88a8),vlan(vid=5,pcp=0),encap(eth_type(0x8100),vlan(vid=6,pcp=0),\
               encap(eth_type(0x88cc)))";
    assert_eq!(flow(1), ([5, 0], 0x8100, 18, one.into()));
    assert_eq!(flow(2), ([5, 6], 0x88cc, 22, two.into()));
    assert_eq!(flow(0), flow(2));
}

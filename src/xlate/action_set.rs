//! The order in which an action set is executed (OpenFlow 1.5.1, 5.6), as Open vSwitch has it: of most
//! actions only the last instance counts, `set` actions are all done in their own order, and one final
//! action decides where the packet goes. Without a final action nothing is done at all.

use openflow::Act;

/// Where an action goes.
enum Class {
    /// Only the last of each is done, in this order.
    Slot(usize),
    /// All are done, in their order.
    Set,
    /// Only the one of the highest rank is done, the last of equals.
    Final(u8),
    /// Does not belong into an action set.
    Invalid,
}

const SLOTS: usize = 9;

fn classify(act: &Act) -> Class {
    use Class::{Final, Invalid, Set, Slot};
    match act {
        Act::StripVlan { .. } => Slot(0),
        Act::PopMpls { .. } => Slot(1),
        Act::Decap { .. } => Slot(2),
        Act::Encap { .. } => Slot(3),
        Act::PushMpls { .. } => Slot(4),
        Act::PushVlan { .. } => Slot(5),
        Act::DecTtl { .. } => Slot(6),
        Act::DecMplsTtl => Slot(7),
        Act::DecNshTtl => Slot(8),
        Act::Ct(_) => Final(0),
        Act::CtClear => Final(1),
        Act::Resubmit { .. } => Final(2),
        Act::Output { .. } => Final(3),
        Act::Group(_) => Final(4),
        Act::SetField { .. }
        | Act::RegMove { .. }
        | Act::SetEthDst(_)
        | Act::SetEthSrc(_)
        | Act::SetIpDscp(_)
        | Act::SetIpEcn(_)
        | Act::SetIpTtl(_)
        | Act::SetIpv4Dst(_)
        | Act::SetIpv4Src(_)
        | Act::SetL4DstPort { .. }
        | Act::SetL4SrcPort { .. }
        | Act::SetMplsLabel(_)
        | Act::SetMplsTc(_)
        | Act::SetMplsTtl(_)
        | Act::SetQueue(_)
        | Act::SetTunnel { .. }
        | Act::SetVlanPcp { .. }
        | Act::SetVlanVid { .. } => Set,
        _ => Invalid,
    }
}

/// The list of actions that a set amounts to.
pub(crate) fn in_order(set: &[Act]) -> Vec<Act> {
    let mut slots: [Option<&Act>; SLOTS] = [None; SLOTS];
    let mut sets = Vec::new();
    let mut last: Option<(u8, &Act)> = None;
    for act in set {
        match classify(act) {
            Class::Slot(i) => slots[i] = Some(act),
            Class::Set => sets.push(act),
            Class::Final(rank) => {
                if last.is_none_or(|(best, _)| rank >= best) {
                    last = Some((rank, act));
                }
            }
            Class::Invalid => {}
        }
    }
    let Some((_, last)) = last else {
        return Vec::new();
    };
    slots
        .into_iter()
        .flatten()
        .chain(sets)
        .chain([last])
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::OfPort;

    #[test]
    fn the_order_is_that_of_the_specification() {
        let out = |p| Act::Output {
            port: OfPort(p),
            max_len: 0,
        };
        let set = [
            out(1),
            Act::SetQueue(7),
            Act::PushVlan { ethertype: 0x8100 },
            Act::StripVlan { pop: true },
            Act::PushVlan { ethertype: 0x88a8 },
            out(2),
            Act::SetQueue(8),
        ];
        assert_eq!(
            in_order(&set),
            [
                Act::StripVlan { pop: true },
                Act::PushVlan { ethertype: 0x88a8 },
                Act::SetQueue(7),
                Act::SetQueue(8),
                out(2)
            ]
        );
        assert!(in_order(&set[1..5]).is_empty());
        assert_eq!(in_order(&[Act::Group(3), out(1)]), [Act::Group(3)]);
    }
}

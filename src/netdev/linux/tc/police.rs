//! Ingress policing by the kernel: the ingress qdisc with one filter whose action is `police`. It holds for what
//! the host's own stack would get from the device; packets for the switch are policed by the switch.

use super::message::{INGRESS_HANDLE, INGRESS_SIDE, TCA_KIND, TCA_OPTIONS, header, string};
use super::units::{Rate, Scale};
use crate::linux::netlink::{attribute, nest};
use crate::qos::PolicingRates;

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MATCHALL_ACT: u16 = 2;
const TCA_BASIC_ACT: u16 = 3;
const TCA_POLICE_TBF: u16 = 1;
const TCA_POLICE_RATE: u16 = 2;
const TCA_POLICE_RESULT: u16 = 5;
const TCA_POLICE_RATE64: u16 = 8;
const TCA_POLICE_PKTRATE64: u16 = 10;
const TCA_POLICE_PKTBURST64: u16 = 11;
/// `TC_POLICE_SHOT`.
const SHOT: u32 = 2;
/// `TC_ACT_UNSPEC`: go on with the next filter.
const GO_ON: u32 = u32::MAX;
/// Largest packet that is not dropped for its size.
const MTU: u32 = 65_535;
/// `ETH_P_ALL`.
const ALL: u16 = 3;

/// Which filter carries the action: newer kernels have `matchall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Matchall,
    Basic,
}

impl Filter {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Matchall => "matchall",
            Self::Basic => "basic",
        }
    }
}

/// The request that adds the filter to device `index`.
pub(super) fn request(index: u32, filter: Filter, rates: &PolicingRates, scale: Scale) -> Vec<u8> {
    let (handle, parent, priority, action) = match filter {
        Filter::Matchall => (1, INGRESS_SIDE, 1, TCA_MATCHALL_ACT),
        Filter::Basic => (0, INGRESS_HANDLE, 49, TCA_BASIC_ACT),
    };
    let info = priority << 16 | u32::from(ALL.to_be());
    let mut body = header(index, handle, parent, info);
    attribute(&mut body, TCA_KIND, &string(filter.name()));
    nest(&mut body, TCA_OPTIONS, |b| {
        nest(b, action, |b| {
            // The first action.
            nest(b, 1, |b| {
                attribute(b, TCA_ACT_KIND, &string("police"));
                nest(b, TCA_ACT_OPTIONS, |b| put_police(b, rates, scale));
            });
        });
    });
    body
}

fn put_police(body: &mut Vec<u8>, rates: &PolicingRates, scale: Scale) {
    let rate = Rate::new(u64::from(rates.kbits_rate) * 1000 / 8, MTU);
    if rate.rate > 0 {
        attribute(body, TCA_POLICE_RATE, &rate.table(scale));
        if rate.is_wide() {
            attribute(body, TCA_POLICE_RATE64, &rate.rate.to_ne_bytes());
        }
    }
    if rates.kpkts_rate > 0 {
        let [packets, burst] = [rates.kpkts_rate, rates.kpkts_burst].map(|n| u64::from(n) * 1000);
        let burst = scale.ticks64(packets, burst);
        attribute(body, TCA_POLICE_PKTRATE64, &packets.to_ne_bytes());
        attribute(body, TCA_POLICE_PKTBURST64, &burst.to_ne_bytes());
    }
    // `tc` shows a kbit of burst as 1024 bits.
    let burst = scale.ticks(rate.rate, u64::from(rates.kbits_burst) * 1024 / 8);
    // struct tc_police: index, action, limit, burst, mtu; rate, peak rate; references, bindings, capabilities.
    let mut police: Vec<u8> = [0, SHOT, 0, burst, MTU]
        .iter()
        .flat_map(|n| n.to_ne_bytes())
        .collect();
    police.extend(if rate.rate > 0 { rate.bytes() } else { [0; 12] });
    police.extend([0; 12 + 12]);
    attribute(body, TCA_POLICE_TBF, &police);
    attribute(body, TCA_POLICE_RESULT, &GO_ON.to_ne_bytes());
}

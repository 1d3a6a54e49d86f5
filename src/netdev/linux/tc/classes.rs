//! Classes of HTB and HFSC: one for each queue, 1:(queue + 1), under an inner one, 1:fffe, that bounds them all.

use super::discipline::{Discipline, Kind, number};
use super::message::{Object, TCA_KIND, TCA_OPTIONS, handle, string};
use super::units::{Rate, Scale};
use crate::device::QosDetails;
use crate::linux::netlink::{attribute, nest, u32_at};

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_CTAB: u16 = 3;
const TCA_HTB_RTAB: u16 = 4;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
const TCA_HFSC_RSC: u16 = 1;
const TCA_HFSC_FSC: u16 = 2;
const TCA_HFSC_USC: u16 = 3;

/// A class may send a tenth of its rate at a time.
pub(super) const RATE2QUANTUM: u32 = 10;
/// Bytes of headers that a burst must have room for besides the MTU.
const HEADROOM: u64 = 64;

/// The inner class, and the qdisc itself.
pub(super) const INNER: u32 = handle(1, 0xfffe);
pub(super) const QDISC: u32 = handle(1, 0);

/// The class of a queue.
pub(super) const fn of_queue(queue: u32) -> u32 {
    QDISC | (queue + 1)
}

/// The class of a queue; `None` for numbers that no queue can have.
pub(in crate::linux) fn class_of_queue(queue: u32) -> Option<u32> {
    (queue < super::discipline::QUEUES_MAX).then(|| of_queue(queue))
}

/// The queue of a class; `None` for the inner one and foreign ones.
pub(super) fn queue_of(class: u32) -> Option<u32> {
    let minor = class & 0xffff;
    let ours = class >> 16 == 1 && (1..=super::discipline::QUEUES_MAX).contains(&minor);
    ours.then(|| minor - 1)
}

/// What a class gets. Rates in bytes a second, the burst in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Share {
    pub(super) min_rate: u64,
    pub(super) max_rate: u64,
    pub(super) burst: u64,
    pub(super) priority: u32,
}

impl Share {
    /// Of everything.
    pub(super) fn whole(d: &Discipline) -> Self {
        Self {
            min_rate: d.max_rate,
            max_rate: d.max_rate,
            ..Self::default()
        }
    }

    /// From the Queue table.
    pub(super) fn new(d: &Discipline, details: &QosDetails, mtu: u32) -> Self {
        // HTB sends nothing at all for a class that cannot send a packet in a second.
        let least = match d.kind {
            Kind::Htb => u64::from(mtu),
            _ => 1,
        };
        let all = d.max_rate;
        let min_rate = (number(details, "min-rate") / 8).max(least).min(all);
        let max_rate = match number(details, "max-rate") {
            0 => all,
            bits => (bits / 8).max(min_rate).min(all),
        };
        match d.kind {
            Kind::Htb => Self {
                min_rate,
                max_rate,
                burst: (number(details, "burst") / 8).max(u64::from(mtu) + HEADROOM),
                priority: u32::try_from(number(details, "priority")).unwrap_or(u32::MAX),
            },
            _ => Self {
                min_rate,
                max_rate,
                ..Self::default()
            },
        }
    }

    /// As the database has it.
    pub(super) fn details(&self, kind: Kind) -> QosDetails {
        let mut out = QosDetails::new();
        let mut put = |key: &str, n: u64| out.insert(key.to_owned(), n.to_string());
        put("min-rate", self.min_rate.saturating_mul(8));
        if self.min_rate != self.max_rate {
            put("max-rate", self.max_rate.saturating_mul(8));
        }
        if kind == Kind::Htb {
            put("burst", self.burst.saturating_mul(8));
            if self.priority != 0 {
                put("priority", self.priority.into());
            }
        }
        out
    }

    /// Appends `TCA_KIND` and `TCA_OPTIONS` of the class.
    pub(super) fn put(&self, body: &mut Vec<u8>, kind: Kind, mtu: u32, scale: Scale) {
        attribute(body, TCA_KIND, &string(kind.kernel_name()));
        nest(body, TCA_OPTIONS, |b| match kind {
            Kind::Htb => self.put_htb(b, mtu, scale),
            _ => {
                let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
                // struct tc_service_curve: m1, d, m2; a straight line.
                let curve = |rate: u64| [0, 0, narrow(rate)].map(u32::to_ne_bytes).concat();
                attribute(b, TCA_HFSC_RSC, &curve(self.min_rate));
                attribute(b, TCA_HFSC_FSC, &curve(self.min_rate));
                attribute(b, TCA_HFSC_USC, &curve(self.max_rate));
            }
        });
    }

    fn put_htb(&self, body: &mut Vec<u8>, mtu: u32, scale: Scale) {
        let [rate, ceil] = [self.min_rate, self.max_rate].map(|r| Rate::new(r, mtu));
        // At least a packet at a time.
        let small = rate.rate / u64::from(RATE2QUANTUM) < u64::from(mtu);
        let numbers = [
            scale.buffer(rate.rate, mtu, self.burst),
            scale.buffer(ceil.rate, mtu, self.burst),
            if small { mtu } else { 0 },
            0, // level
            self.priority,
        ];
        // struct tc_htb_opt.
        let mut options = [rate.bytes(), ceil.bytes()].concat();
        options.extend(numbers.iter().flat_map(|n| n.to_ne_bytes()));
        attribute(body, TCA_HTB_PARMS, &options);
        for (kind, rate) in [(TCA_HTB_RATE64, rate), (TCA_HTB_CEIL64, ceil)] {
            if rate.is_wide() {
                attribute(body, kind, &rate.rate.to_ne_bytes());
            }
        }
        attribute(body, TCA_HTB_RTAB, &rate.table(scale));
        attribute(body, TCA_HTB_CTAB, &ceil.table(scale));
    }

    /// What the kernel says of a class; `None` for one that is not as ours are.
    pub(super) fn read(object: &Object, kind: Kind, scale: Scale) -> Option<Self> {
        if kind == Kind::Htb {
            let options = object.option(TCA_HTB_PARMS)?;
            let wide = |attribute, narrow: usize| {
                let wide = object
                    .option(attribute)
                    .and_then(|v| v.get(..8)?.try_into().ok());
                let wide = wide.map(u64::from_ne_bytes);
                wide.or_else(|| u32_at(options, narrow).map(u64::from))
            };
            let min_rate = wide(TCA_HTB_RATE64, 8)?;
            return Some(Self {
                min_rate,
                max_rate: wide(TCA_HTB_CEIL64, 20)?,
                burst: scale.bytes(min_rate, u32_at(options, 24)?),
                priority: u32_at(options, 40)?,
            });
        }
        let curve = |attribute| -> Option<[u32; 3]> {
            let c = object.option(attribute)?;
            Some([u32_at(c, 0)?, u32_at(c, 4)?, u32_at(c, 8)?])
        };
        let [rsc, fsc, usc] = [
            curve(TCA_HFSC_RSC)?,
            curve(TCA_HFSC_FSC)?,
            curve(TCA_HFSC_USC)?,
        ];
        let straight = [rsc, fsc, usc].iter().all(|c| c[..2] == [0, 0]);
        (straight && rsc == fsc && rsc[2] <= usc[2]).then(|| Self {
            min_rate: rsc[2].into(),
            max_rate: usc[2].into(),
            ..Self::default()
        })
    }
}

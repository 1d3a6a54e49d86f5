//! The disciplines of the QoS table that Linux has: settings to the kernel's options, and back.
//!
//! | name | settings |
//! |---|---|
//! | `linux-htb`, `linux-hfsc` | `max-rate` (bit/s); 0 or none: the link's speed |
//! | `linux-codel` | `target`, `interval` (us), `limit` (packets) |
//! | `linux-fq_codel` | the same, `flows`, `quantum` (bytes) |
//! | `linux-sfq` | `perturb` (s), `quantum` (bytes) |
//! | `linux-netem` | `latency` (us), `limit` (packets), `loss` (percent) |
//! | `linux-noop` | none: whatever is there stays |

use super::message::{Object, TCA_KIND, TCA_OPTIONS, string};
use super::units::Scale;
use crate::device::QosDetails;
use crate::linux::netlink::{attribute, nest, u32_at};

/// Queues of the disciplines with classes.
pub(super) const QUEUES_MAX: u32 = 0xf000;
/// Speed of a link that does not say, bit/s.
pub(super) const DEFAULT_SPEED: u64 = 100_000_000;

const TCA_HTB_INIT: u16 = 2;

/// A kind of discipline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Htb,
    Hfsc,
    Codel,
    FqCodel,
    Sfq,
    Netem,
    Noop,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Htb,
        Self::Hfsc,
        Self::Codel,
        Self::FqCodel,
        Self::Sfq,
        Self::Netem,
        Self::Noop,
    ];
    /// As the database names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Htb => "linux-htb",
            Self::Hfsc => "linux-hfsc",
            Self::Codel => "linux-codel",
            Self::FqCodel => "linux-fq_codel",
            Self::Sfq => "linux-sfq",
            Self::Netem => "linux-netem",
            Self::Noop => "linux-noop",
        }
    }
    /// As the kernel names it: the same behind `linux-`.
    pub(super) fn kernel_name(self) -> &'static str {
        &self.name()["linux-".len()..]
    }
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
    /// `None` for qdiscs that are not of the QoS table.
    pub(super) fn by_kernel_name(name: &str) -> Option<Self> {
        let mut kinds = Self::ALL.into_iter().filter(|k| *k != Self::Noop);
        kinds.find(|k| k.kernel_name() == name)
    }
    /// Packets are told apart by classes, one for each queue.
    pub(super) const fn has_classes(self) -> bool {
        matches!(self, Self::Htb | Self::Hfsc)
    }
    /// Settings in the order of [`Settings`], with what each is when it is not said, or 0.
    const fn keys(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Codel => &[("target", 5000), ("limit", 10_240), ("interval", 100_000)],
            Self::FqCodel => &[
                ("target", 5000),
                ("limit", 10_240),
                ("interval", 1_000_000),
                ("flows", 1024),
                ("quantum", 1514),
            ],
            Self::Sfq => &[("perturb", 10), ("quantum", 0)],
            Self::Netem => &[("latency", 0), ("limit", 1000), ("loss", 0)],
            Self::Htb | Self::Hfsc | Self::Noop => &[],
        }
    }
}

/// A discipline with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Discipline {
    pub(super) kind: Kind,
    /// Of those with classes, bytes a second.
    pub(super) max_rate: u64,
    /// Of the others, by [`Kind::keys`].
    settings: Vec<u32>,
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadSetting {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) expected: &'static str,
}

/// The number under `key`, 0 when there is none or it is no number.
pub(super) fn number(details: &QosDetails, key: &str) -> u64 {
    details.get(key).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Keys whose values are no numbers, to be named: they count as 0.
pub(super) fn unreadable(details: &QosDetails) -> impl Iterator<Item = (&String, &String)> {
    let known = |key: &str| {
        let mut keys = Kind::ALL.iter().flat_map(|k| k.keys());
        ["min-rate", "max-rate", "burst", "priority"].contains(&key) || keys.any(|(k, _)| *k == key)
    };
    let settings = details.iter().filter(move |(key, _)| known(key));
    settings.filter(|(_, value)| value.parse::<u64>().is_err())
}

impl Discipline {
    /// From the database; `speed` is the link's in bit/s, `mtu` in bytes.
    pub(super) fn new(
        kind: Kind,
        details: &QosDetails,
        speed: u64,
        mtu: u32,
    ) -> Result<Self, BadSetting> {
        let max_rate = match number(details, "max-rate") / 8 {
            0 => speed / 8,
            rate => rate,
        };
        let settings = kind.keys().iter().map(|(key, default)| {
            match u32::try_from(number(details, key)).unwrap_or(u32::MAX) {
                0 if kind == Kind::Sfq && *key == "quantum" => mtu,
                0 => *default,
                n => n,
            }
        });
        let new = Self {
            kind,
            max_rate: if kind.has_classes() { max_rate } else { 0 },
            settings: settings.collect(),
        };
        if kind == Kind::Netem && new.settings[2] > 100 {
            return Err(BadSetting {
                key: "loss",
                value: new.settings[2].to_string(),
                expected: "a percentage from 0 to 100",
            });
        }
        Ok(new)
    }

    /// As the database has it.
    pub(super) fn details(&self) -> QosDetails {
        let settings = std::iter::zip(self.kind.keys(), &self.settings);
        let mut out: QosDetails = settings
            .map(|((key, _), n)| ((*key).to_owned(), n.to_string()))
            .collect();
        if self.kind.has_classes() {
            let bits = self.max_rate.saturating_mul(8);
            out.insert("max-rate".to_owned(), bits.to_string());
        }
        out
    }

    /// Appends `TCA_KIND` and `TCA_OPTIONS` of the root qdisc.
    pub(super) fn put(&self, body: &mut Vec<u8>, scale: Scale) {
        attribute(body, TCA_KIND, &string(self.kind.kernel_name()));
        let s = &self.settings;
        let structure =
            |numbers: &[u32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_ne_bytes()).collect() };
        match self.kind {
            // struct tc_htb_glob: version, rate2quantum, default class, debug, direct packets.
            Kind::Htb => nest(body, TCA_OPTIONS, |b| {
                attribute(
                    b,
                    TCA_HTB_INIT,
                    &structure(&[3, super::classes::RATE2QUANTUM, 1, 0, 0]),
                );
            }),
            // struct tc_hfsc_qopt: default class.
            Kind::Hfsc => attribute(body, TCA_OPTIONS, &1u16.to_ne_bytes()),
            Kind::Codel => nest(body, TCA_OPTIONS, |b| put_numbers(b, &[1, 2, 3], s)),
            Kind::FqCodel => nest(body, TCA_OPTIONS, |b| put_numbers(b, &[1, 2, 3, 5, 6], s)),
            // struct tc_sfq_qopt: quantum, perturb period, limit, divisor, flows.
            Kind::Sfq => attribute(body, TCA_OPTIONS, &structure(&[s[1], s[0], 0, 0, 0])),
            // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
            Kind::Netem => {
                let loss = u64::from(u32::MAX) * u64::from(s[2]) / 100;
                let latency = scale.ticks_of_us(s[0]);
                let numbers = [latency, s[1], loss as u32, 0, 0, 0];
                attribute(body, TCA_OPTIONS, &structure(&numbers));
            }
            Kind::Noop => {}
        }
    }

    /// What the kernel says is there. Of disciplines with classes the rate is that of the inner class, which the
    /// caller adds.
    pub(super) fn read(object: &Object, scale: Scale) -> Option<Self> {
        let kind = Kind::by_kernel_name(&object.kind)?;
        let at = |i: usize| u32_at(&object.options, 4 * i).unwrap_or(0);
        let option = |n: &u16| object.option_u32(*n).unwrap_or(0);
        let settings = match kind {
            Kind::Codel => [1, 2, 3].iter().map(option).collect(),
            Kind::FqCodel => [1, 2, 3, 5, 6].iter().map(option).collect(),
            Kind::Sfq => vec![at(1), at(0)],
            Kind::Netem => {
                // Rounded, as a percentage went in and was cut.
                let loss = (u64::from(at(2)) * 100).div_ceil(u64::from(u32::MAX));
                vec![scale.us_of_ticks(at(0)), at(1), loss as u32]
            }
            Kind::Htb | Kind::Hfsc | Kind::Noop => Vec::new(),
        };
        Some(Self {
            kind,
            max_rate: 0,
            settings,
        })
    }
}

fn put_numbers(body: &mut Vec<u8>, kinds: &[u16], numbers: &[u32]) {
    for (kind, n) in std::iter::zip(kinds, numbers) {
        attribute(body, *kind, &n.to_ne_bytes());
    }
}

//! Ingress policing (`ingress_policing_*` of the Interface table): what comes in faster than that is dropped.

use super::meter::SingleRate;

/// Burst of a rate without one, kbit and kpkt.
const BURST_KBITS: u32 = 8000;
const BURST_KPKTS: u32 = 16;

/// What is configured: zero rates for off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PolicingRates {
    pub(crate) kbits_rate: u32,
    pub(crate) kbits_burst: u32,
    pub(crate) kpkts_rate: u32,
    pub(crate) kpkts_burst: u32,
}

impl PolicingRates {
    /// With the defaults of bursts; a burst without a rate is nothing.
    pub(crate) fn new([kbits_rate, kbits_burst, kpkts_rate, kpkts_burst]: [u32; 4]) -> Self {
        let burst = |rate, burst, default| match (rate, burst) {
            (0, _) => 0,
            (_, 0) => default,
            _ => burst,
        };
        Self {
            kbits_rate,
            kbits_burst: burst(kbits_rate, kbits_burst, BURST_KBITS),
            kpkts_rate,
            kpkts_burst: burst(kpkts_rate, kpkts_burst, BURST_KPKTS),
        }
    }
    pub(crate) const fn is_off(&self) -> bool {
        self.kbits_rate == 0 && self.kpkts_rate == 0
    }
}

/// The policer.
#[derive(Debug)]
pub(super) struct Policer {
    bytes: Option<SingleRate>,
    packets: Option<SingleRate>,
}

impl Policer {
    /// `None` when nothing is to be policed.
    pub(super) fn new(rates: &PolicingRates, now_ns: u64) -> Option<Self> {
        let meter = |rate: u32, burst: u32, unit: fn(u64) -> u64| {
            let of = |n| unit(u64::from(n) * 1000);
            (rate > 0).then(|| SingleRate::new(of(rate), of(burst), 0, now_ns))
        };
        (!rates.is_off()).then(|| Self {
            bytes: meter(rates.kbits_rate, rates.kbits_burst, |bits| bits / 8),
            packets: meter(rates.kpkts_rate, rates.kpkts_burst, |n| n),
        })
    }

    pub(super) fn update(&mut self, now_ns: u64) {
        for meter in [&mut self.bytes, &mut self.packets].into_iter().flatten() {
            meter.update(now_ns);
        }
    }

    /// True when a packet of `bytes` may pass. One that may not costs nothing.
    pub(super) fn passes(&mut self, bytes: u64) -> bool {
        let green = |m: &Option<SingleRate>, n| m.as_ref().is_none_or(|m| m.is_green(n));
        let passes = green(&self.bytes, bytes) && green(&self.packets, 1);
        if passes {
            for (meter, n) in [(&mut self.bytes, bytes), (&mut self.packets, 1)] {
                if let Some(meter) = meter {
                    meter.mark(n);
                }
            }
        }
        passes
    }
}

//! A fault port's options.

use super::pipe::Faults;
use crate::device::Config;
use crate::error::NetdevError;

/// A rate means "of so many packets".
const MILLION: u32 = 1_000_000;
/// Longest delay, milliseconds.
const DELAY_MAX_MS: u32 = 3_600_000;

/// What a fault port is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) device: Option<String>,
    pub(super) class: String,
    pub(super) pair: Option<String>,
    pub(super) seed: u64,
    pub(super) rx: Faults,
    pub(super) tx: Faults,
    /// For the port behind.
    pub(super) rest: Config,
}

impl Options {
    /// Reads the options of port `dev`.
    pub(super) fn parse(dev: &str, config: &Config) -> Result<Self, NetdevError> {
        let mut out = Self::default();
        for (key, value) in config {
            let bad = |expected: &str| NetdevError::BadOption {
                dev: dev.to_owned(),
                key: key.clone(),
                value: value.clone(),
                expected: expected.to_owned(),
            };
            match key.as_str() {
                "device" => out.device = Some(value.clone()),
                "class" => out.class.clone_from(value),
                "pair" => out.pair = Some(value.clone()),
                "seed" => out.seed = value.parse().map_err(|_| bad("a number"))?,
                _ => out.fault(key, value).map_err(|e| bad(&e))?,
            }
        }
        match (&out.device, &out.pair) {
            (Some(_), None) | (None, Some(_)) => Ok(out),
            _ => Err(NetdevError::BadConfig {
                text: format!("{dev}: fault type requires one of 'device' and 'pair'"),
                errno: libc::EINVAL,
            }),
        }
    }

    /// Sets one fault, or keeps the option for the port behind.
    fn fault(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (name, rx, tx) = match (key.strip_prefix("rx_"), key.strip_prefix("tx_")) {
            (Some(name), _) => (name, true, false),
            (_, Some(name)) => (name, false, true),
            _ => (key, true, true),
        };
        let mut known = false;
        for (wanted, faults) in [(rx, &mut self.rx), (tx, &mut self.tx)] {
            if wanted && let Some((place, max)) = field(faults, name) {
                known = true;
                let number = value.parse().ok().filter(|n| *n <= max);
                *place = number.ok_or_else(|| format!("a number up to {max}"))?;
            }
        }
        if !known {
            self.rest.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }
}

/// The field of that name, and its largest value.
fn field<'a>(f: &'a mut Faults, name: &str) -> Option<(&'a mut u32, u32)> {
    Some(match name {
        "drop" => (&mut f.drop, MILLION),
        "corrupt" => (&mut f.corrupt, MILLION),
        "truncate" => (&mut f.truncate, MILLION),
        "duplicate" => (&mut f.duplicate, MILLION),
        "delay" => (&mut f.delay, MILLION),
        "reorder" => (&mut f.reorder, MILLION),
        "stall" => (&mut f.stall, MILLION),
        "delay_ms" => (&mut f.delay_ms, DELAY_MAX_MS),
        "stall_ms" => (&mut f.stall_ms, DELAY_MAX_MS),
        _ => return None,
    })
}

//! Options of `dpdk` ports.

use crate::device::Config;
use crate::error::NetdevError;

/// Queues of each kind that can be asked for.
const QUEUES_MAX: u32 = 64;
/// Descriptors a queue can have, and has when nobody says.
const DESCRIPTORS_MAX: u32 = 4096;
const DESCRIPTORS: u32 = 2048;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) devargs: String,
    pub(super) n_rxq: u32,
    /// At least so many; one for each packet thread and one for the others are had anyway.
    pub(super) n_txq: u32,
    pub(super) rxd: u32,
    pub(super) txd: u32,
    pub(super) lsc_interrupt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            devargs: String::new(),
            n_rxq: 1,
            n_txq: 1,
            rxd: DESCRIPTORS,
            txd: DESCRIPTORS,
            lsc_interrupt: false,
        }
    }
}

impl Options {
    /// Reads options; keys that mean nothing here are returned.
    pub(super) fn parse(dev: &str, config: &Config) -> Result<(Self, Vec<String>), NetdevError> {
        let mut o = Self::default();
        let mut unknown = Vec::new();
        for (key, value) in config {
            let bad = |expected: String| NetdevError::BadOption {
                dev: dev.to_owned(),
                key: key.clone(),
                value: value.clone(),
                expected,
            };
            let number = |max: u32| value.parse().ok().filter(|n| (1..=max).contains(n));
            let queues = || {
                number(u32::from(u16::MAX))
                    .map(|n| n.min(QUEUES_MAX))
                    .ok_or_else(|| bad("a number of queues from 1 on".to_owned()))
            };
            let descriptors = || {
                number(DESCRIPTORS_MAX)
                    .filter(|n| n.is_power_of_two())
                    .ok_or_else(|| bad(format!("a power of 2 up to {DESCRIPTORS_MAX}")))
            };
            match key.as_str() {
                "dpdk-devargs" => o.devargs.clone_from(value),
                "n_rxq" => o.n_rxq = queues()?,
                "n_txq" => o.n_txq = queues()?,
                "n_rxq_desc" => o.rxd = descriptors()?,
                "n_txq_desc" => o.txd = descriptors()?,
                "dpdk-lsc-interrupt" => o.lsc_interrupt = value == "true",
                _ => unknown.push(key.clone()),
            }
        }
        if o.devargs.is_empty() {
            return Err(NetdevError::BadConfig {
                text: format!(
                    "'{dev}' is missing 'options:dpdk-devargs'. The old 'dpdk<port_id>' names are not supported"
                ),
                errno: libc::EINVAL,
            });
        }
        Ok((o, unknown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<(Options, Vec<String>), NetdevError> {
        let config = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Options::parse("p9", &config)
    }

    #[test]
    fn options_and_unknown_keys() {
        let (o, unknown) = parse(&[
            ("dpdk-devargs", "net_null0,size=64"),
            ("n_rxq", "4"),
            ("n_txq", "1000"),
            ("n_rxq_desc", "512"),
            ("color", "red"),
        ])
        .unwrap();
        assert_eq!(
            (o.n_rxq, o.n_txq, o.rxd, o.txd),
            (4, QUEUES_MAX, 512, DESCRIPTORS)
        );
        assert_eq!(
            (o.devargs.as_str(), unknown),
            ("net_null0,size=64", vec!["color".to_owned()])
        );
    }

    #[test]
    fn impossible_values_are_named() {
        for (key, value) in [
            ("n_rxq", "0"),
            ("n_txq_desc", "1000"),
            ("n_rxq_desc", "8192"),
        ] {
            let e = parse(&[("dpdk-devargs", "x"), (key, value)]).unwrap_err();
            let e = e.to_string();
            assert!(
                e.contains("p9") && e.contains(key) && e.contains(value),
                "{e}"
            );
        }
        let e = parse(&[]).unwrap_err().to_string();
        assert!(e.contains("dpdk-devargs"), "{e}");
    }
}

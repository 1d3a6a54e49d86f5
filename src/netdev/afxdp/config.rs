//! Options of an `afxdp` port, in Open vSwitch's spelling.

use super::{QUEUES_MAX, RING_SIZE, TX_BUDGET_MIN};
use crate::device::Config;
use crate::error::NetdevError;

/// How packets reach us, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the driver, frames written by the device into our memory.
    NativeZeroCopy,
    /// In the driver, frames copied.
    Native,
    /// In the network stack: any device, slower.
    Generic,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::NativeZeroCopy, Self::Native, Self::Generic];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NativeZeroCopy => "native-with-zerocopy",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Something that is used when it can be had and pays, unless the operator says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Choice {
    /// As we see fit.
    #[default]
    Auto,
    /// Always; a kernel that cannot do it refuses the port.
    On,
    /// Never.
    Off,
}

impl Choice {
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "true",
            Self::Off => "false",
        }
    }

    fn parse(value: &str) -> Option<Self> {
        let all = [Self::Auto, Self::On, Self::Off];
        all.into_iter().find(|c| c.name() == value)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// `None` is best-effort: the first mode of [`Mode::ALL`] that works.
    pub(super) mode: Option<Mode>,
    pub(super) need_wakeup: bool,
    pub(super) n_rxq: u32,
    /// The packet thread runs the device's receive side itself, when it finds nothing.
    pub(super) busy_poll: Choice,
    /// Packets may span several buffers.
    pub(super) multi_buffer: Choice,
    /// Ports share memory, so that one sends from where another received.
    pub(super) shared_umem: Choice,
    /// Descriptors that one wakeup may send in copy mode; `None` is a whole ring.
    pub(super) tx_budget: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: None,
            need_wakeup: true,
            n_rxq: 1,
            busy_poll: Choice::Auto,
            multi_buffer: Choice::Auto,
            shared_umem: Choice::Auto,
            tx_budget: None,
        }
    }
}

impl Options {
    pub(super) fn mode_name(&self) -> &'static str {
        self.mode.map_or("best-effort", Mode::name)
    }

    /// The modes to try, in order.
    pub(super) fn modes(&self) -> &[Mode] {
        match &self.mode {
            Some(mode) => std::slice::from_ref(mode),
            None => &Mode::ALL,
        }
    }

    /// Reads options; keys that mean nothing here are returned.
    pub(super) fn parse(dev: &str, config: &Config) -> Result<(Self, Vec<String>), NetdevError> {
        let mut options = Self::default();
        let mut unknown = Vec::new();
        for (key, value) in config {
            match options.set(key, value) {
                Ok(true) => {}
                Ok(false) => unknown.push(key.clone()),
                Err(expected) => {
                    return Err(NetdevError::BadOption {
                        dev: dev.to_owned(),
                        key: key.clone(),
                        value: value.clone(),
                        expected,
                    });
                }
            }
        }
        Ok((options, unknown))
    }

    /// Sets one option; false when there is none of that name, an error with what would do instead.
    fn set(&mut self, key: &str, value: &str) -> Result<bool, String> {
        let choice = || Choice::parse(value).ok_or_else(|| "auto, true or false".to_owned());
        match key {
            "xdp-mode" | "xdp_mode" => {
                let named = Mode::ALL.into_iter().find(|m| m.name() == value);
                if named.is_none() && value != "best-effort" {
                    return Err("best-effort, native-with-zerocopy, native or generic".to_owned());
                }
                self.mode = named;
            }
            "use-need-wakeup" | "use_need_wakeup" => {
                self.need_wakeup = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err("true or false".to_owned()),
                };
            }
            "n_rxq" => self.n_rxq = number(value, 1, QUEUES_MAX)?,
            "busy-poll" => self.busy_poll = choice()?,
            "multi-buffer" => self.multi_buffer = choice()?,
            "shared-umem" => self.shared_umem = choice()?,
            "tx-budget" => {
                self.tx_budget = match value {
                    "auto" => None,
                    _ => Some(number(value, TX_BUDGET_MIN, RING_SIZE)?),
                };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What was asked for, as options; what was left to us is named only where that tells something.
    pub(super) fn shown(&self) -> Config {
        let mut config = Config::new();
        config.insert("n_rxq".into(), self.n_rxq.to_string());
        config.insert("xdp-mode".into(), self.mode_name().into());
        config.insert("use-need-wakeup".into(), self.need_wakeup.to_string());
        for (key, choice) in [
            ("busy-poll", self.busy_poll),
            ("multi-buffer", self.multi_buffer),
            ("shared-umem", self.shared_umem),
        ] {
            if choice != Choice::Auto {
                config.insert(key.into(), choice.name().into());
            }
        }
        if let Some(n) = self.tx_budget {
            config.insert("tx-budget".into(), n.to_string());
        }
        config
    }
}

fn number(value: &str, min: u32, max: u32) -> Result<u32, String> {
    let n = value.parse().ok().filter(|n| (min..=max).contains(n));
    n.ok_or_else(|| format!("a number from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<(Options, Vec<String>), NetdevError> {
        let config = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Options::parse("eth9", &config)
    }

    #[test]
    fn options_and_unknown_keys() {
        let (o, unknown) = parse(&[
            ("xdp-mode", "native"),
            ("use-need-wakeup", "false"),
            ("n_rxq", "4"),
            ("busy-poll", "true"),
            ("multi-buffer", "false"),
            ("shared-umem", "true"),
            ("tx-budget", "64"),
            ("color", "red"),
        ])
        .unwrap();
        assert_eq!(
            o,
            Options {
                mode: Some(Mode::Native),
                need_wakeup: false,
                n_rxq: 4,
                busy_poll: Choice::On,
                multi_buffer: Choice::Off,
                shared_umem: Choice::On,
                tx_budget: Some(64),
            }
        );
        assert_eq!(unknown, ["color"]);
        assert_eq!(parse(&[]).unwrap().0.modes(), Mode::ALL);
        let shown = o.shown();
        let again: Vec<_> = shown.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(parse(&again).unwrap(), (o, Vec::new()));
    }

    #[test]
    fn impossible_values_name_device_key_and_what_would_do() {
        for (key, value) in [
            ("xdp-mode", "fast"),
            ("n_rxq", "0"),
            ("use-need-wakeup", "maybe"),
            ("busy-poll", "yes"),
            ("multi-buffer", "2"),
            ("tx-budget", "31"),
            ("tx-budget", "2049"),
        ] {
            let text = parse(&[(key, value)]).unwrap_err().to_string();
            assert!(
                text.contains("eth9") && text.contains(key) && text.contains(value),
                "{text}"
            );
        }
    }
}

//! Options of an `afxdp` port, in Open vSwitch's spelling.

use super::QUEUES_MAX;
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

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    /// `None` is best-effort: the first mode of [`Mode::ALL`] that works.
    pub(super) mode: Option<Mode>,
    pub(super) need_wakeup: bool,
    pub(super) n_rxq: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: None,
            need_wakeup: true,
            n_rxq: 1,
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
            let bad = |expected: String| NetdevError::BadOption {
                dev: dev.to_owned(),
                key: key.clone(),
                value: value.clone(),
                expected,
            };
            match key.as_str() {
                "xdp-mode" | "xdp_mode" => {
                    options.mode = match value.as_str() {
                        "best-effort" => None,
                        name => Some(
                            Mode::ALL
                                .into_iter()
                                .find(|m| m.name() == name)
                                .ok_or_else(|| {
                                    bad("best-effort, native-with-zerocopy, native or generic"
                                        .into())
                                })?,
                        ),
                    };
                }
                "use-need-wakeup" | "use_need_wakeup" => {
                    options.need_wakeup = match value.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(bad("true or false".into())),
                    };
                }
                "n_rxq" => {
                    let n = value.parse().ok().filter(|n| (1..=QUEUES_MAX).contains(n));
                    options.n_rxq =
                        n.ok_or_else(|| bad(format!("a number from 1 to {QUEUES_MAX}")))?;
                }
                _ => unknown.push(key.clone()),
            }
        }
        Ok((options, unknown))
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
        Options::parse("eth9", &config)
    }

    #[test]
    fn options_and_unknown_keys() {
        let (o, unknown) = parse(&[
            ("xdp-mode", "native"),
            ("use-need-wakeup", "false"),
            ("n_rxq", "4"),
            ("color", "red"),
        ])
        .unwrap();
        assert_eq!(
            o,
            Options {
                mode: Some(Mode::Native),
                need_wakeup: false,
                n_rxq: 4
            }
        );
        assert_eq!(unknown, ["color"]);
        assert_eq!(parse(&[]).unwrap().0.modes(), Mode::ALL);
    }

    #[test]
    fn impossible_values_name_device_key_and_what_would_do() {
        for (key, value) in [
            ("xdp-mode", "fast"),
            ("n_rxq", "0"),
            ("use-need-wakeup", "maybe"),
        ] {
            let text = parse(&[(key, value)]).unwrap_err().to_string();
            assert!(
                text.contains("eth9") && text.contains(key) && text.contains(value),
                "{text}"
            );
        }
    }
}

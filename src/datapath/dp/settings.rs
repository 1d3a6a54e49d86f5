//! What `other_config` says about the datapath.

use super::assign::Algorithm;
use crate::limits::UPCALL_BUDGET;
use base::cpu::{CoreId, parse_mask};
use std::collections::BTreeMap;

/// Settings of a datapath, all of them with a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `pmd-cpu-mask`: cores for packet threads; `None`: one core of each NUMA node.
    pub cores: Option<Vec<CoreId>>,
    /// `pmd-rxq-assign`.
    pub algorithm: Algorithm,
    /// `pmd-rxq-isolate`: a pinned queue keeps others off its thread.
    pub isolate: bool,
    /// `port-upcall-budget`: upcalls per second, port and packet thread.
    pub upcall_budget: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cores: None,
            algorithm: Algorithm::default(),
            isolate: true,
            upcall_budget: UPCALL_BUDGET,
        }
    }
}

impl Settings {
    /// Reads the keys that are ours; a value that makes no sense is as if the key were not there, and
    /// named in the log.
    pub(crate) fn parse(config: &BTreeMap<String, String>, now: &Self) -> Self {
        let mut s = Self::default();
        let get = |key: &str| config.get(key).map(String::as_str);
        if let Some(mask) = get("pmd-cpu-mask").filter(|m| !m.is_empty()) {
            s.cores = parse_mask(mask);
            if s.cores.is_none() && now.cores.is_some() {
                tracing::warn!(target: "ovs_numa", "Invalid cpu mask: {mask}");
            }
        }
        if let Some(name) = get("pmd-rxq-assign") {
            match Algorithm::parse(name) {
                Some(algorithm) => s.algorithm = algorithm,
                None => tracing::warn!(target: "dpif_netdev",
                    "Unsupported rx queue to PMD assignment mode in pmd-rxq-assign, defaulting to 'cycles'."),
            }
        }
        if s.algorithm != now.algorithm {
            tracing::info!(target: "dpif_netdev",
                "Rxq to PMD assignment mode changed to: '{}'.", s.algorithm.name());
        }
        s.isolate = get("pmd-rxq-isolate").is_none_or(|v| v != "false");
        if !s.isolate && s.algorithm != Algorithm::Group {
            tracing::warn!(target: "dpif_netdev",
                "pmd-rxq-isolate can only be set false when using pmd-rxq-assign=group");
            s.isolate = true;
        }
        if s.isolate != now.isolate {
            let does = if s.isolate {
                "isolates"
            } else {
                "does not isolate"
            };
            tracing::info!(target: "dpif_netdev", "pmd-rxq-affinity {does} PMD core");
        }
        if let Some(budget) = get("port-upcall-budget").and_then(|v| v.parse().ok()) {
            s.upcall_budget = budget;
        }
        s
    }
}

/// Parses `pmd-rxq-affinity`, a list of `queue:core`; `None` when it is not one.
pub(super) fn parse_affinity(text: &str) -> Option<BTreeMap<u32, CoreId>> {
    let items = text.split([',', ' ']).filter(|t| !t.is_empty());
    items
        .map(|item| {
            let (queue, core) = item.split_once([':', '='])?;
            let core = core.trim().parse().ok()?;
            Some((queue.trim().parse().ok()?, CoreId(core)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinity_lists() {
        let list = parse_affinity("0:3, 1:7").unwrap();
        assert_eq!(list, BTreeMap::from([(0, CoreId(3)), (1, CoreId(7))]));
        assert_eq!(parse_affinity(""), Some(BTreeMap::new()));
        assert_eq!(parse_affinity("0:x"), None);
        assert_eq!(parse_affinity("3"), None);
    }

    #[test]
    fn nonsense_is_as_if_it_were_not_there() {
        let of = |pairs: &[(&str, &str)]| {
            let config = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
            Settings::parse(&config.collect(), &Settings::default())
        };
        assert_eq!(
            of(&[("pmd-cpu-mask", "zz"), ("x", "y")]),
            Settings::default()
        );
        assert_eq!(
            of(&[("pmd-cpu-mask", "0x5")]).cores,
            Some(vec![CoreId(0), CoreId(2)])
        );
        assert_eq!(
            of(&[("pmd-rxq-assign", "best")]).algorithm,
            Algorithm::Cycles
        );
        assert!(of(&[("pmd-rxq-isolate", "false")]).isolate);
        let group = of(&[("pmd-rxq-isolate", "false"), ("pmd-rxq-assign", "group")]);
        assert!(!group.isolate);
    }
}

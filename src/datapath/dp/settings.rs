//! What `other_config` says about the datapath: read, and told to the log in the peer's words.
//!
//! Reading is pure; a value that makes no sense counts as if the key were not there. Three keys are read and
//! have no further effect: `emc-insert-inv-prob` and `smc-enable` (one cache stands for both of the peer's
//! and is always on), and `tx-flush-interval` (nothing waits for company beyond its own received batch).

use super::assign::Algorithm;
use crate::limits::{SLEEP_MAX_US, UPCALL_BUDGET};
use base::cpu::{CoreId, parse_mask};
use std::collections::BTreeMap;

/// `pmd-auto-lb*`: when queues are assigned anew by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoBalance {
    /// `pmd-auto-lb`.
    pub enabled: bool,
    /// `pmd-auto-lb-rebal-interval`, minutes between looks: 1 to 20000.
    pub interval_min: u64,
    /// `pmd-auto-lb-improvement-threshold`, percent by which the variance of loads has to fall.
    pub improvement: u8,
    /// `pmd-auto-lb-load-threshold`, percent of its time that some thread has to be busy.
    pub load: u8,
}

impl Default for AutoBalance {
    fn default() -> Self {
        Self {
            enabled: false,
            interval_min: 1,
            improvement: 25,
            load: 95,
        }
    }
}

/// Settings of a datapath, all of them with a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `pmd-cpu-mask`: cores for packet threads; `None`: one core of each NUMA node.
    pub cores: Option<Vec<CoreId>>,
    /// `pmd-rxq-assign`.
    pub algorithm: Algorithm,
    /// `pmd-rxq-isolate`: a pinned queue keeps others off its thread.
    pub isolate: bool,
    /// Automatic load balance.
    pub balance: AutoBalance,
    /// `pmd-maxsleep`, microseconds, at most 10000: packet threads whose queues bring few packets sleep up to
    /// this long in each round; 0: they never do. `None`: they sleep as they see fit.
    pub max_sleep_us: Option<u64>,
    /// `pmd-perf-metrics`: histograms and histories are kept.
    pub metrics: bool,
    /// `emc-insert-inv-prob`.
    pub emc_inverse: u64,
    /// `smc-enable`.
    pub smc: bool,
    /// `tx-flush-interval`, microseconds.
    pub tx_flush_us: u64,
    /// `port-upcall-budget`: upcalls per second, port and packet thread.
    pub upcall_budget: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cores: None,
            algorithm: Algorithm::default(),
            isolate: true,
            balance: AutoBalance::default(),
            max_sleep_us: None,
            metrics: false,
            emc_inverse: 100,
            smc: false,
            tx_flush_us: 0,
            upcall_budget: UPCALL_BUDGET,
        }
    }
}

impl Settings {
    /// Reads the keys that are ours.
    pub(crate) fn parse(config: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| config.get(key).map(|v| v.trim());
        let number = |key: &str| get(key).and_then(|v| v.parse::<u64>().ok());
        let on = |key: &str| get(key).is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let percent = |key: &str, usual: u8| {
            let n = number(key).filter(|n| *n <= 100);
            n.and_then(|n| u8::try_from(n).ok()).unwrap_or(usual)
        };
        let usual = Self::default();
        let algorithm = get("pmd-rxq-assign").and_then(Algorithm::parse);
        let algorithm = algorithm.unwrap_or(usual.algorithm);
        let shares = get("pmd-rxq-isolate").is_some_and(|v| v.eq_ignore_ascii_case("false"));
        let interval = number("pmd-auto-lb-rebal-interval").filter(|n| *n <= INTERVAL_MAX_MIN);
        Self {
            cores: get("pmd-cpu-mask").and_then(parse_mask),
            algorithm,
            isolate: !shares || algorithm != Algorithm::Group,
            balance: AutoBalance {
                enabled: on("pmd-auto-lb"),
                interval_min: interval.unwrap_or(1).max(1),
                improvement: percent(
                    "pmd-auto-lb-improvement-threshold",
                    usual.balance.improvement,
                ),
                load: percent("pmd-auto-lb-load-threshold", usual.balance.load),
            },
            max_sleep_us: number("pmd-maxsleep").map(|us| us.min(SLEEP_MAX_US)),
            metrics: on("pmd-perf-metrics"),
            emc_inverse: number("emc-insert-inv-prob")
                .filter(|n| *n <= u64::from(u32::MAX))
                .unwrap_or(usual.emc_inverse),
            smc: on("smc-enable"),
            tx_flush_us: number("tx-flush-interval").unwrap_or(0),
            upcall_budget: number("port-upcall-budget").unwrap_or(usual.upcall_budget),
        }
    }

    /// Says what makes no sense in a configuration: each time it is set, as the peer does.
    pub(crate) fn complain(config: &BTreeMap<String, String>) {
        let get = |key: &str| config.get(key).map(|v| v.trim());
        if let Some(mask) = get("pmd-cpu-mask").filter(|m| !m.is_empty())
            && parse_mask(mask).is_none()
        {
            tracing::warn!(target: "ovs_numa", "Invalid cpu mask: {mask}");
        }
        let algorithm = get("pmd-rxq-assign").map_or(Some(Algorithm::Cycles), Algorithm::parse);
        if algorithm.is_none() {
            tracing::warn!(target: "dpif_netdev",
                "Unsupported rx queue to PMD assignment mode in pmd-rxq-assign. Defaulting to 'cycles'.");
        }
        let shares = get("pmd-rxq-isolate").is_some_and(|v| v.eq_ignore_ascii_case("false"));
        if shares && algorithm != Some(Algorithm::Group) {
            tracing::warn!(target: "dpif_netdev",
                "pmd-rxq-isolate can only be set false when using pmd-rxq-assign=group");
        }
    }

    /// Says what changed. `before` is `None` the first time: then what matters most is said in any case.
    pub(crate) fn announce(&self, before: Option<&Self>) {
        let usual = Self::default();
        let old = before.unwrap_or(&usual);
        if self.tx_flush_us != old.tx_flush_us {
            tracing::info!(target: "dpif_netdev",
                "Flushing interval for tx queues set to {} us", self.tx_flush_us);
        }
        self.announce_caches(old);
        if self.algorithm != old.algorithm {
            tracing::info!(target: "dpif_netdev",
                "Rxq to PMD assignment mode changed to: '{}'.", self.algorithm.name());
        }
        if self.isolate != old.isolate {
            let does = ["does not isolate", "isolates"][usize::from(self.isolate)];
            tracing::info!(target: "dpif_netdev", "pmd-rxq-affinity {does} PMD core");
        }
        self.balance.announce(before.map(|b| &b.balance));
        let sleep = |s: &Self| s.max_sleep_us.unwrap_or(0);
        if before.is_none() || sleep(self) != sleep(old) {
            let us = sleep(self);
            let are = ["disabled", "enabled"][usize::from(us > 0)];
            tracing::info!(target: "dpif_netdev", "PMD max sleep request is {us} usecs.");
            tracing::info!(target: "dpif_netdev", "PMD load based sleeps are {are}.");
        }
    }

    fn announce_caches(&self, old: &Self) {
        if self.emc_inverse != old.emc_inverse {
            tracing::info!(target: "dpif_netdev",
                "EMC insertion probability changed to {}", self.emc_probability());
        }
        if self.metrics != old.metrics {
            let is = ["disabled", "enabled"][usize::from(self.metrics)];
            tracing::info!(target: "dpif_netdev", "PMD performance metrics collection {is}");
        }
        if self.smc != old.smc {
            let is = ["disabled", "enabled"][usize::from(self.smc)];
            tracing::info!(target: "dpif_netdev", "SMC cache is {is}");
        }
    }

    /// `1/100 (~1.00%)`.
    pub(super) fn emc_probability(&self) -> String {
        if self.emc_inverse == 0 {
            return "zero".to_owned();
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let percent = 100.0 / self.emc_inverse as f32;
        format!("1/{} (~{percent:.2}%)", self.emc_inverse)
    }
}

/// Longest `pmd-auto-lb-rebal-interval`, minutes (as the peer's).
const INTERVAL_MAX_MIN: u64 = 20_000;

impl AutoBalance {
    fn announce(&self, before: Option<&Self>) {
        let differs = |field: fn(&Self) -> u64| before.map_or(0, field) != field(self);
        let mut any = false;
        if differs(|b| b.interval_min) {
            any = true;
            tracing::info!(target: "dpif_netdev",
                "PMD auto load balance interval set to {} mins", self.interval_min);
        }
        if differs(|b| b.improvement.into()) {
            any = true;
            tracing::info!(target: "dpif_netdev",
                "PMD auto load balance improvement threshold set to {}%", self.improvement);
        }
        if differs(|b| b.load.into()) {
            any = true;
            tracing::info!(target: "dpif_netdev",
                "PMD auto load balance load threshold set to {}%", self.load);
        }
        if any || before.is_some_and(|b| b.enabled) != self.enabled {
            self.announce_state();
        }
    }

    fn announce_state(&self) {
        if self.enabled {
            tracing::info!(target: "dpif_netdev",
                "PMD auto load balance is enabled, interval {} mins, pmd load threshold {}%, improvement threshold {}%.",
                self.interval_min, self.load, self.improvement);
        } else {
            tracing::info!(target: "dpif_netdev", "PMD auto load balance is disabled.");
        }
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

    fn of(pairs: &[(&str, &str)]) -> Settings {
        let config = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned()));
        Settings::parse(&config.collect())
    }

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

    #[test]
    fn limits_of_automatic_balance() {
        let interval = |v| {
            of(&[("pmd-auto-lb-rebal-interval", v)])
                .balance
                .interval_min
        };
        assert_eq!(
            ["10", "1", "20000", "0", "20001", "-1", "x"].map(interval),
            [10, 1, 20_000, 1, 1, 1, 1]
        );
        let load = |v| of(&[("pmd-auto-lb-load-threshold", v)]).balance.load;
        assert_eq!(
            ["70", "0", "-1", "100", "101"].map(load),
            [70, 0, 95, 100, 95]
        );
        let better = |v| {
            of(&[("pmd-auto-lb-improvement-threshold", v)])
                .balance
                .improvement
        };
        assert_eq!(["60", "0", "-1", "101"].map(better), [60, 0, 25, 25]);
        assert!(of(&[("pmd-auto-lb", "true")]).balance.enabled);
    }

    #[test]
    fn sleeps_are_bounded() {
        let sleep = |v| of(&[("pmd-maxsleep", v)]).max_sleep_us;
        assert_eq!(sleep("490"), Some(490));
        assert_eq!(sleep("10001"), Some(10_000));
        assert_eq!((sleep("0"), sleep("soon")), (Some(0), None));
    }
}

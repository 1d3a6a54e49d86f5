//! Settings of the whole switch: the keys of `Open_vSwitch.other_config`.

use crate::model::StringMap;
use backer::Backer;

/// Puts settings in force on one datapath. Values that make no sense are named in the log; the default holds.
pub(super) fn apply(backer: &Backer, settings: &StringMap) {
    if let Err(e) = backer.dpif().set_config(settings) {
        tracing::warn!(target: "bridge", "{}: other_config: {e}", backer.datapath_name());
    }
    let mut wanted = udpif::Settings::default();
    number(settings, "flow-limit", &mut wanted.flow_limit);
    number(settings, "max-idle", &mut wanted.max_idle_ms);
    number(settings, "max-revalidator", &mut wanted.max_revalidator_ms);
    number(
        settings,
        "min-revalidate-pps",
        &mut wanted.min_revalidate_pps,
    );
    backer.udpif().set_settings(wanted);
    let (mut handlers, mut revalidators) = (0, 0);
    number(settings, "n-handler-threads", &mut handlers);
    number(settings, "n-revalidator-threads", &mut revalidators);
    if let Err(e) = backer.udpif().set_threads(handlers, revalidators) {
        tracing::error!(target: "bridge", "{}: {e}", backer.datapath_name());
    }
}

/// VLAN tags that are looked at; 0: as many as there can be.
pub(super) fn vlan_limit(settings: &StringMap) -> usize {
    let mut limit = 1;
    number(settings, "vlan-limit", &mut limit);
    limit
}

fn number<T: std::str::FromStr>(settings: &StringMap, key: &str, into: &mut T) {
    if let Some(text) = settings.get(key) {
        match text.parse() {
            Ok(n) => *into = n,
            Err(_) => {
                tracing::warn!(target: "bridge", "other_config:{key}: {text:?} is not a number");
            }
        }
    }
}

/// How long a bundle may stand without a message; `None` for the usual time.
pub(super) fn bundle_idle_ms(settings: &StringMap) -> Option<u64> {
    let mut seconds = 0u64;
    number(settings, "bundle-idle-timeout", &mut seconds);
    (seconds > 0).then(|| seconds.saturating_mul(1000))
}

/// How often statistics are written to the database, milliseconds (at least 5000, as in Open vSwitch).
pub(super) fn stats_interval_ms(settings: &StringMap) -> u64 {
    let mut interval = 5000;
    number(settings, "stats-update-interval", &mut interval);
    interval.max(5000)
}

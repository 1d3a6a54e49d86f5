//! `dpctl` commands that ask no flow table: texts of actions, caches that have no size.

use super::{Flags, Out, exists, open_first};
use crate::switch::Switch;
use dpif::DpifError;
use odp::NoOdpNames;

/// `dpctl/parse-actions actions...`: what was understood of them.
pub(super) fn parse_actions(_: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    for text in args {
        match odp::parse_actions(text, &NoOdpNames) {
            Ok(actions) => out.line(format_args!(
                "{}",
                odp::format_actions(&actions, &NoOdpNames)
            )),
            Err(_) => {
                let what = format_args!("odp_actions_from_string");
                return out.fail(what, Some(&DpifError::Invalid));
            }
        }
    }
}

/// `dpctl/cache-get-size [dp]`: the userspace datapath has no cache whose size can be set.
pub(super) fn cache_get_size(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let named = args.first().copied();
    if let Some(name) = named.filter(|n| !exists(s, n)) {
        return no_datapath(out, name);
    }
    for dpif in super::all(s) {
        let name = format!("{}@{}", dpif.type_name(), dpif.name());
        if named.is_none_or(|n| n == name) {
            out.line(format_args!("{name}:"));
        }
    }
}

/// `dpctl/cache-set-size dp cache size`.
pub(super) fn cache_set_size(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    let [dp, _, size, ..] = args else { return };
    if size.parse::<u32>().is_err() {
        out.fail(format_args!("size is malformed"), Some(&DpifError::Invalid));
    } else if exists(s, dp) {
        out.fail(
            format_args!("Setting caches not supported"),
            Some(&DpifError::NotSupported),
        );
    } else {
        no_datapath(out, dp);
    }
}

fn no_datapath(out: &mut Out, name: &str) {
    let what = format_args!("Opening datapath {name} failed");
    out.fail(what, Some(&DpifError::NoEntry));
}

/// `dpctl/offload-stats-show [dp]`: nothing is carried out by devices, so there is nothing to show.
pub(super) fn offload_stats_show(s: &mut Switch, out: &mut Out, _: Flags, args: &[&str]) {
    if open_first(s, out, args, 1).is_some() {
        let what = format_args!("retrieving offload statistics");
        out.fail(what, Some(&DpifError::Invalid));
    }
}

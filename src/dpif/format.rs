//! A flow as one line of `dpctl/dump-flows` and `dpif/dump-flows`.

use crate::types::FlowInfo;
use base::clock::Nanos;
use flow::OdpNames;
use flow::dpkey::format_key;

/// A flow, with times relative to `now`; `verbose` (`-m`) adds the ufid, wildcarded fields and what the
/// datapath has to say besides.
#[must_use]
pub fn format_flow(info: &FlowInfo, names: &dyn OdpNames, verbose: bool, now: Nanos) -> String {
    let mut out = String::new();
    if verbose {
        out.push_str(&format!("ufid:{}, ", info.ufid));
    }
    format_key(&mut out, (&info.key, Some(&info.mask)), names, verbose);
    out.push_str(", ");
    odp::text::put_stats(&mut out, &info.stats, now);
    if verbose {
        out.push_str(", dp:ovs");
    }
    out.push_str(", actions:");
    odp::text::put_actions(&mut out, &info.actions, names);
    if verbose && let Some(extra) = &info.dp_extra {
        out.push_str(", dp-extra-info:");
        out.push_str(extra);
    }
    out
}

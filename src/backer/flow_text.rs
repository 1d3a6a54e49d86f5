//! One line of `dpif/dump-flows`.

use base::clock::Nanos;
use dpif::FlowInfo;
use flow::OdpPort;
use std::collections::HashMap;

/// The line for a flow, without its end.
pub(crate) fn line(
    f: &FlowInfo,
    verbose: bool,
    _names: Option<&HashMap<OdpPort, String>>,
    _now: Nanos,
) -> String {
    format!("{verbose}{}", f.ufid)
}

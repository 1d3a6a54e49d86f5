//! One line of `dpif/dump-flows`.

use base::clock::Nanos;
use dpif::FlowInfo;
use flow::OdpPort;
use std::collections::HashMap;
use std::fmt::Write;

/// Names of a datapath's ports.
#[derive(Debug, Clone, Default)]
pub struct PortNames(HashMap<OdpPort, String>);

impl PortNames {
    /// These names.
    #[must_use]
    pub fn new(names: HashMap<OdpPort, String>) -> Self {
        Self(names)
    }
}

impl flow::OdpNames for PortNames {
    fn number(&self, name: &str) -> Option<OdpPort> {
        let mut all = self.0.iter();
        all.find(|(_, n)| *n == name).map(|(p, _)| *p)
    }
    fn name(&self, port: OdpPort) -> Option<&str> {
        self.0.get(&port).map(String::as_str)
    }
}

/// The line for a flow, without its end.
pub(crate) fn line(f: &FlowInfo, verbose: bool, names: &PortNames, now: Nanos) -> String {
    let mut out = String::new();
    if verbose {
        write!(out, "ufid:{} ", f.ufid).expect("a String takes everything");
    }
    flow::dpkey::format_key(&mut out, (&f.key, Some(&f.mask)), names, verbose);
    out.push_str(", ");
    odp::text::put_stats(&mut out, &f.stats, now);
    out.push_str(", actions:");
    odp::text::put_actions(&mut out, &f.actions, names);
    out
}

//! `dpctl/dump-flows`: made piece by piece, so that neither many flows nor a client that does not read cost memory.

use super::flows::port_names;
use super::{Flags, Out, open_first};
use crate::switch::Switch;
use dpif::{FlowDump, FlowInfo, FlowSelect, OdpPort, PmdId};
use std::collections::BTreeMap;

/// Flows looked at for one piece.
const PIECE: usize = 256;

/// A dump under way.
pub(super) struct Dump {
    flows: Box<dyn FlowDump>,
    some: Vec<FlowInfo>,
    filter: Option<flow::text::ExactFlow>,
    names: BTreeMap<OdpPort, String>,
    verbose: bool,
    /// Flows of all threads, under titles; the thread of the last title.
    titles: bool,
    last: Option<PmdId>,
    wanted: Kinds,
}

/// Which flows are wanted by where they are (`type=`). All are in the userspace datapath (`ovs`), and none is
/// carried out by a device alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    /// `ovs`, `non-offloaded` or `all`.
    here: bool,
}

impl Kinds {
    fn parse(text: Option<&str>) -> Result<Self, &str> {
        let Some(text) = text else {
            return Ok(Self { here: true });
        };
        let mut kinds = Self { here: false };
        for word in text.split(',') {
            match word {
                "ovs" | "non-offloaded" | "all" => kinds.here = true,
                "tc" | "dpdk" | "offloaded" | "partially-offloaded" => {}
                other => return Err(other),
            }
        }
        Ok(kinds)
    }
}

/// What stands behind the datapath's name.
#[derive(Debug, Default)]
struct Selection<'a> {
    filter: Option<&'a str>,
    kinds: Option<&'a str>,
    pmd: Option<&'a str>,
}

impl Dump {
    /// Starts a dump.
    ///
    /// # Errors
    /// What is wrong with the arguments, as the command says it.
    pub(super) fn start(s: &Switch, f: Flags, args: &[&str]) -> Result<Self, String> {
        let mut out = Out::new(s);
        let mut selection = Selection::default();
        let mut rest = args;
        while let Some((last, before)) = rest.split_last() {
            match last.split_once('=') {
                Some(("filter", v)) if selection.filter.is_none() => selection.filter = Some(v),
                Some(("type", v)) if selection.kinds.is_none() => selection.kinds = Some(v),
                Some(("pmd", v)) => selection.pmd = Some(v),
                _ => break,
            }
            rest = before;
        }
        match Self::prepare(s, f, &mut out, &selection, rest) {
            Some(dump) => Ok(dump),
            None => Err(out.text),
        }
    }

    fn prepare(
        s: &Switch,
        f: Flags,
        out: &mut Out,
        wanted: &Selection<'_>,
        args: &[&str],
    ) -> Option<Self> {
        let pmd = match wanted.pmd {
            None => None,
            Some("-1") => Some(PmdId::NON_PMD),
            Some(text) => Some(PmdId(text.parse().ok()?)),
        };
        let dpif = open_first(s, out, args, 1)?;
        let all_names = port_names(&*dpif, true);
        let filter = wanted.filter.map(|text| filter(text, &all_names));
        let filter = match filter.transpose() {
            Ok(filter) => filter,
            Err(e) => {
                out.complain(format_args!("Failed to parse filter ({e})"), None);
                return None;
            }
        };
        let kinds = match Kinds::parse(wanted.kinds) {
            Ok(kinds) => kinds,
            Err(word) => {
                let what = format_args!("Failed to parse type ({word})");
                out.complain(what, Some(&dpif::DpifError::Invalid));
                return None;
            }
        };
        Some(Self {
            flows: dpif.flow_dump(FlowSelect { terse: false, pmd }),
            some: Vec::new(),
            filter,
            names: if f.names { all_names } else { BTreeMap::new() },
            verbose: f.more,
            titles: pmd.is_none(),
            last: None,
            wanted: kinds,
        })
    }

    /// Adds the next flows to `out`; false when there are no more.
    pub(super) fn more(&mut self, s: &Switch, out: &mut String) -> bool {
        let mut some = std::mem::take(&mut self.some);
        let more = self.flows.thread().next(&mut some, PIECE);
        let now = s.clock().now();
        for flow in &some {
            if !self.wants(flow) {
                continue;
            }
            if self.titles && self.last != Some(flow.pmd) {
                self.last = Some(flow.pmd);
                match flow.pmd {
                    PmdId::NON_PMD => out.push_str("flow-dump from the main thread:\n"),
                    PmdId(core) => {
                        *out += &format!("flow-dump from pmd on cpu core: {core}\n");
                    }
                }
            }
            *out += &dpif::format_flow(flow, &self.names, self.verbose, now);
            out.push('\n');
        }
        self.some = some;
        more
    }

    fn wants(&self, flow: &FlowInfo) -> bool {
        let passes = |m: &flow::text::ExactFlow| {
            let key = flow.key.masked(&flow.mask);
            key.equals_under(&m.flow, &m.mask)
        };
        self.wanted.here && self.filter.as_ref().is_none_or(passes)
    }
}

fn filter(text: &str, names: &BTreeMap<OdpPort, String>) -> Result<flow::text::ExactFlow, String> {
    let mut ports = openflow::NameMap::default();
    for (port, name) in names {
        ports.put(port.0, name);
    }
    let names = openflow::Names {
        ports: Some(&ports),
        tables: None,
    };
    flow::text::ExactFlow::parse(text, &names, None).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(Kinds::parse(None), Ok(Kinds { here: true }));
        assert_eq!(Kinds::parse(Some("tc,ovs")), Ok(Kinds { here: true }));
        assert_eq!(Kinds::parse(Some("offloaded")), Ok(Kinds { here: false }));
        assert_eq!(Kinds::parse(Some("all,x")), Err("x"));
    }
}

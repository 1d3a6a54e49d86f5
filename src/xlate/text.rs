//! What translation says about itself: the texts of trace nodes and log lines.

use crate::ctx::Ctx;
use crate::recirc::FrozenStep;
use crate::snapshot::XBridge;
use crate::table::Found;
use flow::text::PRIORITY_DEFAULT;
use flow::{Flow, Match, NoNames, OfPort, PortNames, Subfield, TunTable};
use openflow::{Act, FieldId, FlowFlags, FlowMod, NameMap, Names, put_actions};
use std::fmt::Write;

/// The ports of a bridge, by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BridgeNames<'b>(pub(crate) &'b XBridge);

impl PortNames for BridgeNames<'_> {
    fn number(&self, name: &str) -> Option<OfPort> {
        self.0
            .ports
            .values()
            .find(|p| p.name == name)
            .map(|p| p.ofp)
    }
    fn name(&self, port: OfPort) -> Option<&str> {
        self.0.ports.get(&port).map(|p| p.name.as_str())
    }
}

/// A flow as `ofproto/trace` prints it.
pub(crate) fn flow(f: &Flow) -> String {
    let mut out = String::new();
    f.format(&mut out, &NoNames);
    out
}

/// A match, without priority.
pub(crate) fn matching(m: &Match, names: &dyn PortNames) -> String {
    let mut out = String::new();
    m.format(&mut out, names, PRIORITY_DEFAULT);
    out
}

/// A list of actions.
pub(crate) fn actions(acts: &[Act]) -> String {
    let mut out = String::new();
    put_actions(&mut out, acts, Names::default());
    out
}

/// What remains of a frozen translation.
pub(crate) fn steps(steps: &[FrozenStep]) -> String {
    let mut out = String::new();
    for (i, step) in steps.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match step {
            FrozenStep::Act(a) => put_actions(&mut out, std::slice::from_ref(a), Names::default()),
            FrozenStep::Unroll { table, cookie } => out.push_str(&unroll(*table, *cookie)),
        }
    }
    out
}

/// A mark with table and cookie.
pub(crate) fn unroll(table: u8, cookie: u64) -> String {
    format!("unroll_xlate(table={table}, cookie={cookie})")
}

/// An action, with the names of ports when the listener wants them.
pub(crate) fn action(ctx: &Ctx<'_>, act: &Act) -> String {
    let mut map = NameMap::default();
    if ctx.wants_names() {
        for p in ctx.bridge.ports.values() {
            map.put(p.ofp.0.into(), &p.name);
        }
    }
    let names = Names {
        ports: ctx.wants_names().then_some(&map),
        tables: None,
    };
    let mut out = String::new();
    put_actions(&mut out, std::slice::from_ref(act), names);
    out
}

/// What a search of a table found.
pub(crate) fn found(ctx: &Ctx<'_>, found: &Found, table: u8) -> String {
    let mut out = format!("{table:2}. ");
    match found {
        // Beyond a patch port Open vSwitch shows the hidden rules that it has for this.
        Found::MissPacketIn(_) if ctx.bridge.id != ctx.entry => {
            out.push_str("reg0=0x1, priority 0");
        }
        Found::Miss if ctx.bridge.id != ctx.entry => out.push_str("reg0=0x2, priority 0"),
        Found::MissPacketIn(_) => out.push_str("No match, and a \"packet-in\" is called for."),
        Found::Miss => out.push_str("No match."),
        Found::DropFragment => {
            out.push_str("Packets are IP fragments and the fragment handling mode is \"drop\".")
        }
        Found::Rule(rule) => {
            let (flow, mask) = rule.matching().expand();
            let m = Match {
                flow,
                mask,
                tun: Some(ctx.tun()),
            };
            let text = if ctx.wants_names() {
                matching(&m, &BridgeNames(ctx.bridge))
            } else {
                matching(&m, &NoNames)
            };
            if !text.is_empty() {
                out.push_str(&text);
                out.push_str(", ");
            }
            put(&mut out, format_args!("priority {}", rule.priority()));
            if rule.cookie != 0 {
                put(&mut out, format_args!(", cookie {:#x}", rule.cookie));
            }
        }
    }
    out
}

/// What a subfield holds now.
pub(crate) fn subfield(sf: &Subfield, flow: &Flow, tun: Option<&TunTable>) -> String {
    let mut out = format!("{sf} is now ");
    if sf.is_whole() {
        let value = sf.field.get(flow, tun);
        FieldId::format(sf.field, &mut out, &value, None, &NoNames);
    } else {
        out.push_str(&hex_bytes(&sf.read(flow, tun)));
    }
    out
}

/// A number as C's `%#x` has it: zero without prefix.
pub(crate) fn hex(n: u32) -> String {
    if n == 0 {
        "0".into()
    } else {
        format!("{n:#x}")
    }
}

/// Bytes as one hexadecimal number.
fn hex_bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0".into(),
        d => format!("0x{d}"),
    }
}

/// A flow that a learn action adds.
pub(crate) fn learned(l: &FlowMod) -> String {
    let mut out = format!("table={} ", l.table_id);
    out.push_str(&matching(&l.match_, &NoNames));
    while out.ends_with(' ') {
        out.pop();
    }
    put(&mut out, format_args!(" priority={}", l.priority));
    if l.new_cookie != 0 {
        put(&mut out, format_args!(" cookie={:#x}", l.new_cookie));
    }
    if l.idle_timeout != 0 {
        put(&mut out, format_args!(" idle={}", l.idle_timeout));
    }
    if l.hard_timeout != 0 {
        put(&mut out, format_args!(" hard={}", l.hard_timeout));
    }
    if l.flags.contains(FlowFlags::SEND_FLOW_REM) {
        out.push_str(" send_flow_rem");
    }
    out.push_str(" actions=");
    put_actions(&mut out, &l.acts, Names::default());
    out
}

fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args)
        .expect("writing to a string cannot fail");
}

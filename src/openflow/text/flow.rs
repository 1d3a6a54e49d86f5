//! Flows in text: `add-flow` arguments in, `dump-flows` lines out.

use super::parse_list;
use super::put_actions;
use super::scan::{Pairs, u16_of, u64_of};
use crate::check::{CheckParams, check_acts};
use crate::error::OfpError;
use crate::error_text::TextError;
use crate::flow_mod::{
    ALL_TABLES, ANY_GROUP, Duration, FlowFlags, FlowMod, FlowModCommand, FlowStats,
    FlowStatsRequest,
};
use crate::names::{Names, put};
use crate::version::Protocols;
use flow::{Match, OfPort};

/// What a flow's text was read as.
#[derive(Debug, Clone)]
pub struct ParsedFlowMod {
    /// The flow mod.
    pub flow_mod: FlowMod,
    /// The protocols that can carry it.
    pub protocols: Protocols,
}

/// Parses the argument of `ovs-ofctl add-flow`, `mod-flows`, `del-flows`, ...
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_flow_mod(
    text: &str,
    command: FlowModCommand,
    names: Names<'_>,
) -> Result<ParsedFlowMod, TextError> {
    parse(text, Some(command), names)
}

/// As [`parse_flow_mod`], with the command as an optional first word (`add`, `modify_strict`, ...; adding is
/// the default), as in bundle files.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_flow_mod_line(text: &str, names: Names<'_>) -> Result<ParsedFlowMod, TextError> {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let end = text
        .find([',', ' ', '\t', '\r', '\n'])
        .unwrap_or(text.len());
    let words = [
        ("add", FlowModCommand::Add),
        ("delete", FlowModCommand::Delete),
        ("delete_strict", FlowModCommand::DeleteStrict),
        ("modify", FlowModCommand::Modify),
        ("modify_strict", FlowModCommand::ModifyStrict),
    ];
    match words.iter().find(|(w, _)| w.starts_with(&text[..end])) {
        Some(&(_, command)) => parse(&text[end..], Some(command), names),
        None => parse(text, Some(FlowModCommand::Add), names),
    }
}

/// Parses the argument of `ovs-ofctl dump-flows`.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_flow_stats_request(
    text: &str,
    aggregate: bool,
    names: Names<'_>,
) -> Result<FlowStatsRequest, TextError> {
    let fm = parse(text, None, names)?.flow_mod;
    Ok(FlowStatsRequest {
        aggregate,
        match_: fm.match_,
        cookie: fm.cookie,
        cookie_mask: fm.cookie_mask,
        out_port: fm.out_port,
        out_group: fm.out_group,
        table_id: fm.table_id,
    })
}

/// Parses only a match, as `ovs-ofctl` flow syntax has it.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_match(text: &str, names: Names<'_>) -> Result<Match, TextError> {
    Ok(parse(text, None, names)?.flow_mod.match_)
}

/// The text before `actions=` and the actions.
fn split_actions(text: &str) -> Option<(&str, &str)> {
    let at = text.find("action")?;
    let (before, actions) = text.split_at(at);
    Some((before, actions.split_once('=')?.1))
}

/// `None`: a filter for statistics.
fn parse(
    text: &str,
    command: Option<FlowModCommand>,
    names: Names<'_>,
) -> Result<ParsedFlowMod, TextError> {
    let has_acts = command.is_some_and(|c| !c.is_delete());
    let (text, acts) = match has_acts {
        true => split_actions(text).ok_or_else(|| "must specify an action".to_owned())?,
        false => (text, ""),
    };
    let mut p = Parser {
        fm: FlowMod::new(command.unwrap_or(FlowModCommand::Delete)),
        command,
        protocols: Protocols::all(),
        names,
    };
    for (key, value) in Pairs::new(text) {
        p.pair(key, value)?;
    }
    p.settle();
    if has_acts {
        p.actions(acts)?;
    }
    Ok(ParsedFlowMod {
        flow_mod: p.fm,
        protocols: p.protocols,
    })
}

struct Parser<'a> {
    fm: FlowMod,
    command: Option<FlowModCommand>,
    protocols: Protocols,
    names: Names<'a>,
}

impl Parser<'_> {
    /// A command that takes actions, timeouts and flags.
    fn adds(&self) -> bool {
        self.command.is_some_and(|c| !c.is_delete())
    }

    fn pair(&mut self, key: &str, value: &str) -> Result<(), String> {
        if self.flag(key) {
            return Ok(());
        }
        if ["no_readonly_table", "allow_hidden_fields"].contains(&key) {
            return Ok(());
        }
        let usable = self.fm.match_.parse_pair(key, value, &self.names);
        match usable.map_err(|e| e.to_string())? {
            Some(usable) => self.protocols &= Protocols::from_bits_truncate(usable.bits()),
            None if value.is_empty() => return Err(format!("field {key} missing value")),
            None => self.attribute(key, value)?,
        }
        Ok(())
    }

    fn flag(&mut self, key: &str) -> bool {
        let (flag, protocols) = match key {
            "send_flow_rem" => (FlowFlags::SEND_FLOW_REM, Protocols::all()),
            "check_overlap" => (FlowFlags::CHECK_OVERLAP, Protocols::all()),
            "reset_counts" => (FlowFlags::RESET_COUNTS, Protocols::OF12_UP),
            "no_packet_counts" => (FlowFlags::NO_PKT_COUNTS, Protocols::OF13_UP),
            "no_byte_counts" => (FlowFlags::NO_BYT_COUNTS, Protocols::OF13_UP),
            _ => return false,
        };
        if self.adds() {
            self.fm.flags |= flag;
            self.protocols &= protocols;
        }
        self.adds()
    }

    fn attribute(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (adds, fm) = (self.adds(), &mut self.fm);
        match key {
            "table" => {
                fm.table_id = self
                    .names
                    .parse_table(value)
                    .ok_or_else(|| format!("unknown table \"{value}\""))?;
                if fm.table_id != ALL_TABLES {
                    self.protocols &= Protocols::TID;
                }
            }
            "out_port" if !adds => {
                fm.out_port = self
                    .names
                    .parse_port(value)
                    .ok_or_else(|| format!("{value} is not a valid OpenFlow port"))?;
            }
            "out_group" if !adds => {
                self.protocols &= Protocols::OF11_UP;
                fm.out_group = parse_group(value)
                    .ok_or_else(|| format!("{value} is not a valid OpenFlow group"))?;
            }
            "priority" if adds || self.command == Some(FlowModCommand::DeleteStrict) => {
                fm.priority = u16_of(value, key)?;
            }
            "idle_timeout" if adds => fm.idle_timeout = u16_of(value, key)?,
            "hard_timeout" if adds => fm.hard_timeout = u16_of(value, key)?,
            "importance" if self.command == Some(FlowModCommand::Add) => {
                fm.importance = u16_of(value, key)?;
            }
            "cookie" => return self.cookie(value),
            // So that what dump-flows prints can be read back.
            "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => {}
            _ => return Err(format!("unknown keyword {key}")),
        }
        Ok(())
    }

    fn cookie(&mut self, text: &str) -> Result<(), String> {
        let fm = &mut self.fm;
        if let Some((value, mask)) = text.split_once('/') {
            if self.command == Some(FlowModCommand::Add) {
                return Err("flow additions cannot use a cookie mask".into());
            }
            fm.cookie = u64_of(value)?;
            fm.cookie_mask = u64_of(mask)?;
            if fm.cookie_mask != 0 {
                self.protocols &= Protocols::NXM_OF11_UP;
            }
            return Ok(());
        }
        if self.command.is_none_or(FlowModCommand::is_delete) {
            return Err(format!(
                "cannot set cookie (to match on a cookie, specify a mask, e.g. cookie={text}/-1)"
            ));
        }
        fm.new_cookie = u64_of(text)?;
        fm.modify_cookie = true;
        Ok(())
    }

    /// What depends on more than one pair.
    fn settle(&mut self) {
        let usable = self.fm.match_.parse_end();
        self.protocols &= Protocols::from_bits_truncate(usable.bits());
        // A modify that matches nothing adds a flow, unless it looks for a cookie.
        let fm = &mut self.fm;
        if fm.command.is_modify() && fm.cookie_mask == 0 && fm.new_cookie == u64::MAX {
            fm.new_cookie = 0;
        }
    }

    fn actions(&mut self, text: &str) -> Result<(), TextError> {
        let parsed = parse_list(text, self.names, true)?;
        self.protocols &= parsed.protocols;
        self.fm.acts = parsed.acts;
        let params = CheckParams {
            flow: &self.fm.match_.flow,
            mask: &self.fm.match_.mask,
            max_ports: OfPort::MAX,
            table_id: self.fm.table_id,
            n_tables: u8::MAX,
        };
        self.protocols &=
            check_acts(&mut self.fm.acts, &params).map_err(TextError::Inconsistent)?;
        if self.protocols.is_empty() {
            return Err(TextError::Inconsistent(OfpError::OFPBAC_MATCH_INCONSISTENT));
        }
        Ok(())
    }
}

/// `any`, `all` or a number.
pub(crate) fn parse_group(s: &str) -> Option<u32> {
    if s.eq_ignore_ascii_case("any") {
        Some(ANY_GROUP)
    } else if s.eq_ignore_ascii_case("all") {
        Some(ANY_GROUP - 3)
    } else {
        s.trim_start().parse().ok()
    }
}

/// Appends seconds with as many digits as they need, and `s`.
pub(crate) fn put_duration(out: &mut String, d: Duration) {
    put(out, format_args!("{}", d.sec));
    if d.nsec > 0 {
        if d.nsec.is_multiple_of(1_000_000) {
            put(out, format_args!(".{:03}", d.nsec / 1_000_000));
        } else {
            put(out, format_args!(".{:09}", d.nsec));
            out.truncate(out.trim_end_matches('0').len());
        }
    }
    out.push('s');
}

macro_rules! say {
    ($out:expr, $($arg:tt)*) => { put($out, format_args!($($arg)*)) };
}

fn put_count(out: &mut String, word: &str, n: u64) {
    match n {
        u64::MAX => say!(out, "{word}=?, "),
        n => say!(out, "{word}={n}, "),
    }
}

/// Appends a flow as `ovs-ofctl dump-flows` prints it (without the blank before it); with `stats`, cookie,
/// age, table and counters are always there.
pub fn put_flow_stats(out: &mut String, fs: &FlowStats, names: Names<'_>, stats: bool) {
    if stats || fs.cookie != 0 {
        say!(out, "cookie=0x{:x}, ", fs.cookie);
    }
    if stats {
        out.push_str("duration=");
        put_duration(out, fs.duration);
        out.push_str(", ");
    }
    if stats || fs.table_id != 0 || names.has_table_name(fs.table_id) {
        out.push_str("table=");
        names.put_table(out, fs.table_id);
        out.push_str(", ");
    }
    if stats {
        put_count(out, "n_packets", fs.packet_count);
        put_count(out, "n_bytes", fs.byte_count);
    }
    if fs.idle_timeout != 0 {
        say!(out, "idle_timeout={}, ", fs.idle_timeout);
    }
    if fs.hard_timeout != 0 {
        say!(out, "hard_timeout={}, ", fs.hard_timeout);
    }
    fs.flags.put(out);
    if fs.importance != 0 {
        say!(out, "importance={}, ", fs.importance);
    }
    if let Some(age) = fs.idle_age.filter(|_| stats) {
        say!(out, "idle_age={age}, ");
    }
    if let Some(age) = fs.hard_age.filter(|&age| stats && age != fs.duration.sec) {
        say!(out, "hard_age={age}, ");
    }
    let before = out.len();
    fs.match_.format(out, &names, fs.priority);
    if out.len() != before {
        out.push(' ');
    }
    out.push_str("actions=");
    put_actions(out, &fs.acts, names);
}

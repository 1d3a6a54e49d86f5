//! Text to actions, with `ovs-ofctl`'s error sentences.

use super::scan::{self, Pairs, hex_bytes, strtoull, u8_of, u16_of, u32_of, u64_of};
use super::{CONTENT_MAX, DEPTH_MAX, ct, encap, hashing, learn};
use crate::action::{Act, Acts, SetKind};
use crate::bits;
use crate::error_text::TextError;
use crate::field::{self, parse_subfield};
use crate::names::Names;
use crate::reason;
use crate::verify::{Allowed, Outer, verify};
use crate::version::{Protocols, Version};
use flow::{FieldValue, OfPort, Subfield};

/// Result of every parser below: the sentence to tell the user on failure.
pub(super) type Parse<T> = Result<T, String>;

/// Actions with the protocols able to carry them.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) acts: Acts,
    pub(crate) protocols: Protocols,
}

/// Parses a list of actions; instructions are refused.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_actions(text: &str, names: Names<'_>) -> Result<Acts, TextError> {
    Ok(parse_list(text, names, false)?.acts)
}

/// As [`parse_actions`]; tells also which protocols can carry them.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_actions_usable(text: &str, names: Names<'_>) -> Result<(Acts, Protocols), TextError> {
    let parsed = parse_list(text, names, false)?;
    Ok((parsed.acts, parsed.protocols))
}

/// Parses a list of actions and instructions, as flows have them.
///
/// # Errors
/// What `ovs-ofctl` would say.
pub fn parse_instructions(text: &str, names: Names<'_>) -> Result<Acts, TextError> {
    Ok(parse_list(text, names, true)?.acts)
}

pub(crate) fn parse_list(
    text: &str,
    names: Names<'_>,
    instructions: bool,
) -> Result<Parsed, TextError> {
    let mut p = Parser {
        names,
        depth: 0,
        protocols: Protocols::all(),
    };
    let acts = p.list(text, instructions, Outer::None)?;
    Ok(Parsed {
        acts,
        protocols: p.protocols,
    })
}

/// State of one parse.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    pub(super) names: Names<'a>,
    depth: usize,
    pub(super) protocols: Protocols,
}

impl Parser<'_> {
    /// A list inside `outer`, checked for what may stand where.
    pub(super) fn list(&mut self, s: &str, instructions: bool, outer: Outer) -> Parse<Acts> {
        if self.depth >= DEPTH_MAX {
            return Err("Action nested too deeply".into());
        }
        self.depth += 1;
        let acts = self.list_inner(s, instructions, outer);
        self.depth -= 1;
        acts
    }

    fn list_inner(&mut self, s: &str, instructions: bool, outer: Outer) -> Parse<Acts> {
        let mut acts = Acts::new();
        let mut drop = false;
        for (key, value) in Pairs::new(s) {
            if key.eq_ignore_ascii_case("drop") {
                drop = true;
                continue;
            }
            let act = self.action(key, value)?;
            if matches!(act, Act::Meter(_)) && !instructions {
                self.protocols &= Protocols::OF15_UP;
            }
            acts.push(act);
        }
        if drop && !acts.is_empty() {
            return Err(
                "\"drop\" must not be accompanied by any other action or instruction".into(),
            );
        }
        let allowed = if instructions {
            Allowed::All
        } else {
            Allowed::Meter
        };
        verify(&acts, Version::V11, allowed, outer).map_err(|e| e.text)?;
        Ok(acts)
    }

    fn action(&mut self, key: &str, value: &str) -> Parse<Act> {
        let word = key.to_ascii_lowercase();
        if let Some(act) = word_action(&word) {
            return Ok(act);
        }
        if let Some(act) = number_action(&word, value) {
            return act;
        }
        match word.as_str() {
            "output" | "output_reg" => self.output(value),
            "output_trunc" => Err(format!("unknown action {value}")),
            "unroll_xlate" => {
                Err("UNROLL is an internal action that shouldn't be used via OpenFlow".into())
            }
            "controller" => controller(value),
            "enqueue" => self.enqueue(value),
            "bundle" => hashing::bundle(value, false, self.names),
            "bundle_load" => hashing::bundle(value, true, self.names),
            "multipath" => hashing::multipath(value),
            "set_field" => self.set_field(value),
            "load" => load(value),
            "move" => reg_move(value).map(|(src, dst)| Act::RegMove { src, dst }),
            "push_vlan" => self.push_vlan(value),
            "encap" => encap::encap(value, &mut self.protocols),
            "resubmit" => self.resubmit(value),
            "learn" => learn::learn(value, self.names),
            "sample" => self.sample(value),
            "ct" => ct::ct(self, value),
            "nat" => ct::nat(value).map(Act::Nat),
            "clone" => self.list(value, false, Outer::Clone).map(Act::Clone),
            "write_actions" => self
                .list(value, false, Outer::WriteActions)
                .map(Act::WriteActions),
            "meter" => {
                self.protocols &= Protocols::OF13_UP;
                u32_of(value).map(Act::Meter)
            }
            "write_metadata" => self.write_metadata(value),
            "goto_table" => self
                .names
                .parse_table(value)
                .map(Act::GotoTable)
                .ok_or_else(|| format!("unknown table \"{value}\"")),
            "apply_actions" => Err("apply_actions is the default instruction".into()),
            _ => match self.names.parse_port(key) {
                Some(port) => Ok(Act::Output { port, max_len: 0 }),
                None => Err(format!("unknown action {key}")),
            },
        }
    }

    fn output(&self, arg: &str) -> Parse<Act> {
        if arg.contains("port") && arg.contains("max_len") {
            return self.output_trunc(arg);
        }
        if let Some(port) = self.names.parse_port(arg) {
            let max_len = if port == OfPort::CONTROLLER {
                u16::MAX
            } else {
                0
            };
            return Ok(Act::Output { port, max_len });
        }
        match parse_subfield(arg) {
            Ok(src) => Ok(Act::OutputReg {
                src,
                max_len: u16::MAX,
            }),
            Err(_) => Err(format!("{arg}: output to unknown port")),
        }
    }

    fn output_trunc(&self, arg: &str) -> Parse<Act> {
        let (mut port, mut max_len) = (OfPort(0), 0);
        for (key, value) in Pairs::new(arg) {
            match key {
                "port" => {
                    port = self
                        .names
                        .parse_port(value)
                        .ok_or_else(|| format!("output to unknown truncate port: {value}"))?;
                    if port > OfPort::MAX && port != OfPort::LOCAL && port != OfPort::IN_PORT {
                        return Err(format!("output to unsupported truncate port: {value}"));
                    }
                }
                "max_len" => {
                    max_len = u32_of(value)?;
                    if max_len < 14 {
                        return Err(format!(
                            "max_len {max_len} is less than the minimum value 14"
                        ));
                    }
                }
                _ => return Err(format!("invalid key '{key}' in output_trunc argument")),
            }
        }
        Ok(Act::OutputTrunc { port, max_len })
    }

    fn enqueue(&self, arg: &str) -> Parse<Act> {
        let mut t = scan::Tokens::new(arg);
        let (port, queue) = match (t.next(&[':', 'q', ',']), t.rest()) {
            (Some(port), queue) if !queue.is_empty() => (port, queue),
            _ => {
                return Err("\"enqueue\" syntax is \"enqueue:PORT:QUEUE\" or \
                            \"enqueue(PORT,QUEUE)\""
                    .into());
            }
        };
        let Some(port_no) = self.names.parse_port(port) else {
            return Err(format!("{port}: enqueue to unknown port"));
        };
        Ok(Act::Enqueue {
            port: port_no,
            queue: u32_of(queue)?,
        })
    }

    fn set_field(&mut self, arg: &str) -> Parse<Act> {
        let (value, key) = split_arrow(arg)?;
        let id =
            field::from_name(key).ok_or_else(|| format!("{key} is not a valid OXM field name"))?;
        if !field::writable(id) {
            return Err(format!("{key} is read-only"));
        }
        let (bytes, mask) = field::parse_value(id, value, self.names)?;
        if !field::is_valid(id, &bytes) {
            return Err(format!("{value} is not a valid value for field {key}"));
        }
        self.protocols &= field::protocols_exact(id);
        Ok(Act::set_field(id, bytes, mask))
    }

    fn push_vlan(&mut self, arg: &str) -> Parse<Act> {
        self.protocols &= Protocols::OF11_UP;
        match u16_of(arg, "ethertype")? {
            ethertype @ (0x8100 | 0x88a8) => Ok(Act::PushVlan { ethertype }),
            _ => Err(format!("{arg}: not a valid VLAN ethertype")),
        }
    }

    fn resubmit(&self, arg: &str) -> Parse<Act> {
        let mut parts = arg.split(',');
        let mut in_port = OfPort::IN_PORT;
        if let Some(s) = parts.next().filter(|s| !s.is_empty()) {
            in_port = self
                .names
                .parse_port(s)
                .ok_or_else(|| format!("{s}: resubmit to unknown port"))?;
        }
        let mut table = u8::MAX;
        if let Some(s) = parts.next().filter(|s| !s.is_empty()) {
            table = self
                .names
                .parse_table(s)
                .ok_or_else(|| format!("{s}: resubmit to unknown table"))?;
        }
        let ct = match parts.next() {
            None | Some("") => false,
            Some("ct") => true,
            Some(other) => return Err(format!("{other}: unknown parameter")),
        };
        if in_port == OfPort::IN_PORT && table == u8::MAX {
            return Err(
                "at least one \"in_port\" or \"table\" must be specified on resubmit".into(),
            );
        }
        Ok(Act::Resubmit { in_port, table, ct })
    }

    fn sample(&self, arg: &str) -> Parse<Act> {
        let (mut probability, mut port, mut direction) = (0, OfPort::NONE, 0);
        let mut ids = [0; 3];
        for (key, value) in Pairs::new(arg) {
            match key {
                "probability" => {
                    probability = u16_of(value, "probability")?;
                    if probability == 0 {
                        return Err(format!("invalid probability value \"{value}\""));
                    }
                }
                "collector_set_id" => ids[0] = u32_of(value)?,
                "obs_domain_id" => ids[1] = u32_of(value)?,
                "obs_point_id" => ids[2] = u32_of(value)?,
                "sampling_port" => {
                    port = self
                        .names
                        .parse_port(value)
                        .ok_or_else(|| format!("{value}: unknown port"))?;
                }
                "ingress" => direction = 1,
                "egress" => direction = 2,
                _ => return Err(format!("invalid key \"{key}\" in \"sample\" argument")),
            }
        }
        if probability == 0 {
            return Err("non-zero \"probability\" must be specified on sample".into());
        }
        Ok(Act::Sample {
            probability,
            collector_set_id: ids[0],
            obs_domain_id: ids[1],
            obs_point_id: ids[2],
            sampling_port: port,
            direction,
        })
    }

    fn write_metadata(&mut self, arg: &str) -> Parse<Act> {
        self.protocols &= Protocols::NXM_OF11_UP;
        let (value, mask) = match arg.split_once('/') {
            Some((value, mask)) => (value, u64_of(mask)?),
            None => (arg, u64::MAX),
        };
        Ok(Act::WriteMetadata {
            metadata: u64_of(value)?,
            mask,
        })
    }
}

/// Actions that are one word.
fn word_action(word: &str) -> Option<Act> {
    Some(match word {
        "strip_vlan" => Act::StripVlan { pop: false },
        "pop_vlan" => Act::StripVlan { pop: true },
        "dec_mpls_ttl" => Act::DecMplsTtl,
        "dec_nsh_ttl" => Act::DecNshTtl,
        "pop_queue" => Act::PopQueue,
        "exit" => Act::Exit,
        "ct_clear" => Act::CtClear,
        "debug_recirc" => Act::DebugRecirc,
        "debug_slow" => Act::DebugSlow,
        "clear_actions" => Act::ClearActions,
        _ => return None,
    })
}

/// Actions whose argument is a number, an address or a subfield.
fn number_action(word: &str, v: &str) -> Option<Parse<Act>> {
    Some(match word {
        "group" => u32_of(v).map(Act::Group),
        "set_vlan_vid" => vlan_vid(v, false),
        "mod_vlan_vid" => vlan_vid(v, true),
        "set_vlan_pcp" => vlan_pcp(v, false),
        "mod_vlan_pcp" => vlan_pcp(v, true),
        "mod_dl_src" => mac(v).map(Act::SetEthSrc),
        "mod_dl_dst" => mac(v).map(Act::SetEthDst),
        "mod_nw_src" => ip(v).map(Act::SetIpv4Src),
        "mod_nw_dst" => ip(v).map(Act::SetIpv4Dst),
        "mod_nw_tos" => bounded_u8(v, "TOS", 0xfc, "TOS").map(Act::SetIpDscp),
        "mod_nw_ecn" => bounded_u8(v, "ECN", 0x03, "ECN").map(Act::SetIpEcn),
        "mod_nw_ttl" | "set_nw_ttl" => u8_of(v, "TTL").map(Act::SetIpTtl),
        "mod_tp_src" => u16_of(v, "source port").map(|port| Act::SetL4SrcPort {
            port,
            flow_ip_proto: 0,
        }),
        "mod_tp_dst" => u16_of(v, "destination port").map(|port| Act::SetL4DstPort {
            port,
            flow_ip_proto: 0,
        }),
        "push" => stack(v).map(Act::StackPush),
        "pop" => stack(v).map(Act::StackPop),
        "dec_ttl" => dec_ttl(v),
        "set_mpls_label" => mpls_label(v),
        "set_mpls_tc" if v.is_empty() => Err("set_mpls_tc: expected tc.".into()),
        "set_mpls_tc" => bounded_u8(v, "MPLS TC", 7, "MPLS TC").map(Act::SetMplsTc),
        "set_mpls_ttl" if v.is_empty() => Err("set_mpls_ttl: expected ttl.".into()),
        "set_mpls_ttl" => u8_of(v, "MPLS TTL").map(Act::SetMplsTtl),
        "push_mpls" => u16_of(v, "push_mpls").map(|ethertype| Act::PushMpls { ethertype }),
        "pop_mpls" => u16_of(v, "pop_mpls").map(|ethertype| Act::PopMpls { ethertype }),
        "delete_field" => field::from_any_name(v)
            .map(Act::DeleteField)
            .ok_or_else(|| format!("unknown field `{v}'")),
        "decap" => encap::decap(v),
        "set_tunnel" => u64_of(v).map(|id| Act::SetTunnel { id, wide: false }),
        "set_tunnel64" => u64_of(v).map(|id| Act::SetTunnel { id, wide: true }),
        "set_queue" => u32_of(v).map(Act::SetQueue),
        "fin_timeout" => fin_timeout(v),
        "conjunction" => conjunction(v),
        "note" => note(v),
        "check_pkt_larger" => check_pkt_larger(v),
        _ => return None,
    })
}

fn vlan_vid(s: &str, push_if_needed: bool) -> Parse<Act> {
    let vid = u16_of(s, "VLAN VID")?;
    if vid > 0xfff {
        return Err(format!("{s}: not a valid VLAN VID"));
    }
    Ok(Act::SetVlanVid {
        vid,
        push_if_needed,
        flow_has_vlan: false,
    })
}

fn vlan_pcp(s: &str, push_if_needed: bool) -> Parse<Act> {
    Ok(Act::SetVlanPcp {
        pcp: bounded_u8(s, "VLAN PCP", 7, "VLAN PCP")?,
        push_if_needed,
        flow_has_vlan: false,
    })
}

fn bounded_u8(s: &str, what: &str, allowed: u8, kind: &str) -> Parse<u8> {
    let v = u8_of(s, what)?;
    if v & !allowed != 0 {
        return Err(format!("{s}: not a valid {kind}"));
    }
    Ok(v)
}

fn mac(s: &str) -> Parse<wire::EthAddr> {
    s.parse().map_err(|()| format!("invalid mac address {s}"))
}

fn ip(s: &str) -> Parse<wire::Ipv4> {
    s.parse()
        .map_err(|()| format!("{s}: could not convert to IP address"))
}

fn stack(s: &str) -> Parse<Subfield> {
    let (sub, rest) = field::split_subfield(s)?;
    if rest.is_empty() {
        Ok(sub)
    } else {
        Err(format!("{rest}: trailing garbage following push or pop"))
    }
}

fn dec_ttl(s: &str) -> Parse<Act> {
    if s.is_empty() {
        return Ok(Act::DecTtl { ids: Vec::new() });
    }
    let mut t = scan::Tokens::new(s);
    let mut ids = Vec::new();
    while let Some(id) = t.next(&[',', ' ']) {
        ids.push(scan::atoi(id) as u16);
    }
    if ids.is_empty() {
        return Err("dec_ttl_cnt_ids: expected at least one controller id.".into());
    }
    Ok(Act::DecTtl { ids })
}

fn mpls_label(s: &str) -> Parse<Act> {
    if s.is_empty() {
        return Err("set_mpls_label: expected label.".into());
    }
    let label = u32_of(s)?;
    if label > 0xf_ffff {
        return Err(format!("{s}: not a valid MPLS label"));
    }
    Ok(Act::SetMplsLabel(label))
}

fn fin_timeout(s: &str) -> Parse<Act> {
    let (mut idle, mut hard) = (0, 0);
    for (key, value) in Pairs::new(s) {
        match key {
            "idle_timeout" => idle = u16_of(value, key)?,
            "hard_timeout" => hard = u16_of(value, key)?,
            _ => return Err(format!("invalid key '{key}' in 'fin_timeout' argument")),
        }
    }
    Ok(Act::FinTimeout { idle, hard })
}

fn conjunction(s: &str) -> Parse<Act> {
    let bad = || "\"conjunction\" syntax is \"conjunction(id,i/n)\"".to_owned();
    let parse = || {
        let (id, rest) = strtoull(s)?;
        let rest = rest.trim_start().strip_prefix(',')?;
        let (k, rest) = decimal_u8(rest)?;
        let rest = rest.trim_start().strip_prefix('/')?;
        let (n, rest) = decimal_u8(rest)?;
        rest.trim_start().is_empty().then_some((id as u32, k, n))
    };
    let (id, k, n) = parse().ok_or_else(bad)?;
    let wrong = match (k, n) {
        (_, ..2) => "conjunction must have at least 2 clauses",
        (_, 65..) => "conjunction must have at most 64 clauses",
        (0, _) => "clause index must be positive",
        (k, n) if k > n => "clause index must be less than or equal to number of clauses",
        (k, n_clauses) => {
            return Ok(Act::Conjunction {
                id,
                clause: k - 1,
                n_clauses,
            });
        }
    };
    Err(wrong.into())
}

fn decimal_u8(s: &str) -> Option<(u8, &str)> {
    let s = s.trim_start();
    let end = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    s[..end].parse().ok().map(|n| (n, &s[end..]))
}

fn note(s: &str) -> Parse<Act> {
    let (data, rest) = hex_bytes(s);
    if !rest.is_empty() {
        return Err("bad hex digit in `note' argument".into());
    }
    content(data).map(Act::Note)
}

fn content(data: Vec<u8>) -> Parse<Vec<u8>> {
    if data.len() > CONTENT_MAX {
        return Err("input too big".into());
    }
    Ok(data)
}

/// `value->name` into its halves.
pub(super) fn split_arrow(arg: &str) -> Parse<(&str, &str)> {
    match arg.split_once("->") {
        None => Err(format!("{arg}: missing `->'")),
        Some((_, "")) => Err(format!("{arg}: missing field name following `->'")),
        Some(halves) => Ok(halves),
    }
}

fn check_pkt_larger(arg: &str) -> Parse<Act> {
    let (value, key) = split_arrow(arg)?;
    let value = value.strip_suffix(')').unwrap_or(value);
    let dst = parse_subfield(key)?;
    if dst.n_bits != 1 {
        return Err("Only 1-bit destination field is allowed".into());
    }
    Ok(Act::CheckPktLarger {
        len: u16_of(value, "(null)")?,
        dst,
    })
}

/// `src->dst`, equally wide.
pub(super) fn reg_move(s: &str) -> Parse<(Subfield, Subfield)> {
    let (src, rest) = field::split_subfield(s)?;
    let Some(rest) = rest.strip_prefix("->") else {
        return Err(format!("{s}: missing `->' following source"));
    };
    let dst = parse_subfield(rest)?;
    if src.n_bits != dst.n_bits {
        return Err(format!(
            "{s}: source field is {} bits wide but destination is {} bits wide",
            src.n_bits, dst.n_bits
        ));
    }
    Ok((src, dst))
}

fn load(arg: &str) -> Parse<Act> {
    let (value, key) = split_arrow(arg)?;
    let dst = parse_subfield(key)?;
    let width = field::n_bytes(dst.field);
    let Some((imm, _)) = bits::int_string(value, width) else {
        return Err(format!("{arg}: cannot parse integer value"));
    };
    if !bits::fits(&imm, dst.n_bits) {
        let mut shown = String::new();
        field::put_value(&mut shown, dst.field, &imm, None, Names::default());
        return Err(format!(
            "{arg}: value {shown} does not fit into {} bits",
            dst.n_bits
        ));
    }
    let mut bytes = FieldValue::from_elem(0, width);
    dst.into_value(&imm, &mut bytes);
    Ok(Act::SetField {
        field: dst.field,
        value: bytes,
        mask: bits::partial(dst.mask_value()),
        kind: SetKind::Load,
        flow_has_vlan: false,
    })
}

fn controller(arg: &str) -> Parse<Act> {
    let (mut reason, mut controller_id, mut max_len) = (reason::ACTION, 0, u16::MAX);
    let (mut meter, mut userdata, mut pause) = (0, None, false);
    if arg.bytes().all(|b| b.is_ascii_digit()) && !arg.is_empty() {
        max_len = u16_of(arg, "max_len")?;
    } else {
        for (key, value) in Pairs::new(arg) {
            match key {
                "reason" => {
                    reason = reason::from_name(value)
                        .ok_or_else(|| format!("unknown reason \"{value}\""))?;
                }
                "max_len" => max_len = u16_of(value, "max_len")?,
                "id" => controller_id = u16_of(value, "id")?,
                "userdata" => userdata = Some(value),
                "pause" => pause = true,
                "meter_id" => meter = u32_of(value)?,
                _ => return Err(format!("unknown key \"{key}\" parsing controller action")),
            }
        }
    }
    if reason == reason::ACTION && controller_id == 0 && userdata.is_none() && !pause && meter == 0
    {
        return Ok(Act::Output {
            port: OfPort::CONTROLLER,
            max_len,
        });
    }
    let (userdata, rest) = hex_bytes(userdata.unwrap_or(""));
    if !rest.is_empty() {
        return Err("bad hex digit in `controller' action `userdata'".into());
    }
    Ok(Act::Controller {
        max_len,
        controller_id,
        reason,
        userdata: content(userdata)?,
        meter_id: (meter != 0).then_some(meter),
        pause,
    })
}

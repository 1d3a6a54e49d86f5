//! Whole messages as `ovs-ofctl ofp-print` says them, for the log.
//!
//! Headers are printed for every kind; bodies for those that change flows, ask for them or carry other
//! messages. Anything may come in: what cannot be read is shown as its error and its octets.

use super::{format_actions, put_flow_stats};
use crate::codec::header::{HEADER_LEN, Header};
use crate::error::OfpError;
use crate::flow_mod::{ALL_TABLES, DEFAULT_PRIORITY, FlowMod, FlowModCommand, NO_BUFFER};
use crate::flow_mod::{FlowFlags, FlowStatsRequest};
use crate::msg::{
    BundleControl, BundleFlags, BundleType, DecodeCx, ErrorMsg, Message, RoleMessage,
};
use crate::names::{Names, put};
use crate::version::{Protocols, Version};
use flow::OfPort;

/// Messages inside messages are printed so deep.
const DEPTH_MAX: usize = 4;

macro_rules! say {
    ($out:expr, $($arg:tt)*) => { put($out, format_args!($($arg)*)) };
}

/// A message as text, every line ended.
#[must_use]
pub fn format_message(bytes: &[u8]) -> String {
    let mut out = String::new();
    put_message(&mut out, bytes, 0);
    out
}

fn put_message(out: &mut String, bytes: &[u8], depth: usize) {
    let len = bytes.len();
    let said = match bytes {
        [] => return out.push_str("OpenFlow message is empty\n"),
        [_, _, a, b, _, _, _, _, ..] => usize::from(*a) << 8 | usize::from(*b),
        _ => {
            say!(out, "OpenFlow packet too short (only {len} bytes):\n");
            return put_hex_dump(out, bytes);
        }
    };
    if said > len {
        if let Ok(header) = Header::decode_prefix(bytes) {
            say!(out, "{header}\n");
        }
        say!(out, "(***truncated to {len} bytes from {said}***)\n");
        return put_hex_dump(out, bytes);
    }
    if said < len {
        say!(out, "(***only uses {said} bytes out of {len}***)\n");
        return put_hex_dump(out, bytes);
    }
    let error = put_whole(out, bytes, depth).err();
    if let Some(error) = error {
        say!(out, "***decode error: {}***", error.name());
        end_line(out);
        put_hex_dump(out, bytes);
    }
    end_line(out);
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn put_whole(out: &mut String, bytes: &[u8], depth: usize) -> Result<(), OfpError> {
    let header = Header::decode(bytes)?;
    say!(out, "{header}");
    if header.more {
        out.push_str(" flags=[more]");
    }
    let before = out.len();
    let version = Version::from_wire(header.version).unwrap_or(Version::V10);
    let cx = DecodeCx {
        protocol: Some(Protocols::initial(version).with_tid(true)),
        loose: true,
        ..DecodeCx::default()
    };
    match Message::decode(bytes, &cx) {
        Ok((_, message)) => put_body(out, (&message, version, bytes.len()), depth),
        Err(error) => {
            out.push(if out.len() > before { '\n' } else { ' ' });
            return Err(error);
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    Ok(())
}

fn put_body(out: &mut String, (message, version, len): (&Message, Version, usize), depth: usize) {
    match message {
        Message::Hello(hello) => {
            out.push_str("\n version bitmap: ");
            put_versions(out, hello.versions);
        }
        Message::Error(error) => put_error(out, error, depth),
        Message::EchoRequest(_) | Message::EchoReply(_) => {
            say!(out, " {} bytes of payload\n", len - HEADER_LEN);
        }
        Message::FlowMod(fm) => put_flow_mod(out, fm, version),
        Message::FlowStatsRequest(request) => put_stats_request(out, request),
        Message::FlowStatsReply(flows) => {
            for fs in flows {
                out.push_str("\n ");
                put_flow_stats(out, fs, Names::default(), true);
            }
        }
        Message::AggregateReply(sum) => say!(
            out,
            " packet_count={} byte_count={} flow_count={}",
            sum.packet_count,
            sum.byte_count,
            sum.flow_count
        ),
        Message::BundleControl(control) => put_bundle_control(out, *control),
        Message::BundleAdd(add) => {
            say!(out, "\n bundle_id={} flags=", alternate(add.bundle_id));
            put_bundle_flags(out, add.flags);
            out.push('\n');
            if depth < DEPTH_MAX {
                put_message(out, &add.message, depth + 1);
            }
        }
        Message::RoleRequest(role) | Message::RoleReply(role) => put_role(out, role),
        Message::SetFlowFormat(p) => out.push_str(if p.intersects(Protocols::NXM_ANY) {
            " format=nxm"
        } else {
            " format=openflow10"
        }),
        Message::FlowModTableId(on) => out.push_str(if *on { " enable" } else { " disable" }),
        Message::SetControllerId(id) => say!(out, " id={id}"),
        Message::MonitorCancel(id) => say!(out, " id={id}"),
        Message::CtFlushZone(zone) => say!(out, " zone_id={zone}"),
        _ => {}
    }
}

/// The versions of a bitmap: bit n for number n on the wire.
fn put_versions(out: &mut String, bitmap: u32) {
    let numbers = (0..32u32).filter(|n| bitmap >> n & 1 != 0);
    for (i, number) in numbers.enumerate() {
        say!(out, "{}0x{number:02x}", if i > 0 { ", " } else { "" });
    }
}

/// A bitmap of versions in words: `version 0x06 and earlier`.
#[must_use]
pub fn format_versions(bitmap: u32) -> String {
    let last = bitmap.checked_ilog2().unwrap_or(0);
    if bitmap == 0 {
        return "no versions".to_owned();
    }
    if bitmap.is_power_of_two() {
        return format!("version 0x{last:02x}");
    }
    if ((bitmap >> 1) + 1).is_power_of_two() {
        return format!("version 0x{last:02x} and earlier");
    }
    let mut out = "versions ".to_owned();
    put_versions(&mut out, bitmap);
    out
}

/// As C's `%#x`: zero has no prefix.
fn alternate(n: u32) -> String {
    if n == 0 {
        "0".to_owned()
    } else {
        format!("{n:#x}")
    }
}

fn put_error(out: &mut String, error: &ErrorMsg, depth: usize) {
    match error.error {
        None => out.push_str(" ***unknown error***\n"),
        Some(what) => {
            say!(out, " {}\n", what.name());
            let text = [OfpError::OFPHFC_INCOMPATIBLE, OfpError::OFPHFC_EPERM];
            if text.contains(&what) {
                out.push_str(&String::from_utf8_lossy(&error.data));
            } else if depth < DEPTH_MAX {
                put_message(out, &error.data, depth + 1);
            }
        }
    }
}

fn put_flow_mod(out: &mut String, fm: &FlowMod, version: Version) {
    out.push_str(match fm.command {
        FlowModCommand::Add => " ADD",
        FlowModCommand::Modify => " MOD",
        FlowModCommand::ModifyStrict => " MOD_STRICT",
        FlowModCommand::Delete => " DEL",
        FlowModCommand::DeleteStrict => " DEL_STRICT",
    });
    if fm.table_id != 0 {
        say!(out, " table:{}", fm.table_id);
    }
    out.push(' ');
    fm.match_.format(out, &Names::default(), fm.priority);
    if !out.ends_with(' ') {
        out.push(' ');
    }
    if fm.new_cookie != 0 && fm.new_cookie != u64::MAX {
        say!(out, "cookie:0x{:x} ", fm.new_cookie);
    }
    if fm.cookie_mask != 0 {
        say!(out, "cookie:0x{:x}/0x{:x} ", fm.cookie, fm.cookie_mask);
    }
    for (name, value) in [
        ("idle", fm.idle_timeout),
        ("hard", fm.hard_timeout),
        ("importance", fm.importance),
    ] {
        if value != 0 {
            say!(out, "{name}:{value} ");
        }
    }
    if fm.buffer_id != NO_BUFFER {
        say!(out, "buf:0x{:x} ", fm.buffer_id);
    }
    if fm.out_port != OfPort::NONE {
        out.push_str("out_port:");
        Names::default().put_port(out, fm.out_port);
        out.push(' ');
    }
    // The oldest versions have no such flag: it would only confuse.
    let unsaid = if version <= Version::V11 {
        FlowFlags::RESET_COUNTS
    } else {
        FlowFlags::empty()
    };
    fm.flags.difference(unsaid).put(out);
    out.push_str("actions=");
    out.push_str(&format_actions(&fm.acts, Names::default()));
}

fn put_stats_request(out: &mut String, request: &FlowStatsRequest) {
    if request.table_id != ALL_TABLES {
        say!(out, " table={}", request.table_id);
    }
    if request.out_port != OfPort::NONE {
        out.push_str(" out_port=");
        Names::default().put_port(out, request.out_port);
    }
    out.push(' ');
    request
        .match_
        .format(out, &Names::default(), DEFAULT_PRIORITY);
}

fn put_bundle_control(out: &mut String, control: BundleControl) {
    let kind = match control.kind {
        BundleType::OpenRequest => "OPEN_REQUEST",
        BundleType::OpenReply => "OPEN_REPLY",
        BundleType::CloseRequest => "CLOSE_REQUEST",
        BundleType::CloseReply => "CLOSE_REPLY",
        BundleType::CommitRequest => "COMMIT_REQUEST",
        BundleType::CommitReply => "COMMIT_REPLY",
        BundleType::DiscardRequest => "DISCARD_REQUEST",
        BundleType::DiscardReply => "DISCARD_REPLY",
    };
    say!(
        out,
        "\n bundle_id={} type={kind} flags=",
        alternate(control.bundle_id)
    );
    put_bundle_flags(out, control.flags);
}

fn put_bundle_flags(out: &mut String, flags: BundleFlags) {
    let mut words = Vec::new();
    for (flag, name) in [
        (BundleFlags::ATOMIC, "atomic"),
        (BundleFlags::ORDERED, "ordered"),
    ] {
        if flags.contains(flag) {
            words.push(name.to_owned());
        }
    }
    let rest = flags.bits() & !(BundleFlags::ATOMIC | BundleFlags::ORDERED).bits();
    if rest != 0 {
        words.push(format!("0x{rest:x}"));
    }
    if words.is_empty() {
        words.push("0".to_owned());
    }
    out.push_str(&words.join(" "));
}

fn put_role(out: &mut String, role: &RoleMessage) {
    say!(out, " role={}", role.role.name());
    if let Some(generation) = role.generation_id {
        say!(out, " generation_id={generation}");
    }
}

/// Octets, sixteen to a line: offset, numbers, characters.
fn put_hex_dump(out: &mut String, bytes: &[u8]) {
    for (i, line) in bytes.chunks(16).enumerate() {
        say!(out, "{:08x} ", i * 16);
        for at in 0..16 {
            let separator = if at == 8 { '-' } else { ' ' };
            match line.get(at) {
                Some(b) => say!(out, "{separator}{b:02x}"),
                None => out.push_str("   "),
            }
        }
        out.push_str(" |");
        for at in 0..16 {
            let c = line.get(at).map_or(' ', |b| {
                if b.is_ascii_graphic() || *b == b' ' {
                    char::from(*b)
                } else {
                    '.'
                }
            });
            out.push(c);
        }
        out.push_str("|\n");
    }
}

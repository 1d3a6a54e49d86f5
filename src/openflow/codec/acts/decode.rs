//! Bytes to actions.

use super::table::{RawAct as R, pull};
use super::{complex, fields, learn};
use crate::action::{Act, Acts};
use crate::check::check_output_port;
use crate::codec::{Decode, NESTING_MAX, Reader, port_from_11};
use crate::error::OfpError;
use crate::reason;
use crate::verify::{Allowed, Outer, verify};
use crate::version::Version;
use flow::{OfPort, TunTable};
use wire::{EthAddr, Ipv4};

/// What actions are read by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ActRules<'a> {
    /// Version of the message.
    pub(crate) version: Version,
    /// The switch's options table; without one, every tunnel metadata field exists.
    pub(crate) tun: Option<&'a TunTable>,
    /// The debug actions exist.
    pub(crate) debug: bool,
    /// Lists around this one.
    pub(crate) depth: usize,
}

impl<'a> ActRules<'a> {
    /// Rules for the outermost list, without debug actions.
    pub(crate) fn new(version: Version, tun: Option<&'a TunTable>) -> Self {
        Self {
            version,
            tun,
            debug: false,
            depth: 0,
        }
    }
}

/// Takes `len` octets as a list of actions; what may not stand in it is refused.
pub(crate) fn decode_actions(
    r: &mut Reader<'_>,
    len: usize,
    rules: &ActRules<'_>,
    (allowed, outer): (Allowed, Outer),
) -> Decode<Acts> {
    if !len.is_multiple_of(8) {
        return Err(OfpError::OFPBRC_BAD_LEN);
    }
    let acts = decode_list(r.take(len)?, rules)?;
    verify(&acts, rules.version, allowed, outer).map_err(|e| e.error)?;
    Ok(acts)
}

/// Reads all of `bytes` as actions; does not look at their order.
pub(crate) fn decode_list(bytes: &[u8], rules: &ActRules<'_>) -> Decode<Acts> {
    if rules.depth >= NESTING_MAX {
        return Err(OfpError::OFPBAC_TOO_MANY);
    }
    let mut r = Reader::new(bytes);
    let mut acts = Acts::new();
    while !r.is_empty() {
        let (raw, mut body) = pull(&mut r, rules.version)?;
        acts.push(action(raw, &mut body, rules)?);
    }
    Ok(acts)
}

/// Reads an action set.
pub(crate) fn decode_action_set(bytes: &[u8], rules: &ActRules<'_>) -> Decode<Acts> {
    let acts = decode_list(bytes, rules)?;
    match acts.iter().all(Act::fits_action_set) {
        true => Ok(acts),
        false => Err(OfpError::OFPBAC_BAD_TYPE),
    }
}

/// A list inside an action.
pub(super) fn nested(r: &mut Reader<'_>, rules: &ActRules<'_>, outer: Outer) -> Decode<Acts> {
    let inner = ActRules {
        depth: rules.depth + 1,
        ..*rules
    };
    let len = r.len();
    decode_actions(r, len, &inner, (Allowed::Actions, outer))
}

fn action(raw: R, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Act> {
    match standard(raw, b)? {
        Some(act) => Ok(act),
        None => match extension(raw, b, rules)? {
            Some(act) => Ok(act),
            None => complex::decode(raw, b, rules),
        },
    }
}

fn limited(v: u8, allowed: u8) -> Decode<u8> {
    if v & !allowed == 0 {
        Ok(v)
    } else {
        Err(OfpError::OFPBAC_BAD_ARGUMENT)
    }
}

/// OpenFlow's own actions with an argument of fixed length.
fn standard(raw: R, b: &mut Reader<'_>) -> Decode<Option<Act>> {
    Ok(Some(match raw {
        R::Output10 => output(OfPort(b.u16()?), b.u16()?)?,
        R::Output11 => output(port_from_11(b.u32()?)?, b.u16()?)?,
        R::SetVlanVid10 | R::SetVlanVid11 => {
            let vid = b.u16()?;
            if vid > 0xfff {
                return Err(OfpError::OFPBAC_BAD_ARGUMENT);
            }
            Act::SetVlanVid {
                vid,
                push_if_needed: raw == R::SetVlanVid10,
                flow_has_vlan: false,
            }
        }
        R::SetVlanPcp10 | R::SetVlanPcp11 => Act::SetVlanPcp {
            pcp: limited(b.u8()?, 7)?,
            push_if_needed: raw == R::SetVlanPcp10,
            flow_has_vlan: false,
        },
        R::StripVlan10 => Act::StripVlan { pop: false },
        R::PopVlan11 => Act::StripVlan { pop: true },
        R::PushVlan => match b.u16()? {
            ethertype @ (0x8100 | 0x88a8) => Act::PushVlan { ethertype },
            _ => return Err(OfpError::OFPBAC_BAD_ARGUMENT),
        },
        R::SetDlSrc10 | R::SetDlSrc11 => Act::SetEthSrc(EthAddr(b.array()?)),
        R::SetDlDst10 | R::SetDlDst11 => Act::SetEthDst(EthAddr(b.array()?)),
        R::SetNwSrc10 | R::SetNwSrc11 => Act::SetIpv4Src(Ipv4(b.array()?)),
        R::SetNwDst10 | R::SetNwDst11 => Act::SetIpv4Dst(Ipv4(b.array()?)),
        R::SetNwTos10 | R::SetNwTos11 => Act::SetIpDscp(limited(b.u8()?, 0xfc)?),
        R::SetNwEcn => Act::SetIpEcn(limited(b.u8()?, 3)?),
        R::SetTpSrc => Act::SetL4SrcPort {
            port: b.u16()?,
            flow_ip_proto: 0,
        },
        R::SetTpDst => Act::SetL4DstPort {
            port: b.u16()?,
            flow_ip_proto: 0,
        },
        R::Enqueue => enqueue(b)?,
        R::SetMplsLabel => Act::SetMplsLabel(b.u32()?),
        R::SetMplsLabelNx => Act::SetMplsLabel(aligned_u32(b)?),
        R::SetMplsTc | R::SetMplsTcNx => Act::SetMplsTc(b.u8()?),
        R::SetMplsTtl | R::SetMplsTtlNx => Act::SetMplsTtl(b.u8()?),
        R::DecMplsTtl | R::DecMplsTtlNx => Act::DecMplsTtl,
        R::PushMpls | R::PushMplsNx => match b.u16()? {
            ethertype @ (0x8847 | 0x8848) => Act::PushMpls { ethertype },
            _ => return Err(OfpError::OFPBAC_BAD_ARGUMENT),
        },
        R::PopMpls | R::PopMplsNx => Act::PopMpls {
            ethertype: b.u16()?,
        },
        R::SetQueue => Act::SetQueue(b.u32()?),
        R::SetQueueNx => Act::SetQueue(aligned_u32(b)?),
        R::Group => Act::Group(b.u32()?),
        R::GroupNx => Act::Group(aligned_u32(b)?),
        R::SetNwTtl => Act::SetIpTtl(b.u8()?),
        R::DecNwTtl | R::DecNwTtlNx => Act::DecTtl { ids: Vec::new() },
        R::Meter => Act::Meter(b.u32()?),
        _ => return Ok(None),
    }))
}

/// A vendor action's 32-bit argument is aligned: 2 octets of padding.
fn aligned_u32(b: &mut Reader<'_>) -> Decode<u32> {
    b.skip(2)?;
    b.u32()
}

fn output(port: OfPort, max_len: u16) -> Decode<Act> {
    check_output_port(port, OfPort::MAX)?;
    Ok(Act::Output { port, max_len })
}

fn enqueue(b: &mut Reader<'_>) -> Decode<Act> {
    let port = OfPort(b.u16()?);
    b.skip(6)?;
    if port >= OfPort::MAX && port != OfPort::IN_PORT && port != OfPort::LOCAL {
        return Err(OfpError::OFPBAC_BAD_OUT_PORT);
    }
    Ok(Act::Enqueue {
        port,
        queue: b.u32()?,
    })
}

/// Nicira's actions of fixed length without fields.
fn extension(raw: R, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Option<Act>> {
    Ok(Some(match raw {
        R::Resubmit => Act::Resubmit {
            in_port: OfPort(b.u16()?),
            table: u8::MAX,
            ct: false,
        },
        R::ResubmitTable | R::ResubmitTableCt => {
            let (in_port, table) = (OfPort(b.u16()?), b.u8()?);
            if !b.rest_is_zero() {
                return Err(OfpError::OFPBAC_BAD_ARGUMENT);
            }
            Act::Resubmit {
                in_port,
                table,
                ct: raw == R::ResubmitTableCt,
            }
        }
        R::SetTunnel => Act::SetTunnel {
            id: aligned_u32(b)?.into(),
            wide: false,
        },
        R::SetTunnel64 => {
            b.skip(6)?;
            Act::SetTunnel {
                id: b.u64()?,
                wide: true,
            }
        }
        R::PopQueue => Act::PopQueue,
        R::Exit => Act::Exit,
        R::CtClear => Act::CtClear,
        R::DecNshTtl => Act::DecNshTtl,
        R::DebugSlow | R::DebugRecirc if !rules.debug => {
            return Err(OfpError::OFPBAC_BAD_VENDOR_TYPE);
        }
        R::DebugSlow => Act::DebugSlow,
        R::DebugRecirc => Act::DebugRecirc,
        R::FinTimeout => Act::FinTimeout {
            idle: b.u16()?,
            hard: b.u16()?,
        },
        R::Controller => Act::Controller {
            max_len: b.u16()?,
            controller_id: b.u16()?,
            reason: b.u8()?,
            userdata: Vec::new(),
            meter_id: None,
            pause: false,
        },
        _ => return extension2(raw, b, rules),
    }))
}

fn extension2(raw: R, b: &mut Reader<'_>, rules: &ActRules<'_>) -> Decode<Option<Act>> {
    Ok(Some(match raw {
        R::Sample | R::Sample2 | R::Sample3 => sample(raw, b)?,
        R::Clone => {
            b.skip(6)?;
            Act::Clone(nested(b, rules, Outer::None)?)
        }
        R::Learn | R::Learn2 => learn::decode(raw == R::Learn2, b, rules)?,
        R::Conjunction => {
            let (clause, n_clauses, id) = (b.u8()?, b.u8()?, b.u32()?);
            if !(2..=64).contains(&n_clauses) || clause >= n_clauses {
                return Err(OfpError::NXBAC_BAD_CONJUNCTION);
            }
            Act::Conjunction {
                id,
                clause,
                n_clauses,
            }
        }
        R::OutputTrunc => {
            let (port, max_len) = (OfPort(b.u16()?), b.u32()?);
            if max_len < 14 {
                return Err(OfpError::OFPBAC_BAD_ARGUMENT);
            }
            Act::OutputTrunc { port, max_len }
        }
        R::WriteMetadata => {
            if b.take(6)?.iter().any(|&x| x != 0) {
                return Err(OfpError::NXBRC_MUST_BE_ZERO);
            }
            Act::WriteMetadata {
                metadata: b.u64()?,
                mask: b.u64()?,
            }
        }
        R::Note => Act::Note(b.rest().to_vec()),
        _ => return fields::decode(raw, b, rules),
    }))
}

fn sample(raw: R, b: &mut Reader<'_>) -> Decode<Act> {
    let (probability, ids) = (b.u16()?, [b.u32()?, b.u32()?, b.u32()?]);
    let (mut sampling_port, mut direction) = (OfPort::NONE, 0);
    if raw != R::Sample {
        sampling_port = OfPort(b.u16()?);
        let dir = b.u8()?;
        if raw == R::Sample3 {
            if !b.rest_is_zero() {
                return Err(OfpError::NXBRC_MUST_BE_ZERO);
            }
            direction = dir;
        }
    }
    if probability == 0 || direction > 2 {
        return Err(OfpError::OFPBAC_BAD_ARGUMENT);
    }
    Ok(Act::Sample {
        probability,
        collector_set_id: ids[0],
        obs_domain_id: ids[1],
        obs_point_id: ids[2],
        sampling_port,
        direction,
    })
}

impl Act {
    /// A plain output to the controller.
    #[must_use]
    pub fn controller(max_len: u16) -> Self {
        Self::Controller {
            max_len,
            controller_id: 0,
            reason: reason::ACTION,
            userdata: Vec::new(),
            meter_id: None,
            pause: false,
        }
    }

    /// True for actions that may stand in an action set.
    #[must_use]
    pub fn fits_action_set(&self) -> bool {
        !matches!(
            self,
            Self::Bundle(_)
                | Self::ClearActions
                | Self::Clone(_)
                | Self::Nat(_)
                | Self::Controller { .. }
                | Self::Enqueue { .. }
                | Self::Exit
                | Self::FinTimeout { .. }
                | Self::GotoTable(_)
                | Self::Learn(_)
                | Self::Conjunction { .. }
                | Self::Meter(_)
                | Self::Multipath(_)
                | Self::Note(_)
                | Self::OutputReg { .. }
                | Self::OutputTrunc { .. }
                | Self::PopQueue
                | Self::Sample { .. }
                | Self::StackPop(_)
                | Self::StackPush(_)
                | Self::WriteActions(_)
                | Self::WriteMetadata { .. }
                | Self::DebugRecirc
                | Self::DebugSlow
                | Self::CheckPktLarger { .. }
                | Self::DeleteField(_)
        )
    }
}

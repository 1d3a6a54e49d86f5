//! Do actions make sense for what a flow matches? Prerequisites, VLAN presence, ports, tables.
//!
//! Some inconsistencies are errors; others only rule out the protocols that forbid them (all but OpenFlow
//! 1.0). Checking also fills in what encoders need to know about the flow (`flow_has_vlan`,
//! `flow_ip_proto`).

use crate::action::{
    Act, BundleAct, CtAct, EncapHeader, LearnAct, LearnDst, LearnSrc, NatAct, Port,
};
use crate::error::OfpError;
use crate::props::{PT_ETH, PT_NSH, PT_UNKNOWN};
use crate::version::Protocols;
use flow::{FieldId, Flow, Mask, OfPort, Subfield, Vlan};
use wire::U16;

/// Conntrack state bit "invalid".
const CT_INVALID: u8 = 0x10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
const ETH_NSH: u16 = 0x894f;
const METER_MAX: u32 = 0xffff_0000;

/// What actions are checked against.
#[derive(Debug, Clone, Copy)]
pub struct CheckParams<'a> {
    /// What the flow matches.
    pub flow: &'a Flow,
    /// Which bits of it.
    pub mask: &'a Mask,
    /// Ports below this number may exist.
    pub max_ports: Port,
    /// The flow's table; 255 when it is not known.
    pub table_id: u8,
    /// Tables the switch has; 255 when it is not known.
    pub n_tables: u8,
}

/// Checks `acts`; tells which protocols can carry them with this match.
///
/// # Errors
/// The OpenFlow error of the first action that can never work.
pub fn check_acts(acts: &mut [Act], params: &CheckParams<'_>) -> Result<Protocols, OfpError> {
    let mut cx = Cx {
        flow: *params.flow,
        mask: params.mask,
        max_ports: params.max_ports,
        table_id: params.table_id,
        n_tables: params.n_tables,
        usable: Protocols::all(),
    };
    cx.list(acts)?;
    Ok(cx.usable)
}

/// As [`check_acts`], but what rules out `needed` is an error too.
///
/// # Errors
/// As [`check_acts`]; `OFPBAC_MATCH_INCONSISTENT` when `needed` cannot carry the flow.
pub fn check_consistency(
    acts: &mut [Act],
    needed: Protocols,
    params: &CheckParams<'_>,
) -> Result<(), OfpError> {
    if check_acts(acts, params)?.contains(needed) {
        Ok(())
    } else {
        Err(OfpError::OFPBAC_MATCH_INCONSISTENT)
    }
}

/// A port that may be output to.
pub(crate) fn check_output_port(port: Port, max_ports: Port) -> Result<(), OfpError> {
    match port {
        OfPort::IN_PORT
        | OfPort::TABLE
        | OfPort::NORMAL
        | OfPort::FLOOD
        | OfPort::ALL
        | OfPort::CONTROLLER
        | OfPort::LOCAL => Ok(()),
        OfPort::NONE => Err(OfpError::OFPBAC_BAD_OUT_PORT),
        port if port < max_ports => Ok(()),
        _ => Err(OfpError::OFPBAC_BAD_OUT_PORT),
    }
}

/// The bits of a subfield exist.
pub(crate) fn check_src(sub: &Subfield) -> Result<(), OfpError> {
    let (ofs, n) = (u32::from(sub.ofs), u32::from(sub.n_bits));
    if n == 0 || ofs + n > u32::from(sub.field.info().n_bits) {
        return Err(OfpError::OFPBAC_BAD_SET_LEN);
    }
    Ok(())
}

/// The bits of a subfield exist and may be written.
pub(crate) fn check_dst(sub: &Subfield) -> Result<(), OfpError> {
    check_src(sub)?;
    if sub.field.info().writable {
        Ok(())
    } else {
        Err(OfpError::OFPBAC_BAD_SET_ARGUMENT)
    }
}

/// Members of a bundle are ports, none the controller.
pub(crate) fn check_bundle(b: &BundleAct, max_ports: Port) -> Result<(), OfpError> {
    for &port in &b.members {
        if port != OfPort::NONE {
            check_output_port(port, max_ports)?;
        }
        if port == OfPort::CONTROLLER {
            return Err(OfpError::OFPBAC_BAD_OUT_PORT);
        }
    }
    Ok(())
}

/// State of one check. `flow` changes as actions push and pop headers.
struct Cx<'a> {
    flow: Flow,
    mask: &'a Mask,
    max_ports: Port,
    table_id: u8,
    n_tables: u8,
    usable: Protocols,
}

type Check = Result<(), OfpError>;

impl Cx<'_> {
    fn list(&mut self, acts: &mut [Act]) -> Check {
        let f = &self.flow;
        let saved = (f.packet_type, f.dl_type, f.nw_proto, f.vlans);
        let result = acts.iter_mut().try_for_each(|a| self.act(a));
        let f = &mut self.flow;
        (f.packet_type, f.dl_type, f.nw_proto, f.vlans) = saved;
        result
    }

    /// What happens here is fine for OpenFlow 1.0 only.
    fn only_of10_unless(&mut self, consistent: bool) {
        if !consistent {
            self.usable &= Protocols::OF10_ANY;
        }
    }

    fn src(&self, sub: &Subfield) -> Check {
        check_src(sub)?;
        self.prereqs(sub.field)
    }
    fn dst(&self, sub: &Subfield) -> Check {
        self.src(sub)?;
        check_dst(sub)
    }
    fn prereqs(&self, field: FieldId) -> Check {
        if field.info().prereqs.ok(&self.flow, Some(self.mask), None) {
            Ok(())
        } else {
            Err(OfpError::OFPBAC_MATCH_INCONSISTENT)
        }
    }

    fn has_vlan(&self) -> bool {
        self.flow.vlans[0].is_present()
    }

    fn act(&mut self, act: &mut Act) -> Check {
        match act {
            Act::Output { port, .. } | Act::OutputTrunc { port, .. } => {
                check_output_port(*port, self.max_ports)
            }
            Act::Enqueue { port, .. } => {
                let special = [OfPort::IN_PORT, OfPort::LOCAL].contains(port);
                if special || *port < self.max_ports {
                    Ok(())
                } else {
                    Err(OfpError::OFPBAC_BAD_OUT_PORT)
                }
            }
            Act::OutputReg { src, .. } => self.src(src),
            Act::Bundle(b) => {
                if let Some(dst) = &b.dst {
                    self.dst(dst)?;
                }
                check_bundle(b, self.max_ports)
            }
            Act::Multipath(m) => self.dst(&m.dst),
            Act::SetField { .. } => self.set_field(act),
            Act::RegMove { src, dst } => self.src(src).and_then(|()| self.dst(dst)),
            Act::StackPush(sub) => self.src(sub),
            Act::StackPop(sub) => self.dst(sub),
            Act::DeleteField(FieldId::TunMetadata(_)) => Ok(()),
            Act::DeleteField(_) => Err(OfpError::OFPBAC_BAD_ARGUMENT),
            Act::Resubmit { ct: true, .. } => self.prereqs(FieldId::CtNwSrc),
            Act::Learn(l) => self.learn(l),
            Act::Clone(acts) => self.list(acts),
            Act::WriteActions(acts) => {
                // The order of an action set is not known, so neither is what suits it.
                let usable = self.usable;
                let result = self.list(acts);
                self.usable = usable;
                result
            }
            Act::Ct(ct) => self.ct(ct),
            Act::Nat(nat) => self.nat(nat),
            Act::Meter(id) if *id == 0 || *id > METER_MAX => Err(OfpError::OFPMMFC_INVALID_METER),
            Act::GotoTable(table) => self.goto_table(*table),
            _ => self.header(act),
        }
    }

    fn header(&mut self, act: &mut Act) -> Check {
        let dl_type = self.flow.effective_dl_type();
        match act {
            Act::SetVlanVid {
                push_if_needed,
                flow_has_vlan,
                ..
            }
            | Act::SetVlanPcp {
                push_if_needed,
                flow_has_vlan,
                ..
            } => {
                *flow_has_vlan = self.has_vlan();
                self.only_of10_unless(*flow_has_vlan || *push_if_needed);
                self.mark_vlan();
            }
            Act::StripVlan { .. } => {
                self.only_of10_unless(self.has_vlan());
                let last = Flow::VLANS_MAX - 1;
                self.flow.vlans.copy_within(1.., 0);
                self.flow.vlans[last] = Vlan::default();
            }
            Act::PushVlan { .. } => {
                let last = Flow::VLANS_MAX - 1;
                if self.flow.vlans[last].is_present() {
                    return Err(OfpError::OFPBAC_BAD_TAG);
                }
                self.flow.vlans.copy_within(..last, 1);
                self.flow.vlans[0] = Vlan::default();
                self.mark_vlan();
            }
            Act::SetIpv4Src(_) | Act::SetIpv4Dst(_) => self.only_of10_unless(dl_type == ETH_IPV4),
            Act::SetIpDscp(_) | Act::SetIpEcn(_) | Act::SetIpTtl(_) | Act::DecTtl { .. } => {
                self.only_of10_unless(self.flow.is_ip_any());
            }
            Act::SetL4SrcPort { flow_ip_proto, .. } | Act::SetL4DstPort { flow_ip_proto, .. } => {
                let f = &self.flow;
                *flow_ip_proto = f.nw_proto;
                let ok = f.is_ip_any()
                    && f.nw_frag & Flow::FRAG_LATER == 0
                    && [TCP, UDP, SCTP].contains(&f.nw_proto);
                self.only_of10_unless(ok);
            }
            Act::SetMplsLabel(_) | Act::SetMplsTc(_) | Act::SetMplsTtl(_) | Act::DecMplsTtl => {
                self.only_of10_unless(is_mpls(dl_type));
            }
            Act::PushMpls { ethertype } => {
                self.only_of10_unless(self.flow.packet_type.get() == PT_ETH);
                self.flow.dl_type = U16::new(*ethertype);
                self.flow.nw_proto = 0;
            }
            Act::PopMpls { ethertype } => {
                let ok = self.flow.packet_type.get() == PT_ETH && is_mpls(dl_type);
                self.only_of10_unless(ok);
                self.flow.dl_type = U16::new(*ethertype);
            }
            Act::FinTimeout { .. } => self.only_of10_unless(self.flow.nw_proto == TCP),
            Act::Encap { header, .. } => self.encap(*header),
            Act::Decap { .. } => self.decap(),
            Act::DecNshTtl => {
                let f = &self.flow;
                let nsh = f.packet_type.get() == PT_NSH || f.dl_type.get() == ETH_NSH;
                self.only_of10_unless(nsh);
            }
            _ => {}
        }
        Ok(())
    }

    fn mark_vlan(&mut self) {
        let tci = &mut self.flow.vlans[0].tci;
        *tci = U16::new(tci.get() | Vlan::CFI);
    }

    fn set_field(&mut self, act: &mut Act) -> Check {
        let Act::SetField {
            field,
            value,
            flow_has_vlan,
            ..
        } = act
        else {
            return Ok(());
        };
        let vlan = self.has_vlan();
        if !field.prereqs_ok(&self.flow, None) || (*field == FieldId::VlanVid && !vlan) {
            return Err(OfpError::OFPBAC_MATCH_INCONSISTENT);
        }
        *flow_has_vlan = vlan;
        if *field == FieldId::VlanTci
            && let [hi, lo] = value[..]
        {
            self.flow.vlans[0].tci = U16::from_bytes([hi, lo]);
        }
        Ok(())
    }

    fn encap(&mut self, header: EncapHeader) {
        let packet_type = header.packet_type();
        let f = &mut self.flow;
        f.packet_type.set(packet_type);
        if packet_type >> 16 == 1 {
            f.dl_type = U16::new(packet_type as u16);
        }
        if !f.is_ip_any() {
            f.nw_proto = 0;
        }
    }

    fn decap(&mut self) {
        let f = &mut self.flow;
        if f.packet_type.get() == PT_ETH {
            f.packet_type.set(1 << 16 | u32::from(f.dl_type.get()));
        } else {
            // Known only once the header is gone: nothing may depend on it.
            f.packet_type.set(PT_UNKNOWN);
            f.dl_type = U16::new(u16::MAX);
        }
    }

    fn learn(&self, l: &LearnAct) -> Check {
        let (mut flow, mut mask) = (Flow::zero(), Mask::empty());
        for spec in &l.specs {
            if let LearnSrc::Field(src) = &spec.src {
                self.src(src)?;
            }
            let (LearnDst::Match(dst) | LearnDst::Load(dst)) = &spec.dst else {
                continue;
            };
            check_src(dst)?;
            if !dst.field.info().prereqs.ok(&flow, Some(&mask), None) {
                return Err(OfpError::OFPBAC_MATCH_INCONSISTENT);
            }
            match (&spec.dst, &spec.src) {
                (LearnDst::Load(dst), _) => check_dst(dst)?,
                (LearnDst::Match(dst), LearnSrc::Immediate(imm)) => {
                    dst.write(&mut flow, imm, None);
                    dst.mask(&mut mask, None);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn ct(&mut self, ct: &mut CtAct) -> Check {
        let f = &self.flow;
        let dl_type = f.effective_dl_type();
        if ![ETH_IPV4, ETH_IPV6].contains(&dl_type)
            || (f.ct_state & CT_INVALID != 0 && ct.commit)
            || (ct.alg == 21 && f.nw_proto != TCP)
            || (ct.alg == 69 && f.nw_proto != UDP)
        {
            return Err(OfpError::OFPBAC_MATCH_INCONSISTENT);
        }
        match &ct.zone_src {
            Some(src) => self.src(src),
            None => self.list(&mut ct.actions),
        }
    }

    fn nat(&self, nat: &NatAct) -> Check {
        let want = match nat.addr {
            None => &[ETH_IPV4, ETH_IPV6][..],
            Some((a, _)) if a.is_ipv4() => &[ETH_IPV4],
            Some(_) => &[ETH_IPV6],
        };
        if want.contains(&self.flow.effective_dl_type()) {
            Ok(())
        } else {
            Err(OfpError::OFPBAC_MATCH_INCONSISTENT)
        }
    }

    fn goto_table(&self, table: u8) -> Check {
        let back = self.table_id != u8::MAX && table <= self.table_id;
        let beyond = self.n_tables != u8::MAX && table >= self.n_tables;
        if back || beyond {
            return Err(OfpError::OFPBIC_BAD_TABLE_ID);
        }
        Ok(())
    }
}

fn is_mpls(dl_type: u16) -> bool {
    dl_type == 0x8847 || dl_type == 0x8848
}

impl EncapHeader {
    /// Packet type after this header was put in front.
    #[must_use]
    pub const fn packet_type(self) -> u32 {
        match self {
            Self::Ethernet => PT_ETH,
            Self::Nsh => PT_NSH,
            Self::Mpls(ethertype) => 1 << 16 | ethertype as u32,
        }
    }
}

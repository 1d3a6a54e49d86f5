//! Actions that change headers, registers and the register stack.

use crate::ctx::{Ctx, Pause};
use crate::headers::{self, is_ip, is_mpls};
use crate::output::XlateError;
use crate::table::reason;
use crate::trace::NodeKind;
use crate::wild::Site;
use flow::{FieldId, FieldValue, Flow, Subfield, Vlan};
use openflow::Act;
use wire::ethernet::{ETH_TYPE_ARP, ETH_TYPE_IP, ETH_TYPE_NSH, ETH_TYPE_VLAN, is_mpls_type};
use wire::ipv4::{DSCP_MASK, ECN_MASK};
use wire::mpls::{LSE_LABEL_MASK, LSE_TC_MASK, LSE_TTL_MASK};
use wire::{Ipv4, U16, U32};

impl Ctx<'_> {
    /// Does an action that changes headers or fields; false for one of another kind.
    pub(crate) fn header_action(&mut self, act: &Act) -> bool {
        match act {
            Act::SetField {
                field, value, mask, ..
            } => self.set_field(*field, value, mask.as_ref()),
            Act::RegMove { src, dst } => self.reg_move(src, dst),
            Act::StackPush(sf) => self.stack_push(sf),
            Act::StackPop(sf) => self.stack_pop(sf),
            Act::SetVlanVid {
                vid,
                push_if_needed,
                ..
            } => self.set_vlan(Vlan::VID_MASK, *vid, *push_if_needed, Site::SetVlanVid),
            Act::SetVlanPcp {
                pcp,
                push_if_needed,
                ..
            } => {
                let bits = u16::from(*pcp) << 13;
                self.set_vlan(Vlan::PCP_MASK, bits, *push_if_needed, Site::SetVlanPcp);
            }
            Act::StripVlan { .. } => headers::vlan_pop(&mut self.flow, &mut self.wc),
            Act::PushVlan { ethertype } => {
                headers::vlan_push(&mut self.flow, &mut self.wc);
                self.flow.vlans[0] = Vlan {
                    tpid: U16::new(*ethertype),
                    tci: U16::new(Vlan::CFI),
                };
            }
            Act::SetEthSrc(mac) => {
                self.wc.mark(Site::SetEthSrc, |m| m.dl_src.0 = [0xff; 6]);
                self.flow.dl_src = *mac;
            }
            Act::SetEthDst(mac) => {
                self.wc.mark(Site::SetEthDst, |m| m.dl_dst.0 = [0xff; 6]);
                self.flow.dl_dst = *mac;
            }
            Act::PushMpls { ethertype } => self.push_mpls(*ethertype),
            Act::PopMpls { ethertype } => self.pop_mpls(*ethertype),
            Act::SetMplsLabel(label) => self.set_mpls(LSE_LABEL_MASK, *label << 12),
            Act::SetMplsTc(tc) => self.set_mpls(LSE_TC_MASK, u32::from(*tc) << 9),
            Act::SetMplsTtl(ttl) => self.set_mpls(LSE_TTL_MASK, u32::from(*ttl)),
            Act::Multipath(mp) => self.multipath(mp),
            _ => return self.ip_action(act),
        }
        true
    }

    fn ip_action(&mut self, act: &Act) -> bool {
        let all = Ipv4([0xff; 4]);
        match act {
            Act::SetIpv4Src(ip) => {
                self.set_ipv4(|m| m.nw_src = all, |f| f.nw_src = *ip);
            }
            Act::SetIpv4Dst(ip) => {
                self.set_ipv4(|m| m.nw_dst = all, |f| f.nw_dst = *ip);
            }
            Act::SetIpDscp(dscp) => self.set_tos(DSCP_MASK, *dscp),
            Act::SetIpEcn(ecn) => self.set_tos(ECN_MASK, *ecn),
            Act::SetIpTtl(ttl) => {
                if is_ip(&self.flow) {
                    self.mark_ip_proto();
                    self.wc.mark(Site::SetIpTtl, |m| m.nw_ttl = 0xff);
                    self.flow.nw_ttl = *ttl;
                }
            }
            Act::SetL4SrcPort { port, .. } => {
                let p = U16::new(*port);
                self.set_l4(|m| m.tp_src = U16::MAX_VALUE, |f| f.tp_src = p);
            }
            Act::SetL4DstPort { port, .. } => {
                let p = U16::new(*port);
                self.set_l4(|m| m.tp_dst = U16::MAX_VALUE, |f| f.tp_dst = p);
            }
            _ => return false,
        }
        true
    }

    /// The datapath changes IP headers only of packets whose protocol the flow knows.
    fn mark_ip_proto(&mut self) {
        self.wc.mark(Site::IpProto, |m| m.nw_proto = 0xff);
    }

    fn set_vlan(&mut self, bits: u16, value: u16, push: bool, site: Site) {
        self.wc
            .mark(site, |m| m.vlans[0].tci |= U16::new(bits | Vlan::CFI));
        let tag = &mut self.flow.vlans[0];
        if tag.is_present() || push {
            if tag.tpid.get() == 0 {
                tag.tpid = U16::new(ETH_TYPE_VLAN);
            }
            tag.tci = U16::new(tag.tci.get() & !bits | value & bits | Vlan::CFI);
        }
    }

    fn set_ipv4(&mut self, mark: impl FnOnce(&mut Flow), set: impl FnOnce(&mut Flow)) {
        if self.flow.dl_type.get() == ETH_TYPE_IP {
            self.wc.mark(Site::SetIpv4, mark);
            self.mark_ip_proto();
            set(&mut self.flow);
        }
    }

    fn set_tos(&mut self, bits: u8, value: u8) {
        if is_ip(&self.flow) {
            self.mark_ip_proto();
            self.wc.mark(Site::SetIpTos, |m| m.nw_tos |= bits);
            self.flow.nw_tos = self.flow.nw_tos & !bits | value & bits;
        }
    }

    fn set_l4(&mut self, mark: impl FnOnce(&mut Flow), set: impl FnOnce(&mut Flow)) {
        if is_ip(&self.flow) && self.flow.nw_frag & Flow::FRAG_LATER == 0 {
            self.mark_ip_proto();
            self.wc.mark(Site::SetL4, mark);
            set(&mut self.flow);
        }
    }

    // ---- time to live. Each is true when the rest of the table's actions must not be done.

    pub(crate) fn dec_ttl(&mut self, controllers: &[u16]) -> bool {
        self.wc.mark(Site::DecTtl, |m| m.nw_ttl = 0xff);
        self.mark_ip_proto();
        if !is_ip(&self.flow) {
            return false;
        }
        if self.flow.nw_ttl > 1 {
            self.flow.nw_ttl -= 1;
            return false;
        }
        let controllers = if controllers.is_empty() {
            &[0]
        } else {
            controllers
        };
        for id in controllers {
            self.ttl_expired(*id);
        }
        let v = if self.flow.dl_type.get() == ETH_TYPE_IP {
            4
        } else {
            6
        };
        self.note(NodeKind::Warn, || format!("IPv{v} decrement TTL exception"));
        true
    }

    pub(crate) fn dec_mpls_ttl(&mut self) -> bool {
        if is_mpls(&self.flow) {
            self.wc.mark(Site::SetMpls, |m| {
                m.mpls_lse[0] |= U32::new(LSE_TTL_MASK);
            });
            let lse = self.flow.mpls_lse[0].get();
            if lse & LSE_TTL_MASK > 1 {
                self.flow.mpls_lse[0] = U32::new(lse - 1);
                return false;
            }
            self.ttl_expired(0);
        }
        self.note(NodeKind::Warn, || "MPLS decrement TTL exception".into());
        true
    }

    pub(crate) fn dec_nsh_ttl(&mut self) -> bool {
        let nsh = self.flow.packet_type.get() == headers::PT_NSH
            || self.flow.dl_type.get() == ETH_TYPE_NSH;
        if nsh {
            self.wc.mark(Site::DecNshTtl, |m| m.nsh.ttl = 0xff);
            if self.flow.nsh.ttl > 1 {
                self.flow.nsh.ttl -= 1;
                return false;
            }
            self.ttl_expired(0);
        }
        self.note(NodeKind::Warn, || "NSH decrement TTL exception".into());
        true
    }

    fn ttl_expired(&mut self, controller_id: u16) {
        let what = Pause {
            max_len: u16::MAX,
            controller_id,
            reason: reason::INVALID_TTL,
            userdata: Vec::new(),
        };
        self.send_to_controller(what, None);
    }

    // ---- MPLS

    fn set_mpls(&mut self, bits: u32, value: u32) {
        if is_mpls(&self.flow) {
            self.wc
                .mark(Site::SetMpls, |m| m.mpls_lse[0] |= U32::new(bits));
            let old = self.flow.mpls_lse[0].get();
            self.flow.mpls_lse[0] = U32::new(old & !bits | value & bits);
        }
    }

    fn push_mpls(&mut self, ethertype: u16) {
        let n = headers::mpls_count(&self.flow, Some(&mut self.wc));
        if n == 0 {
            self.commit();
        } else if n >= Flow::MPLS_MAX {
            self.too_many_labels("MPLS push action can't be performed as it would have");
            return;
        }
        if is_mpls_type(ethertype) {
            headers::mpls_push(&mut self.flow, n, ethertype, Some(&mut self.wc), true);
        }
    }

    fn pop_mpls(&mut self, ethertype: u16) {
        let n = headers::mpls_count(&self.flow, Some(&mut self.wc));
        if headers::mpls_pop(&mut self.flow, n, ethertype, Some(&mut self.wc)) {
            if !is_mpls_type(ethertype) && self.snap.features.recirc {
                self.was_mpls = true;
            }
        } else if n >= Flow::MPLS_MAX {
            self.too_many_labels("MPLS pop action can't be performed as it has");
            self.truncate_actions(0);
        }
    }

    /// Drops a packet with more labels than can be handled.
    pub(crate) fn too_many_labels(&mut self, what: &str) {
        if self.packet.is_some() {
            self.complain(|| {
                format!(
                    "dropping packet on which an {what} more MPLS LSEs than the {} supported.",
                    Flow::MPLS_MAX
                )
            });
        }
        self.error = Some(XlateError::TooManyMplsLabels);
    }

    // ---- fields

    fn set_field(&mut self, field: FieldId, value: &FieldValue, mask: Option<&FieldValue>) {
        let flow = &self.flow;
        let ok = self
            .wc
            .with(Site::SetFieldPrereqs, |m| field.prereqs_ok(flow, Some(m)));
        if !ok {
            self.note(NodeKind::Warn, || {
                format!(
                    "unmet prerequisites for {}, set_field ignored",
                    field.name()
                )
            });
            return;
        }
        self.mark_l3_prereqs(field);
        let (wc, flow, tun) = (&mut self.wc, &mut self.flow, Some(&*self.tun));
        match mask {
            Some(mask) => {
                wc.with(Site::SetField, |m| field.mask_bits(m, mask, tun));
                field.set_masked(flow, value, mask, tun);
            }
            None => {
                wc.with(Site::SetField, |m| field.mask_all(m, tun));
                field.set(flow, value, tun);
            }
        }
    }

    fn mark_l3_prereqs(&mut self, field: FieldId) {
        use FieldId as F;
        let ip = matches!(
            field,
            F::Ipv4Src
                | F::Ipv4Dst
                | F::Ipv6Src
                | F::Ipv6Dst
                | F::Ipv6Label
                | F::IpDscp
                | F::IpEcn
                | F::IpTtl
        );
        let arp = matches!(
            field,
            F::ArpOp | F::ArpSha | F::ArpTha | F::ArpSpa | F::ArpTpa
        );
        if ip && is_ip(&self.flow) || arp && self.flow.dl_type.get() == ETH_TYPE_ARP {
            self.mark_ip_proto();
        }
    }

    fn reg_move(&mut self, src: &Subfield, dst: &Subfield) {
        let (flow, tun) = (&mut self.flow, Some(&*self.tun));
        self.wc
            .with(Site::Move, |m| src.copy_to(dst, flow, Some(m), tun));
        self.note_subfield(dst);
    }

    /// Writes a number over a subfield.
    pub(crate) fn load(&mut self, dst: &Subfield, value: u64) {
        let tun = self.tun();
        let tun = Some(&*tun);
        self.wc.with(Site::RegLoad, |m| dst.mask(m, tun));
        dst.write_u64(&mut self.flow, value, tun);
    }

    fn stack_push(&mut self, sf: &Subfield) {
        let tun = self.tun();
        let tun = Some(&*tun);
        self.wc.with(Site::StackPush, |m| sf.mask(m, tun));
        let value = sf.read(&self.flow, tun);
        self.stack.push(value);
    }

    fn stack_pop(&mut self, sf: &Subfield) {
        let Some(value) = self.stack.pop() else {
            self.complain(|| "stack underflow".into());
            return;
        };
        let tun = self.tun();
        let tun = Some(&*tun);
        self.wc.with(Site::StackPop, |m| sf.mask(m, tun));
        sf.write(&mut self.flow, &value, tun);
        self.note_subfield(sf);
    }

    /// Tells the listener what a subfield holds now.
    pub(crate) fn note_subfield(&mut self, sf: &Subfield) {
        if self.tracing() {
            let text = crate::text::subfield(sf, &self.flow, Some(&*self.tun()));
            self.note(NodeKind::Detail, || text);
        }
    }
}

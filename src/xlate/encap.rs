//! `encap` and `decap`: whole headers put in front or taken off. The datapath actions are emitted with the
//! next commit; here only the flow changes.

use crate::ctx::Ctx;
use crate::headers::{
    self, PT_ETH, PT_IPV4, PT_IPV6, PT_MPLS, PT_MPLS_MC, PT_NSH, ethertype_packet,
    is_ethertype_packet,
};
use crate::output::XlateError;
use crate::trace::NodeKind;
use crate::wild::Site;
use flow::Flow;
use odp::SlowReason;
use openflow::EncapHeader;
use wire::ethernet::{ETH_TYPE_MPLS, ETH_TYPE_NSH, ETH_TYPE_TEB};
use wire::{EthAddr, U16, U32};

/// Class of encapsulation properties for NSH.
const PROP_CLASS_NSH: u16 = 4;
/// NSH: metadata type.
const PROP_NSH_MDTYPE: u8 = 1;
/// NSH: one context header of metadata type 2.
const PROP_NSH_TLV: u8 = 2;
/// NSH next protocols.
const NP_IPV4: u8 = 1;
const NP_IPV6: u8 = 2;
const NP_ETHERNET: u8 = 3;
const NP_NSH: u8 = 4;
/// Most bytes of NSH metadata.
const MD2_MAX: usize = 248;

impl Ctx<'_> {
    /// Puts a header in front.
    pub(crate) fn encap(&mut self, header: EncapHeader, props: &[(u16, u8, Vec<u8>)]) {
        self.commit();
        let md2 = match header {
            EncapHeader::Ethernet => self.encap_ethernet(),
            EncapHeader::Nsh => self.encap_nsh(props),
            EncapHeader::Mpls(ethertype) => {
                let done = self.encap_mpls(ethertype);
                if !self.snap.features.add_mpls {
                    self.slow(SlowReason::ACTION);
                }
                done
            }
        };
        if self.error.is_none() {
            self.pending.encap = true;
            self.pending.nsh_md2 = md2;
        }
    }

    fn mark_packet_type(&mut self, site: Site) {
        self.wc.mark(site, |m| m.packet_type = U32::MAX_VALUE);
    }

    fn encap_ethernet(&mut self) -> Option<Vec<u8>> {
        self.mark_packet_type(Site::Encap);
        let pt = self.flow.packet_type.get();
        if is_ethertype_packet(pt) {
            self.flow.packet_type = U32::new(PT_ETH);
            self.flow.dl_src = EthAddr::ZERO;
            self.flow.dl_dst = EthAddr::ZERO;
            self.flow.dl_type = U16::new((pt & 0xffff) as u16);
        } else {
            self.unsupported(|| {
                "Dropping packet as encap(ethernet) is not supported for packet type ethernet."
                    .into()
            });
        }
        None
    }

    fn encap_mpls(&mut self, ethertype: u16) -> Option<Vec<u8>> {
        let n = headers::mpls_count(&self.flow, Some(&mut self.wc));
        if n >= Flow::MPLS_MAX {
            self.too_many_labels("encap MPLS action can't be performed as it would have");
            return None;
        }
        self.mark_packet_type(Site::Encap);
        // An Ethernet packet that carries labels: they are payload from now on.
        if self.flow.packet_type.get() == PT_ETH && self.flow.dl_type.get() == ETH_TYPE_MPLS {
            self.wc.clear(|m| m.mpls_lse = [U32::ZERO; 3]);
            self.flow.mpls_lse = [U32::ZERO; 3];
            self.base.mpls_lse = [U32::ZERO; 3];
        }
        self.flow.packet_type = U32::new(ethertype_packet(ethertype));
        headers::mpls_push(&mut self.flow, n, ethertype, Some(&mut self.wc), true);
        self.flow.dl_src = EthAddr::ZERO;
        self.flow.dl_dst = EthAddr::ZERO;
        None
    }

    fn encap_nsh(&mut self, props: &[(u16, u8, Vec<u8>)]) -> Option<Vec<u8>> {
        let pt = self.flow.packet_type.get();
        let np = match pt {
            PT_ETH => NP_ETHERNET,
            PT_IPV4 => NP_IPV4,
            PT_IPV6 => NP_IPV6,
            PT_NSH => NP_NSH,
            _ => {
                self.unsupported(|| {
                    format!(
                        "Dropping packet as encap(nsh) is not supported for packet type ({},{:#x})",
                        pt >> 16,
                        pt & 0xffff
                    )
                });
                return None;
            }
        };
        let (mdtype, md2) = nsh_metadata(props);
        self.mark_packet_type(Site::Encap);
        headers::hide_all(&mut self.flow);
        self.flow.packet_type = U32::new(PT_NSH);
        self.flow.dl_type = U16::new(ETH_TYPE_NSH);
        let nsh = &mut self.flow.nsh;
        nsh.ttl = 63;
        nsh.np = np;
        nsh.mdtype = mdtype & 0xf;
        nsh.path_hdr = U32::new(255);
        (mdtype == 2).then_some(md2).filter(|m| !m.is_empty())
    }

    /// Takes a header off. True when the packet must come back before what follows is known.
    pub(crate) fn decap(&mut self, new_type: Option<u32>) -> bool {
        self.commit();
        match self.flow.packet_type.get() {
            PT_ETH => self.decap_ethernet(),
            PT_NSH => return self.decap_nsh(),
            PT_MPLS | PT_MPLS_MC => return self.decap_mpls(new_type),
            pt => self.unsupported(|| {
                format!(
                    "Dropping packet as the decap() does not support packet type ({},{:#x})",
                    pt >> 16,
                    pt & 0xffff
                )
            }),
        }
        false
    }

    fn decap_ethernet(&mut self) {
        if self.flow.vlans[0].is_present() {
            self.unsupported(|| {
                "Dropping packet, cannot decap Ethernet if VLAN is present.".into()
            });
            return;
        }
        self.flow.packet_type = U32::new(ethertype_packet(self.flow.dl_type.get()));
        self.flow.dl_src = EthAddr::ZERO;
        self.flow.dl_dst = EthAddr::ZERO;
        self.wc.mark(Site::Decap, |m| m.dl_type = U16::MAX_VALUE);
    }

    fn decap_nsh(&mut self) -> bool {
        let np = self.flow.nsh.np;
        self.wc.mark(Site::Decap, |m| m.nsh.np = 0xff);
        let pt = match np {
            NP_ETHERNET => PT_ETH,
            NP_IPV4 => PT_IPV4,
            NP_IPV6 => PT_IPV6,
            NP_NSH => PT_NSH,
            _ => {
                self.unsupported(|| {
                    format!("Dropping packet as NSH next protocol {np} is not supported")
                });
                return false;
            }
        };
        self.flow.packet_type = U32::new(pt);
        self.pending.decap = true;
        true
    }

    fn decap_mpls(&mut self, new_type: Option<u32>) -> bool {
        let pt = new_type.unwrap_or(PT_ETH);
        let n = headers::mpls_count(&self.flow, Some(&mut self.wc));
        let ethertype = match (pt & 0xffff) as u16 {
            0 => ETH_TYPE_TEB,
            t => t,
        };
        self.flow.packet_type = U32::new(pt);
        if headers::mpls_pop(&mut self.flow, n, ethertype, Some(&mut self.wc)) {
            if !self.snap.features.add_mpls {
                self.slow(SlowReason::ACTION);
            }
            self.pending.decap = true;
            return n == 1;
        }
        if n >= Flow::MPLS_MAX {
            self.too_many_labels("MPLS decap can't be performed as it has");
            self.truncate_actions(0);
        }
        false
    }

    fn unsupported(&mut self, text: impl FnOnce() -> String) {
        self.mention(NodeKind::Action, text);
        self.error = Some(XlateError::UnsupportedPacketType);
    }
}

/// Metadata type and type 2 metadata of the properties, padded to four bytes.
fn nsh_metadata(props: &[(u16, u8, Vec<u8>)]) -> (u8, Vec<u8>) {
    let mut mdtype = 1;
    let mut md2 = Vec::new();
    for (class, kind, data) in props {
        match (*class, *kind) {
            (PROP_CLASS_NSH, PROP_NSH_MDTYPE) => mdtype = data.first().copied().unwrap_or(1),
            (PROP_CLASS_NSH, PROP_NSH_TLV) => {
                // The action has class, type and value; the header has the value's length between them.
                let (head, value) = data.split_at(data.len().min(3));
                md2.extend_from_slice(head);
                md2.push(u8::try_from(value.len()).unwrap_or(u8::MAX) & 0x7f);
                md2.extend_from_slice(value);
                md2.resize(md2.len().next_multiple_of(4), 0);
            }
            _ => {}
        }
    }
    if md2.len() > MD2_MAX {
        md2.clear();
    }
    (mdtype, md2)
}

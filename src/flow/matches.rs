//! [`Match`]: what an OpenFlow rule asks of a packet: a flow and the bits of it that matter.
//!
//! Invariant: bits of the flow that do not matter are zero. The methods keep it; who changes `flow` or
//! `mask` by hand calls [`Match::zero_wildcarded`].

use crate::field::{self, FieldId, FieldValue, Prereqs, Protocols};
use crate::key::{Flow, Mask, Vlan};
use crate::port::OfPort;
use crate::tun_table::TunTable;
use base::sync::Arc;

/// A flow and the bits of it that matter.
#[derive(Clone, Default)]
pub struct Match {
    /// Wanted values.
    pub flow: Flow,
    /// The bits that matter.
    pub mask: Mask,
    /// Where tunnel metadata stands: the switch's table, or one that the match made for itself.
    pub tun: Option<Arc<TunTable>>,
}

/// Why a field could not be added to a match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message says it")]
pub enum MatchError {
    #[error("field {name} exceeds maximum size for tunnel metadata (used {used}, max {max})")]
    TunSpace {
        name: &'static str,
        used: usize,
        max: usize,
    },
    #[error("field {name} set multiple times")]
    TunTwice { name: &'static str },
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        self.flow == other.flow && self.mask == other.mask
    }
}
impl Eq for Match {}

impl std::hash::Hash for Match {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.flow.hash(state);
        self.mask.hash(state);
    }
}

impl Match {
    /// Matches every packet.
    #[must_use]
    pub fn catchall() -> Self {
        Self::default()
    }
    /// Matches `flow` in the bits of `mask`.
    #[must_use]
    pub fn new(flow: &Flow, mask: &Mask) -> Self {
        Self {
            flow: flow.masked(mask),
            mask: *mask,
            tun: None,
        }
    }
    /// Matches exactly the packets that `flow` describes, and their registers and metadata.
    #[must_use]
    pub fn of_packet(flow: &Flow) -> Self {
        let mut mask = Mask::for_packet(flow);
        mask.0.regs = Mask::exact().0.regs;
        mask.0.metadata.set(u64::MAX);
        Self {
            flow: *flow,
            mask,
            tun: None,
        }
    }
    /// Zeroes the bits of the flow that do not matter.
    pub fn zero_wildcarded(&mut self) {
        self.flow = self.flow.masked(&self.mask);
    }
    /// True when `flow` has what the match asks for.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        self.flow.equals_under(flow, &self.mask)
    }
    /// True when every packet matches.
    #[must_use]
    pub fn is_catchall(&self) -> bool {
        self.mask == Mask::empty()
    }

    fn tun(&self) -> Option<&TunTable> {
        self.tun.as_deref()
    }
    /// The value asked of a field.
    #[must_use]
    pub fn get(&self, field: FieldId) -> FieldValue {
        field.get(&self.flow, self.tun())
    }
    /// The bits of a field that matter.
    #[must_use]
    pub fn get_mask(&self, field: FieldId) -> FieldValue {
        field.get_mask(&self.mask, self.tun())
    }
    /// True when no bit of the field matters.
    #[must_use]
    pub fn is_wild(&self, field: FieldId) -> bool {
        match field {
            FieldId::TunMetadata(i) => self.mask.0.tunnel.present.get() >> i & 1 == 0,
            _ => field.is_wild_in(&self.mask, self.tun()),
        }
    }
    /// True when the match fulfils the prerequisites of a field.
    #[must_use]
    pub fn prereqs_ok(&self, field: FieldId) -> bool {
        field.info().prereqs.ok(&self.flow, Some(&self.mask), None)
    }

    /// Asks for `value` in the bits `mask` of a field (`None`: all bits; all zero: no bits). Both have as
    /// many octets as the field. The mask must be valid for the field. Says which protocols can say so.
    ///
    /// # Errors
    /// Tunnel metadata only: no space, or set twice.
    pub fn set(
        &mut self,
        field: FieldId,
        value: &[u8],
        mask: Option<&[u8]>,
    ) -> Result<Protocols, MatchError> {
        let info = field.info();
        let mask = mask.filter(|m| m.iter().any(|&b| b != 0xff));
        if let FieldId::TunMetadata(i) = field {
            self.set_tun_metadata(i, value, mask)?;
        } else {
            match mask {
                None => self.set_exact(field, value),
                Some(m) if m.iter().all(|&b| b == 0) => {
                    self.set_wild(field);
                    return Ok(Protocols::ANY);
                }
                Some(m) => self.set_masked(field, value, m),
            }
        }
        Ok(match mask {
            None => info.exact,
            Some(m) if info.bitwise == info.cidr || is_cidr(m) => info.cidr,
            Some(_) => info.bitwise,
        })
    }

    fn set_exact(&mut self, field: FieldId, value: &[u8]) {
        use FieldId as I;
        let tci_bits = match field {
            I::DlVlan if value == [0xff, 0xff] => 0xffff,
            I::DlVlan | I::VlanVid => Vlan::CFI | Vlan::VID_MASK,
            I::DlVlanPcp | I::VlanPcp => Vlan::CFI | Vlan::PCP_MASK,
            I::VlanTci => 0xffff,
            _ => {
                field.set(&mut self.flow, value, None);
                return self.mask_exact(field);
            }
        };
        self.set_vlan(field, value);
        let tci = &mut self.mask.0.vlans[0].tci;
        tci.set(tci.get() | tci_bits);
    }

    /// Masks whole fields: where the field is narrower than its slot, the whole slot.
    fn mask_exact(&mut self, field: FieldId) {
        use FieldId as I;
        let m = &mut self.mask.0;
        match field {
            I::Icmpv4Type | I::Icmpv6Type => m.tp_src.set(u16::MAX),
            I::Icmpv4Code | I::Icmpv6Code => m.tp_dst.set(u16::MAX),
            I::NdOptionsType => m.tcp_flags.set(u16::MAX),
            I::Ipv6Label => m.ipv6_label.set(u32::MAX),
            _ => field.mask_all(&mut self.mask, None),
        }
    }

    /// A tag's fields without giving the tag a type: a rule does not ask for it.
    fn set_vlan(&mut self, field: FieldId, value: &[u8]) {
        let tpid = self.flow.vlans[0].tpid;
        field.set(&mut self.flow, value, None);
        self.flow.vlans[0].tpid = tpid;
    }

    fn set_masked(&mut self, field: FieldId, value: &[u8], mask: &[u8]) {
        if field == FieldId::Ipv6Label && field::fit(mask, 3)[..] == [0x0f, 0xff, 0xff] {
            return self.set_exact(field, value);
        }
        self.set_wild(field);
        let mut value = field::fit(value, field.info().n_bytes);
        for (v, m) in value.iter_mut().zip(mask) {
            *v &= m;
        }
        match field {
            FieldId::VlanTci | FieldId::VlanVid => {
                self.set_vlan(field, &value);
                field.mask_bits(&mut self.mask, mask, None);
            }
            FieldId::Ipv6Label => {
                let n = |b: &[u8]| b.iter().fold(0, |n, &b| n << 8 | u32::from(b));
                self.flow.ipv6_label.set(n(&value));
                self.mask.0.ipv6_label.set(n(mask));
            }
            _ => {
                field.set(&mut self.flow, &value, None);
                field.mask_bits(&mut self.mask, mask, None);
            }
        }
    }

    /// Stops asking for anything in a field.
    pub fn set_wild(&mut self, field: FieldId) {
        use FieldId as I;
        let zero = FieldValue::from_elem(0, field.info().n_bytes);
        let tci_bits = match field {
            I::DlVlan | I::VlanVid => Vlan::VID_MASK,
            I::DlVlanPcp | I::VlanPcp => Vlan::PCP_MASK,
            I::VlanTci => 0xffff,
            I::TunMetadata(i) => {
                TunTable::delete(i, &mut self.flow.tunnel);
                TunTable::delete(i, &mut self.mask.0.tunnel);
                return;
            }
            I::InPortOxm | I::ActsetOutput => {
                field.set(&mut self.flow, &zero, None);
                return field.set(&mut self.mask.0, &zero, None);
            }
            I::InPort => {
                self.flow.in_port.set(0);
                return self.mask.0.in_port.set(0);
            }
            I::Ipv6Label => {
                self.flow.ipv6_label.set(0);
                return self.mask.0.ipv6_label.set(0);
            }
            _ => {
                field.set(&mut self.flow, &zero, None);
                return field.set(&mut self.mask.0, &zero, None);
            }
        };
        self.wild_tci(tci_bits);
    }

    /// The presence of a tag matters as long as its id or priority does.
    fn wild_tci(&mut self, bits: u16) {
        let mask = &mut self.mask.0.vlans[0].tci;
        let mut left = mask.get() & !bits;
        if left & (Vlan::VID_MASK | Vlan::PCP_MASK) == 0 {
            left = 0;
        }
        mask.set(left);
        let tci = &mut self.flow.vlans[0].tci;
        tci.set(tci.get() & left);
    }

    /// Asks for the whole of a tunnel option in the match's own table, leading zeroes included.
    pub(crate) fn set_own_tun_metadata(
        &mut self,
        index: u8,
        value: &[u8],
    ) -> Result<(), MatchError> {
        self.own_space(index, value.len(), false)?;
        let Some(table) = &self.tun else {
            return Ok(());
        };
        table.write(index, &mut self.flow.tunnel, value);
        table.write(
            index,
            &mut self.mask.0.tunnel,
            &FieldValue::from_elem(0xff, value.len()),
        );
        Ok(())
    }

    fn own_space(&mut self, index: u8, len: usize, masked: bool) -> Result<(), MatchError> {
        let name = FieldId::TunMetadata(index).name();
        if self.mask.0.tunnel.present.get() >> index & 1 == 1 {
            return Err(MatchError::TunTwice { name });
        }
        let table = self
            .tun
            .get_or_insert_with(|| Arc::new(TunTable::new_own()));
        let max = TunTable::SPACE_MAX;
        let space = Arc::make_mut(table).add_own(index, len, masked);
        space.map_err(|used| MatchError::TunSpace { name, used, max })
    }

    fn set_tun_metadata(
        &mut self,
        index: u8,
        value: &[u8],
        mask: Option<&[u8]>,
    ) -> Result<(), MatchError> {
        let own = self.tun.as_ref().is_none_or(|t| t.is_own());
        if own {
            self.own_space(index, field::significant_len(value, mask), mask.is_some())?;
        }
        let Some(table) = &self.tun else {
            return Ok(());
        };
        let exact = FieldValue::from_elem(0xff, value.len());
        let mask = mask.unwrap_or(&exact);
        let value: FieldValue = value.iter().zip(mask).map(|(v, m)| v & m).collect();
        table.write(index, &mut self.flow.tunnel, &value);
        table.write(index, &mut self.mask.0.tunnel, mask);
        Ok(())
    }

    /// Asks for a number in a whole field (not for tunnel metadata).
    pub fn set_u64(&mut self, field: FieldId, value: u64) {
        let value = field::fit(&value.to_be_bytes(), field.info().n_bytes);
        self.set_exact(field, &value);
    }
    /// Asks for an ingress port.
    pub fn set_in_port(&mut self, port: OfPort) {
        self.set_u64(FieldId::InPort, port.0.into());
    }
    /// Asks for a packet type.
    pub fn set_packet_type(&mut self, packet_type: u32) {
        self.set_u64(FieldId::PacketType, packet_type.into());
    }
    /// Asks for Ethernet packets when it asks for no packet type yet.
    pub fn set_default_packet_type(&mut self) {
        if self.mask.0.packet_type.get() == 0 {
            self.set_packet_type(0);
        }
    }
    /// As [`Match::set_default_packet_type`], when `field` is a header field.
    pub fn add_ethernet_prereq(&mut self, field: FieldId) {
        if field.info().prereqs != Prereqs::None {
            self.set_default_packet_type();
        }
    }
    /// True when it asks for Ethernet packets.
    #[must_use]
    pub fn has_default_packet_type(&self) -> bool {
        self.flow.packet_type.get() == 0 && self.mask.0.packet_type.get() == u32::MAX
    }
    /// Sets what no controller can see to the values that packets of controllers' rules have:
    /// recirculation id 0.
    pub fn set_hidden_fields(&mut self) {
        self.set_u64(FieldId::RecircId, 0);
        self.set_wild(FieldId::DpHash);
    }
    /// True when the hidden fields are as a controller's rule has them.
    #[must_use]
    pub fn has_default_hidden_fields(&self) -> bool {
        let (f, m) = (&self.flow, &self.mask.0);
        f.recirc_id.get() == 0
            && matches!(m.recirc_id.get(), 0 | u32::MAX)
            && f.dp_hash.get() == 0
            && m.dp_hash.get() == 0
    }
}

/// True when the first four octets are a prefix mask.
fn is_cidr(mask: &[u8]) -> bool {
    let mut m = [0; 4];
    for (to, from) in m.iter_mut().zip(mask) {
        *to = *from;
    }
    let wild = !u32::from_be_bytes(m);
    wild & wild.wrapping_add(1) == 0
}

//! What a datapath can do: decides which actions translation may emit.

/// What a datapath can do. Probed by the backer, settable down by `dpif/set-dp-features`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "names are those of dpif/show-dp-features")]
pub struct Features {
    pub masked_set_action: bool,
    pub tnl_push_pop: bool,
    pub ufid: bool,
    pub trunc: bool,
    pub clone: bool,
    pub sample_nesting: u32,
    pub ct_eventmask: bool,
    pub ct_clear: bool,
    pub max_hash_alg: u32,
    pub check_pkt_len: bool,
    pub ct_timeout: bool,
    pub explicit_drop_action: bool,
    pub lb_output_action: bool,
    pub ct_all_zero_nat: bool,
    pub add_mpls: bool,
    /// VLAN tags it can match.
    pub max_vlan_headers: u32,
    /// MPLS labels it can match.
    pub max_mpls_depth: u32,
    pub recirc: bool,
    pub ct_state: bool,
    pub ct_zone: bool,
    pub ct_mark: bool,
    pub ct_label: bool,
    pub ct_state_nat: bool,
    pub ct_orig_tuple: bool,
    pub ct_orig_tuple6: bool,
    pub nd_ext: bool,
}

impl Features {
    /// Everything that there is.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            masked_set_action: true,
            tnl_push_pop: true,
            ufid: true,
            trunc: true,
            clone: true,
            sample_nesting: 10,
            ct_eventmask: true,
            ct_clear: true,
            max_hash_alg: 1,
            check_pkt_len: true,
            ct_timeout: true,
            explicit_drop_action: true,
            lb_output_action: true,
            ct_all_zero_nat: true,
            add_mpls: true,
            max_vlan_headers: 2,
            max_mpls_depth: 3,
            recirc: true,
            ct_state: true,
            ct_zone: true,
            ct_mark: true,
            ct_label: true,
            ct_state_nat: true,
            ct_orig_tuple: true,
            ct_orig_tuple6: true,
            nd_ext: true,
        }
    }
}

//! `bundle`, `bundle_load` and `multipath`.

use super::parse::Parse;
use super::scan::{Tokens, atoi};
use crate::action::{Act, BundleAct, HashFields, MultipathAct, MultipathAlg};
use crate::field::{self, parse_subfield};
use crate::names::Names;
use flow::Subfield;

/// Members a bundle may have.
const MEMBERS_MAX: usize = 2048;
const SEP: &[char] = &[',', ' '];

const FIELDS: [(&str, HashFields); 7] = [
    ("eth_src", HashFields::EthSrc),
    ("symmetric_l4", HashFields::SymmetricL4),
    ("symmetric_l3l4", HashFields::SymmetricL3L4),
    ("symmetric_l3l4+udp", HashFields::SymmetricL3L4Udp),
    ("nw_src", HashFields::NwSrc),
    ("nw_dst", HashFields::NwDst),
    ("symmetric_l3", HashFields::SymmetricL3),
];
const ALGORITHMS: [(&str, MultipathAlg); 4] = [
    ("modulo_n", MultipathAlg::ModuloN),
    ("hash_threshold", MultipathAlg::HashThreshold),
    ("hrw", MultipathAlg::Hrw),
    ("iter_hash", MultipathAlg::IterHash),
];

fn by_name<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let hit = table.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
    Some(hit.1)
}
fn name_of<T: Copy + PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table
        .iter()
        .find(|(_, v)| *v == value)
        .map_or("<unknown>", |(n, _)| n)
}

impl HashFields {
    /// The name in actions.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&FIELDS, self)
    }
    /// The fields of this number on the wire.
    #[must_use]
    pub fn from_wire(n: u16) -> Option<Self> {
        FIELDS.get(usize::from(n)).map(|&(_, f)| f)
    }
    /// The number on the wire.
    #[must_use]
    pub fn wire(self) -> u16 {
        FIELDS.iter().position(|&(_, f)| f == self).unwrap_or(0) as u16
    }
}

impl MultipathAlg {
    /// The name in actions.
    #[must_use]
    pub fn name(self) -> &'static str {
        name_of(&ALGORITHMS, self)
    }
    /// The algorithm of this number on the wire.
    #[must_use]
    pub fn from_wire(n: u16) -> Option<Self> {
        ALGORITHMS.get(usize::from(n)).map(|&(_, a)| a)
    }
    /// The number on the wire.
    #[must_use]
    pub fn wire(self) -> u16 {
        ALGORITHMS.iter().position(|&(_, a)| a == self).unwrap_or(0) as u16
    }
}

fn fields(s: &str, name: &str) -> Parse<HashFields> {
    by_name(&FIELDS, name).ok_or_else(|| format!("{s}: unknown fields `{name}'"))
}

/// A subfield that fits into four bytes of NXM header.
fn short_subfield(s: &str, text: &str) -> Parse<Subfield> {
    let sub = parse_subfield(text)?;
    if field::nxm_header(sub.field).is_none() {
        return Err(format!(
            "{s}: experimenter OXM field '{text}' not supported"
        ));
    }
    Ok(sub)
}

pub(super) fn bundle(s: &str, load: bool, names: Names<'_>) -> Parse<Act> {
    let mut t = Tokens::new(s);
    let mut word = || t.next(SEP).unwrap_or("");
    let (hash, basis, algorithm, member_type) = (word(), word(), word(), word());
    let dst = load.then(&mut word);
    let Some(delim) = t.next(&[':', ' ']) else {
        return Err(format!("{s}: not enough arguments to bundle action"));
    };
    if !["members", "slaves"]
        .iter()
        .any(|w| w.eq_ignore_ascii_case(delim))
    {
        return Err(format!(
            "{s}: missing member delimiter, expected `members', got `{delim}'"
        ));
    }
    let mut members = Vec::new();
    while members.len() < MEMBERS_MAX
        && let Some(member) = t.next(&[',', ' ', '[', ']'])
    {
        let port = names
            .parse_port(member)
            .ok_or_else(|| format!("{member}: bad port number"))?;
        members.push(port);
    }
    let fields = fields(s, hash)?;
    let hrw = match algorithm.to_ascii_lowercase().as_str() {
        "active_backup" => false,
        "hrw" => true,
        _ => return Err(format!("{s}: unknown algorithm `{algorithm}'")),
    };
    if !member_type.eq_ignore_ascii_case("ofport") {
        return Err(format!("{s}: unknown member_type `{member_type}'"));
    }
    Ok(Act::Bundle(Box::new(BundleAct {
        fields,
        basis: atoi(basis) as u16,
        hrw,
        dst: dst.map(|dst| short_subfield(s, dst)).transpose()?,
        members,
    })))
}

pub(super) fn multipath(s: &str) -> Parse<Act> {
    let mut t = Tokens::new(s);
    let mut word = || t.next(SEP).unwrap_or("");
    let (hash, basis, algorithm) = (word(), word(), word());
    let (links, arg, dst) = (word(), word(), word());
    if dst.is_empty() {
        return Err(format!("{s}: not enough arguments to multipath action"));
    }
    let fields = fields(s, hash)?;
    let algorithm = by_name(&ALGORITHMS, algorithm)
        .ok_or_else(|| format!("{s}: unknown algorithm `{algorithm}'"))?;
    let n_links = atoi(links);
    if !(1..=65536).contains(&n_links) {
        return Err(format!(
            "{s}: n_links {n_links} is not in valid range 1 to 65536"
        ));
    }
    let dst = short_subfield(s, dst)?;
    if dst.n_bits < 16 && n_links > 1 << dst.n_bits {
        return Err(format!(
            "{s}: {}-bit destination field has {} possible values, less than specified n_links \
             {n_links}",
            dst.n_bits,
            1 << dst.n_bits
        ));
    }
    Ok(Act::Multipath(Box::new(MultipathAct {
        fields,
        basis: atoi(basis) as u16,
        algorithm,
        max_link: (n_links - 1) as u16,
        arg: atoi(arg) as u32,
        dst,
    })))
}

//! `multipath` and `bundle`: choosing a link or a port by hash.

use crate::act::Place;
use crate::ctx::Ctx;
use crate::hash;
use crate::wild::Site;
use flow::OfPort;
use openflow::action::{BundleAct, MultipathAct, MultipathAlg};

impl Ctx<'_> {
    /// `multipath`: a number below the number of links, into a subfield.
    pub(crate) fn multipath(&mut self, mp: &MultipathAct) {
        let h = hash::fields(&self.flow, mp.fields, mp.basis);
        let link = link(h, mp.algorithm, u32::from(mp.max_link) + 1, mp.arg);
        hash::mark_fields(&self.flow, mp.fields, Site::HashFields, &mut self.wc);
        self.load(&mp.dst, link.into());
        self.note_subfield(&mp.dst);
    }

    /// `bundle` and `bundle_load`: one of the ports that are up.
    pub(crate) fn bundle(&mut self, b: &BundleAct, place: Place) {
        let port = if b.hrw {
            self.best_member(b)
        } else {
            b.members.iter().copied().find(|p| self.is_enabled(*p))
        };
        let port = port.unwrap_or(OfPort::NONE);
        match &b.dst {
            Some(dst) => {
                self.load(dst, port.0.into());
                self.note_subfield(dst);
            }
            None => self.output_plain(port, 0, place),
        }
    }

    fn best_member(&mut self, b: &BundleAct) -> Option<OfPort> {
        if b.members.len() > 1 {
            hash::mark_fields(&self.flow, b.fields, Site::HashFields, &mut self.wc);
        }
        let h = hash::fields(&self.flow, b.fields, b.basis);
        let mut best: Option<(u32, OfPort)> = None;
        for (i, port) in (0..).zip(&b.members) {
            if self.is_enabled(*port) {
                let weight = hash::two_words(i, h);
                if best.is_none_or(|(w, _)| weight > w) {
                    best = Some((weight, *port));
                }
            }
        }
        best.map(|(_, port)| port)
    }

    fn is_enabled(&mut self, port: OfPort) -> bool {
        match port {
            OfPort::IN_PORT
            | OfPort::TABLE
            | OfPort::NORMAL
            | OfPort::FLOOD
            | OfPort::ALL
            | OfPort::NONE => true,
            OfPort::CONTROLLER => false,
            _ => {
                self.out.deps.ports.push((self.bridge.id, port));
                self.port(port).is_some_and(|p| p.may_enable)
            }
        }
    }
}

fn link(hash: u32, alg: MultipathAlg, n: u32, arg: u32) -> u16 {
    let link = match alg {
        MultipathAlg::ModuloN => hash % n,
        MultipathAlg::HashThreshold if n == 1 => 0,
        MultipathAlg::HashThreshold => hash / (u32::MAX / n + 1),
        MultipathAlg::Hrw if n <= 64 => highest_weight(hash, n),
        MultipathAlg::Hrw => iterated(hash, n, 0),
        MultipathAlg::IterHash => iterated(hash, n, arg),
    };
    (link & 0xffff) as u16
}

fn highest_weight(h: u32, n: u32) -> u32 {
    // The first of equals wins.
    (1..n)
        .fold((0, hash::two_words(h, 0)), |(best, weight), link| {
            let w = hash::two_words(h, link);
            if w > weight {
                (link, w)
            } else {
                (best, weight)
            }
        })
        .0
}

/// Hashes again until the result is below `n`.
fn iterated(h: u32, n: u32, modulo: u32) -> u32 {
    let modulo = if modulo < n || modulo / 2 > n {
        n.next_power_of_two()
    } else {
        modulo
    };
    (0..)
        .map(|i| hash::two_words(h, i) % modulo)
        .find(|link| *link < n)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_in_range_and_all_used() {
        for alg in [
            MultipathAlg::ModuloN,
            MultipathAlg::HashThreshold,
            MultipathAlg::Hrw,
            MultipathAlg::IterHash,
        ] {
            for n in [1, 2, 5, 64, 65] {
                let mut seen = vec![0; n as usize];
                for i in 0..20_000 {
                    let l = link(hash::two_words(i, 7), alg, n, 0);
                    seen[usize::from(l)] += 1;
                }
                assert!(seen.iter().all(|c| *c > 0), "{alg:?} {n} {seen:?}");
            }
        }
    }
}

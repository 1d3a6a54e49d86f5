//! Text to actions.

use super::scan::{DELIMITERS, Scan};
use super::{ACTIONS_MAX, ActionsError, NESTED_MAX, OdpNames, ct, nsh, set, tnl_push, userspace};
use crate::action::{Action, Actions, HashAlg};
use crate::drops::DropReason;
use flow::Vlan;

/// Reads a list of actions as [`super::format_actions`] writes it. `drop` alone is an explicit drop.
///
/// # Errors
/// Where reading had to stop, or which limit was hit.
pub fn parse_actions(text: &str, names: &dyn OdpNames) -> Result<Actions, ActionsError> {
    if text.eq_ignore_ascii_case("drop") {
        return Ok(vec![Action::Drop(DropReason::PolicyDrop)]);
    }
    let mut parser = Parser {
        s: Scan(text),
        names,
        depth: 0,
        count: 0,
    };
    let actions = parser.list()?;
    if parser.s.0.is_empty() {
        Ok(actions)
    } else {
        Err(parser.syntax())
    }
}

struct Parser<'a> {
    s: Scan<'a>,
    names: &'a dyn OdpNames,
    depth: u32,
    count: usize,
}

impl Parser<'_> {
    fn syntax(&self) -> ActionsError {
        ActionsError::Syntax(self.s.0.to_owned())
    }

    /// Turns "not there" into an error at `at`.
    fn need<T>(&self, at: Scan<'_>, value: Option<T>) -> Result<T, ActionsError> {
        value.ok_or_else(|| ActionsError::Syntax(at.0.to_owned()))
    }

    /// Actions up to the end or a closing parenthesis, which is not taken.
    fn list(&mut self) -> Result<Actions, ActionsError> {
        let mut actions = Actions::new();
        loop {
            self.s.delimiters();
            if self.s.0.is_empty() || self.s.0.starts_with(')') {
                return Ok(actions);
            }
            self.count += 1;
            if self.count > ACTIONS_MAX {
                return Err(ActionsError::TooMany);
            }
            actions.push(self.action()?);
            if !self.s.0.is_empty()
                && !self.s.0.starts_with(DELIMITERS)
                && !self.s.0.starts_with(')')
            {
                return Err(self.syntax());
            }
        }
    }

    /// A list within an action, and the closing parenthesis.
    fn nested(&mut self) -> Result<Actions, ActionsError> {
        self.depth += 1;
        if self.depth >= NESTED_MAX {
            return Err(ActionsError::TooDeep);
        }
        let dropped = self
            .s
            .0
            .get(..5)
            .is_some_and(|w| w.eq_ignore_ascii_case("drop)"));
        let actions = if dropped {
            self.s.0 = &self.s.0[4..];
            Actions::new()
        } else {
            self.list()?
        };
        self.depth -= 1;
        self.close()?;
        Ok(actions)
    }

    fn close(&mut self) -> Result<(), ActionsError> {
        let at = self.s;
        let closed = self.s.lit(")");
        self.need(at, closed)
    }

    fn action(&mut self) -> Result<Action, ActionsError> {
        let start = self.s;
        if let Some(port) = self.s.port() {
            return Ok(Action::Output(port));
        }
        let name_len = start.0.find(DELIMITERS).unwrap_or(start.0.len());
        let named = start.0[..name_len].trim_end_matches(')');
        if let Some(port) = self.names.number(named) {
            self.s.0 = &start.0[named.len()..];
            return Ok(Action::Output(port));
        }
        let mut ends = DELIMITERS.to_vec();
        ends.extend(['(', ')']);
        let word = self.s.word(&ends);
        let word = self.need(start, word)?;
        match word {
            "clone" | "sample" | "check_pkt_len" => self.with_actions(start, word),
            _ => {
                let action = scan_plain(&mut self.s, word);
                self.need(start, action)
            }
        }
    }

    fn with_actions(&mut self, start: Scan<'_>, word: &str) -> Result<Action, ActionsError> {
        match word {
            "clone" => {
                let open = self.s.lit("(");
                self.need(start, open)?;
                Ok(Action::Clone(self.nested()?))
            }
            "sample" => {
                let probability = scan_sample(&mut self.s);
                let probability = self.need(start, probability)?;
                let actions = self.nested()?;
                self.close()?;
                Ok(Action::Sample {
                    probability,
                    actions,
                })
            }
            _ => {
                let size = scan_size(&mut self.s);
                let pkt_len = self.need(start, size)?;
                let greater = self.nested()?;
                let between = self.s.lit(",le(");
                self.need(start, between)?;
                let less_equal = self.nested()?;
                self.close()?;
                Ok(Action::CheckPktLen {
                    pkt_len,
                    greater,
                    less_equal,
                })
            }
        }
    }
}

/// `(sample=P%,actions(`: the probability.
fn scan_sample(s: &mut Scan<'_>) -> Option<u32> {
    s.lit("(sample=")?;
    let percent: f64 = s.word(&['%', ',', ')'])?.parse().ok()?;
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    s.lit("%,actions(")?;
    Some((f64::from(u32::MAX) * (percent / 100.0) + 0.5).floor() as u32)
}

/// `(size=N,gt(`: the size.
fn scan_size(s: &mut Scan<'_>) -> Option<u16> {
    s.lit("(size=")?;
    let size = s.u16()?;
    s.lit(",gt(")?;
    Some(size)
}

/// Actions that hold no actions; `word` has been read.
fn scan_plain(s: &mut Scan<'_>, word: &str) -> Option<Action> {
    let simple = match word {
        "drop" => Action::Drop(DropReason::PolicyDrop),
        "pop_vlan" => Action::PopVlan,
        "pop_eth" => Action::PopEth,
        "ct_clear" => Action::CtClear,
        "ct" => return ct::scan_ct(s).map(|c| Action::Ct(Box::new(c))),
        _ => {
            s.lit("(")?;
            return scan_call(s, word);
        }
    };
    Some(simple)
}

/// Actions with arguments; `word` and the opening parenthesis have been read, the closing one is taken.
fn scan_call(s: &mut Scan<'_>, word: &str) -> Option<Action> {
    let action = match word {
        "userspace" => return userspace::scan_userspace(s).map(Action::Userspace),
        "set" => return set::scan_set(s),
        "push_nsh" => return nsh::scan_push(s).map(|p| Action::PushNsh(Box::new(p))),
        "tnl_push" => return tnl_push::scan_tnl_push(s).map(|p| Action::TunnelPush(Box::new(p))),
        "lb_output" => Action::LbOutput(s.u32()?),
        "trunc" => Action::Trunc { max_len: s.u32()? },
        "recirc" => Action::Recirc(s.u32()?),
        "meter" => Action::Meter(s.u32()?),
        "pop_nsh" => Action::PopNsh,
        "tnl_pop" => Action::TunnelPop(s.port()?),
        "push_vlan" => scan_push_vlan(s)?,
        "push_mpls" | "add_mpls" => scan_mpls(s, word == "push_mpls")?,
        "pop_mpls" => {
            s.lit("eth_type=")?;
            Action::PopMpls {
                ethertype: s.u16()?,
            }
        }
        "push_eth" => {
            s.lit("src=")?;
            let src = s.eth()?;
            s.lit(",dst=")?;
            Action::PushEth { src, dst: s.eth()? }
        }
        "hash" => scan_hash(s)?,
        _ => return None,
    };
    s.lit(")")?;
    Some(action)
}

fn scan_push_vlan(s: &mut Scan<'_>) -> Option<Action> {
    let mut tpid = 0x8100;
    if s.is("tpid=") {
        tpid = s.u16()?;
        s.lit(",")?;
    }
    s.lit("vid=")?;
    let vid = s.u32().filter(|v| v & !u32::from(Vlan::VID_MASK) == 0)? as u16;
    s.lit(",pcp=")?;
    let pcp = s.u32().filter(|p| *p < 8)? as u16;
    let cfi = !s.is(",cfi=") || s.u32()? != 0;
    let tci = vid | pcp << 13 | if cfi { Vlan::CFI } else { 0 };
    Some(Action::PushVlan { tpid, tci })
}

fn scan_mpls(s: &mut Scan<'_>, push: bool) -> Option<Action> {
    s.lit("label=")?;
    let label = s.u32().filter(|l| l >> 20 == 0)?;
    s.lit(",tc=")?;
    let tc = s.u32().filter(|t| *t < 8)?;
    s.lit(",ttl=")?;
    let ttl = s.u32().filter(|t| *t < 256)?;
    s.lit(",bos=")?;
    let bos = s.u32().filter(|b| *b < 2)?;
    s.lit(",eth_type=")?;
    let ethertype = s.hex()? as u16;
    let lse = label << 12 | tc << 9 | bos << 8 | ttl;
    Some(if push {
        Action::PushMpls { ethertype, lse }
    } else {
        Action::AddMpls {
            ethertype,
            lse,
            l3: false,
        }
    })
}

fn scan_hash(s: &mut Scan<'_>) -> Option<Action> {
    let alg = if s.is("l4(") {
        HashAlg::L4
    } else {
        s.lit("sym_l4(")?;
        HashAlg::SymL4
    };
    let basis = s.u32()?;
    s.lit(")")?;
    Some(Action::Hash { alg, basis })
}

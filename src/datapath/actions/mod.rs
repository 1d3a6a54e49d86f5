//! Actions: compiled once at installation, run on batches.
//!
//! * [`Program`]: the compiled form. A single output or drop is also known as a [`Fast`], which the packet
//!   loop runs without looking at the program.
//! * [`compile`]: from `odp` actions; says what cannot be done.
//! * [`deed`]: both together, once for all flows that were given the same list.
//! * [`exec`](mod@exec): runs a program. Every packet ends in exactly one counted place.
//! * [`set`], [`push`], [`nsh`]: changing headers. A header that is not there costs the packet its life
//!   (`bad_action`), never the thread.
//!
//! Seams for what comes later: tunnel encapsulation is a step of its own; until it exists `compile` refuses it,
//! and the datapath's features say so.

#![warn(clippy::wildcard_enum_match_arm)]

mod compile;
pub(crate) mod csum;
mod deed;
pub(crate) mod exec;
mod hash;
mod nsh;
mod push;
mod set;
#[cfg(test)]
mod tests;

pub(crate) use compile::compile;
pub(crate) use deed::{Deed, Deeds};
pub(crate) use exec::{Exec, Origin};
pub(crate) use hash::dp_hash;

use crate::conntrack::CtStep;
use crate::limits::PORTS_MAX;
use odp::action::NshPush;
use odp::{DropReason, HashAlg, Userspace};
use set::SetStep;
use wire::EthAddr;

/// Actions inside actions (clone, sample, check_pkt_len) go at most this deep.
pub(crate) const NESTING_MAX: usize = 16;

/// What a flow does to its packets, ready to run. The last step takes the packets; the others leave them.
#[derive(Debug, PartialEq)]
pub(crate) struct Program {
    steps: Box<[Step]>,
    /// True when some step needs to know where the headers are.
    pub(crate) needs_layers: bool,
}

/// The programs that the packet loop runs itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fast {
    /// None of the others.
    Program,
    /// Out of one port, whose number is one that ports have.
    Output(u32),
    /// Counted and released.
    Drop(DropReason),
}

impl Fast {
    /// Codes are below this.
    pub(crate) const CODES: u32 = 1 << 18;
    /// Kinds are told apart from here on.
    const KIND: u32 = 16;

    /// As part of a word, for where it is kept beside counters.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Program => 0,
            Self::Output(port) => 1 << Self::KIND | port & PORTS_MAX,
            Self::Drop(reason) => 2 << Self::KIND | reason as u32,
        }
    }
    /// What [`Fast::code`] gave.
    #[inline]
    pub(crate) fn decode(code: u32) -> Self {
        match code >> Self::KIND {
            1 => Self::Output(code & PORTS_MAX),
            2 => {
                (DropReason::ALL.get(code as u8 as usize)).map_or(Self::Program, |&r| Self::Drop(r))
            }
            _ => Self::Program,
        }
    }
}

const _: () = assert!(PORTS_MAX == 0xffff);

/// Bytes that an output is cut to when nothing is to be cut.
const UNCUT: u32 = u32::MAX;

/// One step.
#[derive(Debug, PartialEq)]
enum Step {
    Output {
        port: u32,
        max_len: u32,
    },
    Userspace {
        what: Box<Userspace>,
        max_len: u32,
    },
    Set(SetStep),
    PushVlan {
        tpid: u16,
        tci: u16,
    },
    PopVlan,
    PushMpls {
        ethertype: u16,
        lse: u32,
        l3: bool,
    },
    PopMpls {
        ethertype: u16,
    },
    PushEth {
        src: EthAddr,
        dst: EthAddr,
    },
    PopEth,
    PushNsh(Box<NshPush>),
    PopNsh,
    Clone(Program),
    Sample {
        probability: u32,
        inner: Program,
    },
    CheckPktLen {
        len: u16,
        greater: Program,
        less_equal: Program,
    },
    Recirc(u32),
    Hash {
        alg: HashAlg,
        basis: u32,
    },
    Ct(Box<CtStep>),
    CtClear,
    Meter(u32),
    Drop(DropReason),
}

impl Program {
    /// What runs without looking at the program.
    pub(crate) fn fast(&self) -> Fast {
        match &*self.steps {
            [
                Step::Output {
                    port,
                    max_len: UNCUT,
                },
            ] if *port < PORTS_MAX => Fast::Output(*port),
            [Step::Drop(reason)] => Fast::Drop(*reason),
            _ => Fast::Program,
        }
    }
}

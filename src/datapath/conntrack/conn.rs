//! [`Conn`]: a connection, as its shard keeps it.

use super::alg::skew::Skew;
use super::nat::Way;
use super::proto::Proto;
use super::tuple::Tuple;
use super::zones::Admission;
use base::clock::Nanos;

/// Application protocols that announce further connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Helper {
    Ftp,
    Tftp,
}

impl Helper {
    /// By the name in actions: its beginning counts.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.starts_with("ftp") {
            Some(Self::Ftp)
        } else if name.starts_with("tftp") {
            Some(Self::Tftp)
        } else {
            None
        }
    }
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Tftp => "tftp",
        }
    }
}

/// What few connections have.
#[derive(Debug, Clone, Default)]
pub(crate) struct More {
    /// Translated: which way, and the tuple of packets of the other direction.
    pub(crate) nat: Option<(Way, Tuple)>,
    pub(crate) helper: Option<Helper>,
    /// The connection that announced this one.
    pub(crate) parent: Option<Tuple>,
    /// Of a control connection: sequence numbers there and back.
    pub(crate) skews: [Skew; 2],
}

/// A tracked connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The original direction.
    pub(crate) key: Tuple,
    pub(crate) mark: u32,
    pub(crate) label: u128,
    /// From then on it is not there any more.
    pub(crate) expires: Nanos,
    pub(crate) proto: Proto,
    /// Timeout policy; 0 for none.
    pub(crate) policy: u32,
    /// Never used twice; names it where its key is used again.
    pub(crate) id: u64,
    /// Held, so that its zone's count is right.
    #[expect(dead_code, reason = "it is there for its drop")]
    pub(crate) admission: Option<Admission>,
    pub(crate) more: Option<Box<More>>,
}

impl Conn {
    pub(crate) fn nat(&self) -> Option<&(Way, Tuple)> {
        self.more.as_ref()?.nat.as_ref()
    }
    pub(crate) fn helper(&self) -> Option<Helper> {
        self.more.as_ref()?.helper
    }
    pub(crate) fn parent(&self) -> Option<&Tuple> {
        self.more.as_ref()?.parent.as_ref()
    }
    /// Sequence numbers there and back, when any are shifted.
    pub(crate) fn skews(&self) -> Option<&[Skew; 2]> {
        let skews = &self.more.as_ref()?.skews;
        skews.iter().any(|s| !s.is_nothing()).then_some(skews)
    }
    /// The tuple of packets of the other direction.
    pub(crate) fn reply(&self) -> Tuple {
        match self.nat() {
            Some((_, reply)) => *reply,
            None => self.key.reversed(),
        }
    }
    /// The tuple under which a second entry in the table stands for it.
    pub(crate) fn alias(&self) -> Option<Tuple> {
        let (_, reply) = self.nat()?;
        (*reply != self.key.reversed()).then_some(*reply)
    }
}

/// Stands in the table for a translated connection's other direction.
#[derive(Debug)]
pub(crate) struct Alias {
    pub(crate) tuple: Tuple,
    /// The connection's key, and its id.
    pub(crate) owner: Tuple,
    pub(crate) id: u64,
}

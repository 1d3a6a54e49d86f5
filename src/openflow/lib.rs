//! `openflow`: OpenFlow 1.0 to 1.5 with the Nicira extensions, as values, bytes and text. No sockets, no
//! tables, no threads.
//!
//! * [`action`]: actions and instructions in one list ([`Act`]), version independent.
//! * text forms of `ovs-ofctl`, both ways; the binary codecs of each version.

pub mod action;
pub mod error;
mod names;

mod text;
pub mod version;

pub use action::{
    Act, Acts, BundleAct, CtAct, EncapHeader, HashFields, LearnAct, LearnDst, LearnSpec, LearnSrc,
    MultipathAct, MultipathAlg, NatAct, Port, SetKind,
};
pub use error::{ErrorCode, NX_VENDOR, ONF_VENDOR, OfpError};
pub use flow::{FieldId, FieldValue, OfPort, Subfield};
pub use names::{NameMap, Names};
pub use version::{Protocols, Version};

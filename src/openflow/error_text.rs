//! The errors of this room's text forms.

use crate::error::OfpError;

/// Why a text was refused; displayed as `ovs-ofctl` says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The text is wrong.
    #[error("{0}")]
    Syntax(String),
    /// The text is right, but the actions cannot be applied to what the flow matches.
    #[error("actions are invalid with specified match ({0})")]
    Inconsistent(OfpError),
}

impl From<String> for TextError {
    fn from(text: String) -> Self {
        Self::Syntax(text)
    }
}

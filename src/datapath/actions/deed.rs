//! [`Deed`]: what a flow does, as it was given and as it is run; and where equal deeds become one.
//!
//! Control threads hand out action lists that thousands of flows share, as one `Arc`. A list that was seen
//! before is not compiled again, and its program exists once.

use super::{Program, compile};
use base::sync::{Arc, Mutex, lock};
use dpif::DpifError;
use odp::Actions;
use std::collections::HashMap;

/// What a flow does: the actions as given and as compiled.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) actions: Arc<Actions>,
    pub(crate) program: Program,
}

impl Deed {
    /// Compiles a list that is going to be used once.
    ///
    /// # Errors
    /// Those of [`compile`].
    pub(crate) fn new(actions: &Arc<Actions>) -> Result<Arc<Self>, DpifError> {
        Ok(Arc::new(Self {
            program: compile(actions)?,
            actions: Arc::clone(actions),
        }))
    }
}

/// The deeds in use, by the address of their list, which each keeps from being another's. One that nobody
/// uses any more goes at the next growth. The lock is a leaf.
#[derive(Debug, Default)]
pub(crate) struct Deeds(Mutex<HashMap<usize, Arc<Deed>>>);

impl Deeds {
    /// The deed of this list.
    ///
    /// # Errors
    /// Those of [`compile`].
    pub(crate) fn of(&self, actions: &Arc<Actions>) -> Result<Arc<Deed>, DpifError> {
        let at = Arc::as_ptr(actions).addr();
        if let Some(known) = lock(&self.0).get(&at) {
            return Ok(Arc::clone(known));
        }
        let made = Deed::new(actions)?;
        let mut deeds = lock(&self.0);
        if deeds.len() == deeds.capacity() {
            deeds.retain(|_, deed| Arc::strong_count(deed) > 1);
        }
        // Somebody else may have been faster.
        Ok(Arc::clone(deeds.entry(at).or_insert(made)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use odp::{Action, OdpPort};

    #[test]
    fn a_list_is_compiled_once_and_goes_when_unused() {
        let deeds = Deeds::default();
        let list = |n| Arc::new(vec![Action::Output(OdpPort(n))]);
        let one = list(1);
        let a = deeds.of(&one).unwrap();
        assert!(Arc::ptr_eq(&a, &deeds.of(&one).unwrap()));
        assert!(!Arc::ptr_eq(&a, &deeds.of(&list(1)).unwrap()));
        for n in 0..5000 {
            deeds.of(&list(n)).unwrap();
        }
        assert!(lock(&deeds.0).len() < 2000);
        assert!(Arc::ptr_eq(&a, &deeds.of(&one).unwrap()));
        let bad = Arc::new(vec![Action::LbOutput(1)]);
        assert!(deeds.of(&bad).is_err());
    }
}

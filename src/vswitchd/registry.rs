//! The one place where port classes are registered.

use crate::options::Dummy;
use base::clock::Clock;
use base::sync::Arc;
use netdev::dummy::{Dummies, DummyLevel};
use netdev::vhost::VhostProvider;
use netdev::{NetdevError, Registry};

/// A registry with every class that this build has.
///
/// # Errors
/// A class could not be set up.
pub(crate) fn new(dummy: Dummy, clock: &Clock) -> Result<(Registry, Option<Dummies>), NetdevError> {
    let registry = Registry::new();
    for provider in netdev::providers() {
        registry.register(provider)?;
    }
    registry.register(Arc::new(VhostProvider::client()))?;
    registry.register(Arc::new(VhostProvider::server(crate::paths::rundir())))?;
    netdev::tunnel::register(&registry)?;
    registry.register(Arc::new(netdev::patch::PatchClass))?;
    registry.register(Arc::new(netdev::fault::FaultClass::new(
        &registry,
        clock.clone(),
    )))?;
    let level = match dummy {
        Dummy::Off => return Ok((registry, None)),
        Dummy::On => DummyLevel::Add,
        Dummy::System => DummyLevel::OverrideSystem,
        Dummy::Override => DummyLevel::OverrideAll,
    };
    let dummies = netdev::dummy::enable(&registry, level, clock.clone(), crate::paths::rundir())?;
    Ok((registry, Some(dummies)))
}

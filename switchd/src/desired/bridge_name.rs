//! Names that a bridge can have: those that a network device can have, because its `LOCAL` port
//! is called as the bridge.

use super::error::DesiredError;
use super::kind::is_device_name;

/// Refuses what cannot be a bridge's name.
pub(super) fn check(name: &str) -> Result<(), DesiredError> {
    match is_device_name(name) {
        true => Ok(()),
        false => Err(DesiredError::BridgeName(name.to_owned())),
    }
}

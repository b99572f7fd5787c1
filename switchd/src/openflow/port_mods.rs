//! Port mods: changes of the settings of ports (OpenFlow 1.3.5 §7.3.4.3), alone and in bundles.

use crate::switch::OnBridge;
use flowtable::policy::ports::PortConfig;
use openflow::{ErrorCode, PortMod, port_config};

/// Whether a port mod can be carried out.
///
/// # Errors
/// The port does not exist, or has another address.
pub(super) fn check(on: &OnBridge<'_>, port_mod: &PortMod) -> Result<(), ErrorCode> {
    let ports = on.ports();
    let port = ports.iter().find(|port| port.of_port == port_mod.port);
    let port = port.ok_or(ErrorCode::PortModPort)?;
    if port.mac == port_mod.mac { Ok(()) } else { Err(ErrorCode::PortModAddress) }
}

/// Carries out a port mod. A port that has gone meanwhile changes nothing.
pub(super) fn carry_out(on: &OnBridge<'_>, port_mod: &PortMod) {
    on.change_port(port_mod.port, |port| turn(&mut port.config, port_mod));
}

/// Turns the switches of a port that a port mod is about.
fn turn(config: &mut PortConfig, port_mod: &PortMod) {
    for (switch, bit) in [
        (&mut config.down, port_config::DOWN),
        (&mut config.no_stp, port_config::NO_STP),
        (&mut config.no_recv, port_config::NO_RECV),
        (&mut config.no_recv_stp, port_config::NO_RECV_STP),
        (&mut config.no_flood, port_config::NO_FLOOD),
        (&mut config.no_fwd, port_config::NO_FWD),
        (&mut config.no_packet_in, port_config::NO_PACKET_IN),
    ] {
        if port_mod.mask & bit != 0 {
            *switch = port_mod.config & bit != 0;
        }
    }
}

//! The controllers of a bridge as they are shown: what is wanted of them, and how their connections are doing.

use super::Switch;
use crate::desired::{ConnectionMode, Controller};
use crate::openflow::ControllerStatus;
use control::record::ControllerRecord;

impl Switch {
    /// The controllers of a bridge, in the order in which they were named. A bridge that
    /// does not exist has none.
    pub fn controllers(&self, bridge: &str) -> Vec<ControllerRecord> {
        let desired = self.desired.lock();
        let wanted = desired.bridge(bridge).map(|bridge| bridge.controllers.clone());
        drop(desired);
        let status = |controller: &Controller| {
            self.controller_states.status(bridge, controller.target.as_str()).unwrap_or_default()
        };
        let wanted = wanted.unwrap_or_default();
        wanted.iter().map(|controller| record(controller, status(controller))).collect()
    }
}

fn record(controller: &Controller, status: ControllerStatus) -> ControllerRecord {
    ControllerRecord {
        target: controller.target.to_string(),
        inactivity_probe: controller.inactivity_probe.map(|number| number.get()),
        max_backoff: controller.max_backoff.map(|number| number.get()),
        controller_rate_limit: controller.controller_rate_limit.map(|number| number.get()),
        controller_burst_limit: controller.controller_burst_limit.map(|number| number.get()),
        connection_mode: controller.connection_mode.map(ConnectionMode::name).map(str::to_owned),
        is_connected: status.connections > 0,
        n_connections: status.connections as u64,
        state: status.state.to_owned(),
        role: status.role.map(str::to_owned),
        version: status.version.map(str::to_owned),
        sec_since_connect: status.sec_since_connect,
        sec_since_disconnect: status.sec_since_disconnect,
        backoff: status.backoff,
        last_error: status.last_error,
        listening: status.listening.map(|address| address.to_string()),
    }
}

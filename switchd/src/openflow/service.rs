//! OpenFlow of one bridge: its own socket, its controllers, and what it does without them.

use super::acceptor::{AcceptTerms, Acceptor, ListenPlace, Purpose};
use super::controller::ControllerLink;
use super::controller_states::ControllerStates;
use super::hub::Hub;
use super::snoop::Snoopers;
use super::standalone::Attendance;
use crate::desired::{Bridge, Controller, ControllerPlace, FailMode, SslFiles};
use crate::switch::Switch;
use flow::types::OfVersion;
use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How many probe intervals without a controller make a bridge stand alone.
const PATIENCE: u32 = 3;
/// The probe interval that counts for a controller that is not probed.
const DEFAULT_PROBE: Duration = Duration::from_secs(5);

/// What all connections of a bridge share.
pub(super) struct BridgeContext {
    /// The name of the bridge.
    pub(super) bridge: String,
    /// The folder of the bridge's sockets.
    pub(super) folder: PathBuf,
    pub(super) switch: Arc<Switch>,
    pub(super) hub: Arc<Hub>,
    /// Those who read what controllers and the bridge say to each other.
    pub(super) snoopers: Arc<Snoopers>,
    /// Those controllers that the bridge has connected to.
    pub(super) attendance: Attendance,
    versions: Mutex<Vec<OfVersion>>,
    ssl: Mutex<Option<SslFiles>>,
}

impl BridgeContext {
    /// The versions of OpenFlow that the bridge speaks.
    pub(super) fn versions(&self) -> Vec<OfVersion> {
        self.versions.lock().clone()
    }

    /// The files for TLS; `None`: no TLS.
    pub(super) fn ssl(&self) -> Option<SslFiles> {
        self.ssl.lock().clone()
    }

    /// Where the states of controllers are kept.
    pub(super) fn states(&self) -> &ControllerStates {
        self.switch.controller_states()
    }
}

/// The sockets and controllers of a bridge. Dropping it ends all connections.
pub(super) struct BridgeService {
    context: Arc<BridgeContext>,
    /// `BRIDGE.mgmt` and `BRIDGE.snoop`.
    own_sockets: Vec<Acceptor>,
    controllers: Vec<(Controller, Link)>,
}

/// What serves a controller.
enum Link {
    Active { _link: ControllerLink },
    Passive { _acceptor: Acceptor },
}

impl BridgeService {
    /// Serves a bridge, whose sockets are in `folder`.
    ///
    /// # Errors
    /// No thread could be had.
    pub(super) fn start(
        folder: &Path,
        bridge: &Bridge,
        ssl: Option<&SslFiles>,
        switch: &Arc<Switch>,
    ) -> io::Result<Self> {
        let hub = Hub::of_bridge(switch, &bridge.name).ok_or(io::ErrorKind::NotFound)?;
        let context = Arc::new(BridgeContext {
            bridge: bridge.name.clone(),
            folder: folder.to_owned(),
            switch: Arc::clone(switch),
            hub,
            snoopers: Arc::default(),
            attendance: Attendance::start(&bridge.name, switch)?,
            versions: Mutex::new(bridge.protocols.versions().to_vec()),
            ssl: Mutex::new(ssl.cloned()),
        });
        let mut service = Self { context, own_sockets: Vec::new(), controllers: Vec::new() };
        service.open_own_sockets()?;
        service.follow(bridge, ssl);
        Ok(service)
    }

    fn open_own_sockets(&mut self) -> io::Result<()> {
        let context = &self.context;
        for (name, purpose) in [("mgmt", Purpose::Service), ("snoop", Purpose::Snoop)] {
            let path = context.folder.join(format!("{}.{name}", context.bridge));
            let place = ListenPlace::Unix(path);
            let terms = AcceptTerms { place, purpose, probe_interval: None };
            self.own_sockets.push(Acceptor::start(context, terms)?);
        }
        Ok(())
    }

    /// Serves the controllers that are wanted now, and those only. A controller that stays keeps its
    /// connection, unless it has proved who it is by other files than `ssl`.
    pub(super) fn follow(&mut self, bridge: &Bridge, ssl: Option<&SslFiles>) {
        if self.context.ssl().as_ref() != ssl {
            *self.context.ssl.lock() = ssl.cloned();
            self.controllers.retain(|(controller, _)| !controller.target.uses_tls());
        }
        let versions = bridge.protocols.versions();
        if self.context.versions() != versions {
            *self.context.versions.lock() = versions.to_vec();
            // Who has agreed on a version that is not allowed any more would go on with it.
            self.controllers.clear();
            self.own_sockets.clear();
            if let Err(error) = self.open_own_sockets() {
                warn!("bridge {}: no OpenFlow: {error}", bridge.name);
            }
        }
        self.controllers.retain(|(controller, _)| bridge.controllers.contains(controller));
        self.context.attendance.set_patience(patience(bridge));
        for controller in &bridge.controllers {
            if self.controllers.iter().any(|(served, _)| served == controller) {
                continue;
            }
            match self.serve(controller) {
                Ok(link) => self.controllers.push((controller.clone(), link)),
                Err(error) => {
                    warn!("bridge {}: controller {}: {error}", bridge.name, controller.target);
                }
            }
        }
    }

    fn serve(&self, controller: &Controller) -> io::Result<Link> {
        let context = &self.context;
        let place = match controller.target.place() {
            ControllerPlace::Remote { .. } | ControllerPlace::Unix(_) => {
                let _link = ControllerLink::start(context, controller.clone())?;
                return Ok(Link::Active { _link });
            }
            ControllerPlace::Listen { address, tls } => {
                ListenPlace::Tcp { address: *address, tls: *tls }
            }
            ControllerPlace::ListenUnix(path) => ListenPlace::Unix(context.folder.join(path)),
        };
        let probe_interval = controller.probe_interval();
        let purpose = Purpose::Controllers(controller.target.to_string());
        let terms = AcceptTerms { place, purpose, probe_interval };
        let _acceptor = Acceptor::start(context, terms)?;
        Ok(Link::Passive { _acceptor })
    }
}

/// The time without a controller after which a bridge stands alone; `None` if it never does. Each controller
/// must have had the time to be probed, to fail to answer, and to be connected again.
fn patience(bridge: &Bridge) -> Option<Duration> {
    let active = bridge.controllers.iter().filter(|controller| controller.target.is_active());
    let probes = active.map(|controller| controller.probe_interval().unwrap_or(DEFAULT_PROBE));
    let longest = probes.max().filter(|_| bridge.fail_mode() == FailMode::Standalone)?;
    Some(longest * PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_has_patience_with_its_slowest_controller() {
        let mut bridge = Bridge::new("br0");
        let controllers = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(patience(&bridge), None, "no controller");
        bridge.controllers = controllers(&["ptcp:"]);
        assert_eq!(patience(&bridge), None, "nobody to connect to");
        bridge.controllers =
            controllers(&["tcp:10.0.0.1,inactivity_probe=2000", "unix:c,inactivity_probe=9000"]);
        assert_eq!(patience(&bridge), Some(Duration::from_secs(27)));
        bridge.controllers = controllers(&["tcp:10.0.0.1,inactivity_probe=0"]);
        assert_eq!(patience(&bridge), Some(Duration::from_secs(15)));
        bridge.fail_mode = Some(FailMode::Secure);
        assert_eq!(patience(&bridge), None);
    }
}

//! The OpenFlow server: listens at `BRIDGE.mgmt` for each bridge, where `ovs-ofctl` looks, and wherever else it
//! is told to, connects to the controllers of bridges, and carries out what comes.
//!
//! Every connection has a thread of its own, and a bridge takes at most [`MAX_CONNECTIONS`] of them. A thread
//! holds no lock of the switch while it reads or writes its socket. It writes a long reply in parts, and
//! forgets each part once the client has taken it. So a client that does not read delays nobody and costs a
//! bounded amount of memory.
//!
//! What a message wants goes through the same door as what `ofctl` wants
//! ([`crate::bridge`]); nothing is decided here.

mod acceptor;
mod bundle_pieces;
mod bundles;
mod connection;
mod controller;
mod controller_states;
mod dial;
mod flow_mods;
mod hub;
mod hubs;
mod journal;
mod line;
mod lists;
mod monitors;
mod outbox;
mod packet_in_limit;
mod packet_ins;
mod packet_outs;
mod port_mods;
mod queues;
mod refuse;
mod requests;
mod resumption;
mod service;
mod silence;
mod snoop;
mod standalone;
mod tables;
mod teller;
mod tls;
mod transport;
mod views;

pub use acceptor::MAX_CONNECTIONS;
pub(crate) use controller_states::{ControllerStates, ControllerStatus};
pub(crate) use hubs::Hubs;
pub(crate) use refuse::error_code;
pub(crate) use tls::check as check_ssl_files;

use self::hubs::Waker;
use self::service::BridgeService;
use crate::desired::Desired;
use crate::switch::Switch;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

/// The running server. Dropping it ends all connections and removes the sockets.
pub struct OpenFlowServer {
    shared: Arc<Services>,
    /// `None` if no thread could be had: then nothing is told but what a request brings along.
    _waker: Option<Waker>,
}

/// OpenFlow of all bridges.
struct Services {
    folder: PathBuf,
    switch: Arc<Switch>,
    open: Mutex<HashMap<String, BridgeService>>,
}

impl OpenFlowServer {
    /// Serves every bridge that `switch` has and gets, with sockets in `folder`, until the server is dropped. A
    /// socket that cannot be made is told in the log, and tried again.
    pub fn start(folder: &Path, switch: &Arc<Switch>) -> Self {
        let open = Mutex::default();
        let switch = Arc::clone(switch);
        let shared = Arc::new(Services { folder: folder.to_owned(), switch, open });
        let watching = Arc::clone(&shared);
        shared.switch.watch_bridges(Some(Box::new(move || watching.follow())));
        shared.follow();
        let waker = Waker::start(shared.switch.hubs());
        let waker =
            waker.inspect_err(|error| warn!("OpenFlow: controllers hear late of rules: {error}"));
        Self { shared, _waker: waker.ok() }
    }
}

impl Drop for OpenFlowServer {
    fn drop(&mut self) {
        self.shared.switch.watch_bridges(None);
        self.shared.open.lock().clear();
    }
}

impl Services {
    /// Serves the bridges and controllers that are wanted now, and those only.
    fn follow(&self) {
        let mut open = self.open.lock();
        let Desired { bridges, ssl, .. } = self.switch.desired();
        open.retain(|name, _| bridges.iter().any(|bridge| bridge.name == *name));
        for bridge in &bridges {
            if let Some(service) = open.get_mut(&bridge.name) {
                service.follow(bridge, ssl.as_ref());
                continue;
            }
            match BridgeService::start(&self.folder, bridge, ssl.as_ref(), &self.switch) {
                Ok(service) => drop(open.insert(bridge.name.clone(), service)),
                Err(error) => warn!("bridge {}: no OpenFlow: {error}", bridge.name),
            }
        }
    }
}

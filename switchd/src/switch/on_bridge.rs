//! One bridge of a running switch: what most commands are about.

use super::reconcile::Tolerance;
use super::{OwnEnd, PortView, StartError, Switch, stable_mac};
use crate::desired::{self, DatapathId, Desired, DesiredError};
use flow::types::OfPort;
use flowtable::policy;
use std::ops::Deref;
use std::sync::Arc;

/// The switch, seen from one of its bridges. What all bridges share, it has from the switch.
#[derive(Clone, Copy)]
pub struct OnBridge<'a> {
    switch: &'a Switch,
    bridge: policy::Bridge<'a>,
}

impl Deref for OnBridge<'_> {
    type Target = Switch;

    fn deref(&self) -> &Switch {
        self.switch
    }
}

impl Switch {
    /// The bridge of this name, if there is one.
    pub fn on(&self, bridge: &str) -> Option<OnBridge<'_>> {
        let bridge = self.policy.find_bridge(bridge)?;
        Some(OnBridge { switch: self, bridge })
    }

    /// The names of the bridges, in the order in which they were added.
    pub fn bridge_names(&self) -> Vec<String> {
        self.desired.lock().bridges.iter().map(|bridge| bridge.name.clone()).collect()
    }
}

impl<'a> OnBridge<'a> {
    /// Its name. Empty once it was removed.
    pub fn name(&self) -> Arc<str> {
        self.bridge.name()
    }

    /// Its rules, groups, ports and hosts.
    pub fn bridge(&self) -> policy::Bridge<'a> {
        self.bridge
    }

    /// Its ports, in the order of their numbers.
    pub fn ports(&self) -> Vec<PortView> {
        self.switch.ports_of(self.bridge.id())
    }

    /// Its ports through which the switch's own machine takes part.
    pub fn own_ends(&self) -> Vec<OwnEnd> {
        self.switch.own_ends_of(self.bridge.id())
    }

    /// The number by which controllers know it: the one that somebody chose, else one made of the MAC address
    /// of its first port whose device is not the switch's own, else one that this machine always gives a
    /// bridge of this name.
    pub fn datapath_id(&self) -> DatapathId {
        let name = self.name();
        let desired = self.switch.desired.lock();
        let wanted = desired.bridge(&name).ok().and_then(|bridge| bridge.datapath_id);
        drop(desired);
        let from_mac = || {
            let mac = self.switch.first_device_mac(self.bridge.id());
            DatapathId(flow::types::mac_bits(mac.unwrap_or_else(|| stable_mac::of_name(&name))))
        };
        wanted.unwrap_or_else(from_mac)
    }

    /// As [`Switch::add_port`].
    ///
    /// # Errors
    /// As [`Switch::add_port`].
    pub fn add_port(&self, port: desired::Port) -> Result<OfPort, StartError> {
        self.switch.add_port(&self.name(), port)
    }

    /// Takes a port of this bridge away, as [`Switch::remove_port`] does.
    pub fn remove_port(&self, of_port: OfPort) -> bool {
        self.switch.remove_port(&self.name(), of_port)
    }

    /// Changes the settings of a port of this bridge, as [`Switch::change_port`] does.
    pub fn change_port(&self, of_port: OfPort, change: impl FnOnce(&mut desired::Port)) -> bool {
        self.switch.change_port(&self.name(), of_port, change)
    }

    /// Edits the overlays of this bridge and makes them so.
    ///
    /// # Errors
    /// That of the edit, with nothing changed, or that of the first port that cannot be opened; such ports are
    /// not wanted then.
    pub fn change_overlays(
        &self,
        edit: impl FnOnce(&mut Desired) -> Result<(), DesiredError>,
    ) -> Result<(), StartError> {
        self.switch.reconcile(Tolerance::MissingDevice, edit)
    }
}

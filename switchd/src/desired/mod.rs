//! The state that somebody wants: bridges, their ports with all settings, and how the switch runs.
//!
//! The command line, the file of `--config`, the control socket and whoever else asks for changes edit
//! a [`Desired`]; the switch makes it so ([`crate::switch`]). It says nothing about what is there: a
//! port whose device is missing is wanted all the same. Rules, groups and hosts do not belong to it.
//!
//! Editing it checks what can be known without looking at devices: names and numbers that are taken,
//! a device that two ports want. Every edit is all or nothing.
//!
//! [`mod@file`] writes it as TOML and reads that back.

mod allowed_versions;
mod bfd_options;
mod bounded;
mod bridge_name;
mod controller;
mod controller_target;
mod ct_zone;
mod datapath_id;
mod error;
mod fail_mode;
pub mod file;
mod kind;
mod memory_size;
mod merge;
mod overlay;
mod port;
mod port_draft;
mod port_error;
mod port_keys;
mod port_settings;
mod settings;
mod ssl_files;
mod steps;
mod table;
mod tunnel;
mod word;

pub use allowed_versions::AllowedVersions;
pub use bounded::Bounded;
pub use controller::{ConnectionMode, Controller};
pub use controller_target::{ControllerHost, ControllerPlace, ControllerTarget, OPENFLOW_PORT};
pub use ct_zone::CtZone;
pub use datapath_id::DatapathId;
pub use error::DesiredError;
pub use fail_mode::FailMode;
pub use file::FileError;
pub use kind::Kind;
pub use memory_size::MemorySize;
pub use merge::{BridgeWords, CommandLine, ContradictionError, FromFile};
pub use overlay::{Overlay, OverlayError, OverlayPorts};
pub use port::Port;
pub use port_error::{OptionError, PortTextError};
pub use port_settings::{PortSettings, SettingsError};
pub use settings::{Cpus, MacAgeing, MacEntries, Resolved, Settings, Upcalls};
pub use ssl_files::SslFiles;
pub(crate) use steps::is_same as is_same_device;
pub use steps::{Step, steps};
pub use table::{Table, TableList};
pub use tunnel::Tunnel;
pub use word::Word;

use flow::tlv_map::TlvMap;
use flow::types::{Fragments, OfPort};
use flowtable::policy::BridgeId;
use ports::spec::Target;
use serde::Serialize;

/// The name of the bridge that a switch has if neither the command line nor the file names one.
pub const DEFAULT_BRIDGE: &str = "br0";

/// Ports of all bridges together: each has a number of the datapath, which are fewer than those of a bridge.
const MAX_PORTS: usize = 65_000;

/// Controllers of a bridge, listening places included: each has a thread of its own.
const MAX_CONTROLLERS: usize = 32;

/// The state of a switch that somebody wants. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Desired {
    /// How the switch runs. The file's `[switch]`.
    #[serde(rename = "switch", skip_serializing_if = "is_default")]
    pub settings: Settings,
    /// The files for TLS connections; `None`: no TLS. The file's `[ssl]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl: Option<SslFiles>,
    /// The zones with timeouts of their own, each once, by number. The file's `[[ct-zone]]`.
    #[serde(rename = "ct-zone", skip_serializing_if = "Vec::is_empty")]
    pub ct_zones: Vec<CtZone>,
    /// The bridges, in the order in which they were added. The file's `[[bridge]]`.
    #[serde(rename = "bridge", skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Bridge>,
}

/// A bridge that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bridge {
    /// Its name, which a network device can have.
    pub name: String,
    /// Its datapath id; `None` derives it from a MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datapath_id: Option<DatapathId>,
    /// Seconds until a silent host is forgotten; `None` is what the switch's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_ageing: Option<MacAgeing>,
    /// Hosts that are remembered at most; `None` is what the switch's settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_entries: Option<MacEntries>,
    /// What it does with IP fragments.
    #[serde(skip_serializing_if = "is_normal")]
    pub frags: Fragments,
    /// Whether `--state` keeps its rules, groups, static hosts and the ports that commands have added.
    #[serde(skip_serializing_if = "is_true")]
    pub persist: bool,
    /// What it does without a controller; `None` is `standalone`. The key is that of `ovs-vsctl`.
    #[serde(rename = "fail_mode", skip_serializing_if = "Option::is_none")]
    pub fail_mode: Option<FailMode>,
    /// The versions of OpenFlow that it speaks.
    #[serde(skip_serializing_if = "AllowedVersions::is_all")]
    pub protocols: AllowedVersions,
    /// Its controllers, in the order in which they were named. The file's `[[bridge.controller]]`.
    #[serde(rename = "controller", skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<Controller>,
    /// How its tables behave, if not as tables do. The file's `[[bridge.table]]`.
    #[serde(rename = "table", skip_serializing_if = "TableList::is_empty")]
    pub tables: TableList,
    /// Which Geneve options are fields. The file's `[[bridge.tlv-map]]`.
    #[serde(skip_serializing_if = "TlvMap::is_empty")]
    pub tlv_map: TlvMap,
    /// Its ports, in the order in which they were added. The file's `[[bridge.port]]`.
    #[serde(rename = "port", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

fn is_normal(frags: &Fragments) -> bool {
    *frags == Fragments::Normal
}

fn is_true(flag: &bool) -> bool {
    *flag
}

fn is_default(settings: &Settings) -> bool {
    *settings == Settings::default()
}

impl Desired {
    /// One bridge, [`DEFAULT_BRIDGE`], without ports.
    pub fn one_bridge() -> Self {
        Self { bridges: vec![Bridge::new(DEFAULT_BRIDGE)], ..Self::default() }
    }

    /// The bridge of this name.
    ///
    /// # Errors
    /// No bridge has the name; the error lists the names of the bridges.
    pub fn bridge(&self, name: &str) -> Result<&Bridge, DesiredError> {
        self.bridges.iter().find(|b| b.name == name).ok_or_else(|| self.no_bridge(name))
    }

    /// The bridge of this name, to change.
    ///
    /// # Errors
    /// As [`Self::bridge`].
    pub fn bridge_mut(&mut self, name: &str) -> Result<&mut Bridge, DesiredError> {
        match self.bridges.iter().position(|b| b.name == name) {
            Some(i) => Ok(&mut self.bridges[i]),
            None => Err(self.no_bridge(name)),
        }
    }

    fn no_bridge(&self, name: &str) -> DesiredError {
        let known = self.bridges.iter().map(|b| b.name.clone()).collect();
        DesiredError::NoBridge { name: name.to_owned(), known }
    }

    /// Adds a bridge without ports.
    ///
    /// # Errors
    /// Its name cannot be one, or is taken.
    pub fn add_bridge(&mut self, bridge: Bridge) -> Result<(), DesiredError> {
        bridge_name::check(&bridge.name)?;
        if self.bridges.iter().any(|b| b.name == bridge.name) {
            return Err(DesiredError::DuplicateBridge(bridge.name));
        }
        if self.bridges.len() == BridgeId::COUNT {
            return Err(DesiredError::TooManyBridges(bridge.name));
        }
        let others = self.bridges.iter().flat_map(|b| b.ports.iter().map(move |p| (b, p)));
        if let Some((owner, _)) = others.into_iter().find(|(_, p)| p.name == bridge.name) {
            let owner = owner.name.clone();
            return Err(DesiredError::BridgeNameTaken { bridge: bridge.name, owner });
        }
        check_controllers(&bridge.name, &bridge.controllers)?;
        self.bridges.push(bridge);
        Ok(())
    }

    /// Gives a zone of connections timeouts of its own.
    ///
    /// # Errors
    /// The zone has some already, or no timeout is named.
    pub fn add_ct_zone(&mut self, zone: CtZone) -> Result<(), DesiredError> {
        if zone.timeouts.is_empty() {
            return Err(DesiredError::NoTimeout(zone.zone));
        }
        match self.ct_zones.binary_search_by_key(&zone.zone, |zone| zone.zone) {
            Ok(_) => return Err(DesiredError::DuplicateZone(zone.zone)),
            Err(at) => self.ct_zones.insert(at, zone),
        }
        Ok(())
    }

    /// Takes the timeouts of its own from a zone of connections.
    ///
    /// # Errors
    /// The zone has none.
    pub fn remove_ct_zone(&mut self, zone: u16) -> Result<(), DesiredError> {
        match self.ct_zones.binary_search_by_key(&zone, |zone| zone.zone) {
            Ok(at) => self.ct_zones.remove(at),
            Err(_) => return Err(DesiredError::NoZoneTimeouts(zone)),
        };
        Ok(())
    }

    /// Takes a bridge away, with its ports.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove_bridge(&mut self, name: &str) -> Result<Bridge, DesiredError> {
        match self.bridges.iter().position(|b| b.name == name) {
            Some(i) => Ok(self.bridges.remove(i)),
            None => Err(self.no_bridge(name)),
        }
    }

    /// Gives a bridge these controllers instead of those that it has.
    ///
    /// # Errors
    /// There is no such bridge, two controllers have the same target, or there are too many.
    pub fn set_controllers(
        &mut self,
        bridge: &str,
        controllers: Vec<Controller>,
    ) -> Result<(), DesiredError> {
        check_controllers(bridge, &controllers)?;
        self.bridge_mut(bridge)?.controllers = controllers;
        Ok(())
    }

    /// Adds a port to a bridge, under the lowest free number unless it wants another. The device that is
    /// called as the bridge, if it is an `internal:` one, becomes its `LOCAL` port, as in Open vSwitch.
    ///
    /// # Errors
    /// There is no such bridge, or the port's name, device or number is taken.
    pub fn add_port(&mut self, bridge: &str, mut port: Port) -> Result<OfPort, DesiredError> {
        self.check_name(bridge, &port)?;
        self.check_device(bridge, &port)?;
        self.check_tunnel(&port)?;
        if self.bridges.iter().map(|b| b.ports.len()).sum::<usize>() == MAX_PORTS {
            return Err(DesiredError::TooManyPorts(port.name));
        }
        let bridge = self.bridge_mut(bridge)?;
        let number = bridge.number_for(&port)?;
        port.number = Some(number);
        bridge.ports.push(port);
        Ok(number)
    }

    /// Names of ports are unique in the switch, because a patch port names its peer only.
    fn check_name(&self, bridge: &str, port: &Port) -> Result<(), DesiredError> {
        let owner = self.bridges.iter().find(|b| b.ports.iter().any(|p| p.name == port.name));
        match owner {
            Some(owner) if owner.name == bridge => {
                let (port, bridge) = (port.name.clone(), owner.name.clone());
                return Err(DesiredError::DuplicatePort { port, bridge });
            }
            // It is the same device, and the error about that says more.
            Some(owner) if owner.ports.iter().any(|p| p.has_device_of(port)) => {}
            Some(owner) => {
                let (port, owner) = (port.name.clone(), owner.name.clone());
                return Err(DesiredError::PortElsewhere { port, owner });
            }
            None => {}
        }
        match self.bridges.iter().find(|b| b.name == port.name && b.name != bridge) {
            Some(_) => Err(DesiredError::PortNameTaken { port: port.name.clone() }),
            None => Ok(()),
        }
    }

    /// What a tunnel receives is for one port.
    fn check_tunnel(&self, port: &Port) -> Result<(), DesiredError> {
        let ports = self.bridges.iter().flat_map(|bridge| &bridge.ports);
        match ports.into_iter().find(|other| other.receives_as(port)) {
            Some(owner) => {
                let (port, owner) = (port.name.clone(), owner.name.clone());
                Err(DesiredError::TunnelTaken { port, owner })
            }
            None => Ok(()),
        }
    }

    /// A device belongs to one port.
    fn check_device(&self, bridge: &str, port: &Port) -> Result<(), DesiredError> {
        for owner in &self.bridges {
            let Some(holder) = owner.ports.iter().find(|p| p.has_device_of(port)) else {
                continue;
            };
            let (port, holder) = (port.name.clone(), holder.name.clone());
            return Err(if owner.name == bridge {
                DesiredError::DeviceTaken { port, owner: holder }
            } else {
                let (bridge, owner) = (bridge.to_owned(), owner.name.clone());
                DesiredError::DeviceElsewhere { port, holder, owner, bridge }
            });
        }
        Ok(())
    }

    /// Takes a port away from a bridge.
    pub fn remove_port(&mut self, bridge: &str, number: OfPort) -> Option<Port> {
        let ports = &mut self.bridge_mut(bridge).ok()?.ports;
        let index = ports.iter().position(|p| p.number == Some(number))?;
        Some(ports.remove(index))
    }

    /// A port of a bridge, to change.
    pub fn port_mut(&mut self, bridge: &str, number: OfPort) -> Option<&mut Port> {
        let ports = &mut self.bridge_mut(bridge).ok()?.ports;
        ports.iter_mut().find(|p| p.number == Some(number))
    }
}

/// Whether a bridge can have these controllers.
fn check_controllers(bridge: &str, controllers: &[Controller]) -> Result<(), DesiredError> {
    if controllers.len() > MAX_CONTROLLERS {
        return Err(DesiredError::TooManyControllers(bridge.to_owned()));
    }
    for (i, controller) in controllers.iter().enumerate() {
        if controllers[..i].iter().any(|other| other.target == controller.target) {
            let (bridge, target) = (bridge.to_owned(), controller.target.to_string());
            return Err(DesiredError::DuplicateController { bridge, target });
        }
    }
    Ok(())
}

impl Bridge {
    /// A bridge without ports and with default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            datapath_id: None,
            mac_ageing: None,
            mac_entries: None,
            frags: Fragments::default(),
            persist: true,
            fail_mode: None,
            protocols: AllowedVersions::default(),
            controllers: Vec::new(),
            tables: TableList::default(),
            tlv_map: TlvMap::default(),
            ports: Vec::new(),
        }
    }

    /// What it does without a controller.
    pub fn fail_mode(&self) -> FailMode {
        self.fail_mode.unwrap_or_default()
    }

    /// Whether it has controllers that it connects to. Those that it only waits for do not
    /// count, as in Open vSwitch.
    pub fn has_controllers(&self) -> bool {
        self.controllers.iter().any(|controller| controller.target.is_active())
    }

    /// Whether its table begins with the rule of a learning switch, and not empty.
    pub fn forwards_on_its_own(&self) -> bool {
        !self.has_controllers() && self.fail_mode() == FailMode::Standalone
    }

    /// Whether its rules end when it becomes as `after`: because its first controller comes, its last one goes,
    /// or what it does without one changes.
    pub fn loses_rules(&self, after: &Self) -> bool {
        self.has_controllers() != after.has_controllers()
            || !after.has_controllers() && self.fail_mode() != after.fail_mode()
    }

    /// Whether `after` has other controllers, or other settings of connections to them. What an OpenFlow peer
    /// can change of a bridge does not count: the thread that serves the peer would wait for itself.
    pub fn has_other_openflow(&self, after: &Self) -> bool {
        (&self.controllers, self.fail_mode(), &self.protocols)
            != (&after.controllers, after.fail_mode(), &after.protocols)
    }

    /// The number that a port gets which is added now.
    fn number_for(&self, port: &Port) -> Result<OfPort, DesiredError> {
        let is_local =
            matches!(&port.kind, Kind::Device(Target::Internal { device }) if *device == self.name);
        let wanted = port.number.or(is_local.then_some(OfPort::LOCAL));
        match wanted {
            Some(number) => match self.ports.iter().find(|p| p.number == Some(number)) {
                None => Ok(number),
                Some(owner) => {
                    let (port, owner) = (port.name.clone(), owner.name.clone());
                    Err(DesiredError::NumberTaken { port, number, owner })
                }
            },
            None => {
                let free = self.lowest_free_number();
                free.ok_or_else(|| DesiredError::NoNumber(port.name.clone()))
            }
        }
    }

    fn lowest_free_number(&self) -> Option<OfPort> {
        let mut used: Vec<u16> = self.ports.iter().filter_map(|p| Some(p.number?.0)).collect();
        used.sort_unstable();
        let gap = (1..).zip(&used).find(|(number, used)| number != *used);
        let number = gap.map_or(used.len() as u16 + 1, |(number, _)| number);
        Some(OfPort(number)).filter(|number| *number < OfPort::MAX)
    }
}

impl Port {
    /// The namespace of its device, unless that is the switch's own, and the device's name.
    fn device(&self) -> Option<(Option<&str>, &str)> {
        let netns = match self.kind.target()? {
            Target::Netns { netns, .. } => Some(netns.as_str()),
            _ => None,
        };
        Some((netns, self.kind.own_name()?))
    }

    /// Both are tunnel ports, and nobody could tell for which of them a received frame is.
    fn receives_as(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Tunnel(tunnel), Kind::Tunnel(other)) => tunnel
                .tunnel_target()
                .zip(other.tunnel_target())
                .is_some_and(|(tunnel, other)| tunnel.receives_as(other)),
            _ => false,
        }
    }

    /// Both are made of the same device.
    fn has_device_of(&self, other: &Self) -> bool {
        self.device().is_some_and(|device| other.device() == Some(device))
    }
}

#[cfg(test)]
impl Desired {
    /// Bridges by their names, each with ports as `--port` describes them.
    pub(crate) fn of(bridges: &[(&str, &[&str])]) -> Self {
        let mut desired = Self::default();
        for (name, ports) in bridges {
            desired.add_bridge(Bridge::new(*name)).unwrap();
            for port in *ports {
                desired.add_port(name, Port::parse(port).unwrap()).unwrap();
            }
        }
        desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(ports: &[&str]) -> Desired {
        let mut desired = Desired::one_bridge();
        desired.add_bridge(Bridge::new("br1")).unwrap();
        for port in ports {
            desired.add_port("br0", Port::parse(port).unwrap()).unwrap();
        }
        desired
    }

    fn check_refused(bridge: &str, port: &str, message: &str) {
        let mut desired = desired(&["a", "netns:blue/b,name=blue", "c,number=7"]);
        let before = desired.clone();
        let error = desired.add_port(bridge, Port::parse(port).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), message, "{port}");
        assert_eq!(desired, before, "nothing has changed");
    }

    #[test]
    fn what_is_taken_is_refused_by_name() {
        check_refused("br0", "a", "port \"a\": bridge \"br0\" has a port of that name already");
        check_refused("br0", "tap:a,name=x", "port \"x\": its device belongs to port \"a\"");
        check_refused("br0", "x,number=7", "port \"x\": number 7 belongs to port \"c\"");
        check_refused("br7", "x", "there is no bridge \"br7\"");
        check_refused(
            "br1",
            "netns:blue/b",
            "port \"b\": its device belongs to port \"blue\" of bridge \"br0\"; to move it, take it away there \
             with \"ofctl del-port br0 blue\", then add it to \"br1\"",
        );
        check_refused(
            "br1",
            "x,name=blue",
            "port \"blue\": bridge \"br0\" has a port of that name; give this one another: name=NAME",
        );
        check_refused(
            "br1",
            "internal:br0",
            "port \"br0\": another bridge has that name; give the port another: name=NAME",
        );
    }

    #[test]
    fn numbers_are_those_of_the_bridge() {
        let mut desired = desired(&["a", "b,number=2", "c"]);
        let mut add = |bridge, port| desired.add_port(bridge, Port::parse(port).unwrap()).unwrap();
        assert_eq!(add("br0", "d"), OfPort(4));
        assert_eq!(add("br1", "e"), OfPort(1));
        assert_eq!(add("br1", "internal:br1"), OfPort::LOCAL);
        assert_eq!(add("br1", "netns:blue/a,name=other"), OfPort(2), "another device of that name");
        assert!(desired.remove_port("br0", OfPort(2)).is_some());
        assert!(desired.remove_port("br0", OfPort(2)).is_none());
        assert_eq!(desired.add_port("br0", Port::parse("f").unwrap()), Ok(OfPort(2)));
        desired.remove_bridge("br0").unwrap();
        assert_eq!(desired.add_port("br1", Port::parse("a").unwrap()), Ok(OfPort(3)));
    }

    #[test]
    fn bridges_have_names_of_their_own() {
        let mut desired = desired(&["a"]);
        let mut refused =
            |name: &str| desired.add_bridge(Bridge::new(name)).unwrap_err().to_string();
        assert_eq!(refused("br1"), "there is a bridge \"br1\" already");
        assert_eq!(refused("a"), "bridge \"a\": bridge \"br0\" has a port of that name");
        for name in ["", ".", "..", "a b", "x/y", "x:y", "x=y", "x,y", "sixteen-letters-"] {
            assert!(refused(name).contains("not a bridge's name"), "{name}");
        }
        for i in desired.bridges.len()..BridgeId::COUNT {
            desired.add_bridge(Bridge::new(format!("n{i}"))).unwrap();
        }
        let error = desired.add_bridge(Bridge::new("more")).unwrap_err();
        assert!(error.to_string().contains("as many bridges as there can be"), "{error}");
    }
}

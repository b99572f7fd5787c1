//! An overlay: a full mesh of tunnels to peers, which make one network without a controller.
//!
//! `vxlan:NAME,vni=N,peer=IP,peer=IP` stands for a tunnel port for each peer: `NAME-1`, `NAME-2` and so
//! on. They are protected from one another (split horizon): what came from one peer goes to no other,
//! because every peer has a tunnel to every other one. `NORMAL` floods to all of them, and learns behind
//! which peer a host is.
//!
//! An overlay is nothing beside its ports: each of them has the option `overlay=NAME`. So whatever keeps ports
//! keeps overlays, and a port may also be changed by itself.

use super::port::Port;
use super::port_error::PortTextError;
use super::tunnel::{Tunnel, neighbours_word};
use super::word::Word;
use super::{Bridge, Desired, DesiredError, Kind};
use flow::types::{MacAddr, OfPort};
use std::net::IpAddr;
use std::str::FromStr;

/// The peers that an overlay can have.
const MAX_PEERS: usize = 1024;

/// The options of a port that belong to one peer, and not to the overlay.
const OF_ONE_PEER: [&str; 5] = ["device", "name", "remote_ip", "number", "neighbours"];

/// An overlay that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    name: String,
    /// The descriptions of the tunnel ports, in the order of the peers.
    ports: Vec<String>,
}

impl Overlay {
    /// The name, with which the names of the ports begin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tunnel ports, described as for `--port`.
    pub fn ports(&self) -> &[String] {
        &self.ports
    }
}

/// An overlay that a bridge has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayPorts<'a> {
    /// The name of the overlay.
    pub name: &'a str,
    /// Its ports with their tunnels, in the order of the bridge's ports.
    pub ports: Vec<(&'a Port, &'a Tunnel)>,
}

impl OverlayPorts<'_> {
    /// The options that all ports have alike, as far as they are no defaults: those of the first one.
    fn shared_words(&self) -> Vec<(&'static str, Word)> {
        let words = self.ports.first().map(|(port, _)| port.words()).unwrap_or_default();
        words.into_iter().filter(|(key, _)| !OF_ONE_PEER.contains(key)).collect()
    }

    /// The options that all ports have alike, as the command line has them.
    pub fn options(&self) -> String {
        let words = self.shared_words().into_iter();
        let words = words.filter(|(key, _)| !matches!(*key, "overlay" | "key" | "protected"));
        words.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }

    /// The names of its ports.
    fn names(&self) -> Vec<String> {
        self.ports.iter().map(|(port, _)| port.name.clone()).collect()
    }

    /// The kind of its tunnels, `vxlan` or `geneve`.
    pub fn kind(&self) -> &'static str {
        let target = self.ports.first().and_then(|(_, tunnel)| tunnel.tunnel_target());
        target.map_or("", |target| target.kind.name())
    }

    /// The number of the network.
    pub fn vni(&self) -> u64 {
        self.ports.first().and_then(|(_, tunnel)| tunnel.egress.key).unwrap_or_default()
    }

    /// The port of a peer.
    fn port_of(&self, peer: IpAddr) -> Option<&Port> {
        let of_peer = self.ports.iter().find(|(_, tunnel)| tunnel.egress.remote == Some(peer));
        of_peer.map(|(port, _)| *port)
    }
}

impl Bridge {
    /// The overlays of the bridge, in the order of their first ports.
    pub fn overlays(&self) -> Vec<OverlayPorts<'_>> {
        let mut overlays = Vec::<OverlayPorts<'_>>::new();
        for port in &self.ports {
            let Kind::Tunnel(tunnel) = &port.kind else { continue };
            let Some(name) = tunnel.overlay.as_deref() else { continue };
            match overlays.iter_mut().find(|overlay| overlay.name == name) {
                Some(overlay) => overlay.ports.push((port, tunnel)),
                None => overlays.push(OverlayPorts { name, ports: vec![(port, tunnel)] }),
            }
        }
        overlays
    }

    /// The overlay of this name.
    ///
    /// # Errors
    /// The bridge has no such overlay; the error lists those that it has.
    pub fn overlay(&self, name: &str) -> Result<OverlayPorts<'_>, DesiredError> {
        let overlays = self.overlays();
        let known = overlays.iter().map(|overlay| overlay.name.to_owned()).collect();
        overlays.into_iter().find(|overlay| overlay.name == name).ok_or_else(|| {
            let (bridge, overlay) = (self.name.clone(), name.to_owned());
            DesiredError::NoOverlay { bridge, overlay, known }
        })
    }
}

impl Desired {
    /// Adds an overlay to a bridge: a port for each peer.
    ///
    /// # Errors
    /// An overlay or a port has the name already, or a port cannot be.
    pub fn add_overlay(&mut self, bridge: &str, overlay: &Overlay) -> Result<(), DesiredError> {
        let owner = self.bridges.iter().find(|owner| owner.overlay(&overlay.name).is_ok());
        if let Some(owner) = owner {
            let (overlay, owner) = (overlay.name.clone(), owner.name.clone());
            return Err(DesiredError::DuplicateOverlay { overlay, owner });
        }
        let ports = overlay.ports.iter().map(|text| Port::parse(text));
        for port in ports {
            self.add_port(bridge, port.map_err(DesiredError::OverlayPort)?)?;
        }
        Ok(())
    }

    /// Takes an overlay away, with all its ports.
    ///
    /// # Errors
    /// The bridge has no such overlay.
    pub fn remove_overlay(&mut self, bridge: &str, name: &str) -> Result<(), DesiredError> {
        let bridge = self.bridge_mut(bridge)?;
        let names = bridge.overlay(name)?.names();
        bridge.ports.retain(|port| !names.contains(&port.name));
        Ok(())
    }

    /// Adds a peer to an overlay: a port with the options of the overlay's first one. Returns
    /// the name of the port.
    ///
    /// # Errors
    /// The bridge has no such overlay, or the overlay has that peer, or as many as it can have.
    pub fn add_peer(
        &mut self,
        bridge: &str,
        name: &str,
        peer: IpAddr,
    ) -> Result<String, DesiredError> {
        let overlay = self.bridge(bridge)?.overlay(name)?;
        let refuse = |of_port: &Port| DesiredError::DuplicatePeer {
            overlay: name.to_owned(),
            peer,
            port: of_port.name.clone(),
        };
        overlay.port_of(peer).map_or(Ok(()), |port| Err(refuse(port)))?;
        if overlay.ports.len() >= MAX_PEERS {
            return Err(DesiredError::TooManyPeers(name.to_owned()));
        }
        let is_taken =
            |port: &str| self.bridges.iter().any(|b| b.ports.iter().any(|p| p.name == port));
        let mut names = (1..).map(|number: u32| format!("{name}-{number}"));
        let port = names.find(|port| !is_taken(port)).expect("there are fewer ports than numbers");
        let kind = overlay.kind();
        let words = overlay.shared_words().into_iter();
        let options: Vec<String> = words.map(|(key, value)| format!("{key}={value}")).collect();
        let text = format!("{kind}:{port},remote_ip={peer},{}", options.join(","));
        self.add_port(bridge, Port::parse(&text).map_err(DesiredError::OverlayPort)?)?;
        Ok(port)
    }

    /// Gives all ports of an overlay other options. An option with an empty value gets its default. `vni` is
    /// the key of all ports.
    ///
    /// # Errors
    /// The bridge has no such overlay, an option belongs to one peer, or a port cannot be so.
    pub fn change_overlay(
        &mut self,
        bridge: &str,
        name: &str,
        options: &[(&str, &str)],
    ) -> Result<(), DesiredError> {
        let own = ["peer", "overlay"];
        if let Some((key, _)) =
            options.iter().find(|(key, _)| OF_ONE_PEER.iter().chain(&own).any(|own| own == key))
        {
            let (overlay, key) = (name.to_owned(), (*key).to_owned());
            return Err(DesiredError::OptionOfPeer { overlay, key });
        }
        let of_port = |(key, value): &(_, _)| (if *key == "vni" { "key" } else { *key }, *value);
        let options: Vec<(&str, &str)> = options.iter().map(of_port).collect();
        let ports: Vec<String> = self.bridge(bridge)?.overlay(name)?.names();
        for port in ports {
            self.change_words(bridge, &port, &options)?;
        }
        Ok(())
    }

    /// Gives a port of a bridge other options, in its place.
    fn change_words(
        &mut self,
        bridge: &str,
        port: &str,
        options: &[(&str, &str)],
    ) -> Result<(), DesiredError> {
        let ports = &mut self.bridge_mut(bridge)?.ports;
        let Some(place) = ports.iter_mut().find(|other| other.name == port) else { return Ok(()) };
        let mut words = place.words().into_iter();
        let mut text = words.next().map(|(_, device)| device.to_string()).unwrap_or_default();
        let plain = |key: &str| key.replace("bfd:enable", "bfd").replace(['-', ':'], "_");
        let same = |a: &str, b: &str| plain(a) == plain(b);
        let stays = words.filter(|(key, _)| options.iter().all(|(other, _)| !same(key, other)));
        let new = options.iter().filter(|(_, value)| !value.is_empty());
        let new = new.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        for (key, value) in stays.map(|(key, value)| (key.to_owned(), value.to_string())).chain(new)
        {
            text.push_str(&format!(",{key}={value}"));
        }
        *place = Port::parse(&text).map_err(DesiredError::OverlayPort)?;
        Ok(())
    }

    /// Gives the hosts behind a peer other addresses: those that `change` makes of the present ones.
    ///
    /// # Errors
    /// The bridge has no such overlay, the overlay has no such peer, or does not suppress.
    pub fn change_neighbours(
        &mut self,
        bridge: &str,
        name: &str,
        peer: IpAddr,
        change: impl FnOnce(&mut Vec<(IpAddr, MacAddr)>),
    ) -> Result<(), DesiredError> {
        let overlay = self.bridge(bridge)?.overlay(name)?;
        let of_peer = overlay.ports.iter().find(|(_, tunnel)| tunnel.egress.remote == Some(peer));
        let (port, tunnel) =
            of_peer.ok_or_else(|| DesiredError::NoPeer { overlay: name.to_owned(), peer })?;
        let suppression = tunnel.suppression.clone();
        let is_suppressing = suppression.is_some();
        let mut neighbours = suppression.unwrap_or_default().neighbours;
        change(&mut neighbours);
        if !is_suppressing && neighbours.is_empty() {
            return Ok(());
        }
        let (port, word) = (port.name.clone(), neighbours_word(&neighbours));
        let word = word.map(|word| word.to_string()).unwrap_or_default();
        self.change_words(bridge, &port, &[("neighbours", &word)])
    }

    /// Takes a peer away from an overlay. Returns the number that its port had.
    ///
    /// # Errors
    /// The bridge has no such overlay, the overlay has no such peer, or no other one.
    pub fn remove_peer(
        &mut self,
        bridge: &str,
        name: &str,
        peer: IpAddr,
    ) -> Result<(), DesiredError> {
        let number = self.bridge(bridge)?.port_of_peer(name, peer)?;
        if self.bridge(bridge)?.overlay(name)?.ports.len() == 1 {
            return Err(DesiredError::LastPeer { overlay: name.to_owned(), peer });
        }
        self.remove_port(bridge, number);
        Ok(())
    }
}

impl Bridge {
    /// The number of the port through which an overlay reaches a peer.
    ///
    /// # Errors
    /// The bridge has no such overlay, or the overlay has no such peer.
    pub fn port_of_peer(&self, name: &str, peer: IpAddr) -> Result<OfPort, DesiredError> {
        let overlay = self.overlay(name)?;
        let number = overlay.port_of(peer).and_then(|port| port.number);
        number.ok_or_else(|| DesiredError::NoPeer { overlay: name.to_owned(), peer })
    }
}

/// The text is not an overlay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// The text does not begin with a kind of tunnel and a name.
    #[error(
        "overlay \"{0}\": write vxlan:NAME,vni=N,peer=IP[,peer=IP...], or geneve: in place of vxlan:"
    )]
    Kind(String),
    /// The network has no number.
    #[error(
        "overlay \"{0}\": it needs vni=N, the number of the network, equal at all peers: 0 to 16777215"
    )]
    NoVni(String),
    /// There is nobody to talk to.
    #[error("overlay \"{0}\": it needs peer=IP for each other machine")]
    NoPeer(String),
    /// A peer is no address.
    #[error("overlay \"{overlay}\": peer={peer}: must be an IPv4 or IPv6 address")]
    Peer {
        /// The name of the overlay.
        overlay: String,
        /// The text that is no address.
        peer: String,
    },
    /// A peer is named twice.
    #[error("overlay \"{overlay}\": peer={peer} is given twice")]
    Twice {
        /// The name of the overlay.
        overlay: String,
        /// The address of the peer.
        peer: IpAddr,
    },
    /// There are more peers than an overlay can have.
    #[error("overlay \"{0}\": an overlay can have {MAX_PEERS} peers; name fewer")]
    TooManyPeers(String),
    /// The port of a peer cannot be.
    #[error("overlay \"{overlay}\": {error}")]
    Port {
        /// The name of the overlay.
        overlay: String,
        /// What is wrong with the port.
        error: PortTextError,
    },
}

impl FromStr for Overlay {
    type Err = OverlayError;

    /// Reads an overlay. Options beside `vni` and `peer` are those of all its ports.
    fn from_str(text: &str) -> Result<Self, OverlayError> {
        let mut pieces = text.split(',');
        let head = pieces.next().unwrap_or_default();
        let (kind, name) = head
            .split_once(':')
            .filter(|(kind, name)| matches!(*kind, "vxlan" | "geneve") && !name.is_empty())
            .ok_or_else(|| OverlayError::Kind(text.to_owned()))?;
        let overlay = name.to_owned();
        let (mut vni, mut peers, mut others) = (None, Vec::<IpAddr>::new(), String::new());
        for piece in pieces {
            match piece.split_once('=') {
                Some(("vni", value)) => vni = Some(value),
                Some(("peer", peer)) => {
                    let address = peer.parse().map_err(|_| OverlayError::Peer {
                        overlay: overlay.clone(),
                        peer: peer.to_owned(),
                    })?;
                    if peers.contains(&address) {
                        return Err(OverlayError::Twice { overlay, peer: address });
                    }
                    peers.push(address);
                }
                _ => {
                    others.push(',');
                    others.push_str(piece);
                }
            }
        }
        let Some(vni) = vni else { return Err(OverlayError::NoVni(overlay)) };
        if peers.is_empty() {
            return Err(OverlayError::NoPeer(overlay));
        }
        if peers.len() > MAX_PEERS {
            return Err(OverlayError::TooManyPeers(overlay));
        }
        let port = |(number, peer): (usize, &IpAddr)| {
            format!(
                "{kind}:{name}-{number},remote_ip={peer},key={vni},overlay={name},protected=true{others}"
            )
        };
        let ports: Vec<String> = (1..).zip(&peers).map(port).collect();
        for port in &ports {
            Port::parse(port)
                .map_err(|error| OverlayError::Port { overlay: overlay.clone(), error })?;
        }
        Ok(Self { name: overlay, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_a_port_that_is_protected_from_the_others() {
        let overlay: Overlay =
            "vxlan:net,vni=7,peer=192.0.2.2,dst_port=8472,peer=192.0.2.3,tag=5".parse().unwrap();
        let expected = [
            "vxlan:net-1,remote_ip=192.0.2.2,key=7,overlay=net,protected=true,dst_port=8472,tag=5",
            "vxlan:net-2,remote_ip=192.0.2.3,key=7,overlay=net,protected=true,dst_port=8472,tag=5",
        ];
        assert_eq!(overlay.ports(), expected);
    }

    #[test]
    fn what_is_no_overlay_is_refused() {
        let check = |text: &str, message: &str| {
            assert_eq!(text.parse::<Overlay>().unwrap_err().to_string(), message, "{text}");
        };
        let form = "write vxlan:NAME,vni=N,peer=IP[,peer=IP...], or geneve: in place of vxlan:";
        check("net", &format!("overlay \"net\": {form}"));
        check("gre:net,vni=1", &format!("overlay \"gre:net,vni=1\": {form}"));
        let vni = "it needs vni=N, the number of the network, equal at all peers: 0 to 16777215";
        check("vxlan:net,peer=192.0.2.1", &format!("overlay \"net\": {vni}"));
        check("vxlan:net,vni=1", "overlay \"net\": it needs peer=IP for each other machine");
        check("vxlan:net,vni=1,peer=b", "overlay \"net\": peer=b: must be an IPv4 or IPv6 address");
        check("vxlan:net,vni=1,peer=::1,peer=::1", "overlay \"net\": peer=::1 is given twice");
        check(
            "vxlan:net,vni=16777216,peer=::1",
            "overlay \"net\": port \"net-1\": key=16777216: must be a number from 0 to 16777215, since a VNI has 24 bits, or flow",
        );
    }

    fn desired() -> Desired {
        let mut desired = Desired::one_bridge();
        let overlay =
            "vxlan:net,vni=7,peer=192.0.2.2,dst_port=8472,peer=192.0.2.3".parse().unwrap();
        desired.add_overlay("br0", &overlay).unwrap();
        desired
    }

    fn ports(desired: &Desired) -> Vec<String> {
        desired.bridges[0].ports.iter().map(ToString::to_string).collect()
    }

    const FIRST: &str =
        "vxlan:net-1,remote_ip=192.0.2.2,key=7,dst_port=8472,overlay=net,number=1,protected=true";
    const SECOND: &str =
        "vxlan:net-2,remote_ip=192.0.2.3,key=7,dst_port=8472,overlay=net,number=2,protected=true";

    #[test]
    fn peers_come_and_go() {
        let mut desired = desired();
        assert_eq!(ports(&desired), [FIRST, SECOND]);
        let [new, old] = ["2001:db8::1", "192.0.2.2"].map(|peer| peer.parse().unwrap());
        assert_eq!(desired.add_peer("br0", "net", new), Ok("net-3".to_owned()));
        let third = "vxlan:net-3,remote_ip=2001:db8::1,key=7,dst_port=8472,overlay=net,number=3,protected=true";
        assert_eq!(ports(&desired), [FIRST, SECOND, third]);
        desired.remove_peer("br0", "net", old).unwrap();
        // A name and a number that are free are given again.
        assert_eq!(desired.add_peer("br0", "net", old), Ok("net-1".to_owned()));
        assert_eq!(ports(&desired), [SECOND, third, FIRST]);
        desired.remove_overlay("br0", "net").unwrap();
        assert!(ports(&desired).is_empty());
    }

    #[test]
    fn options_and_addresses_change_in_place() {
        let mut desired = desired();
        desired.change_overlay("br0", "net", &[("suppress", "on"), ("dst_port", "")]).unwrap();
        let peer = "192.0.2.3".parse().unwrap();
        let neighbour = ("10.0.0.5".parse().unwrap(), MacAddr([2, 0, 0, 0, 0, 5]));
        desired.change_neighbours("br0", "net", peer, |all| all.push(neighbour)).unwrap();
        let first = "vxlan:net-1,remote_ip=192.0.2.2,key=7,overlay=net,suppress=true,number=1,protected=true";
        let second = "vxlan:net-2,remote_ip=192.0.2.3,key=7,overlay=net,suppress=true,\
                      neighbours=10.0.0.5@02:00:00:00:00:05,number=2,protected=true";
        assert_eq!(ports(&desired), [first, second]);
        // The addresses are those of one peer.
        desired.add_peer("br0", "net", "192.0.2.9".parse().unwrap()).unwrap();
        let third = "vxlan:net-3,remote_ip=192.0.2.9,key=7,overlay=net,suppress=true,number=3,protected=true";
        assert_eq!(ports(&desired)[2], third);
        let refused = |desired: &mut Desired, options: &[(&str, &str)]| {
            desired.change_overlay("br0", "net", options).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&mut desired, &[("remote_ip", "192.0.2.7")]),
            "overlay \"net\": remote_ip belongs to one peer: change it with \"ofctl del-port\" and \"ofctl add-port\""
        );
        assert!(refused(&mut desired, &[("suppress", "maybe")]).contains("suppress=maybe"));
        assert!(refused(&mut desired, &[("vni", "16777216")]).contains("since a VNI has 24 bits"));
        desired.change_overlay("br0", "net", &[("vni", "8")]).unwrap();
        assert!(ports(&desired).iter().all(|port| port.contains(",key=8,overlay=net,")));
    }

    #[test]
    fn a_file_and_words_keep_overlays() {
        let desired = desired();
        let text = super::super::file::write(&desired);
        assert_eq!(super::super::file::read(&text, "f.toml"), Ok(desired.clone()));
        let overlays = desired.bridges[0].overlays();
        let [overlay] = &overlays[..] else { panic!("{overlays:?}") };
        assert_eq!((overlay.name, overlay.options().as_str()), ("net", "dst_port=8472"));
    }

    #[test]
    fn what_contradicts_is_refused_and_changes_nothing() {
        let mut desired = desired();
        let before = desired.clone();
        let [known, unknown] = ["192.0.2.2", "192.0.2.9"].map(|peer| peer.parse().unwrap());
        let check = |result: Result<String, DesiredError>, message: &str| {
            assert_eq!(result.unwrap_err().to_string(), message);
        };
        check(
            desired.add_peer("br0", "net", known),
            "overlay \"net\": port \"net-1\" leads to peer 192.0.2.2 already",
        );
        check(
            desired.add_peer("br0", "lan", unknown),
            "bridge \"br0\" has no overlay \"lan\"; it has net",
        );
        check(
            desired.remove_peer("br0", "net", unknown).map(|()| String::new()),
            "overlay \"net\" has no peer 192.0.2.9",
        );
        let overlay = "vxlan:net,vni=8,peer=192.0.2.2".parse().unwrap();
        check(
            desired.add_overlay("br0", &overlay).map(|()| String::new()),
            "bridge \"br0\" has an overlay \"net\" already: add peers to it with \"ofctl overlay add-peer\"",
        );
        assert_eq!(desired, before);
        desired.remove_peer("br0", "net", known).unwrap();
        let last = "192.0.2.3".parse().unwrap();
        check(
            desired.remove_peer("br0", "net", last).map(|()| String::new()),
            "overlay \"net\": peer 192.0.2.3 is the only one: remove the overlay with \"ofctl overlay del net\"",
        );
    }
}

//! An overlay: a full mesh of tunnels to peers, which make one network without a controller.
//!
//! `vxlan:NAME,vni=N,peer=IP,peer=IP` stands for a tunnel port for each peer: `NAME-1`, `NAME-2` and so on. They are protected from one
//! another (split horizon): what came from one peer goes to no other, because every peer has a tunnel to every other one. `NORMAL` floods to
//! all of them, and learns behind which peer a host is.

use super::port::Port;
use super::port_error::PortTextError;
use std::net::IpAddr;
use std::str::FromStr;

/// The peers that an overlay can have.
const MAX_PEERS: usize = 1024;

/// An overlay that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The descriptions of the tunnel ports, in the order of the peers.
    ports: Vec<String>,
}

impl Overlay {
    /// The tunnel ports, described as for `--port`.
    pub fn ports(&self) -> &[String] {
        &self.ports
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
            format!("{kind}:{name}-{number},remote_ip={peer},key={vni},protected=true{others}")
        };
        let ports: Vec<String> = (1..).zip(&peers).map(port).collect();
        for port in &ports {
            Port::parse(port)
                .map_err(|error| OverlayError::Port { overlay: overlay.clone(), error })?;
        }
        Ok(Self { ports })
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
            "vxlan:net-1,remote_ip=192.0.2.2,key=7,protected=true,dst_port=8472,tag=5",
            "vxlan:net-2,remote_ip=192.0.2.3,key=7,protected=true,dst_port=8472,tag=5",
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
}

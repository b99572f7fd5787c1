//! The steps from one desired state to the next.

use super::{Bridge, Desired, Kind, Port};
use flow::types::OfPort;
use std::collections::HashMap;

/// One step. Steps are carried out in their order: then none meets a name, a number or a
/// device that is still taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Close a port and take it out of its bridge.
    RemovePort {
        /// The name of its bridge.
        bridge: &'a str,
        /// The port as it was.
        port: &'a Port,
        /// The OpenFlow number of the port.
        number: OfPort,
    },
    /// Take a bridge away that has no ports any more.
    RemoveBridge(&'a Bridge),
    /// Make a bridge. Its ports follow.
    AddBridge(&'a Bridge),
    /// Give a bridge other settings.
    ChangeBridge {
        /// The bridge as it was.
        before: &'a Bridge,
        /// The bridge as it is to be.
        after: &'a Bridge,
    },
    /// Put a port into a bridge and open its device.
    AddPort {
        /// The name of its bridge.
        bridge: &'a str,
        /// The port that is wanted.
        port: &'a Port,
        /// The OpenFlow number of the port.
        number: OfPort,
    },
    /// Give a port other settings, without opening its device again.
    ChangePort {
        /// The name of its bridge.
        bridge: &'a str,
        /// The port as it is to be.
        port: &'a Port,
        /// The OpenFlow number of the port.
        number: OfPort,
    },
}

/// The steps that lead from `before` to `after`.
pub fn steps<'a>(before: &'a Desired, after: &'a Desired) -> Vec<Step<'a>> {
    let mut all = Changes::default();
    for old in &before.bridges {
        let new = after.bridges.iter().find(|b| b.name == old.name);
        all.compare(Some(old), new);
    }
    for new in &after.bridges {
        if before.bridges.iter().all(|b| b.name != new.name) {
            all.compare(None, Some(new));
        }
    }
    let Changes { closing, bridges, opening } = all;
    closing.into_iter().chain(bridges).chain(opening).collect()
}

#[derive(Default)]
struct Changes<'a> {
    closing: Vec<Step<'a>>,
    bridges: Vec<Step<'a>>,
    opening: Vec<Step<'a>>,
}

impl<'a> Changes<'a> {
    fn compare(&mut self, old: Option<&'a Bridge>, new: Option<&'a Bridge>) {
        match (old, new) {
            (None, Some(new)) => self.bridges.push(Step::AddBridge(new)),
            // Before bridges are added: a new one may have the name that a port of this bridge had.
            (Some(old), None) => self.bridges.insert(0, Step::RemoveBridge(old)),
            (Some(before), Some(after)) if settings(before) != settings(after) => {
                self.bridges.push(Step::ChangeBridge { before, after });
            }
            _ => {}
        }
        let (old_ports, new_ports) = (numbered(old), numbered(new));
        let (was, is): (HashMap<_, _>, HashMap<_, _>) =
            (old_ports.iter().copied().collect(), new_ports.iter().copied().collect());
        if let Some(Bridge { name: bridge, .. }) = old {
            let stays = |(number, port): &&(OfPort, &Port)| {
                is.get(number).is_some_and(|new| is_same(port, new))
            };
            let gone = old_ports.iter().filter(|port| !stays(port));
            self.closing.extend(gone.map(|&(number, port)| Step::RemovePort {
                bridge,
                port,
                number,
            }));
        }
        if let Some(Bridge { name: bridge, .. }) = new {
            for (number, port) in new_ports {
                match was.get(&number) {
                    Some(old) if **old == *port => {}
                    Some(old) if is_same(old, port) => {
                        self.opening.push(Step::ChangePort { bridge, port, number });
                    }
                    _ => self.opening.push(Step::AddPort { bridge, port, number }),
                }
            }
        }
    }
}

/// The settings of a bridge, without its ports.
fn settings(bridge: &Bridge) -> Bridge {
    Bridge { ports: Vec::new(), ..bridge.clone() }
}

/// The ports of a bridge with their numbers. A port has a number once a bridge has taken it.
fn numbered(bridge: Option<&Bridge>) -> Vec<(OfPort, &Port)> {
    let ports = bridge.into_iter().flat_map(|b| &b.ports);
    ports.filter_map(|p| Some((p.number?, p))).collect()
}

/// Whether an open port can get the settings of the other one without being opened again.
pub(crate) fn is_same(a: &Port, b: &Port) -> bool {
    let has_same_device = match (&a.kind, &b.kind) {
        (Kind::Tunnel(a), Kind::Tunnel(b)) => a.has_sockets_of(b),
        (a, b) => a == b,
    };
    has_same_device && (&a.name, &a.options) == (&b.name, &b.options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[(&str, &[&str])], after: &[(&str, &[&str])], expected: &[&str]) {
        let (before, after) = (Desired::of(before), Desired::of(after));
        let told = |step: &Step<'_>| match step {
            Step::RemovePort { bridge, port, .. } => format!("close {bridge} {port}"),
            Step::RemoveBridge(bridge) => format!("remove {}", bridge.name),
            Step::AddBridge(bridge) => format!("add {}", bridge.name),
            Step::ChangeBridge { after, .. } => format!("change {}", after.name),
            Step::AddPort { bridge, port, .. } => format!("open {bridge} {port}"),
            Step::ChangePort { bridge, port, .. } => format!("change {bridge} {port}"),
        };
        let steps: Vec<String> = steps(&before, &after).iter().map(told).collect();
        assert_eq!(steps, expected);
    }

    #[test]
    fn what_stays_needs_no_step() {
        check(&[("br0", &["a", "b"])], &[("br0", &["a", "b"])], &[]);
    }

    #[test]
    fn ports_are_opened_closed_and_changed() {
        check(
            &[("br0", &["a", "b,number=2", "c,number=3"])],
            &[("br0", &["a,tag=1", "b,number=2,shield=off", "d,number=4"])],
            &[
                "close br0 b,number=2",
                "close br0 c,number=3",
                "change br0 a,number=1,vlan_mode=access,tag=1",
                "open br0 b,number=2,shield=false",
                "open br0 d,number=4",
            ],
        );
    }

    #[test]
    fn a_tunnel_with_other_outer_headers_keeps_its_sockets() {
        check(
            &[("br0", &["vxlan:a,remote_ip=192.0.2.1,key=1", "vxlan:b,remote_ip=192.0.2.1,key=2"])],
            &[(
                "br0",
                &["vxlan:a,remote_ip=192.0.2.1,key=1,tos=8", "vxlan:b,remote_ip=192.0.2.1,key=3"],
            )],
            &[
                "close br0 vxlan:b,remote_ip=192.0.2.1,key=2,number=2",
                "change br0 vxlan:a,remote_ip=192.0.2.1,key=1,tos=8,number=1",
                "open br0 vxlan:b,remote_ip=192.0.2.1,key=3,number=2",
            ],
        );
    }

    #[test]
    fn a_device_that_moves_is_free_before_it_is_opened_again() {
        check(
            &[("br0", &["a"]), ("br1", &[])],
            &[("br1", &["a"]), ("br2", &[])],
            &["close br0 a,number=1", "remove br0", "add br2", "open br1 a,number=1"],
        );
    }

    #[test]
    fn a_bridge_with_other_settings_keeps_its_ports() {
        let before = Desired::of(&[("br0", &["a"])]);
        let mut after = before.clone();
        after.bridges[0].mac_ageing = Some(super::super::Bounded::of(9));
        let (old, new) = (&before.bridges[0], &after.bridges[0]);
        assert_eq!(steps(&before, &after), [Step::ChangeBridge { before: old, after: new }]);
    }
}

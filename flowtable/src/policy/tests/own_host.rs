//! The switch's own host: NORMAL knows where it is, and believes no other port.

use super::*;

const OWN: &str = "02:00:00:00:00:04";

/// Four ports, of which the fourth leads to the switch's own host with the address [`OWN`].
fn with_own_host(conduct: Conduct) -> Policy {
    let policy = policy(&["actions=normal"]).with_conduct(conduct);
    bridge(&policy).with_ports(|ports| ports.get_mut(OfPort(4)).unwrap().is_own = true);
    policy
}

fn bridge(policy: &Policy) -> Bridge<'_> {
    policy.bridge(BridgeId::FIRST)
}

/// Where a frame goes, and why nowhere.
fn check(policy: &Policy, packet: &str, ports: &[u16], drop: Option<DropReason>) {
    let to_all = if packet.contains("dl_dst") { "" } else { ",dl_dst=ff:ff:ff:ff:ff:ff" };
    let translation = policy.translate(&key(&format!("{packet}{to_all}")));
    assert_eq!(
        (outputs(&translation.actions), translation.drop),
        (ports.to_vec(), drop),
        "{packet}"
    );
    policy.learn(&translation.learn, NOW);
}

#[test]
fn it_is_known_without_learning_and_cannot_be_impersonated() {
    let p = with_own_host(Conduct::Sensible);
    let (thief, asks) = (format!("in_port=1,dl_src={OWN}"), format!("in_port=2,dl_dst={OWN}"));
    check(&p, &asks, &[4], None);
    check(&p, &thief, &[], Some(DropReason::OwnAddress));
    check(&p, &format!("in_port=4,dl_src={OWN}"), &[1, 2, 3], None);
    check(&p, &thief, &[], Some(DropReason::OwnAddress));
    check(&p, &asks, &[4], None);
    // An address that the host has no more is like any other.
    bridge(&p)
        .with_ports(|ports| ports.get_mut(OfPort(4)).unwrap().mac = MacAddr([2, 0, 0, 0, 0, 9]));
    check(&p, &thief, &[2, 3, 4], None);
    check(&p, &asks, &[1], None);
    check(&p, "in_port=2,dl_dst=02:00:00:00:00:09", &[4], None);
    bridge(&p).with_ports(|ports| ports.remove(OfPort(4)));
    check(&p, "in_port=1,dl_src=02:00:00:00:00:09", &[2, 3], None);
}

#[test]
fn a_user_and_open_vswitch_know_better() {
    let p = with_own_host(Conduct::Sensible);
    let host = MacKey { vlan: 0, mac: MacAddr([2, 0, 0, 0, 0, 4]) };
    assert!(bridge(&p).with_macs(|macs| macs.add_static(host, OfPort(3), NOW)));
    check(&p, &format!("in_port=2,dl_dst={OWN}"), &[3], None);
    let p = with_own_host(Conduct::AsOvs);
    check(&p, &format!("in_port=1,dl_src={OWN}"), &[2, 3, 4], None);
    check(&p, &format!("in_port=2,dl_dst={OWN}"), &[1], None);
}

#[test]
fn in_vlans_that_its_port_does_not_carry_it_is_a_stranger() {
    let p = with_own_host(Conduct::Sensible);
    bridge(&p).with_ports(|ports| ports.get_mut(OfPort(4)).unwrap().vlan = VlanMode::Access(7));
    check(&p, &format!("in_port=1,dl_src={OWN}"), &[2, 3], None);
    check(&p, &format!("in_port=1,dl_vlan=7,dl_src={OWN}"), &[], Some(DropReason::OwnAddress));
}

#[test]
fn a_change_of_its_address_concerns_cached_flows() {
    let p = with_own_host(Conduct::Sensible);
    let mut watched = Vec::new();
    for packet in
        ["in_port=1,dl_src=02:00:00:00:00:09", "in_port=2,dl_dst=02:00:00:00:00:09,dl_vlan=5"]
    {
        let translation = p.translate(&key(packet));
        watched.push(p.changes.watch(&translation.hosts, &[], &translation.depends));
    }
    let generation = p.changes.generation();
    bridge(&p)
        .with_ports(|ports| ports.get_mut(OfPort(4)).unwrap().mac = MacAddr([2, 0, 0, 0, 0, 9]));
    for watched in watched {
        assert!(p.changes.concern_host(&watched, generation));
    }
}

//! The kernel cache of tunnel ports: flows that leave through tunnels, and that come out of them.

use crate::kernel_cache::{ON, agree, caches, kernel, totals, warm_up_by};
use crate::tunnels::{REASONS, Site, TRANSFER, two_sites};
use anyhow::{Context, ensure};
use control::Client;
use lab::harness::{Test, Unsupported, unsupported_if_missing};
use lab::traffic::{Ping, TcpTransfer};
use lab::{Host, eventually};
use std::net::{IpAddr, SocketAddr};

pub(crate) const TESTS: &[Test] = &[
    ("kernel_tunnels::established_flows_pass_and_all_counters_agree", established_flows),
    ("kernel_tunnels::a_change_holds_for_the_next_frame", a_change_holds),
    ("kernel_tunnels::only_ports_that_are_to_take_part_do", only_chosen_ports),
    ("kernel_tunnels::frames_with_a_tunnel_inside_go_through_the_sockets", tunnel_in_a_tunnel),
];

/// The MTU of hosts whose frames fit into every tunnel of these tests.
const ROOM: u32 = 1450;

/// Two machines with a tunnel between them.
fn sites() -> anyhow::Result<(Site, Site)> {
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    start(&mut a, "vxlan:t,remote_ip=192.0.2.2,key=7,kernel-cache=on")?;
    start(&mut b, "vxlan:t,remote_ip=192.0.2.1,key=7,kernel-cache=on")?;
    if let Some(reason) = caches(&mut a.daemon()?.client()?)?.kernel_off {
        return Err(Unsupported::lacking(format!("a kernel cache ({reason})")));
    }
    Ok((a, b))
}

fn start(site: &mut Site, tunnel: &str) -> anyhow::Result<()> {
    site.start(&[ON, &["--port", tunnel]].concat())
}

fn reaches(from: &Host, to: &Host) -> bool {
    Ping::brief(to.v4()).run(from.namespace()).is_ok_and(|report| report.is_complete())
}

/// Waits until the kernel forwards a round trip at both machines.
fn warm_up(a: &Site, b: &Site) -> anyhow::Result<(Client, Client)> {
    let (mut of_a, mut of_b) = (a.daemon()?.client()?, b.daemon()?.client()?);
    warm_up_by(&mut of_a, || reaches(&a.host, &b.host))?;
    warm_up_by(&mut of_b, || reaches(&b.host, &a.host))?;
    Ok((of_a, of_b))
}

fn established_flows() -> anyhow::Result<()> {
    let (a, b) = sites()?;
    for port in a.daemon()?.client()?.ports()? {
        ensure!(port.kernel_cache.as_deref() == Some("on"), "{port:?}");
    }
    let clients = warm_up(&a, &b)?;
    for (from, to) in [(&a.host, &b.host), (&b.host, &a.host)] {
        for address in [IpAddr::from(to.v4()), IpAddr::from(to.v6())] {
            let server = SocketAddr::new(address, 5001);
            TcpTransfer::to(server, TRANSFER).run(from.namespace(), to.namespace())?;
        }
    }
    for mut client in [clients.0, clients.1] {
        eventually("all counters agree", || agree(&mut client).unwrap_or_default())?;
        let (received, ..) = totals(&mut client)?;
        let in_kernel = kernel(&mut client)?;
        ensure!(in_kernel.hits * 10 > received * 9, "{in_kernel:?} of {received}");
    }
    Ok(())
}

/// Rules on both sides of a tunnel: that of the port which the frames come from, and that of the tunnel port.
fn a_change_holds() -> anyhow::Result<()> {
    let (a, b) = sites()?;
    let (mut of_a, mut of_b) = warm_up(&a, &b)?;
    for client in [&mut of_a, &mut of_b] {
        for port in 1..=2 {
            let rule = format!("priority=50000,in_port={port},ip,actions=drop");
            client.add_flow(&rule)?;
            ensure!(!reaches(&a.host, &b.host), "{rule} is not in force");
            client.del_flows(&format!("in_port={port},ip"))?;
            ensure!(reaches(&a.host, &b.host), "{rule} is in force still");
        }
    }
    warm_up(&a, &b)?;
    a.is_conserved(&[&REASONS[..], &["rule_drop"]].concat())?;
    b.is_conserved(&[&REASONS[..], &["rule_drop"]].concat())
}

fn only_chosen_ports() -> anyhow::Result<()> {
    let (mut a, mut b) = two_sites(Some(ROOM))?;
    start(&mut a, "vxlan:t,remote_ip=192.0.2.2,key=7,kernel-cache=off")?;
    start(&mut b, "geneve:u,remote_ip=192.0.2.1,key=7,df_default=false,kernel-cache=on")?;
    for (site, expected) in [(&a, "kernel-cache=on is not given"), (&b, "df_default is false")] {
        let mut client = site.daemon()?.client()?;
        if let Some(reason) = caches(&mut client)?.kernel_off {
            return Err(Unsupported::lacking(format!("a kernel cache ({reason})")));
        }
        let port = client.ports()?.pop().context("a tunnel port")?;
        let state = port.kernel_cache.unwrap_or_default();
        ensure!(state.starts_with("off (") && state.contains(expected), "{state}");
    }
    Ok(())
}

/// The kernel puts no frame into a tunnel that has one inside already. It loses the first one of
/// a flow, with a reason.
fn tunnel_in_a_tunnel() -> anyhow::Result<()> {
    let (mut a, mut b) = sites()?;
    let inner = |number: u8| IpAddr::from([10, 9, 9, number]);
    let (of_a, of_b) = (a.host.v4().into(), b.host.v4().into());
    unsupported_if_missing(a.host.add_vxlan(9, of_b, inner(1), 24), "kernel VXLAN devices")?;
    b.host.add_vxlan(9, of_a, inner(2), 24)?;
    warm_up(&a, &b)?;
    for (from, to, number) in [(&a, &b, 2), (&b, &a, 1)] {
        let server = SocketAddr::new(inner(number), 5001);
        TcpTransfer::to(server, TRANSFER).run(from.host.namespace(), to.host.namespace())?;
    }
    let reasons = [&REASONS[..], &["tx_offload"]].concat();
    a.is_conserved(&reasons)?;
    b.is_conserved(&reasons)
}

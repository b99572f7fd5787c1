//! The verbs about ports, and `show`.

use crate::Outcome;
use crate::connect::{call, port_call, unexpected, wrong_usage};
use crate::flows::version_mark;
use crate::options::{Options, PortAction, Words};
use crate::output::{print, print_json, tell_change, tell_reply};
use clap::ValueEnum;
use control::record::{PortRecord, PortStatsRecord, RingMemoryRecord, SwitchRecord, WaitingRecord};
use control::{Changed, Operation, PortFlag, Reply};
use flow::types::{OfPort, OfVersion};
use std::fmt::Write;

/// Carries out the verb `show`.
pub(crate) fn show(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let switch = call.client.show()?;
    match options.how.json {
        true => print_json(&switch)?,
        false => print(&render_switch(&switch, options.how.version()))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `dump-ports-desc`.
pub(crate) fn describe(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 1)?;
    let port = call.words.first().cloned();
    let Reply::Ports(ports) = call.client.ask(Operation::DumpPortsDesc { port })? else {
        return Err(unexpected());
    };
    if options.how.json {
        print_json(&ports)?;
        return Ok(Outcome::Done);
    }
    let version = options.how.version();
    let mut out = format!("OFPST_PORT_DESC reply {}(xid=0x2):\n", version_mark(version));
    ports.iter().for_each(|port| put_port(&mut out, port, version));
    print(&out)?;
    Ok(Outcome::Done)
}

/// Carries out the verb `dump-ports`.
pub(crate) fn dump(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let how = &options.how;
    let mut call = call(options, words, 0, 1)?;
    let port = call.words.first().cloned();
    let Reply::PortStats(ports) = call.client.ask(Operation::DumpPorts { port })? else {
        return Err(unexpected());
    };
    match how.json {
        true => print_json(&ports)?,
        false => print(&render_stats(&ports, how.version(), how.names()))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `add-port`.
pub(crate) fn add(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, usize::MAX)?;
    let spec = call.words.join(",");
    let before: Vec<u16> = call.client.ports()?.into_iter().map(|port| port.port).collect();
    call.client.ask(Operation::AddPort { spec })?;
    // A port whose device is missing is added, and waits for the device.
    let ports = call.client.ports()?;
    let new = ports.iter().filter(|port| !before.contains(&port.port));
    let notes = new.filter_map(|port| {
        let problem = port.problem.as_ref()?;
        Some(format!("port {} is added, and not in use yet: {problem}", port.name))
    });
    tell_change(&options.how, &Changed { count: 1, notes: notes.collect() })
}

/// Carries out the verb `del-port`.
pub(crate) fn remove(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = port_call(options, words, 1, 1)?;
    let port = call.words[0].clone();
    let reply = call.client.ask(Operation::DelPort { port })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `list-ports`.
pub(crate) fn list(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let names: Vec<String> = call.client.ports()?.into_iter().map(|port| port.name).collect();
    match options.how.json {
        true => print_json(&names)?,
        false => print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `mod-port`.
pub(crate) fn modify(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = port_call(options, words, 2, 2)?;
    let port = call.words[0].clone();
    let Ok(action) = PortAction::from_str(&call.words[1], true) else {
        return Err(wrong_usage(options));
    };
    let (flag, on) = match action {
        PortAction::Up => (PortFlag::Down, false),
        PortAction::Down => (PortFlag::Down, true),
        PortAction::Flood => (PortFlag::NoFlood, false),
        PortAction::NoFlood => (PortFlag::NoFlood, true),
        PortAction::Stp => (PortFlag::NoStp, false),
        PortAction::NoStp => (PortFlag::NoStp, true),
        PortAction::ReceiveStp => (PortFlag::NoReceiveStp, false),
        PortAction::NoReceiveStp => (PortFlag::NoReceiveStp, true),
        PortAction::Receive => (PortFlag::NoReceive, false),
        PortAction::NoReceive => (PortFlag::NoReceive, true),
        PortAction::Forward => (PortFlag::NoForward, false),
        PortAction::NoForward => (PortFlag::NoForward, true),
        PortAction::PacketIn => (PortFlag::NoPacketIn, false),
        PortAction::NoPacketIn => (PortFlag::NoPacketIn, true),
    };
    let reply = call.client.ask(Operation::ModPort { port, flag, on })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `set-port`.
pub(crate) fn set(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    // The words with an equals sign are settings. The word in front of them is the port, even if
    // a bridge has its name.
    let is_setting = |word: &&String| word.is_empty() || word.contains('=');
    let settings = words.words.iter().rev().take_while(is_setting).count();
    let mut call = port_call(options, words, 1 + settings, usize::MAX)?;
    let port = call.words[0].clone();
    let settings = call.words[1..].join(" ");
    let reply = call.client.ask(Operation::SetPort { port, settings })?;
    tell_reply(&options.how, &reply)
}

fn render_switch(switch: &SwitchRecord, version: OfVersion) -> String {
    let mark = version_mark(version);
    let mut out = format!(
        "OFPT_FEATURES_REPLY {mark}(xid=0x2): dpid:{}\nn_tables:{}, n_buffers:0\n",
        switch.datapath_id, switch.n_tables
    );
    out.push_str("capabilities: FLOW_STATS TABLE_STATS PORT_STATS ");
    out.push_str(match version {
        OfVersion::OpenFlow10 => "QUEUE_STATS ARP_MATCH_IP\n",
        OfVersion::OpenFlow11 => "GROUP_STATS QUEUE_STATS ARP_MATCH_IP\n",
        OfVersion::OpenFlow12 | OfVersion::OpenFlow13 => "GROUP_STATS QUEUE_STATS\n",
        OfVersion::OpenFlow14 | OfVersion::OpenFlow15 => "GROUP_STATS QUEUE_STATS BUNDLES\n",
    });
    if version == OfVersion::OpenFlow10 {
        out.push_str(
            "actions: output enqueue set_vlan_vid set_vlan_pcp strip_vlan mod_dl_src mod_dl_dst \
             mod_nw_src mod_nw_dst mod_nw_tos mod_tp_src mod_tp_dst\n",
        );
    }
    // From 1.3 on, the reply about features has no ports, and a second reply (`OFPMP_PORT_DESC`) has them.
    let (xid, ports_apart) = match version >= OfVersion::OpenFlow13 {
        true => ("0x5", true),
        false => ("0x4", false),
    };
    if ports_apart {
        let _ = writeln!(out, "OFPST_PORT_DESC reply {mark}(xid=0x3):");
    }
    switch.ports.iter().for_each(|port| put_port(&mut out, port, version));
    let _ = writeln!(
        out,
        "OFPT_GET_CONFIG_REPLY {mark}(xid={xid}): frags={} miss_send_len=0",
        switch.frags.name()
    );
    if !switch.fail_mode.is_empty() {
        let _ = writeln!(out, "fail_mode: {}", switch.fail_mode);
    }
    // All six versions are the default.
    if (1..6).contains(&switch.protocols.len()) {
        let _ = writeln!(out, "protocols: {}", switch.protocols.join(","));
    }
    for controller in &switch.controllers {
        let _ = writeln!(out, "controller: {controller}");
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let RingMemoryRecord { used, budget } = switch.ring_memory;
    let _ = writeln!(out, "receive rings: {:.1} of {:.1} MiB", mebibytes(used), mebibytes(budget));
    if let Some(WaitingRecord { what, who, seconds_left }) = &switch.waiting {
        let _ = writeln!(
            out,
            "\"{what}\" of {who} waits for ofctl confirm: taken back in {seconds_left} s"
        );
    }
    if let Some(confinement) = &switch.confinement {
        let _ = writeln!(out, "process: {confinement}");
    }
    out
}

/// Appends a port as `ovs-ofctl show` prints it, and below it settings that OpenFlow does
/// not have, such as VLANs.
fn put_port(out: &mut String, port: &PortRecord, version: OfVersion) {
    let flags = |flags: &[String]| match flags {
        [] => "0".to_owned(),
        flags => flags.join(" "),
    };
    let mut state = port.state.clone();
    if version > OfVersion::OpenFlow10 && !state.iter().any(|s| s == "LINK_DOWN") {
        state.push("LIVE".to_owned());
    }
    let _ = write!(
        out,
        " {}({}): addr:{}\n     config:     {}\n     state:      {}\n",
        OfPort(port.port),
        port.name,
        port.mac,
        flags(&port.config),
        flags(&state)
    );
    // Programs that parse the output expect the speed of the link. Virtual devices get the one that Open
    // vSwitch prints for veth devices. A patch port has no device.
    out.push_str(match port.kind.as_str() {
        "patch" => "     speed: 0 Mbps now, 0 Mbps max\n",
        _ => "     current:    10GB-FD COPPER\n     speed: 10000 Mbps now, 0 Mbps max\n",
    });
    let rx_ring = port.rx_ring.map(|ring| ring.to_string());
    let tunnel = port.tunnel.as_ref().map(|tunnel| tunnel.to_string());
    let lines: [(&str, Option<&String>); 6] = [
        ("vlan", (!port.settings.is_empty()).then_some(&port.settings)),
        ("host-stack", port.host_stack.as_ref()),
        ("kernel-cache", port.kernel_cache.as_ref()),
        ("rx-ring", rx_ring.as_ref()),
        ("tunnel", tunnel.as_ref()),
        ("problem", port.problem.as_ref()),
    ];
    for (name, text) in lines {
        if let Some(text) = text {
            let _ = writeln!(out, "     {name}: {text}");
        }
    }
}

fn render_stats(ports: &[PortStatsRecord], version: OfVersion, with_names: bool) -> String {
    let mut out =
        format!("OFPST_PORT reply {}(xid=0x2): {} ports\n", version_mark(version), ports.len());
    for port in ports {
        let name = match with_names {
            true => port.name.clone(),
            false => OfPort(port.port).to_string(),
        };
        let gap = if port.port < 10 { " " } else { "" };
        let _ = write!(
            out,
            "  port {gap}{name}: rx pkts={}, bytes={}, drop={}, errs={}, frame=0, over=0, crc=0\n\
             \x20          tx pkts={}, bytes={}, drop={}, errs={}, coll=0\n",
            port.rx_packets,
            port.rx_bytes,
            port.rx_dropped,
            port.rx_errors,
            port.tx_packets,
            port.tx_bytes,
            port.tx_dropped,
            port.tx_errors
        );
        if version >= OfVersion::OpenFlow13 {
            let _ = writeln!(out, "           duration={:.3}s", port.duration);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::record::{ConfinementRecord, ControllerRecord, Enforcement};
    use flow::types::Fragments;

    fn port(number: u16, name: &str) -> PortRecord {
        PortRecord {
            port: number,
            name: name.to_owned(),
            mac: format!("02:00:00:00:00:{number:02x}"),
            kind: "system".to_owned(),
            host_stack: Some("shielded".to_owned()),
            ..PortRecord::default()
        }
    }

    fn switch() -> SwitchRecord {
        let down = PortRecord {
            config: vec!["PORT_DOWN".to_owned(), "NO_FLOOD".to_owned()],
            state: vec!["LINK_DOWN".to_owned()],
            settings: "vlan_mode=access tag=10".to_owned(),
            problem: Some("waiting".to_owned()),
            ..port(2, "veth1")
        };
        SwitchRecord {
            bridge: "br0".to_owned(),
            datapath_id: "0000020000000001".to_owned(),
            n_tables: 254,
            ports: vec![port(1, "veth0"), down],
            frags: Fragments::NxMatch,
            ring_memory: RingMemoryRecord { used: 67_108_864, budget: 268_435_456 },
            waiting: None,
            fail_mode: "secure".to_owned(),
            protocols: ["OpenFlow10", "OpenFlow13"].map(str::to_owned).into(),
            controllers: vec![ControllerRecord {
                target: "tcp:10.0.0.1".to_owned(),
                max_backoff: Some(1000),
                state: "BACKOFF".to_owned(),
                backoff: Some(2),
                last_error: Some("Connection refused".to_owned()),
                ..ControllerRecord::default()
            }],
            confinement: Some(ConfinementRecord {
                user: "root".to_owned(),
                capabilities: ["CAP_NET_ADMIN", "CAP_NET_RAW"].map(str::to_owned).into(),
                no_new_privs: Enforcement::On,
                landlock: Enforcement::On,
                seccomp: Enforcement::On,
            }),
        }
    }

    #[test]
    fn a_switch_is_shown_as_ovs_ofctl_shows_it() {
        insta::assert_snapshot!(render_switch(&switch(), OfVersion::OpenFlow10));
        insta::assert_snapshot!(render_switch(&switch(), OfVersion::OpenFlow14));
    }

    #[test]
    fn counters_of_ports_are_aligned() {
        let stats = |port, name: &str| PortStatsRecord {
            port,
            name: name.to_owned(),
            rx_packets: 3,
            rx_bytes: 266,
            tx_dropped: 1,
            duration: 1.0385,
            ..PortStatsRecord::default()
        };
        let ports = [stats(1, "a"), stats(12, "veth12"), stats(65534, "br0")];
        insta::assert_snapshot!(render_stats(&ports, OfVersion::OpenFlow10, false));
        insta::assert_snapshot!(render_stats(&ports, OfVersion::OpenFlow13, true));
    }
}

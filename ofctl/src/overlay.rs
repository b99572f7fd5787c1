//! The verb `overlay`: networks that several machines share through tunnels.

use crate::connect::{Call, call, unexpected, wrong_usage};
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use crate::{Outcome, Usage};
use control::record::OverlayRecord;
use control::{Operation, OverlayRequest, Reply};
use std::fmt::Write;
use std::net::IpAddr;

/// Carries out the verb `overlay`.
pub(crate) fn overlay(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let Some((what, rest)) = words.words.split_first() else { return Err(wrong_usage(options)) };
    let rest = Words { words: rest.to_vec() };
    let call = |least, most| call(options, &rest, least, most);
    let text = |call: &Call<'_>, at: usize| call.words[at].clone();
    let (mut call, request) = match what.as_str() {
        "list" => (call(0, 0)?, OverlayRequest::List),
        "add" => {
            let call = call(1, usize::MAX - 1)?;
            let request = OverlayRequest::Add { overlay: call.words.join(",") };
            (call, request)
        }
        "del" => {
            let call = call(1, 1)?;
            let request = OverlayRequest::Del { name: text(&call, 0) };
            (call, request)
        }
        "add-peer" => {
            let call = call(2, 2)?;
            let request =
                OverlayRequest::AddPeer { name: text(&call, 0), peer: address(&call.words[1])? };
            (call, request)
        }
        "del-peer" => {
            let call = call(2, 2)?;
            let request =
                OverlayRequest::DelPeer { name: text(&call, 0), peer: address(&call.words[1])? };
            (call, request)
        }
        "set" => {
            let call = call(2, usize::MAX - 1)?;
            let options = call.words[1..].to_vec();
            let request = OverlayRequest::Set { name: text(&call, 0), options };
            (call, request)
        }
        "add-host" => {
            let call = call(3, 5)?;
            let request = host(call.words)?;
            (call, request)
        }
        "del-host" => {
            let call = call(2, 2)?;
            let request = OverlayRequest::DelHost { name: text(&call, 0), mac: text(&call, 1) };
            (call, request)
        }
        _ => return Err(wrong_usage(options)),
    };
    let is_list = request == OverlayRequest::List;
    let Reply::Overlays(overlays) = call.client.ask(Operation::Overlay(request))? else {
        return Err(unexpected());
    };
    match (options.how.json, is_list) {
        (true, _) => print_json(&overlays)?,
        (false, true) => print(&render(&overlays))?,
        (false, false) => {}
    }
    Ok(Outcome::Done)
}

fn address(text: &str) -> Result<IpAddr, Usage> {
    text.parse().map_err(|_| Usage(format!("\"{text}\" is not an IPv4 or IPv6 address of a peer")))
}

/// The request to add a host: `NAME PEER MAC [vlan=N] [ip=IP[,IP]...]`.
fn host(words: &[String]) -> Result<OverlayRequest, Usage> {
    let (mut vlan, mut ips) = (None, Vec::new());
    for word in &words[3..] {
        let wrong = || Usage(format!("\"{word}\": write vlan=N, or ip=IP[,IP]..."));
        match word.split_once('=') {
            Some(("vlan", number)) => vlan = Some(number.parse().map_err(|_| wrong())?),
            Some(("ip", list)) => {
                let list = list.split(',').map(|ip| ip.parse().map_err(|_| wrong()));
                ips = list.collect::<Result<_, _>>()?;
            }
            _ => return Err(wrong()),
        }
    }
    let (name, peer, mac) = (words[0].clone(), address(&words[1])?, words[2].clone());
    Ok(OverlayRequest::AddHost { name, peer, mac, vlan, ips })
}

/// One line for each overlay, and below it one for each peer.
fn render(overlays: &[OverlayRecord]) -> String {
    let mut out = String::new();
    for OverlayRecord { overlay, kind, vni, options, peers } in overlays {
        let options = if options.is_empty() { String::new() } else { format!(",{options}") };
        let _ = writeln!(out, "{kind}:{overlay},vni={vni}{options}");
        for peer in peers {
            let _ = write!(out, "  {}: port {}({}), ", peer.peer, peer.port, peer.name);
            let _ = match peer.n_hosts {
                1 => write!(out, "1 host"),
                n => write!(out, "{n} hosts"),
            };
            if !peer.neighbours.is_empty() {
                let _ = write!(out, ", {}", peer.neighbours.join(" "));
            }
            if peer.n_answered > 0 {
                let _ = write!(out, ", {} answered", peer.n_answered);
            }
            if let Some(bfd) = &peer.bfd {
                let _ = write!(out, ", BFD {bfd}");
            }
            let _ = match &peer.problem {
                Some(problem) => writeln!(out, ", {problem}"),
                None => writeln!(out),
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::record::OverlayPeerRecord;

    #[test]
    fn overlays_are_listed_with_their_peers() {
        let peer = |number: u16, n_hosts, problem: Option<&str>| OverlayPeerRecord {
            peer: format!("192.0.2.{number}"),
            port: number,
            name: format!("net-{number}"),
            n_hosts,
            bfd: None,
            n_answered: u64::from(number) - 2,
            neighbours: (number == 3)
                .then(|| "10.0.0.5@02:00:00:00:00:05".to_owned())
                .into_iter()
                .collect(),
            problem: problem.map(str::to_owned),
        };
        let overlay = OverlayRecord {
            overlay: "net".to_owned(),
            kind: "vxlan".to_owned(),
            vni: 7,
            options: "dst_port=8472".to_owned(),
            peers: vec![peer(2, 1, None), peer(3, 0, Some("the port is down"))],
        };
        assert_eq!(
            render(&[overlay]),
            "vxlan:net,vni=7,dst_port=8472\n  \
             192.0.2.2: port 2(net-2), 1 host\n  \
             192.0.2.3: port 3(net-3), 0 hosts, 10.0.0.5@02:00:00:00:00:05, 1 answered, the port is down\n"
        );
    }
}

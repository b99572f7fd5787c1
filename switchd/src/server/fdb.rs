//! Learned hosts.

use super::answer::{Failure, Sender};
use super::names::{find, port_names};
use crate::bridge::hosts::{self, HostError, HostTotals, KnownHost};
use crate::desired::{Bridge, MacAgeing, MacEntries};
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{FdbRecord, FdbStatsRecord};
use control::{Changed, Reason, Refusal, Reply};
use flow::text::{PortNames, parse_mac};
use flowtable::policy::mac_table::MacKey;

/// All hosts: those that were given, then those that were learned, the one unused for longest first.
pub(super) fn show(switch: &OnBridge<'_>, to: &mut Sender<'_>) -> Result<Reply, Failure> {
    let hosts = hosts::list(*switch);
    let names = port_names(switch.bridge());
    let mut text = String::new();
    for KnownHost { key, port, age } in &hosts {
        let record = FdbRecord {
            port: port.0,
            name: names.name(*port).map_or_else(|| port.to_string(), str::to_owned),
            vlan: key.vlan,
            mac: key.mac.to_string(),
            age: age.map(|age| age.as_secs()),
        };
        super::status::write_record(&mut text, &record);
        text.push('\n');
        if text.len() >= TEXT_SIZE / 2 {
            to.put(Kind::Text, text.as_bytes())?;
            text.clear();
        }
    }
    to.put(Kind::Text, text.as_bytes())?;
    Ok(Reply::Listed(hosts.len() as u64))
}

/// Forgets the hosts that were learned, of one port or of all.
pub(super) fn flush(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let port = port.map(|text| find(switch.bridge(), text)).transpose()?;
    let gone = switch.bridge().flush_hosts(port);
    Ok(Reply::Changed(Changed { count: gone as u64, notes: Vec::new() }))
}

/// Gives the bridge a host that does not age.
pub(super) fn add(
    switch: &OnBridge<'_>,
    port: &str,
    vlan: u16,
    mac: &str,
) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.bridge(), port)?;
    let key = parse_key(vlan, mac)?;
    hosts::give(*switch, key, port).map_err(|error| refuse(&error))?;
    Ok(Reply::Done)
}

/// Removes a host, given or learned.
pub(super) fn remove(switch: &OnBridge<'_>, vlan: u16, mac: &str) -> Result<Reply, Box<Refusal>> {
    let key = parse_key(vlan, mac)?;
    hosts::remove(*switch, key).map_err(|error| refuse(&error))?;
    Ok(Reply::Done)
}

pub(super) fn parse_key(vlan: u16, mac: &str) -> Result<MacKey, Box<Refusal>> {
    let mac = parse_mac(mac).ok_or_else(|| {
        let message = format!("\"{mac}\" is not an Ethernet address");
        Box::new(Refusal::new(Reason::Text, message))
    })?;
    Ok(MacKey { vlan, mac })
}

pub(super) fn refuse(error: &HostError) -> Box<Refusal> {
    let refusal = |reason| Refusal::new(reason, error.to_string());
    Box::new(match error {
        HostError::NoVlan(_) | HostError::Multicast(_) => refusal(Reason::Text),
        HostError::Full => refusal(Reason::Limit).with_hint("remove one with ofctl fdb-del"),
        HostError::Unknown(_) => {
            refusal(Reason::NotFound).with_hint("ofctl fdb-show lists the hosts of the MAC table")
        }
    })
}

/// Changes the limits, if any is given.
pub(super) fn configure(
    switch: &OnBridge<'_>,
    ageing: Option<u64>,
    entries: Option<u64>,
) -> Result<Reply, Box<Refusal>> {
    let wrong = |message: &str| Box::new(Refusal::new(Reason::Text, message));
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let ageing = ageing.map(|n| {
        MacAgeing::new(number(n)).ok_or_else(|| wrong("ageing: must be 1 to 86400 seconds"))
    });
    let entries = entries
        .map(|n| MacEntries::new(number(n)).ok_or_else(|| wrong("entries: must be 10 to 1000000")));
    let (ageing, entries) = (ageing.transpose()?, entries.transpose()?);
    let change = |bridge: &mut Bridge| {
        bridge.mac_ageing = ageing.or(bridge.mac_ageing);
        bridge.mac_entries = entries.or(bridge.mac_entries);
    };
    switch
        .change_bridge(&switch.name(), change)
        .map_err(|e| Refusal::new(Reason::Switch, e.to_string()))?;
    Ok(stats(switch))
}

/// The MAC table in numbers.
pub(super) fn stats(switch: &OnBridge<'_>) -> Reply {
    let HostTotals { hosts, given, capacity, ageing, counters } = hosts::totals(*switch);
    Reply::FdbStats(FdbStatsRecord {
        current: hosts as u64,
        r#static: given as u64,
        max: capacity as u64,
        learned: counters.learned,
        expired: counters.expired,
        evicted: counters.evicted,
        moved: counters.moved,
        ageing: ageing.as_secs(),
    })
}

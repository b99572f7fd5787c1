//! Learned hosts.

use super::dispatch::Failure;
use super::names::{find, port_names};
use super::session::Sender;
use crate::desired::{Bridge, MacAgeing, MacEntries};
use crate::switch::OnBridge;
use control::frame::{Kind, TEXT_SIZE};
use control::record::{FdbRecord, FdbStatsRecord};
use control::{Reason, Refusal, Reply};
use flow::text::PortNames;
use flow::types::MacAddr;
use flowtable::policy::mac_table::MacKey;

/// All entries, the one unused for longest first.
pub(super) fn show(switch: &OnBridge<'_>, to: &mut Sender<'_>) -> Result<Reply, Failure> {
    // Hosts whose traffic runs in the caches are as young as it is.
    switch.sync_stats();
    let names = port_names(switch.bridge());
    let (hosts, now) = (switch.bridge().hosts(), switch.now());
    let mut text = String::new();
    for (key, entry) in &hosts {
        let age = now.saturating_sub(entry.used());
        let record = FdbRecord {
            port: entry.port.0,
            name: names.name(entry.port).map_or_else(|| entry.port.to_string(), str::to_owned),
            vlan: key.vlan,
            mac: key.mac.to_string(),
            age: (!entry.is_static).then_some(age.as_secs()),
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

/// Forgets learned entries.
pub(super) fn flush(switch: &OnBridge<'_>, port: Option<&str>) -> Result<Reply, Box<Refusal>> {
    let port = port.map(|text| find(switch.bridge(), text)).transpose()?;
    let gone = switch.bridge().flush_hosts(port);
    Ok(Reply::Changed(gone as u64))
}

/// Adds a static entry.
pub(super) fn add(
    switch: &OnBridge<'_>,
    port: &str,
    vlan: u16,
    mac: &str,
) -> Result<Reply, Box<Refusal>> {
    let port = find(switch.bridge(), port)?;
    let key = key(vlan, mac)?;
    let now = switch.now();
    if switch.bridge().with_macs(|macs| macs.add_static(key, port, now)) {
        return Ok(Reply::Done);
    }
    let message = "the MAC table is full of static entries";
    Err(Box::new(Refusal::new(Reason::Limit, message).with_hint("remove one with fdb-del")))
}

/// Removes an entry.
pub(super) fn remove(switch: &OnBridge<'_>, vlan: u16, mac: &str) -> Result<Reply, Box<Refusal>> {
    let key = key(vlan, mac)?;
    match switch.bridge().with_macs(|macs| macs.remove(key)) {
        Some(_) => Ok(Reply::Done),
        None => {
            let message = format!("{} is not known in VLAN {vlan}", key.mac);
            Err(Box::new(Refusal::new(Reason::NotFound, message)))
        }
    }
}

fn key(vlan: u16, mac: &str) -> Result<MacKey, Box<Refusal>> {
    let bad = |message: String| Box::new(Refusal::new(Reason::Text, message));
    if vlan > 4095 {
        return Err(bad(format!("{vlan} is not a VLAN: they are 0 to 4095")));
    }
    let mac = parse_mac(mac).ok_or_else(|| bad(format!("\"{mac}\" is not an Ethernet address")))?;
    if mac.is_multicast() {
        return Err(bad(format!("{mac} is a multicast address: no single port has it")));
    }
    Ok(MacKey { vlan, mac })
}

fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let part = parts.next().filter(|p| p.len() <= 2 && !p.starts_with('+'))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(MacAddr(bytes))
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

/// Counters of learning.
pub(super) fn stats(switch: &OnBridge<'_>) -> Reply {
    let snapshot = switch.bridge().snapshot();
    let macs = snapshot.macs();
    let totals = macs.stats();
    Reply::FdbStats(FdbStatsRecord {
        current: macs.len() as u64,
        r#static: macs.given_len() as u64,
        max: macs.capacity() as u64,
        learned: totals.learned,
        expired: totals.expired,
        evicted: totals.evicted,
        moved: totals.moved,
        ageing: macs.ageing().as_secs(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_six_bytes() {
        assert_eq!(parse_mac("2:0:0:0:0:ff"), Some(MacAddr([2, 0, 0, 0, 0, 255])));
        for bad in ["", "2:0:0:0:0", "2:0:0:0:0:0:0", "2:0:0:0:0:100", "2:0:0:0:0:+1", "2:0:0:0:0:"]
        {
            assert_eq!(parse_mac(bad), None, "{bad}");
        }
        assert!(key(4096, "2:0:0:0:0:1").is_err());
        assert!(key(1, "ff:ff:ff:ff:ff:ff").is_err());
    }
}

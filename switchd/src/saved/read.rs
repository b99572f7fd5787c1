//! Reads a file.

use super::write::sort;
use super::{SavedFlow, SavedGroup, SavedMeter, SavedSwitch, SavedTables};
use crate::desired::file::{self, FileError, PlacedText};
use crate::desired::{Bridge, Desired};
use flow::text::{
    FlowLine, PortNames, TextError, parse_mac, parse_saved_flow, parse_saved_group,
    parse_saved_meter, strip_comment,
};
use flow::types::OfPort;
use flowtable::policy::mac_table::MacKey;
use std::collections::BTreeMap;

impl SavedSwitch {
    /// Reads a file that [`SavedSwitch::write`] or a user has written. `file` is the name of the file, for
    /// messages, and `step` is called now and then while a long file is read.
    ///
    /// # Errors
    /// The first mistake of the file, and where it is.
    pub fn read(text: &str, file: &str, step: &dyn Fn()) -> Result<Self, FileError> {
        let (desired, texts) = file::read_with_tables(text, file)?;
        let mut tables = BTreeMap::new();
        for texts in texts {
            let names = port_names(&desired, &texts.bridge);
            let reader = TextsReader { file, whole: text, names, step };
            let read = SavedTables {
                groups: texts.groups.map(|text| reader.groups(&text)).transpose()?,
                meters: texts.meters.map(|text| reader.meters(&text)).transpose()?,
                flows: texts.flows.map(|text| reader.flows(&text)).transpose()?,
                hosts: texts.hosts.map(|text| reader.hosts(&text)).transpose()?,
            };
            tables.insert(texts.bridge, read);
        }
        Ok(Self { desired, tables })
    }
}

/// The names that rules of the file can give to ports.
fn port_names(desired: &Desired, bridge: &str) -> Vec<(OfPort, String)> {
    let ports = desired.bridge(bridge).map_or(&[][..], |Bridge { ports, .. }| ports);
    ports.iter().filter_map(|port| Some((port.number?, port.name.clone()))).collect()
}

/// Reads the texts of one bridge.
struct TextsReader<'a> {
    /// The name of the file.
    file: &'a str,
    /// The contents of the file.
    whole: &'a str,
    names: Vec<(OfPort, String)>,
    step: &'a dyn Fn(),
}

impl TextsReader<'_> {
    fn groups(&self, text: &PlacedText) -> Result<BTreeMap<u32, SavedGroup>, FileError> {
        let mut groups = BTreeMap::<u32, SavedGroup>::new();
        for (number, line) in self.lines(text) {
            let group =
                parse_saved_group(line, &self.names).map_err(|e| self.wrong(number, line, &e))?;
            let new = SavedGroup::new(group, number as u32);
            let (id, new) = (new.group.id.0, new);
            if let Some(old) = groups.insert(id, new) {
                return Err(self.twice(number, line, "group", old.origin));
            }
        }
        Ok(groups)
    }

    fn meters(&self, text: &PlacedText) -> Result<BTreeMap<u32, SavedMeter>, FileError> {
        let mut meters = BTreeMap::<u32, SavedMeter>::new();
        for (number, line) in self.lines(text) {
            let meter = parse_saved_meter(line).map_err(|e| self.wrong(number, line, &e))?;
            let id = meter.id.0;
            if let Some(old) = meters.insert(id, SavedMeter::new(meter, number as u32)) {
                return Err(self.twice(number, line, "meter", old.origin));
            }
        }
        Ok(meters)
    }

    fn flows(&self, text: &PlacedText) -> Result<Vec<SavedFlow>, FileError> {
        let (mut flows, mut buffer) = (Vec::new(), String::new());
        for (number, line) in self.lines(text) {
            let rule =
                parse_saved_flow(line, &self.names).map_err(|e| self.wrong(number, line, &e))?;
            flows.push(SavedFlow::new(&FlowLine::of(&rule), number as u32, &mut buffer));
        }
        sort(&mut flows);
        let pair = flows.windows(2).find(|pair| pair[0].place() == pair[1].place());
        if let Some([a, b]) = pair {
            let (first, second) = (a.origin.min(b.origin), a.origin.max(b.origin) as usize);
            let line = self.lines(text).find(|(number, _)| *number == second);
            let line = line.map_or("", |(_, line)| line);
            return Err(self.twice(
                second,
                line,
                "rule with this table, priority and match",
                first,
            ));
        }
        Ok(flows)
    }

    /// Reads hosts as `fdb-add` takes them: port, VLAN and Ethernet address.
    fn hosts(&self, text: &PlacedText) -> Result<BTreeMap<MacKey, OfPort>, FileError> {
        let mut hosts = BTreeMap::new();
        for (number, line) in self.lines(text) {
            let wrong = |part: &str, message: String| {
                let start = part.as_ptr() as usize - line.as_ptr() as usize;
                FileError::in_line(self.file, number, line, start..start + part.len(), message)
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let [port, vlan, mac] = words[..] else {
                return Err(wrong(line, "write a host as PORT VLAN MAC".to_owned()));
            };
            let port = self.port(port).ok_or_else(|| {
                wrong(port, format!("\"{port}\" is no port of this bridge in the file"))
            })?;
            let vlan = vlan.parse().ok().filter(|vlan| *vlan < 4096).ok_or_else(|| {
                wrong(vlan, format!("\"{vlan}\" is not a VLAN: a number from 0 to 4095"))
            })?;
            let mac = parse_mac(mac).filter(|mac| !mac.is_multicast()).ok_or_else(|| {
                wrong(mac, format!("\"{mac}\" is not the Ethernet address of a host"))
            })?;
            if hosts.insert(MacKey { vlan, mac }, port).is_some() {
                return Err(wrong(line, "the host is in the file twice".to_owned()));
            }
        }
        Ok(hosts)
    }

    fn port(&self, word: &str) -> Option<OfPort> {
        let number = || match word {
            word if word.eq_ignore_ascii_case("local") => Some(OfPort::LOCAL),
            word => word.parse().ok().map(OfPort),
        };
        let found = self.names.number(word).or_else(number)?;
        self.names.iter().any(|(port, _)| *port == found).then_some(found)
    }

    /// The lines of a text that say something, with their numbers in the file.
    fn lines<'t>(&self, text: &'t PlacedText) -> impl Iterator<Item = (usize, &'t str)> {
        let first = text.place.as_ref().map_or(1, |place| {
            let value = &self.whole[place.clone()];
            // TOML leaves out a line feed behind the opening quotes.
            let behind_quotes = || match value.starts_with("'''") || value.starts_with("\"\"\"") {
                true => value.find('\n').map_or(0, |feed| feed + 1),
                false => 0,
            };
            let skipped = value.find(&*text.text).unwrap_or_else(behind_quotes);
            1 + self.whole[..place.start + skipped].matches('\n').count()
        });
        let step = self.step;
        text.text.lines().enumerate().filter_map(move |(index, line)| {
            if index % 256 == 0 {
                step();
            }
            Some((first + index, strip_comment(line)?))
        })
    }

    fn wrong(&self, number: usize, line: &str, error: &TextError) -> FileError {
        let hint = error.hint().map(str::to_owned);
        let message = error.message().to_owned();
        FileError { hint, ..FileError::in_line(self.file, number, line, error.span(), message) }
    }

    fn twice(&self, number: usize, line: &str, what: &str, first: u32) -> FileError {
        let message = format!("line {first} has a {what} already");
        FileError::in_line(self.file, number, line, 0..line.len(), message)
    }
}

//! Reads counters of the kernel: those of protocols in a namespace, which show wrong
//! checksums, and those of interfaces.

use crate::{LabError, Namespace};
use std::collections::HashMap;
use std::fs;

/// The protocol counters of a namespace at one moment, as `netstat -s` shows
/// them (`/proc/net/snmp`, `netstat` and `snmp6`).
#[derive(Clone, Debug, Default)]
pub struct Counters {
    values: HashMap<String, u64>,
}

/// The counters of received packets with a wrong checksum.
const CHECKSUM_ERRORS: [&str; 5] = [
    "TcpInCsumErrors",
    "UdpInCsumErrors",
    "IcmpInCsumErrors",
    "Udp6InCsumErrors",
    "Icmp6InCsumErrors",
];

impl Counters {
    /// Reads the counters of `namespace`.
    ///
    /// # Errors
    /// A file in `/proc` cannot be read, or the process has no rights over the namespace.
    pub fn read(namespace: &Namespace) -> Result<Self, LabError> {
        namespace.run(|| {
            let mut counters = Self::default();
            for file in ["snmp", "netstat", "snmp6"] {
                let path = format!("/proc/thread-self/net/{file}");
                let text = fs::read_to_string(&path).map_err(LabError::os("read", path))?;
                if file == "snmp6" {
                    counters.add_list(&text);
                } else {
                    counters.add_table(&text);
                }
            }
            Ok(counters)
        })?
    }

    /// The counter with this name, which begins with the protocol: `TcpInCsumErrors`, `Udp6InErrors`. Zero if
    /// the kernel has no counter with the name.
    pub fn get(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    /// How many packets of all protocols arrived with a wrong checksum. (The kernel has one counter for TCP
    /// over IPv4 and IPv6.)
    pub fn checksum_errors(&self) -> u64 {
        CHECKSUM_ERRORS.iter().map(|name| self.get(name)).sum()
    }

    /// Adds the counters of a file with pairs of lines, names above values: `Tcp: RtoMin RtoMax` and
    /// `Tcp: 200 120000`.
    fn add_table(&mut self, text: &str) {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let (Some((group, names)), Some((_, values))) =
                (names.split_once(':'), values.split_once(':'))
            else {
                continue;
            };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                // Negative values are settings, not counters.
                if let Ok(value) = value.parse() {
                    self.values.insert(format!("{group}{name}"), value);
                }
            }
        }
    }

    /// Adds the counters of a file with a name and a value on each line: `Udp6InErrors 0`.
    fn add_list(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((name, value)) = line.split_once(char::is_whitespace)
                && let Ok(value) = value.trim().parse()
            {
                self.values.insert(name.to_owned(), value);
            }
        }
    }
}

/// The counters of a network interface (`/proc/net/dev`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Frames that the interface has received.
    pub rx_packets: u64,
    /// Bytes of the frames received.
    pub rx_bytes: u64,
    /// Frames that the interface received and the kernel dropped for lack of room.
    pub rx_dropped: u64,
    /// Frames that the interface has sent.
    pub tx_packets: u64,
    /// Bytes of the frames sent.
    pub tx_bytes: u64,
}

impl InterfaceCounters {
    /// Reads the counters of `interface` in `namespace`.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn read(namespace: &Namespace, interface: &str) -> Result<Self, LabError> {
        const PATH: &str = "/proc/thread-self/net/dev";
        let text =
            namespace.run(|| fs::read_to_string(PATH))?.map_err(LabError::os("read", PATH))?;
        Self::find(&text, interface).ok_or_else(|| {
            LabError::os("read the counters of", interface)(std::io::ErrorKind::NotFound.into())
        })
    }

    /// Finds the line of the interface in `/proc/net/dev`, which has the received counters first:
    /// `eth0: BYTES PACKETS ERRS DROP FIFO FRAME COMPRESSED MULTICAST BYTES PACKETS ...`
    fn find(text: &str, interface: &str) -> Option<Self> {
        let (_, values) =
            text.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.trim() == interface)?;
        let values: Vec<u64> = values.split_whitespace().map_while(|v| v.parse().ok()).collect();
        let &[rx_bytes, rx_packets, _, rx_dropped, _, _, _, _, tx_bytes, tx_packets, ..] =
            &values[..]
        else {
            return None;
        };
        Some(Self { rx_packets, rx_bytes, rx_dropped, tx_packets, tx_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lists_give_the_same_kind_of_name() {
        let mut counters = Counters::default();
        counters.add_table(
            "Tcp: RtoMin MaxConn InCsumErrors\nTcp: 200 -1 3\nUdp: InCsumErrors\nUdp: 4\n",
        );
        counters.add_list("Udp6InCsumErrors                \t5\n");
        assert_eq!(counters.get("TcpInCsumErrors"), 3);
        assert_eq!(counters.get("TcpMaxConn"), 0, "not a counter");
        assert_eq!(counters.checksum_errors(), 12);
    }

    #[test]
    fn an_interface_is_found_by_its_whole_name() {
        let text = "Inter-|   Receive\n face |bytes\n\
                    eth01: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n  \
                    eth0: 100 2 0 1 0 0 0 0 300 4 0 0 0 0 0 0\n";
        let expected = InterfaceCounters {
            rx_packets: 2,
            rx_bytes: 100,
            rx_dropped: 1,
            tx_packets: 4,
            tx_bytes: 300,
        };
        assert_eq!(InterfaceCounters::find(text, "eth0"), Some(expected));
        assert_eq!(InterfaceCounters::find(text, "eth"), None);
    }
}

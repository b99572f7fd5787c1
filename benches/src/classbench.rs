//! ClassBench filter sets and header traces, as rules and keys of the classifier.
//!
//! A filter has port ranges and its place in the file for a priority. Rules know masks only and
//! 65,536 priorities: each range becomes the fewest prefixes, and in larger sets neighbours share a
//! priority, which the order of insertion then decides.
//!
//! The files are read through `gzip -dcf`, which hands plain text through as it is.

use flow::{Match, PipelineKey, PipelineMask};
use packet::wire::eth_type;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One line of a `.rules.gz` file; the flags are left out, as in most published comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Source address and prefix length.
    pub src: (u32, u32),
    /// Destination address and prefix length.
    pub dst: (u32, u32),
    /// Source ports, first and last.
    pub sport: (u16, u16),
    /// Destination ports, first and last.
    pub dport: (u16, u16),
    /// Number of the protocol, and the mask of its bits that count.
    pub proto: (u8, u8),
}

/// One line of a `.trace.gz` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Header {
    /// IPv4 source address, in host order.
    pub src: u32,
    /// IPv4 destination address, in host order.
    pub dst: u32,
    /// Source port, in host order.
    pub sport: u16,
    /// Destination port, in host order.
    pub dport: u16,
    /// Number of the protocol: 6 for TCP, 17 for UDP.
    pub proto: u8,
}

/// A filter set and a trace made for it.
#[derive(Clone, Debug)]
pub struct Set {
    /// The name of the set's files: `acl1_1000`.
    pub name: String,
    /// The filters, the best one first.
    pub filters: Vec<Filter>,
    /// The headers of its trace, in the order of the file.
    pub trace: Vec<Header>,
}

/// The mask of a prefix: `len` one-bits, then zeros. 0 to 32.
pub fn prefix_mask(len: u32) -> u32 {
    u32::MAX.checked_shl(32 - len).unwrap_or(0)
}

impl Filter {
    /// Whether a header passes.
    #[inline]
    pub fn matches(&self, h: &Header) -> bool {
        (h.src ^ self.src.0) & prefix_mask(self.src.1) == 0
            && (h.dst ^ self.dst.0) & prefix_mask(self.dst.1) == 0
            && (self.sport.0..=self.sport.1).contains(&h.sport)
            && (self.dport.0..=self.dport.1).contains(&h.dport)
            && (h.proto ^ self.proto.0) & self.proto.1 == 0
    }

    /// The rules that cover the same headers. No header matches two of them.
    pub fn rules(&self) -> Vec<Match> {
        let mut rules = Vec::new();
        for sport in range_prefixes(self.sport) {
            for dport in range_prefixes(self.dport) {
                let h = Header {
                    src: self.src.0,
                    dst: self.dst.0,
                    sport: sport.0,
                    dport: dport.0,
                    proto: self.proto.0,
                };
                let mut mask = PipelineMask::default();
                let flow = &mut mask.bits.headers;
                flow.dl_type = u16::MAX.into();
                flow.nw_proto = self.proto.1;
                flow.tp_src = sport.1.into();
                flow.tp_dst = dport.1.into();
                flow.nw_addrs[..4].copy_from_slice(&prefix_mask(self.src.1).to_be_bytes());
                flow.nw_addrs[4..8].copy_from_slice(&prefix_mask(self.dst.1).to_be_bytes());
                rules.push(Match::new(&h.key(), &mask));
            }
        }
        rules
    }
}

impl Header {
    /// The key of an IPv4 packet.
    pub fn key(&self) -> PipelineKey {
        let mut key = PipelineKey::default();
        let flow = &mut key.headers;
        flow.dl_type = eth_type::IPV4.into();
        flow.nw_proto = self.proto;
        flow.tp_src = self.sport.into();
        flow.tp_dst = self.dport.into();
        flow.nw_addrs[..4].copy_from_slice(&self.src.to_be_bytes());
        flow.nw_addrs[4..8].copy_from_slice(&self.dst.to_be_bytes());
        key
    }
}

/// The fewest (value, mask) pairs that cover the ports of a range, each once.
pub fn range_prefixes((first, last): (u16, u16)) -> Vec<(u16, u16)> {
    let (mut at, end) = (u32::from(first), u32::from(last) + 1);
    let mut out = Vec::new();
    while at < end {
        let aligned = if at == 0 { 1 << 16 } else { 1 << at.trailing_zeros() };
        let fitting = 1 << (end - at).ilog2();
        let size: u32 = std::cmp::min(aligned, fitting);
        out.push((at as u16, !(size - 1) as u16));
        at += size;
    }
    out
}

impl Set {
    /// The names of the sets of a folder, in alphabetical order: each `NAME.rules.gz` or `NAME.rules` that has
    /// a `NAME.trace.gz` or `NAME.trace` beside it.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn names(dir: &Path) -> io::Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(dir)? {
            let file = entry?.file_name().into_string().unwrap_or_default();
            let name = file.strip_suffix(".gz").unwrap_or(&file).strip_suffix(".rules");
            names.extend(name.filter(|name| path(dir, name, "trace").exists()).map(str::to_owned));
        }
        Ok(names.into_iter().collect())
    }

    /// Reads `DIR/NAME.rules` and `DIR/NAME.trace`, or the compressed files with `.gz` behind these names.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has a line that is not of its format.
    pub fn load(dir: &Path, name: &str) -> io::Result<Self> {
        let filters = gunzip(&path(dir, name, "rules"))?;
        let trace = gunzip(&path(dir, name, "trace"))?;
        Ok(Self {
            name: name.into(),
            filters: parse_lines(&filters, parse_filter)?,
            trace: parse_lines(&trace, parse_header)?,
        })
    }

    /// The priority of the filter at this place of the file.
    pub fn priority(&self, place: usize) -> u16 {
        let (n, steps) = (self.filters.len(), 1 << 16);
        let from_end = n - 1 - place;
        (if n <= steps { from_end } else { from_end * steps / n }) as u16
    }
}

/// The compressed file of a set, or the plain one if there is no compressed file. `what` is `rules` or `trace`.
fn path(dir: &Path, name: &str, what: &str) -> PathBuf {
    let compressed = dir.join(format!("{name}.{what}.gz"));
    if compressed.exists() { compressed } else { dir.join(format!("{name}.{what}")) }
}

fn gunzip(path: &Path) -> io::Result<String> {
    let mut child = Command::new("gzip").arg("-dcf").arg(path).stdout(Stdio::piped()).spawn()?;
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    if !child.wait()?.success() {
        return Err(io::Error::other(format!("{}: gzip -dcf failed", path.display())));
    }
    Ok(text)
}

fn parse_lines<L>(text: &str, parse: fn(&[u64]) -> Option<L>) -> io::Result<Vec<L>> {
    text.lines()
        .map(|line| {
            let numbers: Option<Vec<u64>> = line
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(|word| match word.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16).ok(),
                    None => word.parse().ok(),
                })
                .collect();
            numbers
                .and_then(|n| parse(&n))
                .ok_or_else(|| io::Error::other(format!("not a ClassBench line: {line:?}")))
        })
        .collect()
}

fn parse_filter(n: &[u64]) -> Option<Filter> {
    let &[s0, s1, s2, s3, slen, d0, d1, d2, d3, dlen, sp0, sp1, dp0, dp1, proto, pmask, ..] = n
    else {
        return None;
    };
    let addr = |a, b, c, d| (a as u32) << 24 | (b as u32) << 16 | (c as u32) << 8 | d as u32;
    let prefix = |addr: u32, len: u64| (addr & prefix_mask(len as u32), len as u32);
    Some(Filter {
        src: prefix(addr(s0, s1, s2, s3), slen),
        dst: prefix(addr(d0, d1, d2, d3), dlen),
        sport: (sp0 as u16, sp1 as u16),
        dport: (dp0 as u16, dp1 as u16),
        proto: (proto as u8 & pmask as u8, pmask as u8),
    })
}

fn parse_header(n: &[u64]) -> Option<Header> {
    let &[src, dst, sport, dport, proto, ..] = n else { return None };
    Some(Header {
        src: src as u32,
        dst: dst as u32,
        sport: sport as u16,
        dport: dport as u16,
        proto: proto as u8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_the_fewest_prefixes() {
        assert_eq!(range_prefixes((0, 65535)), [(0, 0)]);
        assert_eq!(range_prefixes((80, 80)), [(80, 0xffff)]);
        let high = [(1024, 0xfc00), (2048, 0xf800), (4096, 0xf000), (8192, 0xe000)];
        assert_eq!(range_prefixes((1024, 16383)), high);
        assert_eq!(range_prefixes((65534, 65535)), [(65534, 0xfffe)]);
    }

    #[test]
    fn the_sets_of_a_folder_are_those_with_a_trace() {
        let dir = std::env::temp_dir().join(format!("classbench-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder of our own");
        let rule = "@1.2.3.4/32 0.0.0.0/0 0 : 65535 80 : 80 0x06/0xFF 0x0000/0x0000\n";
        let files = [
            ("mine.rules", rule),
            ("mine.trace", "16909060 1 2 80 6 0\n"),
            ("no_trace.rules", rule),
            ("no_rules.trace.gz", ""),
            ("acl3.rules.gz", ""),
            ("acl3.trace.gz", ""),
        ];
        for (file, text) in files {
            fs::write(dir.join(file), text).expect("a folder of our own");
        }
        let (names, set) = (Set::names(&dir), Set::load(&dir, "mine"));
        fs::remove_dir_all(&dir).expect("a folder of our own");
        assert_eq!(names.expect("a folder"), ["acl3", "mine"]);
        let set = set.expect("plain text");
        assert!(set.filters.len() == 1 && set.filters[0].matches(&set.trace[0]), "{set:?}");
    }

    #[test]
    fn lines_are_read_as_they_are_in_the_files() {
        let line =
            "@81.34.253.128/25\t0.0.0.0/0\t0 : 65535\t5555 : 5556\t0x06/0xFF\t0x0000/0x0200\t";
        let filters = parse_lines(line, parse_filter).expect("a filter");
        let expected = Filter {
            src: (0x5122_fd80, 25),
            dst: (0, 0),
            sport: (0, 65535),
            dport: (5555, 5556),
            proto: (6, 0xff),
        };
        assert_eq!(filters, [expected]);
        let headers = parse_lines("1361247666 2271214111 0 1733 6 4294967295 211", parse_header);
        let header = headers.expect("a header")[0];
        assert_eq!((header.src, header.dport, header.proto), (1361247666, 1733, 6));
        assert!(parse_lines("@81.34.253.128", parse_filter).is_err());
    }
}

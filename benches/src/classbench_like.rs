//! Rule sets and traces like those of ClassBench, made up: for machines that do not have the files.
//!
//! What makes a set hard for a classifier is kept: how long the prefixes are and how they nest, how
//! often a port is any, one, or a range, and that traffic meets the corners of the rules. Three
//! families differ in that as access lists (`acl`), firewalls (`fw`) and chains (`ipc`) do: access
//! lists know both addresses well, firewalls often neither, chains are between. Numbers for a made
//! set are not numbers for the file of the same name; they are for comparing one day with another.

use crate::classbench::{Filter, Header, Set, prefix_mask};
use crate::workload::SplitMix;

/// Headers for each filter, on average.
const HEADERS: usize = 2;

/// What is typical of a kind of set, in percent of its filters.
struct Shares {
    any_src: u64,
    any_dst: u64,
    /// Of the addresses that are not any, those that are a host's.
    hosts: u64,
    any_sport: u64,
    any_dport: u64,
    dport_ranges: u64,
}

/// The kinds of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Access lists, as routers have them.
    Acl,
    /// Rules of firewalls.
    Fw,
    /// Chains of Linux's packet filter.
    Ipc,
}

impl SetKind {
    /// All kinds, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Acl, Self::Fw, Self::Ipc];

    /// How the names of sets of this kind begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Fw => "fw",
            Self::Ipc => "ipc",
        }
    }

    fn shares(self) -> Shares {
        match self {
            Self::Acl => Shares {
                any_src: 5,
                any_dst: 2,
                hosts: 55,
                any_sport: 99,
                any_dport: 25,
                dport_ranges: 15,
            },
            Self::Fw => Shares {
                any_src: 35,
                any_dst: 15,
                hosts: 60,
                any_sport: 85,
                any_dport: 45,
                dport_ranges: 10,
            },
            Self::Ipc => Shares {
                any_src: 8,
                any_dst: 8,
                hosts: 65,
                any_sport: 75,
                any_dport: 55,
                dport_ranges: 8,
            },
        }
    }
}

/// What a set is called, lest it is taken for the file.
pub fn name(kind: SetKind, filters: usize) -> String {
    format!("{}~{filters}", kind.name())
}

/// A set of this kind with about `size` filters.
pub fn set(kind: SetKind, size: usize) -> Set {
    let shares = kind.shares();
    let mut dice = Dice(SplitMix(1 + kind as u64));
    // Networks of which the prefixes are parts, so that they nest.
    let networks: Vec<u32> = (0..64).map(|_| dice.number() as u32 & 0xffff_0000).collect();
    let mut filters: Vec<Filter> =
        (0..size).map(|_| filter(&mut dice, &shares, &networks)).collect();
    // The narrow ones first, as people write them, and what nobody could meet left out.
    filters.sort_by_key(|f| std::cmp::Reverse(f.src.1 + f.dst.1));
    filters.dedup();
    let headers = (0..HEADERS * size).map(|_| {
        let filter = filters[dice.below(filters.len() as u64) as usize];
        corner(&mut dice, &filter)
    });
    let trace = headers.collect();
    Set { name: name(kind, size), filters, trace }
}

fn filter(dice: &mut Dice, shares: &Shares, networks: &[u32]) -> Filter {
    let mut prefix = |any| match dice.percent() {
        p if p < any => (0, 0),
        _ => {
            let network = networks[dice.below(networks.len() as u64) as usize];
            let len = if dice.percent() < shares.hosts { 32 } else { 16 + dice.below(14) as u32 };
            ((network | dice.number() as u32 & 0xffff) & prefix_mask(len), len)
        }
    };
    let (src, dst) = (prefix(shares.any_src), prefix(shares.any_dst));
    const SERVICES: [u16; 12] = [20, 21, 22, 25, 53, 80, 110, 123, 443, 1433, 3306, 8080];
    let service = SERVICES[dice.below(12) as usize];
    let dport = match dice.percent() {
        p if p < shares.any_dport => (0, u16::MAX),
        p if p < shares.any_dport + shares.dport_ranges => match dice.below(2) {
            0 => (1024, u16::MAX),
            _ => (service, service + 1 + dice.below(200) as u16),
        },
        _ => (service, service),
    };
    let sport = if dice.percent() < shares.any_sport { (0, u16::MAX) } else { (service, service) };
    let has_ports = (sport, dport) != ((0, u16::MAX), (0, u16::MAX));
    let proto = match dice.percent() {
        p if p < 70 || has_ports => (if p % 3 == 0 { 17 } else { 6 }, u8::MAX),
        p if p < 85 => (1, u8::MAX),
        _ => (0, 0),
    };
    Filter { src, dst, sport, dport, proto }
}

/// A header at an edge of a filter.
fn corner(dice: &mut Dice, f: &Filter) -> Header {
    let mut end = |value: u32, mask: u32| if dice.below(2) == 0 { value } else { value | !mask };
    let (src, dst) = (end(f.src.0, prefix_mask(f.src.1)), end(f.dst.0, prefix_mask(f.dst.1)));
    let mut port = |(first, last)| if dice.below(2) == 0 { first } else { last };
    let (sport, dport) = (port(f.sport), port(f.dport));
    let proto = if f.proto.1 == 0 { 6 } else { f.proto.0 };
    Header { src, dst, sport, dport, proto }
}

struct Dice(SplitMix);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0.next()
    }

    fn below(&mut self, n: u64) -> u64 {
        ((self.number() >> 32) * n) >> 32
    }

    fn percent(&mut self) -> u64 {
        self.below(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_set_is_the_same_every_time_and_its_trace_meets_it() {
        for kind in SetKind::ALL {
            let (a, b) = (set(kind, 500), set(kind, 500));
            assert_eq!((&a.filters, &a.trace), (&b.filters, &b.trace));
            let is_met = |h: &Header| a.filters.iter().any(|f| f.matches(h));
            assert!(a.trace.iter().all(is_met), "{}", a.name);
        }
    }
}

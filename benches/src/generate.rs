//! Rule sets of families that ClassBench has no files of, made from a seed.
//!
//! They need no downloaded data, and are as unlike each other as tables in use are: access lists of
//! prefix pairs with port ranges, tables of MAC addresses, IPv6, and two that no sane user writes and
//! a classifier has to survive. [`RuleSet::keys`] are packets that match one rule each, and agree
//! with others here and there, as ClassBench traces do.

use crate::classbench::{Filter, Set, prefix_mask};
use crate::workload::SplitMix;
use flow::key::VLAN_CFI;
use flow::types::OfPort;
use flow::{Match, PipelineKey, PipelineMask};
use packet::wire::{eth_type, ip_proto};

/// Rules for a classifier, with their priorities.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What tables of results call it.
    pub name: String,
    /// Priorities and matches, in the order in which they are added.
    pub rules: Vec<(u16, Match)>,
}

/// The kinds of rule sets.
pub const FAMILIES: [Family; 6] = [
    ("acl", acl),
    ("mac", macs),
    ("vlan_mac", vlan_macs),
    ("ipv6_acl", ipv6_acl),
    ("random_masks", random_masks),
    ("own_masks", own_masks),
];

/// A name, and the function that makes rules of this kind, about as many as its argument says.
pub type Family = (&'static str, fn(usize, &mut SplitMix) -> Vec<(u16, Match)>);

impl RuleSet {
    /// What tables of results call it.
    pub fn name((name, _): Family, count: usize) -> String {
        format!("{name}_{count}")
    }

    /// About `count` rules of a family.
    pub fn generate(family: Family, count: usize) -> Self {
        Self { name: Self::name(family, count), rules: family.1(count, &mut SplitMix(7)) }
    }

    /// Keys of packets, most of which match some rule.
    pub fn keys(&self, count: usize) -> Vec<PipelineKey> {
        let mut random = SplitMix(11);
        let mut one = || &self.rules[below(&mut random, self.rules.len())].1;
        let pairs: Vec<(&Match, &Match)> = (0..count).map(|_| (one(), one())).collect();
        let mut random = SplitMix(13);
        let mut key = |(rule, other): (&Match, &Match)| {
            let mut key = *rule.key();
            let bits = other.key().words().iter().zip(other.mask().words());
            let own = key.words_mut().iter_mut().zip(rule.mask().words());
            for ((word, mask), (other, other_mask)) in own.zip(bits) {
                *word |= other & !mask;
                // Addresses and ports that no rule asks for differ from packet to packet.
                if mask | other_mask != 0 {
                    *word |= random.next() & !(mask | other_mask);
                }
            }
            key
        };
        pairs.into_iter().map(&mut key).collect()
    }
}

impl From<&Set> for RuleSet {
    /// The expanded rules of a ClassBench set.
    fn from(set: &Set) -> Self {
        let rules = set.filters.iter().enumerate().flat_map(|(place, filter)| {
            let priority = set.priority(place);
            filter.rules().into_iter().map(move |m| (priority, m))
        });
        Self { name: set.name.clone(), rules: rules.collect() }
    }
}

fn below(random: &mut SplitMix, n: usize) -> usize {
    ((u128::from(random.next()) * n as u128) >> 64) as usize
}

fn pick<T: Copy>(random: &mut SplitMix, list: &[T]) -> T {
    list[below(random, list.len())]
}

/// Descending with the place of a rule, as in a list of which the first match counts.
fn priority(place: usize, count: usize) -> u16 {
    (u64::from(u16::MAX) * (count - place) as u64 / count as u64) as u16
}

/// Prefixes as a site has them: many hosts and small networks within few large ones.
fn prefixes(count: usize, random: &mut SplitMix) -> Vec<(u32, u32)> {
    let sites: Vec<u32> = (0..count.div_ceil(50)).map(|_| random.next() as u32).collect();
    let lengths = [0, 8, 16, 20, 24, 24, 24, 26, 28, 30, 32, 32, 32, 32];
    let prefix = |_| {
        let site = pick(random, &sites) & prefix_mask(16);
        let length = pick(random, &lengths);
        ((site | random.next() as u32 & 0xffff) & prefix_mask(length), length)
    };
    (0..count).map(prefix).collect()
}

/// Pairs of prefixes with ports and port ranges, expanded to masks.
fn acl(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let (sources, destinations) =
        (prefixes(count / 8 + 1, random), prefixes(count / 4 + 1, random));
    let ranges =
        [(0, 65535), (1024, 65535), (80, 80), (443, 443), (22, 22), (53, 53), (20, 21), (137, 139)];
    let mut rules = Vec::with_capacity(count + 64);
    while rules.len() < count {
        let filter = Filter {
            src: pick(random, &sources),
            dst: pick(random, &destinations),
            sport: pick(random, &[(0, 65535), (0, 65535), (0, 65535), (1024, 65535)]),
            dport: pick(random, &ranges),
            proto: (pick(random, &[ip_proto::TCP, ip_proto::TCP, ip_proto::UDP]), 0xff),
        };
        let priority = priority(rules.len(), count + 64);
        rules.extend(filter.rules().into_iter().map(|m| (priority, m)));
    }
    rules
}

fn matching(set: impl FnOnce(&mut PipelineKey, &mut PipelineMask)) -> Match {
    crate::rules::matching(set)
}

/// The table of a large bridge: destinations, all of one priority.
fn macs(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let mac = |n: usize, random: &mut SplitMix| {
        matching(|key, mask| {
            key.headers.dl_dst = mac_of(n, random);
            mask.bits.headers.dl_dst = [0xff; 6];
        })
    };
    (0..count).map(|n| (100, mac(n, random))).collect()
}

/// Destinations, each in its VLAN.
fn vlan_macs(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let mac = |n: usize, random: &mut SplitMix| {
        matching(|key, mask| {
            key.headers.vlan_tci = (VLAN_CFI | (1 + n % 4000) as u16).into();
            mask.bits.headers.vlan_tci = (VLAN_CFI | 0xfff).into();
            key.headers.dl_dst = mac_of(n, random);
            mask.bits.headers.dl_dst = [0xff; 6];
        })
    };
    (0..count).map(|n| (100, mac(n, random))).collect()
}

/// Few vendors, as in a network in use.
fn mac_of(n: usize, random: &mut SplitMix) -> [u8; 6] {
    let [.., a, b, c, d] = (n as u32 ^ (random.next() as u32) << 24).to_be_bytes();
    [0x02, 0x11 * (n % 5) as u8, a, b, c, d]
}

/// Pairs of IPv6 prefixes with ports.
fn ipv6_acl(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let sites: Vec<u64> = (0..count.div_ceil(100)).map(|_| random.next()).collect();
    let address = |random: &mut SplitMix| {
        let length = pick(random, &[0, 32, 48, 56, 64, 64, 64, 128, 128]);
        let site = pick(random, &sites) & 0x0000_ffff_ffff_0000 | 0x2001_0000_0000_0000;
        let host = random.next() & 0xffff;
        let bits = u128::from(site | host >> 8) << 64 | u128::from(host);
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        ((bits & mask).to_be_bytes(), mask.to_be_bytes())
    };
    let mut rules = Vec::with_capacity(count);
    for place in 0..count {
        let m = matching(|key, mask| {
            key.headers.dl_type = eth_type::IPV6.into();
            mask.bits.headers.dl_type = u16::MAX.into();
            for at in [0, 16] {
                let (value, bits) = address(random);
                key.headers.nw_addrs[at..at + 16].copy_from_slice(&value);
                mask.bits.headers.nw_addrs[at..at + 16].copy_from_slice(&bits);
            }
            if random.next() & 3 != 0 {
                key.headers.nw_proto = pick(random, &[ip_proto::TCP, ip_proto::UDP]);
                mask.bits.headers.nw_proto = u8::MAX;
                if random.next() & 3 != 0 {
                    key.headers.tp_dst = pick(random, &[22, 53, 80, 443, 8080]).into();
                    mask.bits.headers.tp_dst = u16::MAX.into();
                }
            }
        });
        rules.push((priority(place, count), m));
    }
    rules
}

/// Each field may be there, whole or by some leading bits.
fn random_masks(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let some = |random: &mut SplitMix, bits: u32| -> u64 {
        let length = match random.next() & 3 {
            0 | 1 => 0,
            2 => bits,
            _ => 4 * below(random, bits as usize / 4 + 1) as u32,
        };
        if length == 0 { 0 } else { (u64::MAX >> (64 - bits)) & !((1u64 << (bits - length)) - 1) }
    };
    let rule = |place: usize, random: &mut SplitMix| {
        let m = matching(|key, mask| {
            // Few values of each word, so that rules overlap.
            let values = SplitMix(random.next() % 64).next();
            key.words_mut().fill(values);
            mask.bits.in_port.set(OfPort(some(random, 16) as u16));
            let flow = &mut mask.bits.headers;
            flow.dl_type = (some(random, 16) as u16).into();
            flow.dl_src = some(random, 48).to_be_bytes()[2..].try_into().expect("six bytes");
            flow.nw_proto = some(random, 8) as u8;
            flow.nw_addrs[..4].copy_from_slice(&(some(random, 32) as u32).to_be_bytes());
            flow.nw_addrs[4..8].copy_from_slice(&(some(random, 32) as u32).to_be_bytes());
            flow.tp_src = (some(random, 16) as u16).into();
            flow.tp_dst = (some(random, 16) as u16).into();
            mask.bits.regs[0] = (some(random, 32) as u32).into();
        });
        (priority(place, count), m)
    };
    (0..count).map(|place| rule(place, random)).collect()
}

/// No two rules have the same mask.
fn own_masks(count: usize, random: &mut SplitMix) -> Vec<(u16, Match)> {
    let rule = |place: usize, random: &mut SplitMix| {
        let m = matching(|key, mask| {
            key.headers.nw_addrs[..8].copy_from_slice(&random.next().to_be_bytes());
            // The number of the rule in some bits, noise in others.
            let bits = (place as u64) << 40 | (random.next() & random.next()) >> 24;
            mask.bits.headers.nw_addrs[..8].copy_from_slice(&bits.to_be_bytes());
            mask.bits.headers.dl_type = u16::MAX.into();
            key.headers.dl_type = eth_type::IPV4.into();
        });
        (priority(place, count), m)
    };
    (0..count).map(|place| rule(place, random)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn families_have_about_the_rules_that_were_wanted() {
        for family in FAMILIES {
            let set = RuleSet::generate(family, 1000);
            assert!((1000..1100).contains(&set.rules.len()), "{}", set.name);
            let keys = set.keys(200);
            let matched = keys.iter().filter(|key| set.rules.iter().any(|(_, m)| m.matches(key)));
            assert_eq!(matched.count(), 200, "{}", set.name);
        }
    }

    #[test]
    fn own_masks_are_all_different() {
        let set = RuleSet::generate(FAMILIES[5], 1000);
        let masks: HashSet<_> = set.rules.iter().map(|(_, m)| *m.mask().words()).collect();
        assert_eq!(masks.len(), 1000);
    }
}

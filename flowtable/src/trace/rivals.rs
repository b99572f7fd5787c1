//! Finds the rules that a user could have expected to win a look-up, and tells why they lost.
//!
//! A rule is a rival if its priority is not lower than the winner's, or if it matches the packet
//! and says more about it than the winner. The few rivals that came nearest to winning are named.

use super::difference::{Difference, differences};
use flow::fields::FieldId;
use flow::text::PortNames;
use flow::{Match, PipelineKey};
use std::cmp::Reverse;

/// Number of rivals that are named, at most.
const NAMED: usize = 3;
/// If a rule has won, a rule that differs from the packet in more fields than this is no rival.
const NEAR: usize = 2;

/// Looks at the rules of a table one after the other. `T` is the caller's name for a rule.
pub struct Rivals<'a, T> {
    packet: &'a PipelineKey,
    winner: Option<(u16, &'a Match)>,
    /// Sorted by the distance, the nearest first.
    nearest: Vec<(Distance, Candidate<T>)>,
    lost: usize,
}

/// How near a rule came to winning, the smaller the nearer: number of fields that differ, number of
/// bits that agree, priority.
type Distance = (usize, Reverse<u32>, Reverse<u16>);

struct Candidate<T> {
    rule: T,
    priority: u16,
    matching: Match,
    differs: Option<FieldId>,
}

/// A rule that lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival<T> {
    /// The caller's name for the rule that lost.
    pub rule: T,
    /// The match of the rule that lost.
    pub matching: Match,
    /// Why the rule lost. If it differs from the packet in several fields, this is the first.
    pub lost: Lost,
}

/// Why a rule lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The packet has another value in this field than the rule wants.
    Field(FieldId),
    /// The rule matches, and its priority is lower than the winner's.
    Priority,
    /// The rule matches, has the winner's priority, and was added later.
    Order,
}

impl Lost {
    /// The reason in a word: the name of the field, `priority` or `order`.
    pub fn on(&self) -> &'static str {
        match self {
            Self::Field(field) => field.def().name,
            Self::Priority => "priority",
            Self::Order => "order",
        }
    }
}

impl<T> Rival<T> {
    /// Why the rule lost the look-up of `packet`, in words, with the names of ports that `names` has.
    pub fn reason(&self, packet: &PipelineKey, names: &dyn PortNames) -> String {
        match self.lost {
            Lost::Field(field) => {
                let Difference { packet, wanted } =
                    Difference::new(field, &self.matching, packet, names);
                format!("the packet has {packet}, the rule wants {wanted}")
            }
            Lost::Priority => "it matches too, but its priority is lower".to_owned(),
            Lost::Order => "it matches too, but was added later".to_owned(),
        }
    }
}

impl<'a, T> Rivals<'a, T> {
    /// Begins with the look-up of `packet`. `winner` is the priority and match of the rule that
    /// won; `None` if no rule matched.
    pub fn new(packet: &'a PipelineKey, winner: Option<(u16, &'a Match)>) -> Self {
        Self { packet, winner, nearest: Vec::new(), lost: 0 }
    }

    /// Looks at a rule, which must not be the winner.
    pub fn consider(&mut self, priority: u16, matching: &Match, rule: T) {
        let is_behind = self.winner.is_some_and(|(best, _)| priority < best);
        let matches = matching.matches(self.packet);
        let says_more = |(_, best): (u16, &Match)| bits(matching) > bits(best);
        if is_behind && !(matches && self.winner.is_some_and(says_more)) {
            return;
        }
        let fields = differences(matching, self.packet);
        self.lost += 1;
        if self.winner.is_some() && fields.len() > NEAR {
            return;
        }
        let agreeing = bits(matching) - differing_bits(matching, self.packet);
        let distance = (fields.len(), Reverse(agreeing), Reverse(priority));
        let place = self.nearest.partition_point(|(other, _)| *other <= distance);
        if place < NAMED {
            let differs = fields.first().copied();
            let candidate = Candidate { rule, priority, matching: *matching, differs };
            self.nearest.insert(place, (distance, candidate));
            self.nearest.truncate(NAMED);
        }
    }

    /// The nearest rivals, and the number of further ones.
    pub fn finish(self) -> (Vec<Rival<T>>, usize) {
        let Self { winner, nearest, lost, .. } = self;
        let others = lost - nearest.len();
        let rivals = nearest.into_iter().map(|(_, candidate)| {
            let Candidate { rule, priority, matching, differs } = candidate;
            let lost = match (differs, winner) {
                (Some(field), _) => Lost::Field(field),
                (None, Some((best, _))) if priority == best => Lost::Order,
                (None, _) => Lost::Priority,
            };
            Rival { rule, matching, lost }
        });
        (rivals.collect(), others)
    }
}

/// Number of bits in the mask of a match.
fn bits(matching: &Match) -> u32 {
    matching.mask().words().iter().map(|word| word.count_ones()).sum()
}

fn differing_bits(matching: &Match, packet: &PipelineKey) -> u32 {
    let wanted = matching.key().words().iter().zip(matching.mask().words());
    let words = packet.words().iter().zip(wanted);
    words.map(|(have, (want, mask))| ((have ^ want) & mask).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::text::{ParseContext, parse_flow, parse_match};

    /// Rules, the winner first; returns who is named, with what they lost on.
    fn check(packet: &str, winner: Option<&str>, rules: &[&str], expected: &[(&str, &str)]) {
        let context = ParseContext::default();
        let parse = |text: &str| {
            let rule = parse_flow(&format!("{text},actions=drop"), &context).expect(text);
            (rule.priority, rule.matching)
        };
        let packet = *parse_match(packet, &context).expect(packet).key();
        let winner = winner.map(parse);
        let mut rivals = Rivals::new(&packet, winner.as_ref().map(|(p, m)| (*p, m)));
        for rule in rules {
            let (priority, matching) = parse(rule);
            rivals.consider(priority, &matching, *rule);
        }
        let (named, _) = rivals.finish();
        let found: Vec<_> = named.iter().map(|r| (r.rule, r.lost.on())).collect();
        assert_eq!(found, expected);
    }

    const HTTPS: &str = "in_port=1,tcp,nw_dst=10.0.0.2,tp_dst=443";

    #[test]
    fn rules_with_more_priority_lost_on_a_field() {
        let rules = ["priority=20,tcp,tp_dst=80", "priority=5,tcp,tp_dst=80", "priority=30,arp"];
        check(
            HTTPS,
            Some("priority=10,ip"),
            &rules,
            &[(rules[0], "tcp_dst"), (rules[2], "eth_type")],
        );
    }

    #[test]
    fn rules_that_say_more_lost_on_priority() {
        let rules = ["priority=5,tcp,tp_dst=443", "priority=5", "priority=10,tcp,tp_dst=443"];
        check(
            HTTPS,
            Some("priority=10,ip"),
            &rules,
            &[(rules[2], "order"), (rules[0], "priority")],
        );
    }

    #[test]
    fn without_a_winner_the_nearest_are_named() {
        let rules =
            ["udp,nw_dst=10.0.0.3,tp_dst=53", "tcp,nw_dst=10.0.0.2,tp_dst=80", "arp", "icmp"];
        check(
            HTTPS,
            None,
            &rules,
            &[(rules[1], "tcp_dst"), (rules[3], "nw_proto"), (rules[2], "eth_type")],
        );
    }
}

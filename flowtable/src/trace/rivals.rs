//! The rules that could have been expected to win a look-up, and why they did not.
//!
//! A rule looks better than the winner if its priority is not lower, or if it matches too and says
//! more about the packet. Of those the few are named that came nearest.

use super::difference::{Difference, differences};
use flow::fields::FieldId;
use flow::text::PortNames;
use flow::{Match, PipelineKey};
use std::cmp::Reverse;

/// Rules that are named at most.
const NAMED: usize = 3;
/// Where a rule won, one that differs in more fields than this was hardly expected to.
const NEAR: usize = 2;

/// Looks at the rules of a table, one after the other. `T` is how the caller knows a rule.
pub struct Rivals<'a, T> {
    packet: &'a PipelineKey,
    winner: Option<(u16, &'a Match)>,
    /// Sorted by how near they came.
    nearest: Vec<(Distance, Candidate<T>)>,
    lost: usize,
}

/// Smaller is nearer: fields that differ, bits that agree, priority.
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
    /// What the caller calls the rule that lost.
    pub rule: T,
    /// Its match.
    pub matching: Match,
    /// The first thing that it lost on.
    pub lost: Lost,
}

/// What a rule lost on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The packet has another value in this field than the rule wants.
    Field(FieldId),
    /// It matches, and its priority is lower.
    Priority,
    /// It matches, has the same priority, and was added later.
    Order,
}

impl Lost {
    /// What it lost on, in a word.
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
    /// Of the look-up of `packet` that `winner` (priority and match) won, or nobody.
    pub fn new(packet: &'a PipelineKey, winner: Option<(u16, &'a Match)>) -> Self {
        Self { packet, winner, nearest: Vec::new(), lost: 0 }
    }

    /// Looks at a rule. The winner must not be among them.
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

    /// The nearest, and how many others there are.
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

/// How much a match says.
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

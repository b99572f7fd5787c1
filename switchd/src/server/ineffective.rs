//! Notes about what a switch accepts although it has no effect as things are: ports that the bridge does not
//! have, in matches, in outputs and as what a bucket watches; missing groups that a bucket watches; packets for
//! a controller that is not there; queues of ports without queues.
//!
//! Each rule is looked at once, while the request is read, and only numbers are kept: a request of a million
//! rules has as many notes as a request of one.

use super::names::NameTable;
use crate::bridge::groups;
use crate::switch::OnBridge;
use flow::action::{Action, QUEUES};
use flow::bit_set::{BitSet, blocks};
use flow::flow_mod::{Command, FlowMod};
use flow::group::{Bucket, GroupMod};
use flow::key::KeyOfPort;
use flow::types::{GroupId, OfPort};
use std::collections::BTreeSet;

/// The largest number of missing ports that a note names; a note counts further ports.
const NAMED: usize = 3;

/// A set of port numbers; it has room for every OpenFlow port number.
type PortNumbers = BitSet<{ blocks(1 << 16) }>;

/// The parts of a request that may have no effect.
#[derive(Default)]
pub(super) struct IneffectiveParts {
    /// The numbers of all ports that rules match as `in_port`, whether the bridge has the ports or not.
    inputs: PortNumbers,
    /// The numbers of all ports that actions send packets to, whether the bridge has the ports or not.
    outputs: PortNumbers,
    /// The numbers of all ports that buckets watch, whether the bridge has the ports or not.
    watched_ports: PortNumbers,
    /// The groups that buckets watch, whether the bridge has the groups or not.
    watched_groups: BTreeSet<GroupId>,
    /// Whether an action sends packets to a controller.
    has_controller: bool,
    /// The numbers of all ports to which an action sends packets through a queue that it or an action of the
    /// same list chooses.
    queued: PortNumbers,
    /// The largest number of a queue.
    largest_queue: u32,
}

impl IneffectiveParts {
    /// Looks at a rule that a request adds or changes.
    pub(super) fn look_at_rule(&mut self, rule: &FlowMod) {
        let in_port = rule.matching.key().in_port.get();
        // A match has all of the port's number, or nothing.
        let is_given = rule.matching.mask().bits.in_port != KeyOfPort::default();
        if rule.command == Command::Add && is_given && in_port.is_real() {
            self.inputs.insert(usize::from(in_port.0));
        }
        self.look_at(&rule.actions);
    }

    /// Looks at a list of actions, and at the lists inside `clone` and `write_actions`.
    pub(super) fn look_at(&mut self, actions: &[Action]) {
        let mut has_queue = false;
        for action in actions {
            match action {
                Action::Output { port: OfPort::CONTROLLER, .. } | Action::Controller { .. } => {
                    self.has_controller = true;
                }
                Action::Output { port, .. } | Action::OutputTrunc { port, .. } => {
                    self.output(*port, has_queue);
                }
                Action::Enqueue { port, queue } => {
                    self.output(*port, true);
                    self.largest_queue = self.largest_queue.max(*queue);
                }
                Action::SetQueue(queue) => {
                    has_queue = true;
                    self.largest_queue = self.largest_queue.max(*queue);
                }
                Action::PopQueue => has_queue = false,
                action => self.look_at(action.nested().actions()),
            }
        }
    }

    /// Looks at the buckets that a request adds to groups.
    pub(super) fn look_at_group(&mut self, change: &GroupMod) {
        let buckets: &[Bucket] = match change {
            GroupMod::Add(group) | GroupMod::Modify(group) | GroupMod::AddOrModify(group) => {
                &group.buckets
            }
            GroupMod::InsertBuckets { buckets, .. } => buckets,
            GroupMod::Delete(_) | GroupMod::RemoveBuckets { .. } => &[],
        };
        for bucket in buckets {
            self.look_at(&bucket.actions);
            if let Some(port) = bucket.watch_port.filter(|port| port.is_real()) {
                self.watched_ports.insert(usize::from(port.0));
            }
            self.watched_groups.extend(bucket.watch_group);
        }
    }

    fn output(&mut self, port: OfPort, has_queue: bool) {
        if port.is_real() {
            self.outputs.insert(usize::from(port.0));
            if has_queue {
                self.queued.insert(usize::from(port.0));
            }
        }
    }

    /// A sentence for each kind of part without effect, in a bridge. `ports` are the ports that it has.
    pub(super) fn notes_for(&self, ports: &NameTable, on: &OnBridge<'_>) -> Vec<String> {
        let has_controllers = on.policy().audience().is_anybody_there(on.bridge().id());
        let has_group = |group| groups::exists(*on, group);
        let mut notes = self.notes(ports, has_group, has_controllers);
        if self.queued.iter().next().is_some() {
            notes.extend(self.note_of_queues(&ports_without_queues(on)));
        }
        notes
    }

    /// A sentence about queues that these ports do not have.
    fn note_of_queues(&self, without: &PortNumbers) -> Option<String> {
        let ports = self.queued.iter().filter(|port| without.contains(*port));
        let ports: Vec<String> = ports.map(|port| OfPort(port as u16).to_string()).collect();
        let what = "only network devices have queues, and other ports send in order";
        match &ports[..] {
            [] => None,
            [one] => Some(format!("port {one} has no queues: {what}")),
            _ => Some(format!("ports {} have no queues: {what}", some_of(&ports))),
        }
    }

    /// A sentence for each kind of part without effect. `ports` are the ports that the bridge has, `has_group`
    /// says whether it has a group, and `has_controllers` whether a controller of the bridge wants packets.
    fn notes(
        &self,
        ports: &NameTable,
        has_group: impl Fn(GroupId) -> bool,
        has_controllers: bool,
    ) -> Vec<String> {
        let present: PortNumbers = ports.iter().map(|(port, _)| usize::from(port.0)).collect();
        let missing = |wanted: &PortNumbers| {
            let numbers = wanted.iter().filter(|number| !present.contains(*number));
            numbers.map(|number| OfPort(number as u16).to_string()).collect::<Vec<_>>()
        };
        let groups = self.watched_groups.iter().filter(|group| !has_group(**group));
        let groups: Vec<String> = groups.map(|group| group.0.to_string()).collect();
        let mut notes = Vec::new();
        for (kind, missing, what) in [
            ("port", missing(&self.inputs), "rules with this in_port match nothing"),
            ("port", missing(&self.outputs), "outputs to it have no effect"),
            ("port", missing(&self.watched_ports), "buckets that watch it are not used"),
            ("group", groups, "buckets that watch it are not used"),
        ] {
            match &missing[..] {
                [] => {}
                [one] => {
                    notes.push(format!("the bridge has no {kind} {one}: {what} until it is added"))
                }
                _ => {
                    let what =
                        what.replace("this in_port", "these in_ports").replace(" it ", " them ");
                    let some = some_of(&missing);
                    notes.push(format!(
                        "the bridge has no {kind}s {some}: {what} until they are added"
                    ));
                }
            }
        }
        if self.has_controller && !has_controllers {
            notes.push(
                "no controller that wants packets is connected: those for CONTROLLER are dropped (no_controller)"
                    .to_owned(),
            );
        }
        if self.largest_queue >= QUEUES {
            notes.push(format!(
                "queue {}: ports have queues 0 to {}: larger numbers are ignored",
                self.largest_queue,
                QUEUES - 1
            ));
        }
        notes
    }
}

/// The ports of a bridge that are open and have no queueing discipline. A patch leads to a
/// port that may have one.
fn ports_without_queues(on: &OnBridge<'_>) -> PortNumbers {
    let views = on.ports().into_iter();
    let without =
        views.filter(|port| port.kind.is_some_and(|kind| !matches!(kind, "system" | "patch")));
    without.map(|port| usize::from(port.of_port.0)).collect()
}

/// The first words of a list, and how many words follow: `1, 2, 3 and 4 more`.
fn some_of(words: &[String]) -> String {
    let named = words[..words.len().min(NAMED)].join(", ");
    match words.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::text::{GroupCommand, ParseContext, parse_flow, parse_group};
    use flow::types::OfVersion;

    fn ports() -> NameTable {
        vec![(OfPort(1), "p1".to_owned()), (OfPort(2), "p2".to_owned())]
    }

    fn notes(actions: &[&str]) -> Vec<String> {
        let mut seen = IneffectiveParts::default();
        for actions in actions {
            let rule = parse_flow(&format!("actions={actions}"), &ParseContext::default());
            seen.look_at_rule(&rule.expect("a rule"));
        }
        seen.notes(&ports(), |group| group == GroupId(3), false)
    }

    #[test]
    fn actions_with_an_effect_have_no_notes() {
        let effective = ["drop", "NORMAL", "FLOOD,IN_PORT,output:1", "clone(output:2)"];
        assert_eq!(notes(&effective), [""; 0]);
    }

    #[test]
    fn missing_ports_are_named_once_and_counted_beyond_three() {
        let end = "outputs to them have no effect until they are added";
        for (actions, told) in [
            (vec!["output:77", "77", "clone(output:77),output:1"], "port 77: outputs to it have"),
            (vec!["LOCAL"], "port LOCAL: outputs to it have"),
            (vec!["output(port=9,max_len=64)"], "port 9: outputs to it have"),
            (vec!["7,8", "1,2,9"], &format!("ports 7, 8, 9: {end}")),
            (vec!["9,8,7,6,5"], &format!("ports 5, 6, 7 and 2 more: {end}")),
        ] {
            let notes = notes(&actions);
            assert_eq!(notes.len(), 1, "{actions:?}: {notes:?}");
            assert!(notes[0].starts_with(&format!("the bridge has no {told}")), "{notes:?}");
        }
    }

    #[test]
    fn matches_on_missing_ports_are_told() {
        let told = |text: &str| {
            let mut seen = IneffectiveParts::default();
            seen.look_at_rule(&parse_flow(text, &ParseContext::default()).expect("a rule"));
            seen.notes(&ports(), |_| false, false)
        };
        assert_eq!(told("in_port=1,actions=drop"), [""; 0]);
        assert_eq!(told("in_port=CONTROLLER,actions=drop"), [""; 0]);
        assert_eq!(
            told("in_port=88,actions=drop"),
            ["the bridge has no port 88: rules with this in_port match nothing until it is added"]
        );
    }

    #[test]
    fn missing_ports_and_groups_that_buckets_watch_are_told() {
        let told = |buckets: &str| {
            let context =
                ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
            let text = format!("group_id=1,type=ff,{buckets}");
            let mut seen = IneffectiveParts::default();
            seen.look_at_group(&parse_group(&text, GroupCommand::Add, &context).expect("a group"));
            seen.notes(&ports(), |group| group == GroupId(3), false)
        };
        assert_eq!(told("bucket=watch_port:1,output:2,bucket=watch_group:3,output:2"), [""; 0]);
        let end = "buckets that watch it are not used until it is added";
        assert_eq!(
            told("bucket=watch_port:74,output:2"),
            [format!("the bridge has no port 74: {end}")]
        );
        assert_eq!(
            told("bucket=watch_group:7,output:2"),
            [format!("the bridge has no group 7: {end}")]
        );
        let end = "buckets that watch them are not used until they are added";
        assert_eq!(
            told("bucket=watch_port:74,output:2,bucket=watch_port:75,output:2"),
            [format!("the bridge has no ports 74, 75: {end}")]
        );
    }

    #[test]
    fn controllers_and_queues_that_do_not_exist_have_a_note_each() {
        for actions in ["CONTROLLER", "controller:64", "clone(controller(max_len=9))"] {
            let notes = notes(&[actions, actions]);
            assert!(notes.len() == 1 && notes[0].contains("no_controller"), "{notes:?}");
        }
        assert_eq!(notes(&["enqueue:1:1", "set_queue:61439,output:1"]), [""; 0]);
        let ignored = "queue 70000: ports have queues 0 to 61439: larger numbers are ignored";
        assert_eq!(notes(&["enqueue:1:70000", "set_queue:61440,output:1"]), [ignored]);
        assert_eq!(notes(&["CONTROLLER", "enqueue:77:1"]).len(), 2);
    }

    #[test]
    fn ports_without_queues_are_named() {
        let note = |actions: &str| {
            let mut seen = IneffectiveParts::default();
            let rule = parse_flow(&format!("actions={actions}"), &ParseContext::default());
            seen.look_at_rule(&rule.expect("a rule"));
            seen.note_of_queues(&[2, 3, 4].into_iter().collect()).unwrap_or_default()
        };
        assert_eq!(note("enqueue:1:1,2,set_queue:1,1,pop_queue,2"), "");
        let what = "only network devices have queues, and other ports send in order";
        assert_eq!(note("enqueue:2:1"), format!("port 2 has no queues: {what}"));
        let several = "set_queue:1,1,clone(enqueue:4:1),2,output(port=3,max_len=64)";
        assert_eq!(note(several), format!("ports 2, 3, 4 have no queues: {what}"));
    }

    #[test]
    fn buckets_are_looked_at() {
        let context = ParseContext { version: OfVersion::OpenFlow13, ..ParseContext::default() };
        let text = "group_id=1,type=all,bucket=output:1,bucket=set_queue:61440,output:77";
        let change = parse_group(text, GroupCommand::Add, &context).expect("a group");
        let mut seen = IneffectiveParts::default();
        seen.look_at_group(&change);
        assert_eq!(seen.notes(&ports(), |group| group == GroupId(3), false).len(), 2);
    }
}

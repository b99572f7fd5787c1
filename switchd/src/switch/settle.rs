//! Brings counters up to date: those of rules, groups and patch ports, and the ages of hosts.
//!
//! A worker counts what it forwards in its cached flows, which alone it writes. The counters that others read
//! get it from there, in two steps. First every worker comes to the end of its batch, so that it judges no
//! frame any more by what was there before. Then the cached flows hand over what they have counted. Without the
//! first step, a rule that was removed would miss the frames of batches that were under way.

use super::{Switch, WorkerHandle};
use crate::worker::Command;
use crossbeam::channel;
use std::sync::Arc;

impl Switch {
    /// Returns once every frame that was received before the call is counted by the rules that forwarded it,
    /// removed ones too.
    ///
    /// Waits for the batches that workers are at. The caller must hold no lock of the policy: a worker may need
    /// it to finish its batch.
    pub fn settle(&self) {
        self.settler()();
    }

    /// What [`Switch::settle`] does, for another thread.
    pub(super) fn settler(&self) -> impl Fn() + Send + 'static {
        let link = |worker: &WorkerHandle| {
            (worker.commands.clone(), Arc::clone(&worker.wake), Arc::clone(&worker.registry))
        };
        let links: Vec<_> = self.workers.iter().map(link).collect();
        let kernel = self.kernel.cache().cloned();
        move || {
            let (done, finished) = channel::bounded(links.len());
            for (commands, wake, _) in &links {
                if commands.send(Command::EndOfBatch { done: done.clone() }).is_ok() {
                    let _ = wake.write(1);
                }
            }
            drop(done);
            // Ends when every worker has answered, or is gone.
            finished.iter().for_each(drop);
            if let Some(kernel) = &kernel {
                kernel.collect();
            }
            links.iter().for_each(|(_, _, registry)| registry.push_stats());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::event::{Event, Kinds, RuleChange, What};
    use crate::bridge::subscription::{Interest, Item};
    use crate::desired::{DEFAULT_BRIDGE, Desired};
    use crate::switch::Config;
    use flow::flow_mod::{Command as FlowCommand, FlowMod};
    use flow::text::{ParseContext, parse_flow};
    use flowtable::policy::rule::Removal;
    use lab::eventually;
    use ports::dummy::{self, Dummy, DummyOptions};

    /// Frames that are cached before the rule is removed, so that those behind them
    /// are forwarded from the cache.
    const WARM: u64 = 3;
    /// Frames that a worker is at when the rule is removed.
    const UNDER_WAY: u64 = 8;

    fn rule(command: FlowCommand, text: &str) -> FlowMod {
        parse_flow(text, &ParseContext { command, ..ParseContext::default() }).unwrap()
    }

    fn frame(dst: [u8; 2]) -> Vec<u8> {
        [&[2, 0, 0, 0][..], &dst, &[2, 0, 0, 0, 0, 0xaa, 0x88, 0xb5], &[0; 46]].concat()
    }

    fn removed_with(event: &Event) -> Option<u64> {
        match &event.what {
            What::Rule(rule) if rule.change == RuleChange::Removed(Removal::Delete) => {
                Some(rule.rule.stats.totals().0)
            }
            _ => None,
        }
    }

    /// Removes a rule while a worker is in the middle of a batch that the rule forwards from the cache: its
    /// first frame has to be translated, and waits for a lock that this thread holds. Returns how many frames
    /// the rule has forwarded, and how many of them are in the counters with which its removal was told.
    fn remove_in_mid_batch(switch: &Switch, near: &Dummy, far: &Dummy, round: u8) -> (u64, u64) {
        let bridge = switch.policy().find_bridge(DEFAULT_BRIDGE).unwrap();
        let new_host = format!("priority=9,dl_dst=02:00:00:00:01:{round:02x},actions=drop");
        let forwards = "priority=9,dl_dst=02:00:00:00:00:02,actions=output:2";
        let added = [rule(FlowCommand::Add, forwards), rule(FlowCommand::Add, &new_host)];
        bridge.apply(&added, switch.now()).unwrap();
        let before = far.sent_count();
        for sent in 1..=WARM {
            near.inject(&frame([0, 2]));
            eventually("a frame to be sent", || far.sent_count() == before + sent).unwrap();
        }
        let interest = Interest { bridge: None, kinds: Kinds::RULES };
        let subscription = switch.bridge_events().subscribe(interest).unwrap();
        let mut told = Vec::new();
        let mut removal = || {
            told.extend(subscription.take());
            told.iter().find_map(|item| match item {
                Item::Event(event) => removed_with(event),
                Item::Connection(_) | Item::Lost(_) => None,
            })
        };
        let mut removing = bridge.begin();
        removing
            .apply(&rule(FlowCommand::Delete, "dl_dst=02:00:00:00:00:02"), switch.now())
            .unwrap();
        bridge.with_macs(|_| {
            let cached = std::iter::repeat_n(frame([0, 2]), UNDER_WAY as usize);
            near.inject_all(std::iter::once(frame([1, round])).chain(cached));
            eventually("the worker to take the frames", || near.pending() == 0).unwrap();
            removing.commit();
            let is_asked = || !switch.workers[0].commands.is_empty();
            eventually("the barrier, or the removal without one", || {
                is_asked() || removal().is_some()
            })
            .unwrap();
        });
        let mut counted = None;
        eventually("the removal", || {
            counted = removal();
            counted.is_some()
        })
        .unwrap();
        switch.settle();
        (far.sent_count() - before, counted.unwrap())
    }

    #[test]
    fn a_rule_that_is_removed_in_mid_batch_counts_all_that_it_forwards() {
        let switch = Switch::start(Config::new(Desired::one_bridge())).unwrap();
        let open = |name| {
            let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
            far
        };
        let (near, far) = (open("p1"), open("p2"));
        let bridge = switch.policy().find_bridge(DEFAULT_BRIDGE).unwrap();
        bridge.apply(&[rule(FlowCommand::Delete, "")], switch.now()).unwrap();
        // In a round where the worker looks at the rules only after the removal, nothing is under way.
        let was_under_way = (0..=u8::MAX).any(|round| {
            let (forwarded, counted) = remove_in_mid_batch(&switch, &near, &far, round);
            assert_eq!(counted, forwarded, "round {round}");
            forwarded == WARM + UNDER_WAY
        });
        assert!(was_under_way, "no worker was in the middle of a batch");
    }
}

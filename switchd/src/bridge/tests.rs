//! What subscribers of a whole switch are told.

use super::event::{Event, Kinds, RuleChange, What};
use super::subscription::{Interest, Item, Subscription};
use crate::desired::{DEFAULT_BRIDGE, Desired};
use crate::switch::{Config, Switch};
use flow::text::{ParseContext, parse_flow};
use flowtable::policy::rule::Removal;
use ports::dummy::{self, Dummy, DummyOptions};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn switch() -> (Switch, Dummy, Dummy) {
    let switch = Switch::start(Config::new(Desired::one_bridge())).unwrap();
    let open = |name| {
        let (port, far) = dummy::open(name, DummyOptions::default()).unwrap();
        switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
        far
    };
    let (first, second) = (open("p1"), open("p2"));
    (switch, first, second)
}

fn add(switch: &Switch, rule: &str) {
    let rule = parse_flow(rule, &ParseContext::default()).unwrap();
    let bridge = switch.policy().find_bridge(DEFAULT_BRIDGE).unwrap();
    bridge.apply(&[rule], switch.now()).unwrap();
}

fn subscribe(switch: &Switch, kinds: Kinds) -> Watcher {
    let interest = Interest { bridge: Some(DEFAULT_BRIDGE.into()), kinds };
    let subscription = switch.bridge_events().subscribe(interest).unwrap();
    Watcher { subscription, items: VecDeque::new() }
}

struct Watcher {
    subscription: Subscription,
    items: VecDeque<Item>,
}

impl Watcher {
    /// The next event, which has to come.
    fn next(&mut self) -> Arc<Event> {
        let Self { subscription, items } = self;
        lab::eventually("an event", || {
            items.extend(subscription.take());
            !items.is_empty()
        })
        .unwrap();
        match items.pop_front() {
            Some(Item::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The next event about a rule: what became of it, and how many packets it has counted.
    fn next_rule(&mut self) -> (RuleChange, u64) {
        match &self.next().what {
            What::Rule(rule) => (rule.change, rule.rule.stats.totals().0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_last_counters_of_removed_rules_miss_no_packet() {
    const REPLACEMENTS: usize = 100;
    let (switch, near, far) = switch();
    let mut watcher = subscribe(&switch, Kinds::RULES);
    let rule = "priority=9,in_port=1,actions=output:2";
    add(&switch, rule);
    assert_eq!(watcher.next_rule(), (RuleChange::Added, 0));
    let is_over = AtomicBool::new(false);
    let frame = [&[2; 12][..], &[0x88, 0xb5], &[0; 46]].concat();
    let (sent, counted) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                // Neither port has more than it holds, so that no frame is lost.
                while far.next_sent().is_some() {}
                if sent - far.sent_count() < 64 {
                    near.inject(&frame);
                    sent += 1;
                }
            }
            sent
        });
        let mut counted = 0;
        for _ in 0..REPLACEMENTS {
            add(&switch, rule);
            let (change, packets) = watcher.next_rule();
            assert_eq!(change, RuleChange::Removed(Removal::Replaced));
            counted += packets;
            assert_eq!(watcher.next_rule().0, RuleChange::Added);
        }
        is_over.store(true, Ordering::Relaxed);
        (sender.join().unwrap(), counted)
    });
    lab::eventually("all frames to be sent", || far.sent_count() == sent).unwrap();
    let delete =
        ParseContext { command: flow::flow_mod::Command::Delete, ..ParseContext::default() };
    let delete = parse_flow("in_port=1", &delete).unwrap();
    switch.policy().find_bridge(DEFAULT_BRIDGE).unwrap().apply(&[delete], switch.now()).unwrap();
    let (change, last) = watcher.next_rule();
    assert_eq!(change, RuleChange::Removed(Removal::Delete));
    assert_eq!(counted + last, sent, "every packet was counted by the rule that forwarded it");
}

#[test]
fn rules_whose_time_is_over_say_which_time() {
    let (switch, ..) = switch();
    let mut watcher = subscribe(&switch, Kinds::RULES);
    add(&switch, "idle_timeout=10,udp,actions=drop");
    add(&switch, "hard_timeout=20,tcp,actions=drop");
    assert_eq!(watcher.next_rule().0, RuleChange::Added);
    assert_eq!(watcher.next_rule().0, RuleChange::Added);
    switch.policy().expire(switch.now() + Duration::from_secs(15));
    assert_eq!(watcher.next_rule().0, RuleChange::Removed(Removal::Idle));
    switch.policy().expire(switch.now() + Duration::from_secs(25));
    assert_eq!(watcher.next_rule().0, RuleChange::Removed(Removal::Hard));
}

#[test]
fn bridges_come_and_go_with_what_they_have() {
    let (switch, ..) = switch();
    let interest = Interest { bridge: None, kinds: Kinds::RULES | Kinds::BRIDGES };
    let subscription = switch.bridge_events().subscribe(interest).unwrap();
    let mut watcher = Watcher { subscription, items: VecDeque::new() };
    switch.add_bridge(crate::desired::Bridge::new("br1")).unwrap();
    switch.remove_bridge("br1").unwrap();
    let mut told = || {
        let event = watcher.next();
        assert_eq!(&*event.bridge, "br1");
        event.what.clone()
    };
    assert!(matches!(told(), What::BridgeAdded));
    assert!(matches!(told(), What::Rule(rule) if rule.change == RuleChange::Added));
    let gone = RuleChange::Removed(Removal::Delete);
    assert!(matches!(told(), What::Rule(rule) if rule.change == gone));
    assert!(matches!(told(), What::BridgeRemoved));
}

#[test]
fn connections_are_watched_while_somebody_wants_them() {
    let (switch, near, far) = switch();
    add(&switch, "priority=9,in_port=1,udp,actions=ct(commit),output:2");
    let interest = || Interest { bridge: Some("br7".into()), kinds: Kinds::CONNECTIONS };
    let events = switch.policy().connections().events();
    let mut sent = 0;
    let mut send = || {
        // A datagram without checksum from a new port to port 53.
        sent += 1;
        let mut frame = [&[2; 12][..], &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17]].concat();
        frame.extend([0x66, 0xcf, 10, 0, 0, 1, 10, 0, 0, 2, 3, sent, 0, 53, 0, 8, 0, 0]);
        near.inject(&frame);
        lab::eventually("the frame", || far.sent_count() == u64::from(sent)).unwrap();
    };
    send();
    assert!(!events.is_watched());
    let other = subscribe(&switch, Kinds::ALL);
    assert!(!events.is_watched());
    let [first, second] = [(); 2].map(|()| switch.bridge_events().subscribe(interest()).unwrap());
    assert!(events.is_watched(), "before anything is asked");
    send();
    drop(second);
    let next = |subscription: &Subscription| {
        let mut items = VecDeque::new();
        lab::eventually("an event", || {
            items.extend(subscription.take());
            !items.is_empty()
        })
        .unwrap();
        assert!(matches!(items.pop_front(), Some(Item::Connection(_))));
        assert!(items.is_empty());
    };
    next(&first);
    switch.sweep();
    assert!(events.is_watched());
    send();
    next(&first);
    drop(first);
    // Nothing has to happen to connections.
    switch.sweep();
    assert!(!events.is_watched());
    let told = |item| matches!(item, Item::Connection(_));
    assert!(!other.subscription.take().into_iter().any(told));
}

#[test]
fn nobody_is_listened_for_who_has_gone() {
    let (switch, ..) = switch();
    let events = switch.bridge_events();
    for _ in 0..100 {
        drop(subscribe(&switch, Kinds::ALL));
        // Lets the thread that tells events come past the subscription.
        let mut watcher = subscribe(&switch, Kinds::RULES);
        add(&switch, "udp,actions=drop");
        watcher.next();
    }
    let mut last = subscribe(&switch, Kinds::RULES);
    drop(events.subscribe(Interest { bridge: None, kinds: Kinds::ALL }).unwrap());
    add(&switch, "tcp,actions=drop");
    assert_eq!(last.next_rule().0, RuleChange::Added);
}

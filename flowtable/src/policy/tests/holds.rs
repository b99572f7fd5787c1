//! However many rules, groups and hosts there are, none of the things that somebody may ask for looks at
//! more than a few of them under one lock. And what comes of looking in slices is what comes of looking at all.

use super::*;
use crate::policy::mac_table::{HostRef, MacKey};
use crate::policy::xlate::Learn;
use flow::group::GroupMod;
use flow::text::GroupCommand;
use flow::types::{GroupId, MacAddr, OfPort};
use std::collections::BTreeMap;

const RULES: usize = 20_000;
const GROUPS: usize = 2000;
/// For each rule of a slice: where it is, its rank among those of its bucket, and rules that
/// are moved on the way.
const LIMIT: u64 = 48 * SLICE as u64;

/// Rules that use groups 1 to `GROUPS`, one each.
fn crowd() -> Vec<FlowMod> {
    let rule = |n: usize| {
        let (port, group) = (1 + n % 4, 1 + n % GROUPS);
        let matching = format!("ip,nw_dst=10.{}.{}.0/24,in_port={port}", n / 256 / 4, n / 4 % 256);
        let text = format!("cookie={n},priority=7,{matching},actions=2,group:{group}");
        parse_flow(&text, &context(Command::Add)).expect(&text)
    };
    (0..RULES).map(rule).collect()
}

fn group(text: &str, command: GroupCommand) -> GroupMod {
    let context = ParseContext { version: OfVersion::OpenFlow15, ..context(Command::Add) };
    parse_group(text, command, &context).expect(text)
}

fn request(text: &str, command: Command) -> FlowMod {
    parse_flow(text, &context(command)).expect(text)
}

fn bridge(p: &Policy) -> Bridge<'_> {
    p.bridge(BridgeId::FIRST)
}

fn crowded() -> Policy {
    let p = policy(&[]);
    let mut transaction = bridge(&p).begin();
    for id in 1..=GROUPS {
        let text = format!("group_id={id},type=all,bucket=output:3");
        transaction.apply_group(&group(&text, GroupCommand::Add), NOW).unwrap();
    }
    transaction.apply_all(&crowd(), NOW).unwrap();
    transaction.commit();
    p
}

/// Cookies of the rules that a request names, in their order.
fn cookies(p: &Policy, filter: &str) -> Vec<u64> {
    let filter = request(filter, Command::Delete);
    let (mut walk, mut cookies) = (bridge(p).walk(&filter), Vec::new());
    while walk.next_slice(|entry| cookies.push(entry.value.cookie.0)) {}
    cookies.sort_unstable();
    cookies
}

fn group_ids(p: &Policy) -> Vec<u32> {
    let (mut walk, mut ids) = (bridge(p).walk_groups(), Vec::new());
    while let Some(slice) = walk.next_slice() {
        ids.extend(slice.iter().map(|entry| entry.group.id.0));
    }
    ids
}

/// Users of each group, found by looking at every rule.
fn users_by_scan(p: &Policy) -> BTreeMap<u32, u32> {
    let every = request("", Command::Delete);
    let ids = group_ids(p);
    let mut users: BTreeMap<u32, u32> = ids.iter().map(|id| (*id, 0)).collect();
    let mut walk = bridge(p).walk(&every);
    while walk.next_slice(|entry| {
        for (id, users) in &mut users {
            *users += u32::from(entry.value.uses_group(GroupId(*id)));
        }
    }) {}
    users
}

fn users(p: &Policy) -> BTreeMap<u32, u32> {
    let walk = bridge(p).walk_groups();
    group_ids(p).into_iter().map(|id| (id, walk.users_of(GroupId(id)))).collect()
}

#[track_caller]
fn check<R>(p: &Policy, what: &str, work: impl FnOnce() -> R) -> R {
    p.take_longest_hold();
    let result = work();
    let Some(longest) = p.take_longest_hold() else { return result };
    assert!(0 < longest && longest <= LIMIT, "{what}: {longest} were looked at under one lock");
    result
}

#[test]
fn the_count_notices_who_looks_at_everything() {
    let p = crowded();
    p.take_longest_hold();
    let all = {
        let snapshot = bridge(&p).snapshot();
        snapshot.tables().rules(None, snapshot.version()).count()
    };
    assert_eq!(all, RULES);
    assert!(p.take_longest_hold().is_none_or(|longest| longest >= RULES as u64));
}

#[test]
fn nothing_looks_at_more_than_a_few_rules_or_groups_under_one_lock() {
    let p = policy(&[]);
    check(&p, "adding groups and rules", || {
        let mut transaction = bridge(&p).begin();
        for id in 1..=GROUPS {
            let text = format!("group_id={id},type=all,bucket=group:{},bucket=output:3", id + 1);
            transaction.apply_group(&group(&text, GroupCommand::Add), NOW).unwrap();
        }
        transaction.expect(&crowd()[..2000], RULES);
        transaction.apply_all(&crowd(), NOW).unwrap();
        transaction.commit();
    });
    check(&p, "listing rules", || assert_eq!(cookies(&p, "").len(), RULES));
    check(&p, "listing few of them", || assert_eq!(cookies(&p, "cookie=5/-1"), [5]));
    check(&p, "looking for users", || {
        let filter = format!("out_group={GROUPS}");
        assert_eq!(cookies(&p, &filter).len(), RULES / GROUPS);
    });
    check(&p, "counting the users of groups", || {
        assert!(users(&p).values().all(|users| *users as usize == RULES / GROUPS));
    });
    check(&p, "a chain of groups that closes", || {
        let text = format!("group_id={GROUPS},type=all,bucket=group:1");
        let closing = group(&text, GroupCommand::Modify);
        let refused = bridge(&p).begin().apply_group(&closing, NOW);
        assert_eq!(refused, Err(FlowModError::GroupLoop(GROUPS as u32)));
    });
    check(&p, "replacing rules", || bridge(&p).apply(&crowd(), NOW).unwrap());
    check(&p, "adding a rule that may overlap with none", || {
        let apart = request("check_overlap,priority=7,arp,actions=2", Command::Add);
        bridge(&p).apply(&[apart], NOW).unwrap();
    });
    check(&p, "deleting all rules but some", || {
        let mut transaction = bridge(&p).begin();
        let arp = request("priority=7,arp", Command::DeleteStrict);
        let kept = transaction.rule_like(&arp).map(|rule| rule.place());
        assert_eq!(transaction.delete_all_but(&kept.into_iter().collect()), RULES);
    });
    check(&p, "deleting one rule", || {
        let arp = request("priority=7,arp", Command::DeleteStrict);
        bridge(&p).apply(&[arp], NOW).unwrap();
    });
    check(&p, "changing all rules", || {
        bridge(&p).apply(&[request("ip,actions=3,group:9", Command::Modify)], NOW).unwrap();
    });
    check(&p, "freeing", || while p.purge() {});
    assert_eq!(users(&p)[&9] as usize, RULES);
    check(&p, "taking back the deletion of a group", || {
        bridge(&p).begin().apply_group(&GroupMod::Delete(GroupId(9)), NOW).unwrap();
    });
    assert_eq!(cookies(&p, "").len(), RULES);
    check(&p, "deleting all groups", || {
        let mut transaction = bridge(&p).begin();
        transaction.apply_group(&GroupMod::Delete(GroupId::ALL), NOW).unwrap();
        transaction.commit();
    });
    assert!(group_ids(&p).is_empty() && cookies(&p, "").is_empty());
    check(&p, "freeing rules and groups", || while p.purge() {});
    assert_eq!(bridge(&p).snapshot().tables().removed_len(), 0);
}

#[test]
fn nothing_looks_at_more_than_a_few_hosts_under_one_lock() {
    const HOSTS: u32 = 4000;
    let p = policy(&[]);
    let b = bridge(&p);
    let hosts: Vec<Learn> = (0..HOSTS)
        .map(|n| {
            let [_, high, middle, low] = n.to_be_bytes();
            let key = MacKey { vlan: 0, mac: MacAddr([2, 0, 0, high, middle, low]) };
            let host = HostRef { bridge: b.id(), key };
            Learn { host, port: OfPort(1 + (n % 4) as u16) }
        })
        .collect();
    b.limit_hosts(HOSTS as usize, Duration::from_secs(300));
    check(&p, "learning hosts", || {
        hosts.chunks(SLICE).for_each(|slice| assert!(p.learn(slice, NOW).is_any));
    });
    check(&p, "listing hosts", || assert_eq!(b.hosts().len(), HOSTS as usize));
    check(&p, "forgetting hosts of a port", || {
        assert_eq!(b.flush_hosts(Some(OfPort(1))), HOSTS as usize / 4);
    });
    check(&p, "evicting hosts", || b.limit_hosts(2000, Duration::from_secs(300)));
    check(&p, "expiring hosts", || {
        assert_eq!(b.sweep_hosts(NOW + Duration::from_secs(400)), 2000);
    });
    assert!(b.hosts().is_empty());
}

#[test]
fn a_group_walk_shows_the_groups_as_they_were_when_it_began() {
    let p = crowded();
    let mut walk = bridge(&p).walk_groups();
    let mut ids: Vec<u32> =
        walk.next_slice().unwrap().iter().map(|entry| entry.group.id.0).collect();
    let mut transaction = bridge(&p).begin();
    transaction.apply_group(&GroupMod::Delete(GroupId::ALL), NOW).unwrap();
    transaction.commit();
    add_groups(&p, &["group_id=77,type=all,bucket=output:1"]);
    while p.purge() {}
    while let Some(slice) = walk.next_slice() {
        ids.extend(slice.iter().map(|entry| entry.group.id.0));
    }
    assert!(ids.into_iter().eq(1..=GROUPS as u32));
    assert_eq!(walk.users_of(GroupId(77)) as usize, RULES / GROUPS);
    assert_eq!(bridge(&p).walk_groups().users_of(GroupId(77)), 0);
    drop(walk);
    while p.purge() {}
    assert_eq!((group_ids(&p), bridge(&p).snapshot().tables().removed_len()), (vec![77], 0));
}

#[test]
fn users_of_groups_are_those_that_a_scan_finds() {
    let p = policy(&[]);
    let mut random = 1u64;
    let mut below = move |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % n
    };
    for step in 0..400 {
        let mut transaction = bridge(&p).begin();
        for _ in 0..below(40) {
            let (id, other, host) = (below(12), below(12), below(60));
            let rule = format!("nw_dst=10.0.0.{host},ip");
            // Refused if a group does not exist; what was prepared before stays.
            let _ = match below(12) {
                0 => transaction.apply_group(&GroupMod::Delete(GroupId(id as u32)), NOW),
                1 if step % 50 == 49 => {
                    transaction.apply_group(&GroupMod::Delete(GroupId::ALL), NOW)
                }
                1..4 => {
                    let text = format!("group_id={id},type=all,bucket=output:1");
                    transaction.apply_group(&group(&text, GroupCommand::AddOrModify), NOW)
                }
                4 => transaction.apply(&request(&rule, Command::Delete), NOW),
                5 => {
                    let text = format!("ip,actions=group:{id}");
                    transaction.apply(&request(&text, Command::Modify), NOW)
                }
                6 => transaction.apply(&request(&format!("{rule},actions=1"), Command::Add), NOW),
                _ => {
                    let text = format!("{rule},actions=clone(group:{id}),group:{other},group:{id}");
                    transaction.apply(&request(&text, Command::Add), NOW)
                }
            };
        }
        if below(3) > 0 {
            transaction.commit();
        } else {
            drop(transaction);
        }
        assert_eq!(users(&p), users_by_scan(&p), "step {step}");
        if below(4) == 0 {
            while p.purge() {}
        }
    }
    let rules = cookies(&p, "").len();
    assert!(rules > 0 && users(&p).values().any(|users| *users > 1));
}

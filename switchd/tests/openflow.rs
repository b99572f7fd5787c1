//! Real `ovs-ofctl` drives the switch in six versions of OpenFlow, and prints what it prints of Open vSwitch.
//!
//! `data/ovs-ofctl-1N.txt` have commands and what they printed of Open vSwitch 3.1; `openflow/tests/record`
//! makes them. Without `ovs-ofctl` these tests are skipped, unless `SWITCHD_REQUIRE` names `interop`.

#[path = "openflow/errors.rs"]
mod errors;
mod served;

use flow::table_mod::TableSettings;
use flow::types::{OfVersion, TableId};
use served::{Served, has_ofctl, plain, sorted};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use switchd::desired::{self, DEFAULT_BRIDGE};

/// Commands whose answers tell of the switch that was asked.
fn is_about_the_switch(command: &[&str]) -> bool {
    command.contains(&"dump-desc") || command.contains(&"dump-group-features")
}

fn check(version: OfVersion, text: &str) {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let mut wrong = String::new();
    for block in text.split("\n# ") {
        let block = block.strip_prefix("# ").unwrap_or(block);
        let (command, rest) = block.split_once('\n').unwrap();
        let (status, expected) = rest.split_once('\n').unwrap_or((rest, ""));
        let words: Vec<&str> = command.split('\t').collect();
        let output = served.ofctl(version, &words);
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let status = status.strip_prefix("= ").unwrap();
        let got_status = output.status.code().unwrap().to_string();
        let (mut got, mut expected) = (plain(&printed.concat()), plain(expected));
        if words.iter().any(|word| ["dump-flows", "dump-groups", "dump-group-stats"].contains(word))
        {
            // Neither switch promises an order.
            (got, expected) = (sorted(&got), sorted(&expected));
        }
        let is_same = got == expected || is_about_the_switch(&words);
        // Open vSwitch cannot remark.
        let is_same = is_same || got.replace("drop dscp_remark", "drop") == expected;
        if got_status != status || !is_same {
            wrong += &format!(
                "--- {command}: {got_status}, not {status}\n{got}--- expected\n{expected}"
            );
        }
    }
    assert!(wrong.is_empty(), "{version:?}\n{wrong}");
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_0() {
    check(OfVersion::OpenFlow10, include_str!("data/ovs-ofctl-10.txt"));
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_1() {
    check(OfVersion::OpenFlow11, include_str!("data/ovs-ofctl-11.txt"));
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_2() {
    check(OfVersion::OpenFlow12, include_str!("data/ovs-ofctl-12.txt"));
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_3() {
    check(OfVersion::OpenFlow13, include_str!("data/ovs-ofctl-13.txt"));
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_4() {
    check(OfVersion::OpenFlow14, include_str!("data/ovs-ofctl-14.txt"));
}

#[test]
fn ovs_ofctl_drives_the_switch_in_1_5() {
    check(OfVersion::OpenFlow15, include_str!("data/ovs-ofctl-15.txt"));
}

#[test]
fn ovs_ofctl_replaces_and_compares_rules() {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let file = served.folder.join("rules");
    std::fs::write(&file, "priority=5,ip,actions=output:1\npriority=6,arp,actions=output:2\n")
        .unwrap();
    let file = file.to_str().unwrap();
    for version in [OfVersion::OpenFlow10, OfVersion::OpenFlow13, OfVersion::OpenFlow14] {
        let mut words = vec!["replace-flows", file];
        if version > OfVersion::OpenFlow10 {
            words.insert(0, "--bundle");
        }
        let replaced = served.ofctl(version, &words);
        assert!(replaced.status.success(), "{version:?}: {replaced:?}");
        let same = served.ofctl(version, &["diff-flows", file]);
        assert_eq!((same.status.code(), &same.stdout[..]), (Some(0), &b""[..]), "{same:?}");
        let added = served.ofctl(version, &["add-flows", file]);
        assert!(added.status.success(), "{added:?}");
        let extra = served.ofctl(version, &["add-flow", "priority=7,udp,actions=drop"]);
        assert!(extra.status.success(), "{extra:?}");
        let other = served.ofctl(version, &["diff-flows", file]);
        assert_eq!(other.status.code(), Some(2), "{other:?}");
        assert!(String::from_utf8_lossy(&other.stdout).contains("udp"), "{other:?}");
    }
}

#[test]
fn a_bundle_takes_effect_as_a_whole_or_not_at_all() {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let rules = || {
        served
            .switch
            .on(DEFAULT_BRIDGE)
            .unwrap()
            .bridge()
            .snapshot()
            .tables()
            .len(Default::default())
    };
    let before = rules();
    let file = served.folder.join("rules");
    // The second rule overlaps with the first one.
    std::fs::write(
        &file,
        "priority=5,ip,actions=output:1\ncheck_overlap,priority=5,ip,nw_src=10.0.0.1,actions=output:2\n",
    )
    .unwrap();
    for version in [OfVersion::OpenFlow13, OfVersion::OpenFlow14, OfVersion::OpenFlow15] {
        let failed = served.ofctl(version, &["--bundle", "add-flows", file.to_str().unwrap()]);
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        let printed = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(printed.contains("OFPFMFC_OVERLAP"), "{printed}");
        assert_eq!(rules(), before, "{version:?}");
    }
}

#[test]
fn a_packet_out_leaves_through_its_port() {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let frame = "ffffffffffff02000000000188b50000";
    for version in OfVersion::ALL {
        let text = format!("in_port=controller packet={frame} actions=output:2");
        let sent = served.ofctl(version, &["packet-out", &text]);
        assert!(sent.status.success(), "{version:?}: {sent:?}");
        lab::eventually("the frame leaves", || served.far[1].next_sent().is_some()).unwrap();
    }
}

#[test]
fn a_bridge_has_a_socket_as_long_as_it_exists() {
    let served = Served::start();
    let path = served.folder.join("br1.mgmt");
    assert!(served.socket().exists() && !path.exists());
    served.switch.add_bridge(desired::Bridge::new("br1")).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    served.switch.remove_bridge("br1").unwrap();
    assert!(!path.exists());
}

/// Reads until the peer has closed the connection.
fn until_closed(stream: &mut UnixStream) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).unwrap();
    read
}

const HELLO_10: [u8; 8] = [1, 0, 0, 8, 0, 0, 0, 1];

#[test]
fn a_wrong_message_gets_an_error_and_a_wrong_length_ends_the_connection() {
    let served = Served::start();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.write_all(&HELLO_10).unwrap();
    // An unknown type, then a barrier, then a length that is less than a header.
    stream.write_all(&[1, 99, 0, 8, 0, 0, 0, 7]).unwrap();
    stream.write_all(&[1, 18, 0, 8, 0, 0, 0, 8]).unwrap();
    stream.write_all(&[1, 2, 0, 7, 0, 0, 0, 9]).unwrap();
    let read = until_closed(&mut stream);
    let replies = &read[16..];
    assert_eq!(replies[..12], [1, 1, 0, 20, 0, 0, 0, 7, 0, 1, 0, 1], "OFPBRC_BAD_TYPE");
    assert_eq!(replies[12..20], [1, 99, 0, 8, 0, 0, 0, 7], "the request");
    assert_eq!(replies[20..], [1, 19, 0, 8, 0, 0, 0, 8], "the barrier");
}

#[test]
fn a_message_of_another_version_is_refused_in_that_version() {
    let served = Served::start();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.write_all(&HELLO_10).unwrap();
    // Requests for features in OpenFlow 1.3 and in a version that does not exist, then a
    // barrier and a wrong length.
    for message in [[4, 5, 0, 8, 0, 0, 0, 7], [9, 5, 0, 8, 0, 0, 0, 8]] {
        stream.write_all(&message).unwrap();
    }
    stream.write_all(&[1, 18, 0, 8, 0, 0, 0, 9, 1, 2, 0, 7, 0, 0, 0, 10]).unwrap();
    let read = until_closed(&mut stream);
    let replies = &read[16..];
    assert_eq!(replies[..12], [4, 1, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0], "OFPBRC_BAD_VERSION");
    assert_eq!(replies[20..32], [1, 1, 0, 20, 0, 0, 0, 8, 0, 1, 0, 0], "OFPBRC_BAD_VERSION");
    assert_eq!(replies[40..], [1, 19, 0, 8, 0, 0, 0, 9], "the barrier");
}

#[test]
fn lists_of_tables_tell_how_many_rules_a_table_takes() {
    if !has_ofctl() {
        return;
    }
    let served = Served::start();
    let table = TableId::new(3).unwrap();
    let limited = TableSettings { flow_limit: Some(1024), ..TableSettings::default() };
    let changed = served
        .switch
        .change_bridge(DEFAULT_BRIDGE, |bridge| bridge.tables.set(table, limited.clone()));
    changed.unwrap();
    for (version, verb) in [
        (OfVersion::OpenFlow10, "dump-tables"),
        (OfVersion::OpenFlow12, "dump-tables"),
        (OfVersion::OpenFlow13, "dump-table-features"),
        (OfVersion::OpenFlow15, "dump-table-features"),
    ] {
        let printed = served.ofctl(version, &[verb]);
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let of_table = printed.split("\n\n").find(|part| part.contains("  table 3:"));
        assert!(of_table.is_some_and(|part| part.contains("max_entries=1024")), "{printed}");
    }
    // Who sends back what was told changes nothing but the name.
    let named = served.ofctl(OfVersion::OpenFlow15, &["mod-table", "3", "name:acl"]);
    assert!(named.status.success(), "{named:?}");
}

#[test]
fn a_peer_without_a_common_version_is_told_so() {
    let served = Served::start();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    // A bitmap with version 7 alone.
    stream.write_all(&[7, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x80]).unwrap();
    let read = until_closed(&mut stream);
    let error = &read[16..];
    assert_eq!((error[1], &error[8..12]), (1, &[0, 0, 0, 0][..]), "OFPHFC_INCOMPATIBLE");
    assert!(String::from_utf8_lossy(error).contains("no common version"));
}

#[test]
fn a_client_that_does_not_read_stalls_nobody() {
    let served = Served::start();
    let mut deaf = UnixStream::connect(served.socket()).unwrap();
    deaf.write_all(&HELLO_10).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // Requests for the statistics of tables, until the socket takes no more: nobody reads the replies.
    let request = [1, 16, 0, 12, 0, 0, 0, 2, 0, 3, 0, 0];
    while deaf.write(&request).is_ok() {}
    assert_others_are_served(&served);
}

/// A message of OpenFlow 1.4.
fn message_14(kind: u8, xid: u8, body: &[u8]) -> Vec<u8> {
    let len = (8 + body.len()) as u16;
    [&[5, kind], &len.to_be_bytes()[..], &[0, 0, 0, xid], body].concat()
}

/// Ryu's tests of switches and OFTest compare rules and groups with those that they have sent.
#[test]
fn rules_and_groups_are_told_with_the_actions_that_a_controller_has_sent() {
    let served = Served::start();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&message_14(0, 1, &[])).unwrap();
    // An output to port 2 with the `max_len` OFPCML_MAX, which Ryu writes into every output.
    let output = [0, 0, 0, 16, 0, 0, 0, 2, 0xff, 0xe5, 0, 0, 0, 0, 0, 0];
    let apply = [&[0, 4, 0, 24, 0, 0, 0, 0], &output[..]].concat();
    let everything = [0, 1, 0, 4, 0, 0, 0, 0];
    let fixed =
        [&[0; 16][..], &[0, 0, 0, 0, 0, 0, 0, 5], &[0xff; 12], &[0; 4], &everything].concat();
    let bucket = [&[0, 32, 0, 0][..], &[0xff; 8], &[0; 4], &output].concat();
    let group = [&[0, 0, 0, 0, 0, 0, 0, 9][..], &bucket].concat();
    let rules = [&[0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0][..], &[0xff; 8], &[0; 20], &everything];
    stream.write_all(&message_14(14, 2, &[fixed, apply.clone()].concat())).unwrap();
    stream.write_all(&message_14(15, 3, &group)).unwrap();
    stream.write_all(&message_14(18, 4, &rules.concat())).unwrap();
    stream.write_all(&message_14(18, 5, &[0, 7, 0, 0, 0, 0, 0, 0])).unwrap();
    for (kind, end) in [(0, &[][..]), (19, &apply), (19, &bucket)] {
        let mut message = vec![0; 8];
        stream.read_exact(&mut message).unwrap();
        message.resize(usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
        stream.read_exact(&mut message[8..]).unwrap();
        assert_eq!(message[1], kind, "{message:?}");
        assert!(message.ends_with(end), "{message:?}");
    }
}

/// Asserts that a new connection gets the reply to a barrier.
fn assert_others_are_served(served: &Served) {
    let mut other = UnixStream::connect(served.socket()).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    other.write_all(&HELLO_10).unwrap();
    other.write_all(&[1, 18, 0, 8, 0, 0, 0, 8]).unwrap();
    let mut reply = [0; 24];
    other.read_exact(&mut reply).unwrap();
    assert_eq!(reply[16..], [1, 19, 0, 8, 0, 0, 0, 8]);
}

#[test]
fn a_bundle_that_grows_too_large_is_refused_and_costs_nothing_afterwards() {
    const LIMIT: usize = 64 << 20;
    let served = Served::start();
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&message_14(0, 1, &[])).unwrap();
    let output = [0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let actions = output.repeat(4000);
    let apply =
        [&[0, 4], &(8 + actions.len() as u16).to_be_bytes()[..], &[0; 4], &actions].concat();
    let fixed =
        [&[0; 16][..], &[0, 0, 0, 0, 0, 0, 0, 5], &[0xff; 12], &[0; 4], &[0, 1, 0, 4, 0, 0, 0, 0]];
    let rule = message_14(14, 9, &[fixed.concat(), apply].concat());
    let control = |step: u8, xid| message_14(33, xid, &[0, 0, 0, 7, 0, step, 0, 0]);
    let add = message_14(34, 9, &[&[0, 0, 0, 7, 0, 0, 0, 0], &rule[..]].concat());
    stream.write_all(&control(0, 2)).unwrap();
    for _ in 0..LIMIT / rule.len() + 1 {
        stream.write_all(&add).unwrap();
    }
    assert_others_are_served(&served);
    stream.write_all(&control(4, 3)).unwrap();
    stream.write_all(&message_14(20, 4, &[])).unwrap();
    let mut next = || {
        let mut message = vec![0; 8];
        stream.read_exact(&mut message).unwrap();
        message.resize(usize::from(u16::from_be_bytes([message[2], message[3]])), 0);
        stream.read_exact(&mut message[8..]).unwrap();
        message
    };
    assert_eq!(next()[1], 0, "HELLO");
    assert_eq!(next()[1], 33, "the reply to the opening");
    // A message costs more than its bytes, so the last ones are refused.
    let mut refused = 0;
    // What was added before is carried out by the commit.
    let reply = loop {
        match next() {
            error if error[1] == 1 => {
                // OFPET_BUNDLE_FAILED, OFPBFC_MSG_TOO_MANY.
                assert_eq!(error[8..12], [0, 17, 0, 12]);
                refused += 1;
            }
            reply => break reply,
        }
    };
    assert!((1..=3).contains(&refused), "{refused} messages were refused");
    assert_eq!(reply[1], 33, "the reply to the commit");
    assert_eq!(next()[1], 21, "the reply to the barrier");
}

#[test]
fn garbage_ends_its_own_connection_at_most() {
    let served = Served::start();
    let mut state = 7u64;
    for _ in 0..200 {
        let mut stream = UnixStream::connect(served.socket()).unwrap();
        stream.write_all(&HELLO_10).unwrap();
        let garbage: Vec<u8> = (0..4096)
            .map(|_| {
                // Numerical Recipes' linear congruential generator.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        // The switch may have closed the connection before it has everything.
        let _ = stream.write_all(&garbage);
    }
    assert_others_are_served(&served);
}

#[test]
fn who_asks_for_echoes_and_does_not_read_stalls_nobody() {
    let served = Served::start();
    let mut deaf = UnixStream::connect(served.socket()).unwrap();
    deaf.write_all(&HELLO_10).unwrap();
    deaf.set_nonblocking(true).unwrap();
    let mut request = vec![1, 2, 0xff, 0xff, 0, 0, 0, 2];
    request.resize(0xffff, 0);
    let mut sent = 0;
    while let Ok(count) = deaf.write(&request) {
        sent += count;
        assert!(sent < 64 << 20, "the switch takes what it cannot answer");
    }
    assert_others_are_served(&served);
}

//! Messages are printed as `ovs-ofctl ofp-print` prints them: what the script `record` has recorded.

use oftext::Printer;

/// Compares every message of a recording.
fn check(recorded: &str) {
    let mut wrong = String::new();
    let mut count = 0;
    for part in recorded.split("> ").skip(1) {
        let (hex, expected) = part.split_once('\n').unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let printed = Printer::default().print(&bytes);
        count += 1;
        if printed != expected {
            wrong += &format!("{hex}\nexpected {expected}\nprinted  {printed}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 30, "{count} messages");
}

#[test]
fn messages_of_1_0_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-10.txt"));
}

#[test]
fn messages_of_1_1_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-11.txt"));
}

#[test]
fn messages_of_1_2_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-12.txt"));
}

#[test]
fn messages_of_1_3_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-13.txt"));
}

#[test]
fn messages_of_1_4_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-14.txt"));
}

#[test]
fn messages_of_1_5_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed-15.txt"));
}

#[test]
fn strange_messages_are_printed_as_ovs_ofctl_prints_them() {
    check(include_str!("data/printed.txt"));
}

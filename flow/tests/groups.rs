//! Parses groups and compares their dumps with those that Open vSwitch 3.1 printed.

use flow::group::{BucketPlace, Group, GroupMod, GroupStats, Selection};
use flow::text::{
    GroupCommand, NoPortNames, ParseContext, PrintOptions, parse_group, parse_group_file_line,
    write_group, write_group_stats,
};
use flow::types::{GroupId, OfVersion};
use std::time::Duration;

fn context(version: OfVersion) -> ParseContext<'static> {
    ParseContext { version, ..ParseContext::default() }
}

fn group(text: &str, version: OfVersion) -> Group {
    match parse_group(text, GroupCommand::Add, &context(version)) {
        Ok(GroupMod::Add(group)) => group,
        Ok(other) => panic!("{other:?}"),
        Err(error) => panic!("{}", error.render(text)),
    }
}

fn check(version: OfVersion, text: &str, dumped: OfVersion, expected: &str) {
    let group = group(text, version);
    let mut out = String::new();
    write_group(
        &mut out,
        &group,
        &PrintOptions { version: dumped, ports: &NoPortNames, stats: false, ages: true },
    );
    assert_eq!(out, expected);
}

#[test]
fn groups_are_dumped_as_open_vswitch_dumps_them() {
    use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow13, OpenFlow15};
    let ff = "group_id=1,type=ff,bucket=watch_port:10,actions=output:10,\
              bucket=watch_port:2,watch_group:3,action=mod_vlan_vid:5,output:3";
    check(
        OpenFlow13,
        ff,
        OpenFlow11,
        "group_id=1,type=ff,bucket=watch_port:10,actions=output:10,bucket=watch_port:2,\
         watch_group:3,actions=push_vlan:0x8100,set_vlan_vid:5,output:3",
    );
    check(
        OpenFlow13,
        ff,
        OpenFlow15,
        "group_id=1,type=ff,bucket=bucket_id:0,watch_port:10,actions=output:10,\
         bucket=bucket_id:1,watch_port:2,watch_group:3,\
         actions=push_vlan:0x8100,set_field:4101->vlan_vid,output:3",
    );
    check(
        OpenFlow13,
        "group_id=2,type=select,bucket=weight:5,mod_dl_src:00:00:00:00:00:01,output:3,\
         bucket=output:2,bucket=weight:0,drop",
        OpenFlow13,
        "group_id=2,type=select,bucket=weight:5,actions=set_field:00:00:00:00:00:01->eth_src,\
         output:3,bucket=actions=output:2,bucket=weight:0,actions=drop",
    );
    check(
        OpenFlow15,
        "group_id=3,type=select,selection_method=hash,selection_method_param=5,\
         fields(ip_src,tcp_dst=0xff00),bucket=bucket_id:5,output:2,\
         bucket=bucket_id:1,actions=set_field:5->reg0,2",
        OpenFlow10,
        "group_id=3,type=select,selection_method=hash,selection_method_param=5,\
         fields(ip_src,tcp_dst=65280),bucket=bucket_id:5,actions=output:2,\
         bucket=bucket_id:1,actions=load:0x5->NXM_NX_REG0[],output:2",
    );
    check(
        OpenFlow15,
        "group_id=5,type=select,selection_method=hash,fields=ip_src,bucket=output:2",
        OpenFlow15,
        "group_id=5,type=select,selection_method=hash,fields=ip_src,\
         bucket=bucket_id:0,actions=output:2",
    );
    check(OpenFlow13, "group_id=7,type=all", OpenFlow13, "group_id=7,type=all");
}

#[test]
fn dumps_parse_back() {
    for text in [
        "group_id=1,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:3,actions=drop",
        "group_id=2,type=ff,bucket=bucket_id:0,watch_port:2,watch_group:3,actions=output:3",
        "group_id=3,type=select,selection_method=dp_hash,bucket=bucket_id:0,weight:7,actions=exit",
    ] {
        check(OfVersion::OpenFlow15, text, OfVersion::OpenFlow15, text);
    }
}

#[test]
fn changes_name_a_place() {
    let context = context(OfVersion::OpenFlow15);
    let parse = |line| parse_group_file_line(line, GroupCommand::Add, &context).unwrap();
    assert_eq!(parse("delete"), GroupMod::Delete(GroupId::ALL));
    assert_eq!(parse("delete group_id=4"), GroupMod::Delete(GroupId(4)));
    assert_eq!(
        parse("remove_bucket group_id=4,command_bucket_id=all"),
        GroupMod::RemoveBuckets { group: GroupId(4), place: BucketPlace::All }
    );
    assert_eq!(
        parse("remove_bucket group_id=4"),
        parse("remove_bucket group_id=4,command_bucket_id=all")
    );
    let text = "insert_bucket group_id=4,bucket=actions=output:1";
    assert!(parse_group_file_line(text, GroupCommand::Add, &context).is_err());
    assert!(matches!(
        parse("insert_bucket group_id=4,command_bucket_id=7,bucket=actions=output:1"),
        GroupMod::InsertBuckets { group: GroupId(4), place: BucketPlace::Id(7), .. }
    ));
}

#[test]
fn nonsense_is_refused() {
    let context = context(OfVersion::OpenFlow13);
    for text in [
        "",
        "type=all",
        "group_id=1",
        "group_id=1,type=sekect",
        "group_id=4294967041,type=all",
        "group_id=1,type=indirect",
        "group_id=1,type=indirect,bucket=output:1,bucket=output:2",
        "group_id=1,type=all,bucket=weight:3,output:1",
        "group_id=1,type=all,bucket=watch_port:1,output:1",
        "group_id=1,type=ff,bucket=output:1",
        "group_id=1,type=all,bucket=",
        "group_id=1,type=all,bucket=goto_table:1",
        "group_id=1,type=all,bucket=bucket_id:1,output:1,bucket=bucket_id:1,output:1",
        "group_id=1,type=select,selection_method=hash,bucket=output:1",
        "group_id=1,type=all,fields=ip_src",
        "group_id=1,type=all,actions=output:1",
    ] {
        let result = parse_group(text, GroupCommand::Add, &context);
        assert!(result.is_err(), "{text}");
    }
}

#[test]
fn a_number_alone_is_told_what_it_lacks() {
    let text = "99";
    let error = parse_group(text, GroupCommand::Delete, &ParseContext::default()).unwrap_err();
    let expected = "unknown keyword \"99\"\n  99\n  ^^\nhint: write group_id=99";
    assert_eq!(error.render(text), expected);
}

#[test]
fn statistics_follow_the_version() {
    let stats = GroupStats {
        ref_count: 1,
        packets: 3,
        bytes: 180,
        duration: Duration::from_millis(25),
        buckets: vec![(1, 60), (2, 120)],
    };
    let line = |version| {
        let mut out = String::new();
        let options = PrintOptions { version, ports: &NoPortNames, stats: true, ages: true };
        write_group_stats(&mut out, GroupId(1), &stats, &options);
        out
    };
    assert_eq!(
        line(OfVersion::OpenFlow13),
        "group_id=1,duration=0.025s,ref_count=1,packet_count=3,byte_count=180,\
         bucket0:packet_count=1,byte_count=60,bucket1:packet_count=2,byte_count=120"
    );
    assert!(line(OfVersion::OpenFlow11).starts_with("group_id=1,ref_count=1,"));
}

#[test]
fn a_version_without_selection_methods_refuses_them_or_loses_them() {
    let text = "group_id=1,type=select,selection_method=hash,fields(ip_src),bucket=output:1";
    let strict = context(OfVersion::OpenFlow13);
    let error = parse_group(text, GroupCommand::Add, &strict).unwrap_err();
    assert!(error.message().contains("no selection_method"), "{error}");
    let lenient = ParseContext { lenient: true, ..strict };
    let Ok(GroupMod::Add(group)) = parse_group(text, GroupCommand::Add, &lenient) else {
        panic!("{text}");
    };
    assert_eq!(group.selection, Selection::default());
}

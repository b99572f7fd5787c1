//! Requests that change groups.

use super::{NOW, add_groups, policy};
use crate::policy::Policy;
use crate::policy::bridge_id::BridgeId;
use crate::policy::tables::FlowModError;
use flow::flow_mod::Command;
use flow::group::BucketProblem;
use flow::text::{GroupCommand, ParseContext, PrintOptions, parse_group_file_line, write_group};
use flow::types::{GroupId, OfVersion};

const V15: OfVersion = OfVersion::OpenFlow15;

/// Applies one line of a file of groups.
pub(super) fn change(policy: &Policy, line: &str, lenient: bool) -> Result<(), FlowModError> {
    let context = ParseContext { version: V15, lenient, ..super::context(Command::Add) };
    let request = parse_group_file_line(line, GroupCommand::Add, &context).expect(line);
    let mut transaction = policy.bridge(BridgeId::FIRST).begin();
    transaction.apply_group(&request, NOW)?;
    transaction.commit();
    Ok(())
}

/// The line of a dump for a group.
fn dumped(policy: &Policy, id: u32) -> String {
    let entry =
        policy.bridge(BridgeId::FIRST).walk_groups().get(GroupId(id)).expect("the group exists");
    let mut out = String::new();
    let options = PrintOptions { version: V15, ..PrintOptions::default() };
    write_group(&mut out, &entry.group, &options);
    out
}

#[test]
fn an_inserted_bucket_has_the_weight_that_it_was_given() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=select,bucket=bucket_id:1,weight:3,actions=output:1"]);
    let insert = "insert_bucket group_id=1,command_bucket_id=last,";
    for (bucket, lenient) in [
        ("bucket=bucket_id:9,weight:5,actions=output:2", false),
        ("bucket=bucket_id:10,actions=output:2", false),
        ("bucket=bucket_id:11,actions=output:2", true),
        ("bucket=bucket_id:12,weight:0,output:2", false),
    ] {
        change(&p, &format!("{insert}{bucket}"), lenient).unwrap();
    }
    // Without a weight, Open vSwitch inserts the bucket 10 with weight 0 as well.
    let expected = "group_id=1,type=select,bucket=bucket_id:1,weight:3,actions=output:1,\
                    bucket=bucket_id:9,weight:5,actions=output:2,\
                    bucket=bucket_id:10,actions=output:2,\
                    bucket=bucket_id:11,weight:0,actions=output:2,\
                    bucket=bucket_id:12,weight:0,actions=output:2";
    assert_eq!(dumped(&p, 1), expected);
}

#[test]
fn an_inserted_bucket_has_to_fit_the_groups_type() {
    let p = policy(&[]);
    add_groups(&p, &["group_id=1,type=all,bucket=bucket_id:1,output:1"]);
    add_groups(&p, &["group_id=2,type=ff,bucket=bucket_id:1,watch_port:1,output:1"]);
    let refused = |bucket: &str, group: u32, problem| {
        let line =
            format!("insert_bucket group_id={group},command_bucket_id=last,bucket=bucket_id:9,");
        let error = FlowModError::InvalidBucket { group, bucket: 9, problem };
        assert_eq!(change(&p, &(line + bucket), false), Err(error));
    };
    refused("weight:5,output:2", 1, BucketProblem::HasWeight);
    refused("watch_port:2,output:2", 1, BucketProblem::WatchesInVain);
    refused("output:2", 2, BucketProblem::WatchesNothing);
    let line = "insert_bucket group_id=2,command_bucket_id=first,bucket=bucket_id:9,watch_port:2,2";
    change(&p, line, false).unwrap();
}

//! Sets of rules as bytes of OpenFlow.

use super::{Client, Plan};
use crate::classbench::Set;
use crate::classbench_like::{self, SetKind};
use crate::generate::RuleSet;
use crate::rules::{add, output};
use anyhow::Context;
use flow::Match;
use flow::flow_mod::{Command, FlowMod};
use openflow::{BundleControl, BundleStep, OfMessage};

/// The names that the largest access list of ClassBench may have.
const FILES: [&str; 2] = ["acl1_100k", "acl1_100000"];
/// The number of the bundle.
const BUNDLE: u32 = 7;
/// A bundle is atomic and ordered (`OFPBF_ATOMIC`, `OFPBF_ORDERED`).
const BUNDLE_FLAGS: u16 = 3;

/// The rules of a plan's set: those of the ClassBench file, or made ones.
///
/// # Errors
/// There is no such file.
pub(super) fn rules(plan: &Plan) -> anyhow::Result<RuleSet> {
    let Some(dir) = &plan.classbench else {
        return Ok(RuleSet::from(&classbench_like::set(SetKind::Acl, plan.filters)));
    };
    let names = Set::names(dir).with_context(|| dir.display().to_string())?;
    let name = names.into_iter().find(|name| FILES.contains(&name.as_str()));
    let name = name.with_context(|| format!("{}: no {}", dir.display(), FILES.join(" and no ")))?;
    Ok(RuleSet::from(&Set::load(dir, &name)?))
}

/// A flow mod for each rule.
fn flow_mods(set: &RuleSet) -> impl Iterator<Item = OfMessage> {
    set.rules.iter().enumerate().map(|(n, (priority, matching))| {
        let actions = output(1 + (n % 2) as u16);
        OfMessage::FlowMod(Box::new(add(0, *priority, *matching, actions)))
    })
}

/// The flow mods of a set, one after the other. Transaction ids count from 1.
pub(super) fn plain(set: &RuleSet) -> Vec<u8> {
    let encoding = Client::encoding();
    let encoded = flow_mods(set).zip(1..).map(|(message, xid)| message.encode(encoding, xid));
    encoded.flatten().collect()
}

/// The flow mods of a set as one bundle, which is opened, filled and closed.
pub(super) fn bundle(set: &RuleSet) -> Vec<u8> {
    let encoding = Client::encoding();
    let mut bytes = control(BundleStep::Open).encode(encoding, 1);
    for (message, xid) in flow_mods(set).zip(2..) {
        let message = message.encode(encoding, xid);
        let add = OfMessage::BundleAdd { id: BUNDLE, flags: BUNDLE_FLAGS, message };
        bytes.extend(add.encode(encoding, xid));
    }
    bytes.extend(control(BundleStep::Close).encode(encoding, 0));
    bytes
}

/// The message that commits the bundle.
pub(super) fn commit() -> OfMessage {
    control(BundleStep::Commit)
}

fn control(step: BundleStep) -> OfMessage {
    OfMessage::BundleControl(BundleControl {
        id: BUNDLE,
        step,
        is_reply: false,
        flags: BUNDLE_FLAGS,
    })
}

/// The message that deletes every rule.
pub(super) fn delete_all() -> OfMessage {
    OfMessage::FlowMod(Box::new(every_rule()))
}

/// What names every rule of every table.
pub(super) fn every_rule() -> FlowMod {
    FlowMod::new(Command::Delete, 0, Match::any(), Vec::new())
}

//! Checks that the actions of a rule can apply to the packets of its match: `mod_nw_src` needs IPv4 packets.
//!
//! In OpenFlow 1.0, an action for a header that the packet lacks does nothing. Later versions refuse the rule
//! (`OFPBAC_MATCH_INCONSISTENT`). Some actions, such as `set_field`, are refused in every version. The checks
//! are those of Open vSwitch (`ofpacts_check`).

use super::error::Fault;
use super::order;
use super::protocol::Protocols;
use crate::action::{Action, Clause, Nested, Subfield};
use crate::ct::{CtAlg, CtZone};
use crate::fields::FieldId;
use crate::key::{PipelineKey, PipelineMask};
use crate::learn::{LearnSource, LearnedPart, Learner};
use crate::matching::Match;
use crate::nat::NatAddresses;
use crate::prerequisite::Prerequisite;
use crate::sketch::Sketch;
use crate::types::{OfPort, OfVersion, TableId};

/// The result of the check of a list that some version accepts.
pub(super) struct Consistency {
    /// The flow formats that accept the list.
    pub(super) usable: Protocols,
    /// The index of the first action that the packets lack the header for, and the prerequisite that the match
    /// would have to imply. `None` if every action applies.
    pub(super) mismatch: Option<(usize, Prerequisite)>,
}

/// An action that no version accepts.
pub(super) struct Refused {
    /// The index of the action in the outermost list.
    pub(super) index: usize,
    pub(super) why: Unfit,
    pub(super) fault: Fault,
}

/// Why a switch refuses the actions of a rule that a message carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nothing can be sent to a port (`OFPBAC_BAD_OUT_PORT`).
    OutPort,
    /// A field cannot be changed (`OFPBAC_BAD_SET_ARGUMENT`).
    ReadOnly,
    /// The match does not imply the header that an action is about (`OFPBAC_MATCH_INCONSISTENT`).
    Match,
    /// A frame would have three VLAN tags (`OFPBAC_BAD_TAG`).
    Tags,
    /// `goto_table` does not lead to a later table (`OFPBIC_BAD_TABLE_ID`).
    Table,
    /// An action cannot be part of an action set (`OFPBAC_BAD_TYPE`).
    ActionSet,
    /// `conjunction` stands beside other actions than `note` (`NXBAC_BAD_CONJUNCTION`).
    Conjunction,
    /// An action cannot be part of `ct(exec(...))` (`OFPBAC_BAD_ARGUMENT`).
    InConnection,
    /// No rule can use a meter of this number (`OFPMMFC_INVALID_METER`).
    Meter,
}

/// Checks the actions that a message of `version` carried for a rule of `table`, or for a bucket or packet
/// without one, as Open vSwitch does. A match of every packet skips nothing: an action for a header then fits
/// in OpenFlow 1.0 only.
///
/// # Errors
/// Why the switch refuses the rule.
pub fn check_received(
    actions: &[Action],
    matching: &Match,
    table: Option<TableId>,
    version: OfVersion,
) -> Result<(), Unfit> {
    let is_set = |action: &Action| match action.nested() {
        Nested::AtEnd(inner) => inner.iter().all(order::fits_action_set),
        _ => true,
    };
    if !actions.iter().all(is_set) {
        return Err(Unfit::ActionSet);
    }
    let verdict = check(actions, matching, table).map_err(|refused| refused.why)?;
    match verdict.usable.and(Protocols::of_version(version)).is_empty() {
        true => Err(Unfit::Match),
        false => Ok(()),
    }
}

/// Checks the actions of a rule. `table` is the table of the rule; `None` skips the
/// check that `goto_table` goes forward.
pub(super) fn check(
    actions: &[Action],
    matching: &Match,
    table: Option<TableId>,
) -> Result<Consistency, Refused> {
    let mut checker = Checker { table, usable: Protocols::ANY, mismatch: None };
    checker.list(actions, &mut Sketch::new(matching))?;
    Ok(Consistency { usable: checker.usable, mismatch: checker.mismatch })
}

/// Why an action is refused, for a receiver of messages and for the author of a text.
type Problem = (Unfit, Fault);

struct Checker {
    table: Option<TableId>,
    usable: Protocols,
    mismatch: Option<(usize, Prerequisite)>,
}

impl Checker {
    fn list(&mut self, actions: &[Action], sketch: &mut Sketch<'_>) -> Result<(), Refused> {
        if let Some(index) = beside_conjunction(actions) {
            let fault =
                Fault::new("only note can stand beside conjunction (NXBAC_BAD_CONJUNCTION)");
            let fault = fault.hint("let the rule that matches conj_id have the other actions");
            return Err(Refused { index, why: Unfit::Conjunction, fault });
        }
        for (index, action) in actions.iter().enumerate() {
            match action.nested() {
                Nested::OnCopy(nested) => {
                    let before = self.mismatch;
                    self.list(nested, &mut sketch.clone())
                        .map_err(|refused| Refused { index, ..refused })?;
                    let inside = self.mismatch.map(|(_, needed)| (index, needed));
                    self.mismatch = before.or(inside);
                }
                Nested::OnConnection(nested) => {
                    let refused = |(why, fault)| Refused { index, why, fault };
                    nested.iter().try_for_each(|a| on_connection(a, sketch)).map_err(refused)?;
                    self.require(index, action, sketch)?;
                }
                Nested::AtEnd(nested) => {
                    // An action set is carried out when the pipeline ends. Nothing is known
                    // here of the packets then.
                    let mut set = Self { table: None, usable: Protocols::ANY, mismatch: None };
                    set.list(nested, &mut sketch.clone())
                        .map_err(|refused| Refused { index, ..refused })?;
                }
                Nested::None => self.require(index, action, sketch)?,
            }
            sketch.apply(action);
        }
        Ok(())
    }

    /// Notes what the action needs of the packet.
    fn require(
        &mut self,
        index: usize,
        action: &Action,
        sketch: &Sketch<'_>,
    ) -> Result<(), Refused> {
        match self.one(action, sketch) {
            Ok(Some(needed)) if !sketch.meets(needed) => {
                self.usable = self.usable.and(Protocols::OF10);
                self.mismatch = self.mismatch.or(Some((index, needed)));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err((why, fault)) => Err(Refused { index, why, fault }),
        }
    }

    /// The prerequisite that the packet must meet for the action to have an effect; `None` if there is none.
    fn one(&self, action: &Action, sketch: &Sketch<'_>) -> Result<Option<Prerequisite>, Problem> {
        let mut needed = None;
        match action {
            Action::Output { port, .. } | Action::OutputTrunc { port, .. } => output_port(*port)?,
            Action::Enqueue { port, .. } => {
                let is_queue_port = matches!(*port, OfPort::IN_PORT | OfPort::LOCAL);
                if *port >= OfPort::MAX && !is_queue_port {
                    let fault = Fault::new(format!("{port} has no queues (OFPBAC_BAD_OUT_PORT)"));
                    return Err((Unfit::OutPort, fault));
                }
            }
            Action::OutputReg { src, .. } | Action::StackPush(src) => readable(*src, sketch)?,
            Action::StackPop(dst) => writable(*dst, sketch)?,
            Action::Move { src, dst } => {
                readable(*src, sketch)?;
                writable(*dst, sketch)?;
            }
            Action::CheckPktLarger { dst, .. } => {
                outside_connection(dst.field)?;
                if !dst.field.def().writable {
                    return Err(read_only(dst.field));
                }
            }
            Action::Ct(ct) => {
                if !sketch.meets(Prerequisite::Ip) {
                    return Err((Unfit::Match, inconsistent("ct", Prerequisite::Ip)));
                }
                if ct.commit && sketch.is_invalid() {
                    let fault = Fault::new(
                        "ct(commit) cannot commit what the match says is invalid, ct_state=+inv \
                         (OFPBAC_MATCH_INCONSISTENT)",
                    );
                    return Err((Unfit::Match, fault));
                }
                let addresses = ct.nat.and_then(|nat| nat.range()?.addresses);
                let needed = addresses.map(|addresses| match addresses {
                    NatAddresses::Ipv4(..) => Prerequisite::Ipv4,
                    NatAddresses::Ipv6(..) => Prerequisite::Ipv6,
                });
                if let Some(needed) = needed.filter(|needed| !sketch.meets(*needed)) {
                    return Err((Unfit::Match, inconsistent("nat", needed)));
                }
                let needed = ct.alg.map(|alg| match alg {
                    CtAlg::Ftp => Prerequisite::Tcp,
                    CtAlg::Tftp => Prerequisite::Udp,
                });
                if let Some(needed) = needed.filter(|needed| !sketch.meets(*needed)) {
                    return Err((Unfit::Match, inconsistent("alg", needed)));
                }
                if let CtZone::Field(sub) = ct.zone {
                    readable(sub, sketch)?;
                }
            }
            Action::SetField { field, .. } => {
                if !field.def().writable {
                    return Err(read_only(*field));
                }
                outside_connection(*field)?;
                let needs_tag = *field == FieldId::VlanVid && !sketch.is_tagged();
                let prerequisite =
                    if needs_tag { Prerequisite::VlanVid } else { field.def().prerequisite };
                if !sketch.meets(prerequisite) {
                    return Err((Unfit::Match, inconsistent(field.def().name, prerequisite)));
                }
            }
            Action::SetVlanVid { push_if_untagged: false, .. }
            | Action::SetVlanPcp { push_if_untagged: false, .. }
            | Action::StripVlan => needed = Some(Prerequisite::VlanVid),
            Action::PushVlan(_) if sketch.has_two_tags() => {
                let fault = Fault::new("a frame cannot have three VLAN tags (OFPBAC_BAD_TAG)");
                return Err((Unfit::Tags, fault));
            }
            Action::SetIpv4Src(_) | Action::SetIpv4Dst(_) => needed = Some(Prerequisite::Ipv4),
            Action::SetIpDscp(_)
            | Action::SetIpEcn(_)
            | Action::SetIpTtl(_)
            | Action::DecTtl(_) => needed = Some(Prerequisite::Ip),
            Action::SetL4Src(_) | Action::SetL4Dst(_) => {
                let transports = [Prerequisite::Tcp, Prerequisite::Udp, Prerequisite::Sctp];
                if !transports.iter().any(|&p| sketch.meets(p)) {
                    needed = Some(Prerequisite::Tcp);
                }
            }
            Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetMplsTtl(_)
            | Action::DecMplsTtl
            | Action::PopMpls(_) => needed = Some(Prerequisite::Mpls),
            Action::FinTimeout { .. } => needed = Some(Prerequisite::Tcp),
            Action::Meter(id) if !id.is_valid() || id.is_virtual() => {
                let fault =
                    Fault::new(format!("no rule can use meter {} (OFPMMFC_INVALID_METER)", id.0));
                return Err((Unfit::Meter, fault.hint("meters of rules are numbered from 1 on")));
            }
            Action::Multipath(multipath) => writable(multipath.dst, sketch)?,
            Action::Bundle(bundle) => {
                bundle
                    .members
                    .iter()
                    .filter(|p| **p != OfPort::NONE)
                    .try_for_each(|p| output_port(*p))?;
                if let Some(dst) = bundle.dst {
                    writable(dst, sketch)?;
                }
            }
            Action::Learn(learner) => {
                learned(learner, sketch)?;
                if let Some(dst) = learner.result_dst {
                    writable(dst, sketch)?;
                }
            }
            Action::GotoTable(target) if self.table.is_some_and(|t| *target <= t) => {
                let fault = Fault::new(format!(
                    "goto_table:{target} does not go forward (OFPBIC_BAD_TABLE_ID)"
                ));
                return Err((Unfit::Table, fault.hint("use resubmit to go back")));
            }
            _ => {}
        }
        Ok(needed)
    }
}

/// Checks that the packet has what `learn` copies, and that the packets of the learned rules have what these
/// match and write.
fn learned(learner: &Learner, sketch: &Sketch<'_>) -> Result<(), Problem> {
    let (mut key, mut mask) = (PipelineKey::default(), PipelineMask::default());
    for part in &learner.parts {
        let matching = Match::new(&key, &mask);
        let there = Sketch::new(&matching);
        match *part {
            LearnedPart::Match { dst, from } => {
                learn_source(from, sketch)?;
                readable(dst, &there)?;
                if let LearnSource::Value(value) = from {
                    dst.write(&mut key, value);
                    dst.set_mask(&mut mask);
                }
            }
            LearnedPart::Load { dst, from } => {
                learn_source(from, sketch)?;
                if !dst.field.def().writable {
                    return Err(read_only(dst.field));
                }
                readable(dst, &there)?;
            }
            LearnedPart::Output(src) => readable(src, sketch)?,
        }
    }
    Ok(())
}

fn learn_source(from: LearnSource, sketch: &Sketch<'_>) -> Result<(), Problem> {
    match from {
        LearnSource::Field(src) => readable(src, sketch),
        LearnSource::Value(_) => Ok(()),
    }
}

/// The index of the first action that a list with `conjunction` must not have.
fn beside_conjunction(actions: &[Action]) -> Option<usize> {
    Clause::all_in(actions).next()?;
    let fits = |action: &Action| matches!(action, Action::Conjunction(_) | Action::Note(_));
    actions.iter().position(|action| !fits(action))
}

fn output_port(port: OfPort) -> Result<(), Problem> {
    let is_special = (OfPort::IN_PORT..=OfPort::LOCAL).contains(&port);
    if port < OfPort::MAX || is_special {
        return Ok(());
    }
    let fault = Fault::new(format!("port {} is no output (OFPBAC_BAD_OUT_PORT)", port.0));
    Err((Unfit::OutPort, fault))
}

fn readable(sub: Subfield, sketch: &Sketch<'_>) -> Result<(), Problem> {
    let def = sub.field.def();
    match sketch.meets(def.prerequisite) {
        true => Ok(()),
        false => Err((Unfit::Match, inconsistent(def.name, def.prerequisite))),
    }
}

/// Checks an action of `ct(exec(...))`, which can only change the fields of the connection.
fn on_connection(action: &Action, sketch: &Sketch<'_>) -> Result<(), Problem> {
    let field = match action {
        Action::SetField { field, .. } => *field,
        Action::Move { dst, .. } => dst.field,
        _ => {
            let fault = Fault::new("ct: exec takes set_field, load and move (OFPBAC_BAD_ARGUMENT)");
            return Err((Unfit::InConnection, fault));
        }
    };
    if field.is_of_connection() {
        return match action {
            Action::Move { src, .. } => readable(*src, sketch),
            _ => Ok(()),
        };
    }
    let name = field.def().name;
    let fault = Fault::new(format!("ct: exec cannot change {name} (OFPBAC_BAD_ARGUMENT)"));
    Err((Unfit::InConnection, fault.hint("it changes ct_mark and ct_label")))
}

/// Refuses a change of a field that belongs to a connection.
fn outside_connection(field: FieldId) -> Result<(), Problem> {
    if !field.is_of_connection() {
        return Ok(());
    }
    let name = field.def().name;
    let fault = Fault::new(format!("{name} cannot be changed here (OFPBAC_BAD_SET_ARGUMENT)"));
    Err((Unfit::ReadOnly, fault.hint("write ct(commit,exec(ACTION))")))
}

fn writable(sub: Subfield, sketch: &Sketch<'_>) -> Result<(), Problem> {
    outside_connection(sub.field)?;
    if !sub.field.def().writable {
        return Err(read_only(sub.field));
    }
    readable(sub, sketch)
}

fn read_only(field: FieldId) -> Problem {
    (Unfit::ReadOnly, Fault::new(format!("{} cannot be changed", field.def().name)))
}

/// The fault of an action, or of a field in an action, whose header the match does not imply.
pub(super) fn inconsistent(name: &str, needed: Prerequisite) -> Fault {
    let words = needed.keywords();
    let add = words.first().copied().unwrap_or_default();
    let action_needs = match needed {
        Prerequisite::VlanVid => "a VLAN tag",
        _ => add,
    };
    Fault::new(format!(
        "{name} needs {action_needs}, which the match does not say (OFPBAC_MATCH_INCONSISTENT)"
    ))
    .hint(match needed {
        Prerequisite::VlanVid => "add dl_vlan=ID to the match, or push_vlan in front".to_owned(),
        _ => format!("add {add} to the match"),
    })
}

//! Executes the actions of rules: one arm of a `match` for each action.

use super::budget::weight;
use super::controller::ToController;
use super::tracked::{LoweredTtl, MAX_LABELS};
use super::{Ctx, Note, OnMiss, Suspended, TranslationObserver};
use flow::action::{Action, FieldBits, Subfield};
use flow::fields::FieldId;
use flow::key::{VLAN_PCP_MASK, VLAN_VID_MASK};
use flow::prerequisite::Prerequisite;
use flow::types::OfPort;
use flow::verdict::{DpAction, DropReason, PacketInReason};
use flow::{PipelineKey, PipelineMask};
use packet::wire::{eth_type, mpls};

/// The DSCP bits of the TOS byte.
const DSCP_MASK: u8 = 0xfc;
/// The ECN bits of the TOS byte.
const ECN_MASK: u8 = 0x03;

/// The rest of a list of actions is not executed.
struct Stop;

impl<O: TranslationObserver> Ctx<'_, O> {
    /// Executes a list of actions until its end, an error or `exit`.
    pub(super) fn actions(&mut self, actions: &[Action]) {
        let is_last = self.is_last;
        self.list(actions);
        self.is_last = is_last;
    }

    fn list(&mut self, actions: &[Action]) {
        let is_last_list = self.is_last;
        for (i, action) in actions.iter().enumerate() {
            if self.error.is_some() {
                return;
            }
            if !self.spend() {
                return;
            }
            if self.was_mpls && !self.exit && looks_behind_labels(action) {
                self.freeze();
            }
            if self.exit {
                if self.freezing {
                    self.suspend(&actions[i..]);
                }
                return;
            }
            self.is_last = is_last_list && i + 1 == actions.len() && self.action_set.is_empty();
            if self.step(action, &actions[i + 1..]).is_err() {
                return;
            }
            // What froze is a rule that was resubmitted to, or this action, which begins anew then.
            // A packet that waits for a controller goes on behind the action.
            if self.freezing && self.suspended.is_empty() && self.error.is_none() {
                let next = if self.pause.is_some() { i + 1 } else { i };
                return self.suspend(&actions[next..]);
            }
        }
    }

    /// Executes one action, which the actions `rest` follow, and tells the observer.
    fn step(&mut self, action: &Action, rest: &[Action]) -> Result<(), Stop> {
        self.observer.read(self.packet.mask());
        self.observer.begin_action(action);
        let before = O::LISTENS.then(|| *self.packet.shown());
        let done = self.action(action, rest);
        if let Some(before) = before {
            self.observer.end_action(&differing(&before, self.packet.shown()));
        }
        done
    }

    fn suspend(&mut self, actions: &[Action]) {
        let (table, cookie) = (self.table, self.cookie);
        if !self.spend_for(weight(actions) * SUSPENDED_COST) {
            return;
        }
        self.suspended.push(Suspended { table, cookie, actions: actions.to_vec() });
    }

    fn action(&mut self, action: &Action, rest: &[Action]) -> Result<(), Stop> {
        match action {
            Action::Output { port, .. } => self.output(*port),
            Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id } => {
                // Messages have such an action as an output, whose reason depends on where the action is.
                let (controller_id, meter_id) = (*controller_id, *meter_id);
                let says_more =
                    controller_id != 0 || !userdata.is_empty() || *pause || meter_id.is_some();
                let reason = match PacketInReason::of_number(*reason) {
                    None | Some(PacketInReason::Action) if !says_more => self.output_reason(),
                    reason => reason.unwrap_or(PacketInReason::Action),
                };
                let max_len = *max_len;
                let to = ToController { max_len, reason, controller_id, userdata, meter_id };
                if *pause { self.pause(&to) } else { self.controller(&to) }
            }
            Action::OutputReg { src, max_len } => self.output_reg(*src, *max_len),
            Action::OutputTrunc { port, max_len } => self.output_truncated(*port, *max_len),
            Action::Enqueue { port, queue } => self.enqueue(*port, *queue),
            Action::SetQueue(queue) => self.set_queue(*queue),
            Action::PopQueue => self.pop_queue(),
            // The classifier does what a conjunction means; a rule that has one never wins a look-up.
            Action::Note(_) | Action::Conjunction(_) => {}
            Action::Group(group) => return self.group(*group).map_err(|_| Stop),
            Action::Meter(id) => self.meter(*id),
            Action::SetVlanVid { vid, push_if_untagged } => {
                self.packet.set_tag_bits(VLAN_VID_MASK, *vid, *push_if_untagged);
            }
            Action::SetVlanPcp { pcp, push_if_untagged } => {
                let tci = u16::from(*pcp) << 13;
                self.packet.set_tag_bits(VLAN_PCP_MASK, tci, *push_if_untagged);
            }
            Action::StripVlan => self.packet.pop_tag(),
            Action::PushVlan(tpid) => self.packet.push_tag(*tpid),
            Action::SetEthSrc(mac) => self.set(FieldId::EthSrc, mac_value(mac.0)),
            Action::SetEthDst(mac) => self.set(FieldId::EthDst, mac_value(mac.0)),
            Action::SetIpv4Src(addr) => self.set(FieldId::Ipv4Src, u128::from(*addr)),
            Action::SetIpv4Dst(addr) => self.set(FieldId::Ipv4Dst, u128::from(*addr)),
            Action::SetIpDscp(tos) => self.packet.set_tos(DSCP_MASK, *tos),
            Action::SetIpEcn(ecn) => self.packet.set_tos(ECN_MASK, *ecn),
            Action::SetIpTtl(ttl) => self.set(FieldId::IpTtl, u128::from(*ttl)),
            Action::SetL4Src(port) => self.packet.set_port(true, *port),
            Action::SetL4Dst(port) => self.packet.set_port(false, *port),
            Action::SetTunnel { id, .. } => self.set(FieldId::TunId, u128::from(*id)),
            Action::SetField { field, value, mask, .. } => self.set_field(*field, *value, *mask),
            Action::Move { src, dst } => self.move_field(*src, *dst),
            Action::DeleteField(field) => self.packet.delete_option(*field),
            Action::StackPush(src) => {
                if self.stack.len() * 16 >= super::MAX_STACK {
                    self.fail(DropReason::StackTooDeep);
                    return Err(Stop);
                }
                let value = self.packet.read(*src);
                self.stack.push((value, src.n_bits));
            }
            Action::StackPop(dst) => {
                let Some((value, _)) = self.stack.pop() else {
                    self.observer.note(|| Note::StackUnderflow);
                    return Ok(());
                };
                self.packet.write(*dst, value);
                let written = self.packet.read(*dst);
                self.observer.note(|| Note::FieldIsNow(*dst, written));
            }
            Action::DecTtl(ids) => return self.dec_ttl(ids),
            Action::SetMplsLabel(label) => {
                self.packet.set_label_bits(mpls::LABEL_MASK, label << mpls::LABEL_SHIFT)
            }
            Action::SetMplsTc(tc) => {
                self.packet.set_label_bits(mpls::TC_MASK, u32::from(*tc) << mpls::TC_SHIFT)
            }
            Action::SetMplsTtl(ttl) => self.packet.set_label_bits(mpls::TTL_MASK, u32::from(*ttl)),
            Action::DecMplsTtl => return self.dec_mpls_ttl(),
            Action::PushMpls(ethertype) => self.push_mpls(*ethertype),
            Action::PopMpls(ethertype) => self.pop_mpls(*ethertype),
            Action::Resubmit { in_port, table } => {
                let in_port = match in_port {
                    None | Some(OfPort::IN_PORT) => self.in_port(),
                    Some(port) => *port,
                };
                let table = table.unwrap_or(self.table);
                self.table_lookup(in_port, table, true, OnMiss::GoOn);
            }
            Action::GotoTable(table) => {
                let in_port = self.in_port();
                self.table_lookup(in_port, *table, true, OnMiss::ToControllers);
            }
            Action::Clone(inner) => self.clone_actions(inner),
            // Both ways execute the rest of the list.
            Action::CheckPktLarger { len, dst } => {
                self.check_packet_larger(*len, *dst, rest);
                return Err(Stop);
            }
            Action::Ct(ct) => self.ct(ct),
            Action::CtClear => self.ct_clear(),
            Action::Learn(learner) => self.learn(learner),
            Action::FinTimeout { idle, hard } => self.fin_timeout(*idle, *hard),
            Action::Multipath(multipath) => self.multipath(multipath),
            Action::Bundle(bundle) => self.bundle(bundle),
            // There are no collectors.
            Action::Sample(_) => {}
            Action::Exit => self.exit = true,
            Action::ClearActions => {
                let set = &self.action_set;
                self.observer.note(|| Note::ActionSetWas(in_order(set)));
                self.action_set.clear();
                self.update_actset_output();
            }
            Action::WriteActions(actions) => {
                if !self.spend_for(weight(&self.action_set) + weight(actions)) {
                    return Err(Stop);
                }
                self.action_set.extend(actions.iter().cloned());
                self.update_actset_output();
                let set = &self.action_set;
                self.observer.note(|| Note::ActionSetIs(in_order(set)));
            }
            Action::WriteMetadata { value, mask } => {
                self.packet.set_metadata(*value, *mask);
            }
        }
        Ok(())
    }

    /// Writes all bits of a field, if the packet has the field.
    fn set(&mut self, field: FieldId, value: FieldBits) {
        self.set_field(field, value, field.full_mask());
    }

    /// Writes the bits of `mask` in a field, if the packet has the field.
    fn set_field(&mut self, field: FieldId, value: FieldBits, mask: FieldBits) {
        if self.packet.has(field) {
            self.packet.write_bits(field, value, mask);
        }
    }

    /// Copies bits, if the packet has both fields.
    fn move_field(&mut self, src: Subfield, dst: Subfield) {
        if !self.packet.has(src.field) || !self.packet.has(dst.field) {
            return;
        }
        let value = self.packet.read(src);
        self.packet.write(dst, value);
        self.observer.note(|| Note::FieldIsNow(dst, value));
    }

    fn dec_ttl(&mut self, ids: &[u16]) -> Result<(), Stop> {
        match self.packet.lower_ttl() {
            LoweredTtl::NoHeader | LoweredTtl::Lowered => Ok(()),
            LoweredTtl::Expired => Err(self.expire(ids)),
        }
    }

    /// Lowers the TTL of the outermost label. A packet without labels leaves the list, as in Open vSwitch.
    fn dec_mpls_ttl(&mut self) -> Result<(), Stop> {
        match self.packet.lower_label_ttl() {
            LoweredTtl::Lowered => Ok(()),
            LoweredTtl::NoHeader => Err(Stop),
            LoweredTtl::Expired => Err(self.expire(&[])),
        }
    }

    fn expire(&mut self, ids: &[u16]) -> Stop {
        self.hint = Some(DropReason::InvalidTtl);
        self.observer.note(|| Note::TtlExpired);
        self.expired_to_controllers(ids);
        Stop
    }

    fn push_mpls(&mut self, ethertype: u16) {
        let n = self.packet.count_labels();
        if n >= MAX_LABELS {
            return self.fail(DropReason::TooManyLabels);
        }
        if n == 0 {
            // What was done to the headers must be emitted while the datapath still sees them.
            self.commit();
        }
        self.packet.push_label(n, ethertype);
    }

    fn pop_mpls(&mut self, ethertype: u16) {
        let n = self.packet.count_labels();
        if self.packet.pop_label(n, ethertype) {
            if !eth_type::is_mpls(ethertype) {
                self.was_mpls = true;
            }
        } else if n >= MAX_LABELS {
            self.fail(DropReason::TooManyLabels);
        }
    }

    pub(super) fn clone_actions(&mut self, inner: &[Action]) {
        // Label stacks cannot be put back once popped, so such a clone is one for the datapath. So is
        // one that truncates: Open vSwitch then counts from the packet as the clone finds it.
        let is_reversible = !inner.iter().any(|a| {
            matches!(a, Action::PushMpls(_) | Action::PopMpls(_) | Action::OutputTrunc { .. })
        });
        if is_reversible || self.is_last {
            self.branch(|ctx| ctx.actions(inner));
            return;
        }
        self.commit();
        let outer = self.put_actions_aside();
        let base = self.packet.save_base();
        self.is_last = true;
        self.branch(|ctx| ctx.actions(inner));
        self.packet.restore_base(&base);
        let nested = self.take_nested();
        self.go_on_with(outer);
        if !nested.is_empty() {
            self.out.actions.push(DpAction::Clone(nested));
        }
    }

    /// Calls `run` one level deeper, or fails if the walk is too deep already.
    pub(super) fn deeper(&mut self, run: impl FnOnce(&mut Self)) {
        if self.depth >= MAX_BRANCH_DEPTH {
            return self.fail(DropReason::RecursionTooDeep);
        }
        self.depth += 1;
        run(self);
        self.depth -= 1;
    }

    /// Calls `run` and executes the action set, and takes back what both did to packet, stack and action set.
    /// An `exit` is not taken back: it ends the lists around the branch, too.
    fn branch(&mut self, run: impl FnOnce(&mut Self)) {
        if !self.spend_for(self.stack.len() + weight(&self.action_set)) {
            return;
        }
        let packet = self.packet.save();
        let saved = (self.stack.clone(), self.action_set.clone(), self.was_mpls, self.priority);
        self.deeper(|ctx| {
            run(ctx);
            if !ctx.freezing {
                ctx.execute_action_set();
            }
            if ctx.freezing {
                ctx.finish_freezing();
            }
        });
        self.packet.restore(&packet);
        (self.stack, self.action_set, self.was_mpls, self.priority) = saved;
    }

    /// Takes the datapath actions that have been emitted, so that those of a nested action can be.
    /// They go on with [`go_on_with`](Self::go_on_with).
    fn put_actions_aside(&mut self) -> Vec<DpAction> {
        self.take_nested()
    }

    /// Takes the datapath actions of a nested action, which stay spent.
    fn take_nested(&mut self) -> Vec<DpAction> {
        self.spent.elsewhere += self.out.actions.len();
        std::mem::take(&mut self.out.actions)
    }

    /// Goes on with the datapath actions that were put aside.
    fn go_on_with(&mut self, outer: Vec<DpAction>) {
        self.spent.elsewhere -= outer.len();
        self.out.actions = outer;
    }

    /// Translates the rest of the list twice, for packets of at most `len` bytes and for longer ones, because
    /// no key holds the length. The datapath chooses. The lists around this one go on for both; an `exit` of
    /// the longer packets ends them, as in Open vSwitch.
    fn check_packet_larger(&mut self, len: u16, dst: Subfield, rest: &[Action]) {
        if rest.is_empty() && self.action_set.is_empty() {
            return;
        }
        self.commit();
        let outer = self.put_actions_aside();
        let base = self.packet.save_base();
        let mut branches = [Vec::new(), Vec::new()];
        let mut exit = false;
        for (bit, branch) in branches.iter_mut().enumerate() {
            self.exit = false;
            self.is_last = true;
            self.branch(|ctx| {
                ctx.packet.write(dst, bit as u128);
                ctx.actions(rest);
            });
            self.packet.restore_base(&base);
            *branch = self.take_nested();
            exit = self.exit;
        }
        self.exit = exit;
        self.go_on_with(outer);
        let [fits, longer] = branches;
        self.out.actions.push(DpAction::CheckLen { len, longer, fits });
        // The branches have executed the action set.
        if !self.view.conduct.repeats_action_set() {
            self.action_set.clear();
        }
    }

    fn update_actset_output(&mut self) {
        let mut output = super::OFPP_UNSET;
        for action in &self.action_set {
            match action {
                Action::Group(_) => {
                    output = super::OFPP_UNSET;
                    break;
                }
                Action::Output { port, .. } => output = widen(*port),
                _ => {}
            }
        }
        self.packet.set_actset_output(output);
    }

    /// Executes the action set in the order of OpenFlow 1.3 §5.10, and empties it.
    pub(super) fn execute_action_set(&mut self) {
        if self.action_set.is_empty() || !self.spend_for(weight(&self.action_set)) {
            return;
        }
        let set = std::mem::take(&mut self.action_set);
        let list = in_order(&set);
        self.is_last = true;
        self.observer.enter_action_set();
        let was_there = std::mem::replace(&mut self.in_action_set, true);
        self.actions(&list);
        self.in_action_set = was_there;
        self.observer.leave();
    }
}

/// How many times as much as copying a value it costs to keep an action for another pass,
/// in time and in memory.
const SUSPENDED_COST: usize = 8;

/// How deep clones and groups may nest. Resubmits have a limit of their own.
const MAX_BRANCH_DEPTH: u32 = super::MAX_DEPTH;

/// A mask with a one-bit wherever two keys differ.
fn differing(a: &PipelineKey, b: &PipelineKey) -> PipelineMask {
    let mut mask = PipelineMask { bits: *a };
    mask.words_mut().iter_mut().zip(b.words()).for_each(|(a, b)| *a ^= b);
    mask
}

fn mac_value(mac: [u8; 6]) -> u128 {
    u128::from(flow::types::mac_bits(mac))
}

/// A port number in the 32 bits of OpenFlow 1.1. Reserved ports are the highest numbers there, too.
pub(super) fn widen(port: OfPort) -> u32 {
    let n = u32::from(port.0);
    if port >= OfPort::MAX { n | 0xffff_0000 } else { n }
}

/// The actions of an action set in the order of their execution. Empty if the set has no output, group,
/// resubmit or `ct`.
pub(super) fn in_order(set: &[Action]) -> Vec<Action> {
    fn last(set: &[Action], test: impl Fn(&Action) -> bool) -> Option<Action> {
        set.iter().rev().find(|a| test(a)).cloned()
    }
    let mut list = Vec::with_capacity(set.len());
    list.extend(last(set, |a| matches!(a, Action::StripVlan)));
    list.extend(last(set, |a| matches!(a, Action::PopMpls(_))));
    list.extend(last(set, |a| matches!(a, Action::PushMpls(_))));
    list.extend(last(set, |a| matches!(a, Action::PushVlan(_))));
    list.extend(last(set, |a| matches!(a, Action::DecTtl(_))));
    list.extend(last(set, |a| matches!(a, Action::DecMplsTtl)));
    list.extend(set.iter().filter(|a| is_set_or_move(a)).cloned());
    list.extend(last(set, |a| matches!(a, Action::SetQueue(_))));
    let way = last(set, |a| matches!(a, Action::Group(_)))
        .or_else(|| last(set, is_output))
        .or_else(|| last(set, |a| matches!(a, Action::Resubmit { .. })))
        .or_else(|| last(set, |a| matches!(a, Action::Ct(_))));
    match way {
        Some(way) => list.push(way),
        None => list.clear(),
    }
    list
}

fn is_output(action: &Action) -> bool {
    matches!(action, Action::Output { .. } | Action::Controller { .. })
}

fn is_set_or_move(action: &Action) -> bool {
    matches!(
        action,
        Action::SetField { .. }
            | Action::Move { .. }
            | Action::SetEthSrc(_)
            | Action::SetEthDst(_)
            | Action::SetIpv4Src(_)
            | Action::SetIpv4Dst(_)
            | Action::SetIpDscp(_)
            | Action::SetIpEcn(_)
            | Action::SetIpTtl(_)
            | Action::SetL4Src(_)
            | Action::SetL4Dst(_)
            | Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetMplsTtl(_)
            | Action::SetTunnel { .. }
            | Action::SetVlanVid { .. }
            | Action::SetVlanPcp { .. }
    )
}

/// Whether an action reads headers that were behind a label stack, which the next pass extracts
/// once the stack is popped.
fn looks_behind_labels(action: &Action) -> bool {
    match action {
        Action::Output { .. }
        | Action::OutputTrunc { .. }
        | Action::OutputReg { .. }
        | Action::Enqueue { .. }
        | Action::SetVlanVid { .. }
        | Action::SetVlanPcp { .. }
        | Action::SetEthSrc(_)
        | Action::SetEthDst(_)
        | Action::SetTunnel { .. }
        | Action::SetQueue(_)
        | Action::PopQueue
        | Action::DeleteField(_)
        | Action::Group(_) => false,
        Action::SetField { field, .. } => is_l3_or_higher(*field),
        _ => true,
    }
}

/// Whether the field belongs to the network header or a header behind it
/// (`mf_is_l3_or_higher` in Open vSwitch).
fn is_l3_or_higher(field: FieldId) -> bool {
    !matches!(field.def().prerequisite, Prerequisite::None | Prerequisite::VlanVid)
}

//! Converts rules to what a message of an OpenFlow version can say.
//!
//! A user sends a rule to Open vSwitch in a message of one version and dumps it in a message of another. The
//! versions have different actions:
//!
//! - `mod_nw_tos:8` in OpenFlow 1.0 is `set_field:2->ip_dscp` in 1.3.
//! - `goto_table:4` in 1.3 is `resubmit(,4)` in 1.0.
//! - `push_vlan` has no counterpart in 1.0.
//!
//! The functions of this module return the match and the actions that a receiver decodes from such a message.
//! The parser of text uses them with the version of the request, and the printer with the version of the dump.
//! Encoders of messages use them in front of encoding: what they return, a message of the version can say. The
//! results are those of Open vSwitch, including what gets lost: in 1.0, the mask of a `set_field` that becomes
//! `mod_dl_src`, all of `write_actions`, and `meter`.

use crate::action::{Action, Nested, SetFieldForm, Subfield};
use crate::fields::{FieldId, TextForm, ones};
use crate::key::{VLAN_CFI, VLAN_PCP_MASK, VLAN_VID_MASK};
use crate::matching::Match;
use crate::sketch::Sketch;
use crate::types::{OfVersion, mac_bits, mac_of_bits};
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow13, OpenFlow15};
use packet::wire::{eth_type, ip_proto};
use std::borrow::Cow;

/// The match after a request of `version` has carried it.
///
/// Extensible matches (OXM) have two fields for the VLAN tag. The priority field has no mask, and needs a tag.
pub fn matching(matching: &Match, version: OfVersion) -> Cow<'_, Match> {
    if version < OpenFlow12 { Cow::Borrowed(matching) } else { extensible(matching) }
}

/// The match as a dump of `version` shows it. Unlike requests, dumps of OpenFlow
/// 1.1 have extensible matches too.
pub fn dumped_matching(matching: &Match, version: OfVersion) -> Cow<'_, Match> {
    if version < OpenFlow11 { Cow::Borrowed(matching) } else { extensible(matching) }
}

fn extensible(matching: &Match) -> Cow<'_, Match> {
    let key = matching.key().headers.vlan_tci.get();
    let mask = matching.mask().bits.headers.vlan_tci.get();
    if mask == 0 {
        return Cow::Borrowed(matching);
    }
    const ID: u16 = VLAN_VID_MASK | VLAN_CFI;
    let (id, id_mask) = (key & ID, mask & ID);
    let (tci, tci_mask) = if id != 0 && mask & VLAN_PCP_MASK != 0 {
        (key | VLAN_CFI, id_mask | VLAN_CFI | VLAN_PCP_MASK)
    } else {
        (id, id_mask)
    };
    if (tci, tci_mask) == (key, mask) {
        return Cow::Borrowed(matching);
    }
    let (mut key, mut mask) = (*matching.key(), *matching.mask());
    key.headers.vlan_tci = tci.into();
    mask.bits.headers.vlan_tci = tci_mask.into();
    Cow::Owned(Match::new(&key, &mask))
}

/// The actions after a message of `version` has carried them.
pub fn actions<'a>(
    actions: &'a [Action],
    version: OfVersion,
    matching: &Match,
) -> Cow<'a, [Action]> {
    if actions.iter().all(is_universal) {
        return Cow::Borrowed(actions);
    }
    Cow::Owned(list(actions, version, &mut Sketch::new(matching)))
}

/// Whether messages of every version carry the action unchanged, whatever the packet.
fn is_universal(action: &Action) -> bool {
    matches!(
        action,
        Action::Output { .. }
            | Action::Controller { .. }
            | Action::OutputReg { .. }
            | Action::OutputTrunc { .. }
            | Action::SetQueue(_)
            | Action::PopQueue
            | Action::Group(_)
            | Action::StripVlan
            | Action::Move { .. }
            | Action::DeleteField(_)
            | Action::StackPush(_)
            | Action::StackPop(_)
            | Action::DecTtl(_)
            | Action::SetMplsTtl(_)
            | Action::DecMplsTtl
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::Resubmit { .. }
            | Action::CheckPktLarger { .. }
            | Action::CtClear
            | Action::Learn(_)
            | Action::FinTimeout { .. }
            | Action::Multipath(_)
            | Action::Bundle(_)
            | Action::Sample(_)
            | Action::Exit
            | Action::Conjunction(_)
            | Action::WriteMetadata { .. }
    )
}

fn list(actions: &[Action], version: OfVersion, sketch: &mut Sketch<'_>) -> Vec<Action> {
    let mut out = Vec::with_capacity(actions.len());
    for action in actions {
        Writer { version, sketch, out: &mut out }.write(action);
        sketch.apply(action);
    }
    out
}

/// Appends the counterpart of one action to a list.
struct Writer<'a> {
    version: OfVersion,
    /// What is known of the packet in front of the action.
    sketch: &'a Sketch<'a>,
    out: &'a mut Vec<Action>,
}

impl Writer<'_> {
    fn write(&mut self, action: &Action) {
        let nested = action.nested();
        let inner = || list(nested.actions(), self.version, &mut self.sketch.clone());
        match nested {
            Nested::None => self.write_one(action),
            Nested::OnCopy(_) | Nested::OnConnection(_) => {
                self.out.push(action.with_nested(inner()))
            }
            // 1.0 has no such instruction, and an empty one is not sent.
            Nested::AtEnd(_) if self.version == OpenFlow10 => {}
            Nested::AtEnd(_) => {
                let inner = inner();
                if !inner.is_empty() {
                    self.out.push(action.with_nested(inner));
                }
            }
        }
    }

    fn write_one(&mut self, action: &Action) {
        let version = self.version;
        match action {
            Action::SetVlanVid { vid, push_if_untagged } => {
                self.tag_first(*push_if_untagged);
                self.set_vlan_vid(*vid);
            }
            Action::SetVlanPcp { pcp, push_if_untagged } => {
                self.tag_first(*push_if_untagged);
                self.set_vlan_pcp(*pcp);
            }
            // In 1.0, the action that sets the VLAN id also pushes the tag. Such an
            // action is expected to follow.
            Action::PushVlan(_) if version == OpenFlow10 => {}
            Action::SetEthSrc(mac) if version >= OpenFlow12 => {
                self.set_field(FieldId::EthSrc, mac_bits(mac.0).into());
            }
            Action::SetEthDst(mac) if version >= OpenFlow12 => {
                self.set_field(FieldId::EthDst, mac_bits(mac.0).into());
            }
            Action::SetIpv4Src(address) if version >= OpenFlow12 => {
                self.set_field(FieldId::Ipv4Src, (*address).into());
            }
            Action::SetIpv4Dst(address) if version >= OpenFlow12 => {
                self.set_field(FieldId::Ipv4Dst, (*address).into());
            }
            Action::SetIpDscp(tos) if version >= OpenFlow12 => {
                self.set_field(FieldId::IpDscp, u128::from(tos >> 2));
            }
            Action::SetIpEcn(ecn) => self.set_ecn(*ecn),
            Action::SetIpTtl(ttl) if version == OpenFlow10 => {
                self.load(FieldId::IpTtl, (*ttl).into());
            }
            Action::SetL4Src(port) if version >= OpenFlow12 => {
                let fields = [FieldId::TcpSrc, FieldId::UdpSrc, FieldId::SctpSrc];
                self.set_l4(fields, *port, action);
            }
            Action::SetL4Dst(port) if version >= OpenFlow12 => {
                let fields = [FieldId::TcpDst, FieldId::UdpDst, FieldId::SctpDst];
                self.set_l4(fields, *port, action);
            }
            Action::SetMplsLabel(label) if version >= OpenFlow12 => {
                self.set_field(FieldId::MplsLabel, (*label).into());
            }
            Action::SetMplsTc(tc) if version >= OpenFlow12 => {
                self.set_field(FieldId::MplsTc, (*tc).into());
            }
            Action::SetTunnel { id, .. } if version >= OpenFlow12 => {
                self.set_field(FieldId::TunId, (*id).into());
            }
            Action::SetField { field, value, mask, form } => {
                self.assignment(*field, *value, *mask, *form);
            }
            Action::Enqueue { port, queue } if version >= OpenFlow11 => {
                self.out.extend([
                    Action::SetQueue(*queue),
                    Action::output(*port),
                    Action::PopQueue,
                ]);
            }
            Action::ClearActions if version == OpenFlow10 => {}
            Action::Meter(_) if version < OpenFlow13 => {}
            Action::GotoTable(table) if version == OpenFlow10 => {
                self.out.push(Action::Resubmit { in_port: None, table: Some(*table) });
            }
            Action::Note(bytes) => {
                // `NXAST_NOTE` is padded with zeros to a multiple of 8 bytes, of which 10 are its header: notes
                // have 6, 14, 22 ... bytes.
                let mut bytes = bytes.clone();
                let len = (bytes.len() + 2).max(1).next_multiple_of(8) - 2;
                bytes.resize(len, 0);
                self.out.push(Action::Note(bytes));
            }
            _ => self.out.push(action.clone()),
        }
    }

    fn set_field(&mut self, field: FieldId, value: u128) {
        let mask = field.full_mask();
        self.out.push(Action::SetField { field, value, mask, form: SetFieldForm::SetField });
    }

    fn load(&mut self, field: FieldId, value: u128) {
        let mask = ones(field.def().bits);
        self.out.push(Action::SetField { field, value, mask, form: SetFieldForm::Load });
    }

    /// In 1.0, setting a VLAN id pushes a tag onto an untagged frame. Later versions
    /// need a `push_vlan` in front.
    fn tag_first(&mut self, push_if_untagged: bool) {
        if self.version > OpenFlow10 && push_if_untagged && !self.sketch.is_tagged() {
            self.out.push(Action::PushVlan(eth_type::VLAN));
        }
    }

    fn set_vlan_vid(&mut self, vid: u16) {
        match self.version {
            OpenFlow10 => self.out.push(Action::SetVlanVid { vid, push_if_untagged: true }),
            OpenFlow11 => self.out.push(Action::SetVlanVid { vid, push_if_untagged: false }),
            _ => self.set_field(FieldId::VlanVid, (vid | VLAN_CFI).into()),
        }
    }

    fn set_vlan_pcp(&mut self, pcp: u8) {
        match self.version {
            OpenFlow10 => self.out.push(Action::SetVlanPcp { pcp, push_if_untagged: true }),
            OpenFlow11 => self.out.push(Action::SetVlanPcp { pcp, push_if_untagged: false }),
            _ => self.set_field(FieldId::VlanPcp, pcp.into()),
        }
    }

    fn set_ecn(&mut self, ecn: u8) {
        match self.version {
            OpenFlow10 => self.load(FieldId::IpEcn, ecn.into()),
            OpenFlow11 => self.out.push(Action::SetIpEcn(ecn)),
            _ => self.set_field(FieldId::IpEcn, ecn.into()),
        }
    }

    /// Sets the port field of the packet's transport protocol. If the protocol is not known,
    /// `action` stays as it is.
    fn set_l4(&mut self, [tcp, udp, sctp]: [FieldId; 3], port: u16, action: &Action) {
        match self.sketch.nw_proto() {
            ip_proto::TCP => self.set_field(tcp, port.into()),
            ip_proto::UDP => self.set_field(udp, port.into()),
            ip_proto::SCTP => self.set_field(sctp, port.into()),
            _ => self.out.push(action.clone()),
        }
    }

    fn assignment(&mut self, field: FieldId, value: u128, mask: u128, form: SetFieldForm) {
        let is_whole = form.hides_whole_mask() && mask == field.full_mask();
        if self.version >= OpenFlow15 {
            // 1.5 has `set_field` with masks, and no `load`.
            let covers = mask & field.full_mask() == field.full_mask();
            let form = match form {
                // Text shows no mask of such flags if the mask has all of them.
                _ if covers && field.def().form == TextForm::TunFlags => SetFieldForm::SetField,
                SetFieldForm::Load if covers && !fills_its_bytes(field, mask) => {
                    SetFieldForm::MaskedSetField
                }
                SetFieldForm::Load | SetFieldForm::RegLoad2 => SetFieldForm::SetField,
                form => form,
            };
            let mask = if form == SetFieldForm::SetField { mask & field.full_mask() } else { mask };
            self.out.push(Action::SetField { field, value, mask, form });
        } else if form == SetFieldForm::RegLoad2 {
            self.out.push(Action::SetField { field, value, mask, form });
        } else if form == SetFieldForm::Load {
            self.loads(field, value, mask);
        } else if self.version < OpenFlow12 {
            self.legacy(field, value, mask, is_whole);
        } else if is_whole {
            self.set_field(field, value);
        } else {
            self.loads(field, value, mask);
        }
    }

    /// Loads (`NXAST_REG_LOAD`) every bit of a field, including those that must be zero (`arp_op`, `nw_tos`).
    fn load_whole(&mut self, field: FieldId, value: u128) {
        self.loads(field, value, ones(field.def().bits));
    }

    /// One `load` (`NXAST_REG_LOAD`) for each run of one-bits in the mask. An experimenter field has no NXM
    /// header of 32 bits, which `load` needs, and gets a `set_field` with a mask.
    fn loads(&mut self, field: FieldId, value: u128, mask: u128) {
        let has_short_number = field.def().wire.first().is_some_and(|w| w.experimenter == 0);
        // The number of an option does not say how long it is.
        if !has_short_number || field.is_option() {
            let (mask, form) = (mask & field.full_mask(), SetFieldForm::SetField);
            self.out.push(Action::SetField { field, value, mask, form });
            return;
        }
        for sub in Subfield::runs(field, mask) {
            let mask = sub.mask();
            let value = value & mask;
            self.out.push(Action::SetField { field, value, mask, form: SetFieldForm::Load });
        }
    }

    /// The `mod_` actions that 1.0 and 1.1 have for some fields. They have no mask, which gets lost. Other
    /// fields get `load`s.
    fn legacy(&mut self, field: FieldId, value: u128, mask: u128, is_whole: bool) {
        match field {
            FieldId::VlanTci if value as u16 & VLAN_CFI == 0 => self.out.push(Action::StripVlan),
            FieldId::VlanTci => {
                self.tag_first(true);
                self.set_vlan_vid(value as u16 & VLAN_VID_MASK);
                self.set_vlan_pcp((value as u16 >> 13) as u8);
            }
            FieldId::VlanVid => self.set_vlan_vid(value as u16 & VLAN_VID_MASK),
            FieldId::VlanPcp => self.set_vlan_pcp(value as u8),
            FieldId::EthSrc => self.out.push(Action::SetEthSrc(mac_of_bits(value as u64))),
            FieldId::EthDst => self.out.push(Action::SetEthDst(mac_of_bits(value as u64))),
            FieldId::Ipv4Src => self.out.push(Action::SetIpv4Src(value as u32)),
            FieldId::Ipv4Dst => self.out.push(Action::SetIpv4Dst(value as u32)),
            FieldId::NwTos => self.out.push(Action::SetIpDscp(value as u8)),
            FieldId::IpDscp => self.out.push(Action::SetIpDscp((value as u8) << 2)),
            FieldId::IpEcn => self.set_ecn(value as u8),
            FieldId::TcpSrc | FieldId::UdpSrc => self.out.push(Action::SetL4Src(value as u16)),
            FieldId::TcpDst | FieldId::UdpDst => self.out.push(Action::SetL4Dst(value as u16)),
            _ if is_whole => self.load_whole(field, value),
            _ => self.loads(field, value, mask),
        }
    }
}

/// Whether the mask has every bit of the bytes that a value has in a message, including
/// bits beyond the field's width.
fn fills_its_bytes(field: FieldId, mask: u128) -> bool {
    mask == ones(8 * field.def().wire_len() as u16)
}

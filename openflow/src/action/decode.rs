//! Reads actions.

use super::number::{ONF_COPY_FIELD, REASON_ACTION, SAME_TABLE, WHOLE_PACKET, controller2, nx, of};
use super::{connection, learn, members, nat};
use crate::error::ErrorCode;
use crate::group::decode_property;
use crate::input::{Input, ONF, VENDOR_NICIRA};
use crate::matching::field::{self, FieldHeader};
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow12, OpenFlow13, OpenFlow14, OpenFlow15};
use flow::action::{Action, Clause, SetFieldForm, Subfield};
use flow::fields::{FieldId, TextForm, ones};
use flow::key::VLAN_CFI;
use flow::types::{GroupId, MacAddr, MeterId, OfPort, OfVersion, TableId};

/// Size in bytes of the smallest action.
const MIN_SIZE: usize = 8;
/// Size in bytes of the type, the length, the experimenter and the subtype of an action of Nicira.
const NICIRA_HEADER: usize = 10;
/// How deep `clone` may be nested in `clone`.
const MAX_DEPTH: u32 = 32;

/// Reads actions up to the end of `input`.
pub(crate) fn decode_list(input: Input<'_>, version: OfVersion) -> Result<Vec<Action>, ErrorCode> {
    let mut list = Vec::new();
    decode_behind(&mut list, input, version)?;
    Ok(list)
}

/// Reads actions up to the end of `input`, and puts them behind those of `list`.
pub(super) fn decode_behind(
    list: &mut Vec<Action>,
    mut input: Input<'_>,
    version: OfVersion,
) -> Result<(), ErrorCode> {
    Reading { version, depth: 0 }.list(&mut input, list)
}

/// Reads the actions of a bucket or of a packet-out, which cannot be Nicira's form of an instruction.
pub(crate) fn decode_plain(input: Input<'_>, version: OfVersion) -> Result<Vec<Action>, ErrorCode> {
    let list = decode_list(input, version)?;
    check_company(&list, false)?;
    Ok(list)
}

/// Checks whether the actions and instructions of a rule can stand together.
pub(crate) fn check_rule(list: &[Action]) -> Result<(), ErrorCode> {
    check_company(list, true)
}

/// Checks what Open vSwitch checks of a list when it has read all of it, and before it asks whether the actions
/// fit their match (`ofpacts_verify`). Nicira's form of `write_metadata` is an instruction among actions, which
/// only `goto_table` may follow.
fn check_company(list: &[Action], may_have_instructions: bool) -> Result<(), ErrorCode> {
    let mut is_behind_metadata = false;
    for action in list {
        match action {
            Action::Conjunction(_) => {
                let fits = |a: &Action| matches!(a, Action::Conjunction(_) | Action::Note(_));
                return match list.iter().all(fits) {
                    true => Ok(()),
                    false => Err(ErrorCode::NxActionBadConjunction),
                };
            }
            action if changes_connection(action) => return Err(ErrorCode::BadSetArgument),
            Action::WriteMetadata { .. } if !may_have_instructions => {
                return Err(ErrorCode::UnsupportedInstruction);
            }
            Action::GotoTable(_) => {}
            _ if is_behind_metadata => return Err(ErrorCode::ActionUnsupportedOrder),
            Action::WriteMetadata { .. } => is_behind_metadata = true,
            _ => {}
        }
    }
    Ok(())
}

/// Whether an action changes a field of a connection, which only `ct` may do.
pub(super) fn changes_connection(action: &Action) -> bool {
    match action {
        Action::SetField { field, .. } => field.is_of_connection(),
        Action::Move { dst, .. } => dst.field.is_of_connection(),
        _ => false,
    }
}

/// The settings of a reader of actions.
#[derive(Clone, Copy)]
struct Reading {
    version: OfVersion,
    /// How many `clone`s contain the list.
    depth: u32,
}

impl Reading {
    fn list(self, input: &mut Input<'_>, list: &mut Vec<Action>) -> Result<(), ErrorCode> {
        while !input.is_empty() {
            list.push(self.one(input)?);
        }
        Ok(())
    }

    /// Reads the action that `input` begins with.
    fn one(self, input: &mut Input<'_>) -> Result<Action, ErrorCode> {
        let mut header = *input;
        let (kind, len) = (header.u16(), header.u16().map(usize::from));
        let (Ok(kind), Ok(len)) = (kind, len) else {
            return Err(ErrorCode::BadActionLength);
        };
        self.check_known(kind, header)?;
        if len < MIN_SIZE || !len.is_multiple_of(8) {
            return Err(ErrorCode::BadActionLength);
        }
        if len > input.len() {
            return Err(ErrorCode::BadActionLength);
        }
        let mut action = input.part(len, ErrorCode::BadActionLength)?;
        action.skip(4)?;
        match kind {
            of::EXPERIMENTER => self.experimenter(action),
            _ => self.standard(kind, action),
        }
    }

    /// Whether there are actions of this type; `rest` has what follows the length. Open vSwitch asks that
    /// before it looks at the length.
    fn check_known(self, kind: u16, mut rest: Input<'_>) -> Result<(), ErrorCode> {
        if kind != of::EXPERIMENTER {
            return match self.standard_size(kind) {
                Some(_) => Ok(()),
                None => Err(ErrorCode::BadAction),
            };
        }
        let vendor = rest.u32().map_err(|_| ErrorCode::BadActionLength)?;
        if vendor != VENDOR_NICIRA && vendor != ONF {
            return Err(ErrorCode::BadActionVendor);
        }
        // The subtype may stand behind the end of an action that is too short.
        let subtype = rest.u16().map_err(|_| ErrorCode::BadActionLength)?;
        let is_known = match vendor {
            VENDOR_NICIRA => self.nicira_size(subtype).is_some(),
            _ => subtype == ONF_COPY_FIELD && matches!(self.version, OpenFlow13 | OpenFlow14),
        };
        is_known.then_some(()).ok_or(ErrorCode::BadVendorAction)
    }

    /// Reads a standard action behind its type and length.
    fn standard(self, kind: u16, mut input: Input<'_>) -> Result<Action, ErrorCode> {
        let is_10 = self.version == OpenFlow10;
        if let Some(Some(expected)) = self.standard_size(kind)
            && expected != 4 + input.len()
        {
            return Err(ErrorCode::BadActionLength);
        }
        Ok(match kind {
            of::OUTPUT => {
                let port = port::decode(&mut input, self.version, ErrorCode::BadOutPort)?;
                let max_len = input.u16()?;
                if port == OfPort::NONE || (OfPort::MAX..OfPort::IN_PORT).contains(&port) {
                    return Err(ErrorCode::BadOutPort);
                }
                output(port, max_len)
            }
            of::SET_VLAN_VID => {
                let vid = input.u16()?;
                if vid > 0xfff {
                    return Err(ErrorCode::BadArgument);
                }
                Action::SetVlanVid { vid, push_if_untagged: is_10 }
            }
            of::SET_VLAN_PCP => {
                let pcp = input.u8()?;
                if pcp > 7 {
                    return Err(ErrorCode::BadArgument);
                }
                Action::SetVlanPcp { pcp, push_if_untagged: is_10 }
            }
            of::STRIP_VLAN_10 if is_10 => Action::StripVlan,
            of::SET_DL_SRC_10 if is_10 => Action::SetEthSrc(MacAddr(input.array()?)),
            of::SET_DL_DST_10 if is_10 => Action::SetEthDst(MacAddr(input.array()?)),
            of::SET_NW_SRC_10 if is_10 => Action::SetIpv4Src(input.u32()?),
            of::SET_NW_DST_10 if is_10 => Action::SetIpv4Dst(input.u32()?),
            of::SET_NW_TOS_10 if is_10 => dscp(input.u8()?)?,
            of::SET_TP_SRC_10 if is_10 => Action::SetL4Src(input.u16()?),
            of::SET_TP_DST_10 if is_10 => Action::SetL4Dst(input.u16()?),
            of::ENQUEUE_10 if is_10 => {
                let port = OfPort(input.u16()?);
                input.skip(6)?;
                Action::Enqueue { port, queue: input.u32()? }
            }
            _ if is_10 => return Err(ErrorCode::BadAction),
            of::SET_DL_SRC => Action::SetEthSrc(MacAddr(input.array()?)),
            of::SET_DL_DST => Action::SetEthDst(MacAddr(input.array()?)),
            of::SET_NW_SRC => Action::SetIpv4Src(input.u32()?),
            of::SET_NW_DST => Action::SetIpv4Dst(input.u32()?),
            of::SET_NW_TOS => dscp(input.u8()?)?,
            of::SET_NW_ECN => match input.u8()? {
                ecn @ 0..=3 => Action::SetIpEcn(ecn),
                _ => return Err(ErrorCode::BadArgument),
            },
            of::SET_TP_SRC => Action::SetL4Src(input.u16()?),
            of::SET_TP_DST => Action::SetL4Dst(input.u16()?),
            of::SET_MPLS_LABEL => mpls_label(input.u32()?)?,
            of::SET_MPLS_TC => mpls_tc(input.u8()?)?,
            of::SET_MPLS_TTL => Action::SetMplsTtl(input.u8()?),
            of::DEC_MPLS_TTL => Action::DecMplsTtl,
            of::PUSH_VLAN => match input.u16()? {
                tpid @ (0x8100 | 0x88a8) => Action::PushVlan(tpid),
                _ => return Err(ErrorCode::BadArgument),
            },
            of::POP_VLAN => Action::StripVlan,
            of::PUSH_MPLS => push_mpls(input.u16()?)?,
            of::POP_MPLS => Action::PopMpls(input.u16()?),
            of::SET_QUEUE => Action::SetQueue(input.u32()?),
            of::GROUP => Action::Group(GroupId(input.u32()?)),
            of::SET_NW_TTL => Action::SetIpTtl(input.u8()?),
            of::DEC_NW_TTL => Action::DecTtl(Vec::new()),
            of::SET_FIELD if self.version >= OpenFlow12 => self.set_field(&mut input)?,
            of::COPY_FIELD if self.version >= OpenFlow15 => {
                let (n_bits, src, dst) = (input.u16()?, input.u16()?, input.u16()?);
                input.skip(2)?;
                copy(&mut input, n_bits, src, dst)?
            }
            // Whether a rule can name the meter is checked with the other actions of the rule.
            of::METER if self.version >= OpenFlow15 => Action::Meter(MeterId(input.u32()?)),
            _ => return Err(ErrorCode::BadAction),
        })
    }

    /// The size in bytes of a standard action, which is `None` where it differs; no size at all for a type that
    /// the version does not have.
    fn standard_size(self, kind: u16) -> Option<Option<usize>> {
        let is_10 = self.version == OpenFlow10;
        let last = if is_10 { of::ENQUEUE_10 } else { of::DEC_NW_TTL };
        match kind {
            of::SET_FIELD if self.version >= OpenFlow12 => Some(None),
            of::COPY_FIELD if self.version >= OpenFlow15 => Some(None),
            of::METER if self.version >= OpenFlow15 => Some(Some(8)),
            of::OUTPUT if !is_10 => Some(Some(16)),
            of::SET_DL_SRC_10 | of::SET_DL_DST_10 | of::ENQUEUE_10 if is_10 => Some(Some(16)),
            of::SET_DL_SRC | of::SET_DL_DST if !is_10 => Some(Some(16)),
            of::COPY_TTL_OUT | of::COPY_TTL_IN if !is_10 => None,
            _ if kind <= last => Some(Some(8)),
            _ => None,
        }
    }

    fn experimenter(self, mut input: Input<'_>) -> Result<Action, ErrorCode> {
        let vendor = input.u32()?;
        if input.len() < 2 {
            return Err(ErrorCode::BadActionLength);
        }
        let subtype = input.u16()?;
        match vendor {
            VENDOR_NICIRA => self.nicira(subtype, input),
            ONF if subtype == ONF_COPY_FIELD && matches!(self.version, OpenFlow13 | OpenFlow14) => {
                input.skip(2)?;
                let (n_bits, src, dst) = (input.u16()?, input.u16()?, input.u16()?);
                input.skip(2)?;
                copy(&mut input, n_bits, src, dst)
            }
            ONF => Err(ErrorCode::BadVendorAction),
            _ => Err(ErrorCode::BadActionVendor),
        }
    }

    /// The smallest size in bytes of an action of Nicira, and whether it may be longer; `None` if the version
    /// has no such action.
    fn nicira_size(self, subtype: u16) -> Option<(usize, bool)> {
        let (is_10, has_load) = (self.version == OpenFlow10, self.version < OpenFlow15);
        // Later versions say these by actions of their own.
        let is_replaced = match subtype {
            nx::SET_QUEUE | nx::GROUP | nx::DEC_TTL | nx::PUSH_MPLS | nx::POP_MPLS => !is_10,
            nx::SET_MPLS_TTL | nx::DEC_MPLS_TTL | nx::SET_MPLS_LABEL | nx::SET_MPLS_TC => !is_10,
            nx::REG_MOVE | nx::REG_LOAD | nx::REG_LOAD2 => !has_load,
            _ => false,
        };
        if is_replaced {
            return None;
        }
        // Actions with fields of eight-byte headers, lists and bytes may be longer than the smallest size.
        Some(match subtype {
            nx::REG_LOAD | nx::OUTPUT_REG => (24, false),
            nx::REG_MOVE => (24, true),
            nx::STACK_PUSH | nx::STACK_POP | nx::OUTPUT_REG2 | nx::CHECK_PKT_LARGER => (24, false),
            nx::WRITE_METADATA => (32, false),
            nx::DELETE_FIELD => (24, false),
            nx::NAT => (16, true),
            nx::SET_TUNNEL64 => (24, false),
            nx::CT => (24, true),
            nx::SAMPLE => (24, false),
            nx::SAMPLE2 | nx::SAMPLE3 => (32, false),
            nx::MULTIPATH | nx::BUNDLE | nx::BUNDLE_LOAD | nx::LEARN | nx::LEARN2 => (32, true),
            nx::NOTE | nx::DEC_TTL_CNT_IDS | nx::REG_LOAD2 | nx::CONTROLLER2 | nx::CLONE => {
                (16, true)
            }
            nx::RESUBMIT | nx::RESUBMIT_TABLE | nx::SET_TUNNEL | nx::SET_QUEUE | nx::POP_QUEUE => {
                (16, false)
            }
            nx::EXIT | nx::DEC_TTL | nx::CONTROLLER | nx::PUSH_MPLS | nx::POP_MPLS => (16, false),
            nx::SET_MPLS_TTL | nx::DEC_MPLS_TTL | nx::SET_MPLS_LABEL | nx::SET_MPLS_TC => {
                (16, false)
            }
            nx::CONJUNCTION | nx::OUTPUT_TRUNC | nx::GROUP | nx::CT_CLEAR | nx::FIN_TIMEOUT => {
                (16, false)
            }
            _ => return None,
        })
    }

    /// Reads an action of Nicira behind its subtype.
    fn nicira(self, subtype: u16, mut input: Input<'_>) -> Result<Action, ErrorCode> {
        let size = NICIRA_HEADER + input.len();
        let (is_10, has_load) = (self.version == OpenFlow10, self.version < OpenFlow15);
        let (min, may_be_longer) = self.nicira_size(subtype).ok_or(ErrorCode::BadVendorAction)?;
        if size < min || size > min && !may_be_longer {
            return Err(ErrorCode::BadActionLength);
        }
        Ok(match subtype {
            nx::RESUBMIT => resubmit(input.u16()?, SAME_TABLE)?,
            nx::RESUBMIT_TABLE => {
                let (in_port, table) = (input.u16()?, input.u8()?);
                if !input.is_zero() {
                    return Err(ErrorCode::BadArgument);
                }
                resubmit(in_port, table)?
            }
            nx::SET_TUNNEL => Action::SetTunnel { id: aligned(&mut input)?.into(), is_wide: false },
            nx::SET_TUNNEL64 => {
                input.skip(6)?;
                Action::SetTunnel { id: input.u64()?, is_wide: true }
            }
            nx::SET_QUEUE if is_10 => Action::SetQueue(aligned(&mut input)?),
            nx::GROUP if is_10 => Action::Group(GroupId(aligned(&mut input)?)),
            nx::POP_QUEUE => Action::PopQueue,
            nx::REG_MOVE if has_load => {
                let (n_bits, src, dst) = (input.u16()?, input.u16()?, input.u16()?);
                copy(&mut input, n_bits, src, dst)?
            }
            nx::REG_LOAD if has_load => load(&mut input)?,
            // The field follows the subtype at once.
            nx::REG_LOAD2 if has_load => match self.assignment(&mut input, true)? {
                Action::SetField { field, value, mask, form: SetFieldForm::SetField } => {
                    Action::SetField { field, value, mask, form: SetFieldForm::RegLoad2 }
                }
                action => action,
            },
            nx::NOTE => Action::Note(input.rest().to_vec()),
            nx::OUTPUT_REG => {
                let (bits, mut field, max_len) =
                    (input.u16()?, input.part(4, ErrorCode::BadActionLength)?, input.u16()?);
                if !input.is_zero() {
                    return Err(ErrorCode::BadArgument);
                }
                let field = FieldHeader::decode_short(&mut field)?;
                Action::OutputReg { src: packed_subfield(field, bits)?, max_len }
            }
            nx::OUTPUT_REG2 => {
                let (bits, max_len) = (input.u16()?, input.u16()?);
                let field = FieldHeader::decode_alone(&mut input)?;
                Action::OutputReg { src: packed_subfield(field, bits)?, max_len }
            }
            nx::CT => {
                let (head, actions) = connection::decode(&mut input)?;
                if self.depth >= MAX_DEPTH {
                    return Err(ErrorCode::TooManyActions);
                }
                let inner = Self { depth: self.depth + 1, ..self };
                let (mut head, mut actions, mut exec) = (head, actions, Vec::new());
                // `ovs-ofctl` writes the translation of addresses and the other actions in the order of its
                // text. Of several translations, the last one is in force.
                while !actions.is_empty() {
                    match nat::decode(&mut actions)? {
                        Some(nat) => head.nat = Some(nat),
                        None => exec.push(inner.one(&mut actions)?),
                    }
                }
                Action::Ct(Box::new(connection::with_exec(head, exec)?))
            }
            nx::DELETE_FIELD => {
                let field = FieldHeader::decode_alone(&mut input)?;
                if !input.is_zero() {
                    return Err(ErrorCode::ActionMustBeZero);
                }
                match field {
                    FieldId::TunMetadata(_) => Action::DeleteField(field),
                    _ => return Err(ErrorCode::BadArgument),
                }
            }
            nx::CT_CLEAR => Action::CtClear,
            // `ct` has it, and nothing else.
            nx::NAT => return Err(ErrorCode::BadSetArgument),
            nx::LEARN | nx::LEARN2 => {
                Action::Learn(Box::new(learn::decode(&mut input, subtype == nx::LEARN2)?))
            }
            nx::FIN_TIMEOUT => Action::FinTimeout { idle: input.u16()?, hard: input.u16()? },
            nx::MULTIPATH => Action::Multipath(Box::new(members::decode_multipath(&mut input)?)),
            nx::BUNDLE | nx::BUNDLE_LOAD => {
                let loads = subtype == nx::BUNDLE_LOAD;
                Action::Bundle(Box::new(members::decode_bundle(&mut input, loads)?))
            }
            nx::SAMPLE | nx::SAMPLE2 | nx::SAMPLE3 => {
                Action::Sample(Box::new(members::decode_sample(&mut input, subtype)?))
            }
            nx::EXIT => Action::Exit,
            nx::CONJUNCTION => Action::Conjunction(clause(&mut input)?),
            nx::DEC_TTL if is_10 => Action::DecTtl(Vec::new()),
            nx::DEC_TTL_CNT_IDS => {
                let count = usize::from(input.u16()?);
                zeros(&mut input, 4)?;
                if count == 0 {
                    return Err(ErrorCode::BadArgument);
                }
                if input.len() < 2 * count {
                    return Err(ErrorCode::BadActionLength);
                }
                Action::DecTtl((0..count).map(|_| input.u16()).collect::<Result<_, _>>()?)
            }
            nx::CONTROLLER => Action::Controller {
                max_len: input.u16()?,
                controller_id: input.u16()?,
                reason: input.u8()?,
                userdata: Vec::new(),
                pause: false,
                meter_id: None,
            },
            nx::CONTROLLER2 => {
                zeros(&mut input, 6)?;
                controller2(&mut input)?
            }
            nx::WRITE_METADATA => {
                zeros(&mut input, 6)?;
                write_metadata(input.u64()?, input.u64()?)?
            }
            nx::PUSH_MPLS if is_10 => push_mpls(input.u16()?)?,
            nx::POP_MPLS if is_10 => Action::PopMpls(input.u16()?),
            nx::SET_MPLS_TTL if is_10 => Action::SetMplsTtl(input.u8()?),
            nx::DEC_MPLS_TTL if is_10 => Action::DecMplsTtl,
            nx::SET_MPLS_LABEL if is_10 => mpls_label(aligned(&mut input)?)?,
            nx::SET_MPLS_TC if is_10 => mpls_tc(input.u8()?)?,
            nx::STACK_PUSH => Action::StackPush(stack(&mut input)?),
            nx::STACK_POP => Action::StackPop(writable(stack(&mut input)?)?),
            nx::OUTPUT_TRUNC => {
                let (port, max_len) = (OfPort(input.u16()?), input.u32()?);
                let is_special = matches!(port, OfPort::IN_PORT | OfPort::LOCAL);
                if port >= OfPort::MAX && !is_special {
                    return Err(ErrorCode::BadOutPort);
                }
                if max_len < 14 {
                    return Err(ErrorCode::BadArgument);
                }
                Action::OutputTrunc { port, max_len }
            }
            nx::CLONE => {
                input.skip(6)?;
                if self.depth >= MAX_DEPTH {
                    return Err(ErrorCode::TooManyActions);
                }
                let mut inner = Vec::new();
                Self { depth: self.depth + 1, ..self }.list(&mut input, &mut inner)?;
                check_company(&inner, false)?;
                Action::Clone(inner)
            }
            nx::CHECK_PKT_LARGER => {
                let (len, offset) = (input.u16()?, input.u16()?);
                let field = FieldHeader::decode_alone(&mut input)?;
                if !input.is_zero() {
                    return Err(ErrorCode::MustBeZero);
                }
                Action::CheckPktLarger { len, dst: subfield(field, offset, 1)? }
            }
            _ => return Err(ErrorCode::BadVendorAction),
        })
    }

    /// Reads `set_field`, which has a mask from OpenFlow 1.5 on.
    fn set_field(self, input: &mut Input<'_>) -> Result<Action, ErrorCode> {
        match self.assignment(input, self.version >= OpenFlow15) {
            // The standard forbids to set its field for the ingress port (OpenFlow 1.3.5
            // §7.2.5). Nicira's can be set.
            Ok(Action::SetField { field: FieldId::InPortOxm, .. }) => {
                Err(ErrorCode::BadSetArgument)
            }
            action => action,
        }
    }

    fn assignment(self, input: &mut Input<'_>, may_have_mask: bool) -> Result<Action, ErrorCode> {
        let header = FieldHeader::decode(input)?;
        let id = header.field.ok_or(ErrorCode::BadSetType)?;
        let (def, legal) = (id.def(), id.full_mask());
        let size = header.value_size();
        // As in Open vSwitch, a field without a value is no field, but an option without bytes has the value 0.
        if header.fitting_field().is_none() {
            return Err(if size > 0 { ErrorCode::BadSetLength } else { ErrorCode::BadSetType });
        }
        let mut entry = input.part(header.size, ErrorCode::BadMatchLength)?;
        let mut next = || field::take_value(&mut entry, size, ErrorCode::BadSetLength);
        let value = next()?;
        let wire_mask = if header.has_mask { next()? } else { def.whole };
        if value & !wire_mask != 0 {
            return Err(ErrorCode::BadWildcards);
        }
        if !may_have_mask && header.has_mask {
            return Err(ErrorCode::BadSetMask);
        }
        if !input.is_zero() {
            return Err(ErrorCode::BadSetArgument);
        }
        let (mask, form) = if wire_mask == def.whole {
            (legal, SetFieldForm::SetField)
        } else if wire_mask & legal == legal {
            (wire_mask, SetFieldForm::MaskedSetField)
        } else {
            (wire_mask & legal, SetFieldForm::SetField)
        };
        let lacks_tag = id == FieldId::VlanVid
            && self.version >= OpenFlow12
            && value & mask & u128::from(VLAN_CFI) == 0;
        let is_port = def.form != TextForm::Port32 || crate::matching::is_port(value);
        if !def.writable || value & !legal != 0 || lacks_tag || !is_port {
            return Err(ErrorCode::BadSetArgument);
        }
        Ok(Action::SetField { field: id, value, mask, form })
    }
}

fn output(port: OfPort, max_len: u16) -> Action {
    match port {
        OfPort::CONTROLLER => Action::Controller {
            max_len,
            reason: REASON_ACTION,
            controller_id: 0,
            userdata: Vec::new(),
            pause: false,
            meter_id: None,
        },
        _ => Action::Output { port, max_len },
    }
}

fn dscp(tos: u8) -> Result<Action, ErrorCode> {
    if tos & 3 == 0 { Ok(Action::SetIpDscp(tos)) } else { Err(ErrorCode::BadArgument) }
}

fn mpls_label(label: u32) -> Result<Action, ErrorCode> {
    if label >> 20 == 0 { Ok(Action::SetMplsLabel(label)) } else { Err(ErrorCode::BadArgument) }
}

fn mpls_tc(tc: u8) -> Result<Action, ErrorCode> {
    if tc <= 7 { Ok(Action::SetMplsTc(tc)) } else { Err(ErrorCode::BadArgument) }
}

/// The clause of a `conjunction`, which counts clauses from 0.
fn clause(input: &mut Input<'_>) -> Result<Clause, ErrorCode> {
    let (index, clauses, id) = (input.u8()?, input.u8()?, input.u32()?);
    let is_sound = (2..=Clause::MAX).contains(&clauses) && index < clauses;
    match is_sound {
        true => Ok(Clause { id, clause: index + 1, clauses }),
        false => Err(ErrorCode::NxActionBadConjunction),
    }
}

fn push_mpls(ty: u16) -> Result<Action, ErrorCode> {
    match ty {
        0x8847 | 0x8848 => Ok(Action::PushMpls(ty)),
        _ => Err(ErrorCode::BadArgument),
    }
}

fn resubmit(in_port: u16, table: u8) -> Result<Action, ErrorCode> {
    let in_port = Some(OfPort(in_port)).filter(|port| *port != OfPort::IN_PORT);
    let table = match table {
        SAME_TABLE => None,
        n => Some(TableId::new(n).ok_or(ErrorCode::BadArgument)?),
    };
    Ok(Action::Resubmit { in_port, table })
}

/// Skips `n` bytes that have to be 0.
fn zeros(input: &mut Input<'_>, n: usize) -> Result<(), ErrorCode> {
    match input.part(n, ErrorCode::BadActionLength)?.is_zero() {
        true => Ok(()),
        false => Err(ErrorCode::MustBeZero),
    }
}

/// Reads 32 bits of an action of Nicira, which stand behind two bytes that align them.
fn aligned(input: &mut Input<'_>) -> Result<u32, ErrorCode> {
    input.skip(2)?;
    input.u32()
}

/// `n_bits` bits of a field from bit `offset` on.
pub(super) fn subfield(field: FieldId, offset: u16, n_bits: u16) -> Result<Subfield, ErrorCode> {
    let end = u32::from(offset) + u32::from(n_bits);
    match n_bits > 0 && end <= u32::from(field.def().bits) {
        true => Ok(Subfield { field, offset, n_bits }),
        false => Err(ErrorCode::BadSetLength),
    }
}

/// The bits, if rules can change them.
fn writable(sub: Subfield) -> Result<Subfield, ErrorCode> {
    if sub.field.def().writable { Ok(sub) } else { Err(ErrorCode::BadSetArgument) }
}

/// The bits that 16 bits name: the offset in the upper ten, and the number of bits less one in the lower six.
pub(super) fn packed_subfield(field: FieldId, bits: u16) -> Result<Subfield, ErrorCode> {
    subfield(field, bits >> 6, (bits & 0x3f) + 1)
}

/// Reads the field of a stack action between the offset and the number of its bits.
fn stack(input: &mut Input<'_>) -> Result<Subfield, ErrorCode> {
    let offset = input.u16()?;
    let field = FieldHeader::decode_alone(input)?;
    let n_bits = input.u16()?;
    if !input.is_zero() {
        return Err(ErrorCode::MustBeZero);
    }
    subfield(field, offset, n_bits)
}

fn copy(input: &mut Input<'_>, n_bits: u16, src: u16, dst: u16) -> Result<Action, ErrorCode> {
    let from = FieldHeader::decode_alone(input)?;
    let to = FieldHeader::decode_alone(input)?;
    if !input.is_zero() {
        return Err(ErrorCode::ActionMustBeZero);
    }
    Ok(Action::Move {
        src: subfield(from, src, n_bits)?,
        dst: writable(subfield(to, dst, n_bits)?)?,
    })
}

fn load(input: &mut Input<'_>) -> Result<Action, ErrorCode> {
    let (bits, field) = (input.u16()?, FieldHeader::decode_short(input)?);
    let (sub, value) = (writable(packed_subfield(field, bits)?)?, u128::from(input.u64()?));
    if value & !ones(sub.n_bits) != 0 {
        return Err(ErrorCode::BadArgument);
    }
    let form = SetFieldForm::of_load(field);
    Ok(Action::SetField { field, value: value << sub.offset, mask: sub.mask(), form })
}

/// An action or instruction that writes metadata.
pub(super) fn write_metadata(value: u64, mask: u64) -> Result<Action, ErrorCode> {
    Ok(Action::WriteMetadata { value: value & mask, mask })
}

fn controller2(input: &mut Input<'_>) -> Result<Action, ErrorCode> {
    let (mut max_len, mut controller_id, mut reason) = (WHOLE_PACKET, 0, REASON_ACTION);
    let (mut userdata, mut pause, mut meter_id) = (Vec::new(), false, None);
    while !input.is_empty() {
        let (kind, mut value) = decode_property(input)?;
        match kind {
            controller2::MAX_LEN => max_len = value.u16()?,
            controller2::CONTROLLER_ID => controller_id = value.u16()?,
            controller2::REASON => reason = value.u8()?,
            controller2::USERDATA => userdata = value.rest().to_vec(),
            controller2::PAUSE => pause = true,
            controller2::METER_ID => meter_id = Some(value.u32()?),
            _ => return Err(ErrorCode::BadProperty),
        }
    }
    Ok(Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ct_may_translate_behind_its_other_actions() {
        let nat = b"\xff\xff\0\x18\0\0\x23\x20\0\x24\0\0\0\x01\0\x01\x0a\0\0\x01\0\0\0\0";
        let mark = b"\xff\xff\0\x18\0\0\x23\x20\0\x07\0\x1f\0\x01\xd6\x04\0\0\0\0\0\0\0\x05";
        let head = b"\xff\xff\0\x48\0\0\x23\x20\0\x23\0\x01\0\0\0\0\0\0\xff\0\0\0\0\0";
        let decode = |bytes: Vec<u8>| {
            decode_list(Input::new(&bytes, ErrorCode::BadActionLength), OpenFlow10).unwrap()
        };
        let in_front = decode([&head[..], nat, mark].concat());
        assert_eq!(decode([&head[..], mark, nat].concat()), in_front);
        let [Action::Ct(ct)] = &in_front[..] else { panic!("{in_front:?}") };
        assert!(ct.nat.is_some() && ct.exec.len() == 1, "{ct:?}");
    }

    /// The actions of an action of Nicira, in OpenFlow 1.0.
    fn nicira(subtype: u16, body: &[u8]) -> Result<Vec<Action>, ErrorCode> {
        let size = (NICIRA_HEADER + body.len()).next_multiple_of(8);
        let mut bytes = [&b"\xff\xff"[..], &(size as u16).to_be_bytes()].concat();
        bytes.extend(VENDOR_NICIRA.to_be_bytes());
        bytes.extend(subtype.to_be_bytes());
        bytes.extend(body);
        bytes.resize(size, 0);
        decode_list(Input::new(&bytes, ErrorCode::BadActionLength), OpenFlow10)
    }

    const REG0: &[u8] = b"\0\x01\0\x04";
    const REG0_MASKED: &[u8] = b"\0\x01\x01\x08";
    const UNKNOWN: &[u8] = b"\0\x01\xfe\x04";

    #[test]
    fn headers_of_older_actions_may_say_that_there_is_a_mask() {
        let load = |field: &[u8]| nicira(nx::REG_LOAD, &[b"\0\x0f", field, &[0; 8]].concat());
        assert!(load(REG0).is_ok());
        assert_eq!(load(REG0_MASKED), load(REG0));
        for wrong in [UNKNOWN, b"\0\x01\x01\x04", b"\0\x01\0\x08", b"\xff\xff\x54\x06"] {
            assert_eq!(load(wrong), Err(ErrorCode::BadSetType), "{wrong:x?}");
        }
    }

    #[test]
    fn headers_of_later_actions_have_no_mask() {
        let copy = |field: &[u8]| nicira(nx::REG_MOVE, &[b"\0\x08\0\0\0\0", field, REG0].concat());
        assert!(copy(REG0).is_ok());
        assert_eq!(copy(REG0_MASKED), Err(ErrorCode::BadMask));
        assert_eq!(copy(UNKNOWN), Err(ErrorCode::BadField));
        assert_eq!(copy(b"\0\x01\x01\x04"), Err(ErrorCode::BadField));
    }

    #[test]
    fn a_byte_behind_value_and_mask_means_nothing() {
        let load = |value: &[u8]| nicira(nx::REG_LOAD2, value);
        let expected = load(b"\0\x01\x01\x08\0\0\0\x01\0\0\0\x01");
        assert!(expected.is_ok());
        assert_eq!(load(b"\0\x01\x01\x09\0\0\0\x01\0\0\0\x01\0"), expected);
        let outside = load(b"\0\x01\x01\x09\0\0\0\x01\0\0\0\0\0");
        assert_eq!(outside, Err(ErrorCode::BadWildcards));
    }

    #[test]
    fn bundles_have_ports_and_reserved_bytes_only_without_a_field() {
        let bundle = |subtype, kind: &[u8], count: u8, place: &[u8]| {
            nicira(subtype, &[&[0; 6], kind, &[0, count], place, b"\0\x03"].concat())
        };
        let ports = b"\0\0\0\x02";
        let plain = [0; 10];
        assert!(bundle(nx::BUNDLE, ports, 1, &plain).is_ok());
        let bad = Err(ErrorCode::BadArgument);
        assert_eq!(bundle(nx::BUNDLE, UNKNOWN, 1, &plain), bad);
        assert_eq!(bundle(nx::BUNDLE, ports, 1, b"\0\0\0\0\0\0\0\0\0\x01"), bad);
        assert_eq!(bundle(nx::BUNDLE, UNKNOWN, 9, &plain), Err(ErrorCode::BadActionLength));
        let place = |reserved: &[u8]| [b"\0\x0f", REG0, reserved].concat();
        let expected = bundle(nx::BUNDLE_LOAD, ports, 1, &place(&[0; 4]));
        assert!(expected.is_ok());
        assert_eq!(bundle(nx::BUNDLE_LOAD, ports, 1, &place(&[1; 4])), expected);
    }

    #[test]
    fn unknown_flags_of_ct_mean_nothing() {
        let ct = |flags: u16, zone: &[u8]| {
            let flags = flags.to_be_bytes();
            nicira(nx::CT, &[&flags, zone, b"\0\x0f\xff\0\0\0\0\0"].concat())
        };
        let number = [0; 4];
        assert!(ct(1, &number).is_ok());
        assert_eq!(ct(0x8005, &number), ct(1, &number));
        assert_eq!(ct(2, &number), Err(ErrorCode::BadArgument));
        assert_eq!(ct(2, UNKNOWN), Err(ErrorCode::BadArgument));
        assert_eq!(ct(0, UNKNOWN), Err(ErrorCode::BadSetType));
    }

    #[test]
    fn learn_has_a_bit_of_the_result_only_with_a_result() {
        let learn = |flags: u8, bit: u8, reserved: u8, field: &[u8]| {
            let head = [&[0; 4][..], &[0, 1], &[0; 8], &[0, flags, 1, 0], &[0; 4]].concat();
            let second = [&[0; 4][..], &[0, bit, 0, reserved], field].concat();
            nicira(nx::LEARN2, &[head, second].concat())
        };
        assert!(learn(0, 0, 0, &[]).is_ok());
        assert!(learn(4, 5, 0, REG0).is_ok());
        assert_eq!(learn(0, 5, 0, &[]), Err(ErrorCode::BadArgument));
        assert_eq!(learn(0, 0, 1, &[]), Err(ErrorCode::ActionMustBeZero));
        assert_eq!(learn(4, 5, 0, REG0_MASKED), Err(ErrorCode::BadMask));
    }

    #[test]
    fn reserved_bits_of_a_learned_part_mean_nothing() {
        let learn = |head: u16| {
            let learner = [&[0; 4][..], &[0, 1], &[0; 8], &[0, 0, 1, 0], &[0; 4]].concat();
            let part = [&head.to_be_bytes(), REG0, &[0; 2], REG0, &[0; 2]].concat();
            nicira(nx::LEARN, &[learner, part].concat())
        };
        assert!(learn(16).is_ok());
        for reserved in [0x400, 0x4000, 0x8000] {
            assert_eq!(learn(reserved | 16), learn(16));
        }
    }

    #[test]
    fn an_option_without_bytes_is_set_to_zero_and_a_field_without_bytes_is_none() {
        let set_field = |oxm: [u8; 4]| {
            let bytes = [&[0, 25, 0, 8], &oxm[..]].concat();
            decode_list(Input::new(&bytes, ErrorCode::BadActionLength), OpenFlow13)
        };
        let option = FieldId::TunMetadata(1);
        let (mask, form) = (option.full_mask(), SetFieldForm::SetField);
        let zero = Action::SetField { field: option, value: 0, mask, form };
        assert_eq!(set_field([0, 1, 41 << 1, 0]).unwrap(), [zero]);
        // NXM_OF_IN_PORT.
        assert_eq!(set_field([0, 0, 0, 0]), Err(ErrorCode::BadSetType));
    }

    #[test]
    fn a_length_that_reaches_beyond_the_list_is_an_error() {
        for (bytes, expected) in [
            (&[0, 0, 0, 16, 0, 1, 0, 0][..], ErrorCode::BadActionLength),
            (&[0, 0, 0, 0, 0, 1, 0, 0], ErrorCode::BadActionLength),
            (&[0, 0, 0, 4], ErrorCode::BadActionLength),
            (&[0xff, 0xff, 0, 8, 0, 0, 0x23, 0x20], ErrorCode::BadActionLength),
            (&[0, 40, 0, 8, 0, 0, 0, 0], ErrorCode::BadAction),
        ] {
            let input = Input::new(bytes, ErrorCode::BadActionLength);
            assert_eq!(decode_list(input, OpenFlow10).unwrap_err(), expected, "{bytes:?}");
        }
    }
}

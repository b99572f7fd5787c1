//! Writes actions.

use super::number::{REASON_ACTION, SAME_TABLE, WHOLE_PACKET, controller2, nx, of};
use super::{connection, learn, members};
use crate::input::VENDOR_NICIRA;
use crate::matching::field;
use crate::output::Encoder;
use crate::port;
use OfVersion::{OpenFlow10, OpenFlow11, OpenFlow12, OpenFlow15};
use flow::action::{Action, Clause, SetFieldForm, Subfield};
use flow::fields::FieldId;
use flow::types::{OfPort, OfVersion, TableId};

/// Writes a list of actions, each padded to a multiple of 8 bytes. Instructions have no place in a list and are
/// left out, except that OpenFlow 1.0 has an action for `write_metadata`.
pub(crate) fn put_list(out: &mut Encoder, actions: &[Action], version: OfVersion) {
    for action in actions {
        Writing { out, version }.action(action);
    }
}

struct Writing<'a> {
    out: &'a mut Encoder,
    version: OfVersion,
}

impl Writing<'_> {
    fn action(&mut self, action: &Action) {
        let (is_10, is_11) = (self.version == OpenFlow10, self.version >= OpenFlow11);
        match action {
            Action::Output { port, max_len } => self.output(*port, *max_len),
            Action::Controller { .. } => self.controller(action),
            Action::OutputReg { src, max_len } => self.output_reg(*src, *max_len),
            Action::OutputTrunc { port, max_len } => self.nicira(nx::OUTPUT_TRUNC, |out| {
                out.u16(port.0);
                out.u32(*max_len);
            }),
            Action::Enqueue { port, queue } => self.standard(of::ENQUEUE_10, |out| {
                out.u16(port.0);
                out.zeros(6);
                out.u32(*queue);
            }),
            Action::SetQueue(queue) => self.either_u32(of::SET_QUEUE, nx::SET_QUEUE, *queue),
            Action::PopQueue => self.nicira(nx::POP_QUEUE, |_| {}),
            Action::Group(group) => self.either_u32(of::GROUP, nx::GROUP, group.0),
            // An instruction in 1.3 and 1.4.
            Action::Meter(meter) => self.standard(of::METER, |out| out.u32(meter.0)),
            Action::SetVlanVid { vid, .. } => self.standard(of::SET_VLAN_VID, |out| out.u16(*vid)),
            Action::SetVlanPcp { pcp, .. } => self.standard(of::SET_VLAN_PCP, |out| out.u8(*pcp)),
            Action::StripVlan => {
                self.standard(if is_10 { of::STRIP_VLAN_10 } else { of::POP_VLAN }, |_| {});
            }
            Action::PushVlan(tpid) => self.standard(of::PUSH_VLAN, |out| out.u16(*tpid)),
            Action::SetEthSrc(mac) => {
                let kind = if is_10 { of::SET_DL_SRC_10 } else { of::SET_DL_SRC };
                self.standard(kind, |out| out.bytes(&mac.0));
            }
            Action::SetEthDst(mac) => {
                let kind = if is_10 { of::SET_DL_DST_10 } else { of::SET_DL_DST };
                self.standard(kind, |out| out.bytes(&mac.0));
            }
            Action::SetIpv4Src(address) => {
                let kind = if is_10 { of::SET_NW_SRC_10 } else { of::SET_NW_SRC };
                self.standard(kind, |out| out.u32(*address));
            }
            Action::SetIpv4Dst(address) => {
                let kind = if is_10 { of::SET_NW_DST_10 } else { of::SET_NW_DST };
                self.standard(kind, |out| out.u32(*address));
            }
            Action::SetIpDscp(tos) => {
                let kind = if is_10 { of::SET_NW_TOS_10 } else { of::SET_NW_TOS };
                self.standard(kind, |out| out.u8(*tos));
            }
            Action::SetIpEcn(ecn) => self.standard(of::SET_NW_ECN, |out| out.u8(*ecn)),
            Action::SetIpTtl(ttl) => self.standard(of::SET_NW_TTL, |out| out.u8(*ttl)),
            Action::SetL4Src(port) => {
                let kind = if is_10 { of::SET_TP_SRC_10 } else { of::SET_TP_SRC };
                self.standard(kind, |out| out.u16(*port));
            }
            Action::SetL4Dst(port) => {
                let kind = if is_10 { of::SET_TP_DST_10 } else { of::SET_TP_DST };
                self.standard(kind, |out| out.u16(*port));
            }
            Action::SetField { field, value, mask, form } => {
                self.assignment(*field, *value, *mask, *form);
            }
            Action::Move { src, dst } => self.copy(*src, *dst),
            Action::StackPush(sub) => self.stack(nx::STACK_PUSH, *sub),
            Action::StackPop(sub) => self.stack(nx::STACK_POP, *sub),
            Action::DecTtl(ids) if !ids.is_empty() => self.nicira(nx::DEC_TTL_CNT_IDS, |out| {
                out.u16(ids.len() as u16);
                out.zeros(4);
                ids.iter().for_each(|id| out.u16(*id));
            }),
            Action::DecTtl(_) if is_11 => self.standard(of::DEC_NW_TTL, |_| {}),
            Action::DecTtl(_) => self.nicira(nx::DEC_TTL, |_| {}),
            Action::SetMplsLabel(label) => {
                self.either_u32(of::SET_MPLS_LABEL, nx::SET_MPLS_LABEL, *label);
            }
            Action::SetMplsTc(tc) => self.either_u8(of::SET_MPLS_TC, nx::SET_MPLS_TC, *tc),
            Action::SetMplsTtl(ttl) => self.either_u8(of::SET_MPLS_TTL, nx::SET_MPLS_TTL, *ttl),
            Action::DecMplsTtl if is_11 => self.standard(of::DEC_MPLS_TTL, |_| {}),
            Action::DecMplsTtl => self.nicira(nx::DEC_MPLS_TTL, |_| {}),
            Action::PushMpls(ty) => self.either_u16(of::PUSH_MPLS, nx::PUSH_MPLS, *ty),
            Action::PopMpls(ty) => self.either_u16(of::POP_MPLS, nx::POP_MPLS, *ty),
            Action::SetTunnel { id, is_wide: false } => self.nicira(nx::SET_TUNNEL, |out| {
                out.zeros(2);
                out.u32(*id as u32);
            }),
            Action::SetTunnel { id, is_wide: true } => self.nicira(nx::SET_TUNNEL64, |out| {
                out.zeros(6);
                out.u64(*id);
            }),
            Action::Resubmit { in_port, table } => {
                let in_port = in_port.unwrap_or(OfPort::IN_PORT).0;
                self.nicira(nx::RESUBMIT_TABLE, |out| {
                    out.u16(in_port);
                    out.u8(table.map_or(SAME_TABLE, TableId::get));
                });
            }
            Action::Clone(inner) => {
                let version = self.version;
                self.nicira(nx::CLONE, |out| {
                    out.zeros(6);
                    put_list(out, inner, version);
                });
            }
            Action::CheckPktLarger { len, dst } => self.nicira(nx::CHECK_PKT_LARGER, |out| {
                out.u16(*len);
                out.u16(dst.offset);
                field::put_header(out, dst.field, OpenFlow10, false);
                if !field::is_long(dst.field, OpenFlow10) {
                    out.zeros(4);
                }
            }),
            Action::Ct(ct) => {
                let version = self.version;
                self.nicira(nx::CT, |out| connection::put(out, ct, version));
            }
            Action::DeleteField(id) => self.nicira(nx::DELETE_FIELD, |out| {
                field::put_header(out, *id, OpenFlow10, false);
                out.zeros(DELETE_FIELD_PADDING);
            }),
            Action::CtClear => self.nicira(nx::CT_CLEAR, |_| {}),
            Action::Learn(learner) => {
                let is_long = learn::needs_second_form(learner);
                let subtype = if is_long { nx::LEARN2 } else { nx::LEARN };
                self.nicira(subtype, |out| learn::put(out, learner));
            }
            Action::FinTimeout { idle, hard } => self.nicira(nx::FIN_TIMEOUT, |out| {
                out.u16(*idle);
                out.u16(*hard);
            }),
            Action::Multipath(multipath) => {
                self.nicira(nx::MULTIPATH, |out| members::put_multipath(out, multipath));
            }
            Action::Bundle(bundle) => {
                let subtype = if bundle.dst.is_some() { nx::BUNDLE_LOAD } else { nx::BUNDLE };
                self.nicira(subtype, |out| members::put_bundle(out, bundle));
            }
            Action::Sample(sampling) => {
                let subtype = members::sample_subtype(sampling);
                self.nicira(subtype, |out| members::put_sample(out, sampling));
            }
            Action::Exit => self.nicira(nx::EXIT, |_| {}),
            Action::Conjunction(Clause { id, clause, clauses }) => {
                self.nicira(nx::CONJUNCTION, |out| {
                    out.u8(clause - 1);
                    out.u8(*clauses);
                    out.u32(*id);
                });
            }
            Action::Note(bytes) => self.nicira(nx::NOTE, |out| out.bytes(bytes)),
            Action::WriteMetadata { value, mask } if is_10 => {
                self.nicira(nx::WRITE_METADATA, |out| {
                    out.zeros(6);
                    out.u64(*value);
                    out.u64(*mask);
                });
            }
            Action::ClearActions
            | Action::WriteActions(_)
            | Action::WriteMetadata { .. }
            | Action::GotoTable(_) => {}
        }
    }

    /// Writes a standard action with the bytes behind its type and length.
    fn standard(&mut self, kind: u16, body: impl FnOnce(&mut Encoder)) {
        let start = self.out.len();
        self.out.u16(kind);
        self.out.u16(0);
        body(self.out);
        self.out.pad(start);
        self.out.set_len(start + 2, start);
    }

    /// Writes an action of Nicira with the bytes behind its subtype. The first of these has offset 10.
    fn nicira(&mut self, subtype: u16, body: impl FnOnce(&mut Encoder)) {
        self.standard(of::EXPERIMENTER, |out| {
            out.u32(VENDOR_NICIRA);
            out.u16(subtype);
            body(out);
        });
    }

    /// Writes an action that Nicira defined for OpenFlow 1.0 and that 1.1 has as standard.
    fn either_u32(&mut self, kind: u16, subtype: u16, value: u32) {
        if self.version >= OpenFlow11 {
            self.standard(kind, |out| out.u32(value));
        } else {
            self.nicira(subtype, |out| {
                out.zeros(2);
                out.u32(value);
            });
        }
    }

    fn either_u16(&mut self, kind: u16, subtype: u16, value: u16) {
        match self.version >= OpenFlow11 {
            true => self.standard(kind, |out| out.u16(value)),
            false => self.nicira(subtype, |out| out.u16(value)),
        }
    }

    fn either_u8(&mut self, kind: u16, subtype: u16, value: u8) {
        match self.version >= OpenFlow11 {
            true => self.standard(kind, |out| out.u8(value)),
            false => self.nicira(subtype, |out| out.u8(value)),
        }
    }

    fn output(&mut self, port: OfPort, max_len: u16) {
        let version = self.version;
        self.standard(of::OUTPUT, |out| {
            port::put(out, port, version);
            out.u16(max_len);
        });
    }

    fn controller(&mut self, action: &Action) {
        let Action::Controller { max_len, reason, controller_id, userdata, pause, meter_id } =
            action
        else {
            return;
        };
        let is_plain = *reason == REASON_ACTION && *controller_id == 0;
        if !userdata.is_empty() || *pause || meter_id.is_some() {
            self.nicira(nx::CONTROLLER2, |out| {
                out.zeros(6);
                if *max_len != WHOLE_PACKET {
                    property(out, controller2::MAX_LEN, |out| out.u16(*max_len));
                }
                if *controller_id != 0 {
                    property(out, controller2::CONTROLLER_ID, |out| out.u16(*controller_id));
                }
                if *reason != REASON_ACTION {
                    property(out, controller2::REASON, |out| out.u8(*reason));
                }
                if !userdata.is_empty() {
                    property(out, controller2::USERDATA, |out| out.bytes(userdata));
                }
                if *pause {
                    property(out, controller2::PAUSE, |_| {});
                }
                if let Some(meter) = meter_id {
                    property(out, controller2::METER_ID, |out| out.u32(*meter));
                }
            });
        } else if is_plain {
            self.output(OfPort::CONTROLLER, *max_len);
        } else {
            self.nicira(nx::CONTROLLER, |out| {
                out.u16(*max_len);
                out.u16(*controller_id);
                out.u8(*reason);
            });
        }
    }

    fn output_reg(&mut self, src: Subfield, max_len: u16) {
        let bits = offset_and_len(src);
        if field::is_long(src.field, OpenFlow10) {
            self.nicira(nx::OUTPUT_REG2, |out| {
                out.u16(bits);
                out.u16(max_len);
                field::put_header(out, src.field, OpenFlow10, false);
            });
        } else {
            self.nicira(nx::OUTPUT_REG, |out| {
                out.u16(bits);
                field::put_header(out, src.field, OpenFlow10, false);
                out.u16(max_len);
                out.zeros(6);
            });
        }
    }

    fn assignment(&mut self, id: FieldId, value: u128, mask: u128, form: SetFieldForm) {
        let version = self.version;
        let is_whole = mask == id.full_mask() && form != SetFieldForm::MaskedSetField;
        let shown = (!is_whole).then_some(mask);
        if form == SetFieldForm::Load && version < OpenFlow15 {
            // The dialect has split the mask into runs.
            for sub in Subfield::runs(id, mask) {
                self.nicira(nx::REG_LOAD, |out| {
                    out.u16(offset_and_len(sub));
                    field::put_header(out, id, OpenFlow10, false);
                    out.u64((value >> sub.offset) as u64);
                });
            }
        } else if version >= OpenFlow15
            || version >= OpenFlow12 && is_whole && form != SetFieldForm::RegLoad2
        {
            self.standard(of::SET_FIELD, |out| field::put_with(out, id, version, value, shown));
        } else {
            self.nicira(nx::REG_LOAD2, |out| field::put_with(out, id, version, value, shown));
        }
    }

    fn copy(&mut self, src: Subfield, dst: Subfield) {
        let version = self.version;
        if version >= OpenFlow15 {
            self.standard(of::COPY_FIELD, |out| {
                out.u16(src.n_bits);
                out.u16(src.offset);
                out.u16(dst.offset);
                out.zeros(2);
                field::put_header(out, src.field, version, false);
                field::put_header(out, dst.field, version, false);
            });
        } else {
            self.nicira(nx::REG_MOVE, |out| {
                out.u16(src.n_bits);
                out.u16(src.offset);
                out.u16(dst.offset);
                field::put_header(out, src.field, OpenFlow10, false);
                field::put_header(out, dst.field, OpenFlow10, false);
            });
        }
    }

    fn stack(&mut self, subtype: u16, sub: Subfield) {
        self.nicira(subtype, |out| {
            out.u16(sub.offset);
            field::put_header(out, sub.field, OpenFlow10, false);
            out.u16(sub.n_bits);
        });
    }
}

/// Bytes of zero behind the field of `delete_field`, which make 24 of the action.
const DELETE_FIELD_PADDING: usize = 10;

/// Writes a property of an action, padded to a multiple of 8 bytes.
fn property(out: &mut Encoder, kind: u16, body: impl FnOnce(&mut Encoder)) {
    let start = out.len();
    out.u16(kind);
    out.u16(0);
    body(out);
    // Padding does not count here; a number that is shorter than four bytes has some of its own, which counts.
    match kind {
        controller2::USERDATA | controller2::PAUSE => {}
        _ => out.pad(start),
    }
    out.set_len(start + 2, start);
    out.pad(start);
}

/// The bits of a field in 16 bits: the offset in the upper ten, and the number of bits less
/// one in the lower six.
pub(super) fn offset_and_len(sub: Subfield) -> u16 {
    sub.offset << 6 | (sub.n_bits - 1)
}

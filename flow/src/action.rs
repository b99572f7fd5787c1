//! What a user writes behind `actions=`.
//!
//! Actions and instructions share one list, as in OVS: instructions come last and in the order of
//! OpenFlow (`clear_actions`, `write_actions`, `write_metadata`, `goto_table`). The list is policy;
//! `translate` turns it into `DpAction`s, the only language of the fast path.

use crate::fields::FieldId;
use crate::types::{GroupId, MacAddr, OfPort, TableId, mac_bits};

/// A run of bits in a field: `NXM_NX_REG0[4..7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subfield {
    /// The field that the bits are in.
    pub field: FieldId,
    /// Lowest bit, counted from the least significant.
    pub offset: u16,
    /// Number of bits.
    pub n_bits: u16,
}

/// A value or mask of any field, right-aligned.
pub type FieldBits = u128;

/// How a field assignment is written; all mean the same, printing tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetFieldForm {
    /// `set_field:VALUE[/MASK]->FIELD`; no mask is written when it covers the field.
    SetField,
    /// `set_field:VALUE/MASK->FIELD`, even if the mask covers the field.
    MaskedSetField,
    /// `load:VALUE->FIELD[a..b]`
    Load,
}

/// One action or instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `output:PORT`, bare `PORT` and the reserved ports.
    Output {
        /// The port, or one of the reserved ports.
        port: OfPort,
    },
    /// `controller:MAX_LEN` and `controller(...)`.
    Controller {
        /// Bytes of the packet wanted; 65535 is all.
        max_len: u16,
        /// `action`, `no_match`, `invalid_ttl` ... as its OpenFlow number.
        reason: u8,
        /// The controller that gets the packet (`id=`); 0 is every controller that has not asked for another id.
        controller_id: u16,
        /// Bytes returned with the packet-in.
        userdata: Vec<u8>,
        /// Freeze the pipeline until the controller resumes it.
        pause: bool,
        /// Meter that limits it.
        meter_id: Option<u32>,
    },
    /// `output:SRC[a..b]`: the port number is in a field.
    OutputReg {
        /// The bits that hold the port number.
        src: Subfield,
        /// Bytes of the packet that a controller gets, should the field name the controller.
        max_len: u16,
    },
    /// `output(port=PORT,max_len=N)`: a truncated copy.
    OutputTrunc {
        /// The port, or one of the reserved ports.
        port: OfPort,
        /// At most this many bytes of the frame.
        max_len: u32,
    },
    /// `enqueue:PORT:QUEUE`
    Enqueue {
        /// The port, or one of the reserved ports.
        port: OfPort,
        /// The number of the queue at that port.
        queue: u32,
    },
    /// `set_queue:N`
    SetQueue(u32),
    /// `pop_queue`
    PopQueue,
    /// `group:ID`
    Group(GroupId),
    /// `mod_vlan_vid:N`, `set_vlan_vid:N`
    SetVlanVid {
        /// 0 to 4095.
        vid: u16,
        /// OpenFlow 1.0: an untagged frame gets a tag; later versions leave it alone.
        push_if_untagged: bool,
    },
    /// `mod_vlan_pcp:N`, `set_vlan_pcp:N`
    SetVlanPcp {
        /// 0 to 7.
        pcp: u8,
        /// OpenFlow 1.0: an untagged frame gets a tag; later versions leave it alone.
        push_if_untagged: bool,
    },
    /// `strip_vlan`, `pop_vlan`
    StripVlan,
    /// `push_vlan:TPID`
    PushVlan(u16),
    /// `mod_dl_src`
    SetEthSrc(MacAddr),
    /// `mod_dl_dst`
    SetEthDst(MacAddr),
    /// `mod_nw_src`
    SetIpv4Src(u32),
    /// `mod_nw_dst`
    SetIpv4Dst(u32),
    /// `mod_nw_tos`: the DSCP bits in the place they have in the TOS byte.
    SetIpDscp(u8),
    /// `mod_nw_ecn`
    SetIpEcn(u8),
    /// `mod_nw_ttl`
    SetIpTtl(u8),
    /// `mod_tp_src`
    SetL4Src(u16),
    /// `mod_tp_dst`
    SetL4Dst(u16),
    /// `set_field` and `load`.
    SetField {
        /// The field that is written.
        field: FieldId,
        /// New bits, right-aligned in the field; zero outside `mask`.
        value: FieldBits,
        /// One-bits say which bits of the field are written.
        mask: FieldBits,
        /// How it was written.
        form: SetFieldForm,
    },
    /// `move:SRC[..]->DST[..]`
    Move {
        /// The bits that are copied.
        src: Subfield,
        /// The bits that are written; as many as are copied.
        dst: Subfield,
    },
    /// `push:SRC[..]`
    StackPush(Subfield),
    /// `pop:DST[..]`
    StackPop(Subfield),
    /// `dec_ttl` (empty list: controller 0 hears of expired packets), `dec_ttl(id,...)`
    DecTtl(Vec<u16>),
    /// `set_mpls_label:N`
    SetMplsLabel(u32),
    /// `set_mpls_tc:N`
    SetMplsTc(u8),
    /// `set_mpls_ttl:N`
    SetMplsTtl(u8),
    /// `dec_mpls_ttl`
    DecMplsTtl,
    /// `push_mpls:ETHERTYPE`
    PushMpls(u16),
    /// `pop_mpls:ETHERTYPE`
    PopMpls(u16),
    /// `resubmit(PORT,TABLE)`
    Resubmit {
        /// Pretend the frame came from here; `None` keeps the port.
        in_port: Option<OfPort>,
        /// Look it up there; `None` is the current table.
        table: Option<TableId>,
    },
    /// `clone(...)`
    Clone(Vec<Action>),
    /// `check_pkt_larger(N)->DST[bit]`
    CheckPktLarger {
        /// Length in bytes, Ethernet header included, VLAN tag not.
        len: u16,
        /// The bit that gets the answer.
        dst: Subfield,
    },
    /// `exit`
    Exit,
    /// `note:xx.xx`
    Note(Vec<u8>),
    /// `clear_actions`
    ClearActions,
    /// `write_actions(...)`
    WriteActions(Vec<Action>),
    /// `write_metadata:VALUE[/MASK]`
    WriteMetadata {
        /// The new bits; zero outside `mask`.
        value: u64,
        /// One-bits say which bits of `metadata` are written.
        mask: u64,
    },
    /// `goto_table:N`
    GotoTable(TableId),
}

/// What an action writes that rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Nothing that lasts behind the action.
    Nothing,
    /// Bits of a field, if the packet has it.
    Field {
        /// The field.
        field: FieldId,
        /// Which bits.
        mask: FieldBits,
        /// What they are then; `None` if that depends on the packet.
        value: Option<FieldBits>,
    },
    /// Which tags the packet has, and what they say.
    Tags,
    /// The label stack or the EtherType, and so which headers there are to be seen.
    Labels,
    /// Whatever the rules of another table write.
    Anything,
}

impl Action {
    /// The actions that this one contains.
    pub fn nested(&self) -> &[Self] {
        match self {
            Self::Clone(inner) | Self::WriteActions(inner) => inner,
            Self::Output { .. }
            | Self::Controller { .. }
            | Self::OutputReg { .. }
            | Self::OutputTrunc { .. }
            | Self::Enqueue { .. }
            | Self::SetQueue(_)
            | Self::PopQueue
            | Self::Group(_)
            | Self::SetVlanVid { .. }
            | Self::SetVlanPcp { .. }
            | Self::StripVlan
            | Self::PushVlan(_)
            | Self::SetEthSrc(_)
            | Self::SetEthDst(_)
            | Self::SetIpv4Src(_)
            | Self::SetIpv4Dst(_)
            | Self::SetIpDscp(_)
            | Self::SetIpEcn(_)
            | Self::SetIpTtl(_)
            | Self::SetL4Src(_)
            | Self::SetL4Dst(_)
            | Self::SetField { .. }
            | Self::Move { .. }
            | Self::StackPush(_)
            | Self::StackPop(_)
            | Self::DecTtl(_)
            | Self::SetMplsLabel(_)
            | Self::SetMplsTc(_)
            | Self::SetMplsTtl(_)
            | Self::DecMplsTtl
            | Self::PushMpls(_)
            | Self::PopMpls(_)
            | Self::Resubmit { .. }
            | Self::CheckPktLarger { .. }
            | Self::Exit
            | Self::Note(_)
            | Self::ClearActions
            | Self::WriteMetadata { .. }
            | Self::GotoTable(_) => &[],
        }
    }

    /// What the action writes. What it does to a copy of the packet does not count.
    pub fn writes(&self) -> Writes {
        let whole = |field: FieldId, value: u128| Writes::Field {
            field,
            mask: field.full_mask(),
            value: Some(value),
        };
        let unknown = |field, mask| Writes::Field { field, mask, value: None };
        match *self {
            Self::SetField { field, value, mask, .. } => match field {
                FieldId::VlanVid | FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp => {
                    Writes::Tags
                }
                _ => Writes::Field { field, mask, value: Some(value) },
            },
            Self::Move { dst, .. } | Self::StackPop(dst) | Self::CheckPktLarger { dst, .. } => {
                unknown(dst.field, dst.mask())
            }
            Self::WriteMetadata { value, mask } => Writes::Field {
                field: FieldId::Metadata,
                mask: mask.into(),
                value: Some(value.into()),
            },
            Self::SetEthSrc(mac) => whole(FieldId::EthSrc, mac_bits(mac.0).into()),
            Self::SetEthDst(mac) => whole(FieldId::EthDst, mac_bits(mac.0).into()),
            Self::SetIpv4Src(addr) => whole(FieldId::Ipv4Src, addr.into()),
            Self::SetIpv4Dst(addr) => whole(FieldId::Ipv4Dst, addr.into()),
            Self::SetIpDscp(tos) => whole(FieldId::NwTos, tos.into()),
            Self::SetIpEcn(ecn) => whole(FieldId::IpEcn, ecn.into()),
            Self::SetIpTtl(ttl) => whole(FieldId::IpTtl, ttl.into()),
            // The ports of all protocols are the same bits.
            Self::SetL4Src(port) => whole(FieldId::TcpSrc, port.into()),
            Self::SetL4Dst(port) => whole(FieldId::TcpDst, port.into()),
            Self::DecTtl(_) => unknown(FieldId::IpTtl, FieldId::IpTtl.full_mask()),
            Self::ClearActions | Self::WriteActions(_) => {
                unknown(FieldId::ActsetOutput, FieldId::ActsetOutput.full_mask())
            }
            Self::SetVlanVid { .. }
            | Self::SetVlanPcp { .. }
            | Self::StripVlan
            | Self::PushVlan(_) => Writes::Tags,
            Self::SetMplsLabel(_)
            | Self::SetMplsTc(_)
            | Self::SetMplsTtl(_)
            | Self::DecMplsTtl
            | Self::PushMpls(_)
            | Self::PopMpls(_) => Writes::Labels,
            Self::Resubmit { .. } | Self::GotoTable(_) => Writes::Anything,
            Self::Output { port } if port == OfPort::TABLE => Writes::Anything,
            Self::Output { .. }
            | Self::Controller { .. }
            | Self::OutputReg { .. }
            | Self::OutputTrunc { .. }
            | Self::Enqueue { .. }
            | Self::SetQueue(_)
            | Self::PopQueue
            | Self::Group(_)
            | Self::StackPush(_)
            | Self::Clone(_)
            | Self::Exit
            | Self::Note(_) => Writes::Nothing,
        }
    }
}

/// Whether `test` holds for one of the actions, nested ones included.
pub fn any_action(actions: &[Action], test: &mut dyn FnMut(&Action) -> bool) -> bool {
    actions.iter().any(|action| test(action) || any_action(action.nested(), test))
}

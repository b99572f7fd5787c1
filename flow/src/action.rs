//! What a user writes behind `actions=`.
//!
//! Actions and instructions share one list, as in OVS: instructions come last and in the order of
//! OpenFlow (`clear_actions`, `write_actions`, `write_metadata`, `goto_table`). The list is policy;
//! `translate` turns it into `DpAction`s, the only language of the fast path.

use crate::fields::FieldId;
use crate::types::{GroupId, MacAddr, OfPort, TableId};

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

//! The actions of a rule: what a user writes behind `actions=`.
//!
//! OpenFlow 1.1 and later tell instructions (`goto_table`) from actions (`output`). Here both are [`Action`]s
//! of one list, as in Open vSwitch. Instructions stand at the end of the list, in the order `clear_actions`,
//! `write_actions`, `write_metadata`, `goto_table`. Translation (`flowtable::policy`) turns the list into
//! [`DpAction`](crate::verdict::DpAction)s; the datapath never sees an [`Action`].
//!
//! ovs-actions(7) describes each action. Numbers in this module are host integers.
//!
//! Actions can be serialised, without what versions of OpenFlow make of them: text says `set_field` in one
//! version where it says `load` in another. Files hold serialised actions, so renaming a variant or a field
//! needs an alias.

use crate::ct::{Ct, CtZone};
use crate::fields::{FieldId, ones};
use crate::key::{Headers, PipelineKey, PipelineMask};
use crate::learn::Learner;
use crate::members::{Multipath, PortBundle};
use crate::sampling::FlowSampling;
use crate::types::{GroupId, MacAddr, MeterId, OfPort, TableId, mac_bits};
use serde::{Deserialize, Serialize};

/// Number of queues that a port may have. They are numbered from 0 on.
pub const QUEUES: u32 = 0xf000;

/// Adjacent bits of a field, written `NXM_NX_REG0[4..7]` or `reg0[4..7]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Subfield {
    /// The field that contains the bits.
    pub field: FieldId,
    /// Number of the lowest bit. Bit 0 is the least significant bit of the field.
    pub offset: u16,
    /// How many bits there are, at least 1. `offset + n_bits` is at most the width of the field.
    pub n_bits: u16,
}

impl Subfield {
    /// The subfield that has every bit of `field` (`reg0[]`).
    pub fn whole(field: FieldId) -> Self {
        Self { field, offset: 0, n_bits: field.def().bits }
    }

    /// The runs of one-bits in a mask of a field, the lowest run first. A run of more than 64 bits is split,
    /// because a `load` has 64 bits.
    pub fn runs(field: FieldId, mask: FieldBits) -> impl Iterator<Item = Self> {
        let mut rest = mask & ones(field.def().bits);
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let offset = rest.trailing_zeros() as u16;
            let n_bits = (rest >> offset).trailing_ones().min(64) as u16;
            rest &= !(ones(n_bits) << offset);
            Some(Self { field, offset, n_bits })
        })
    }

    /// The mask of the field that has ones in the subfield's bits.
    pub fn mask(self) -> u128 {
        ones(self.n_bits) << self.offset
    }

    /// The subfield's value in `key`: the subfield's lowest bit is bit 0 of the result.
    pub fn read(self, key: &PipelineKey) -> u128 {
        self.field.read(key) >> self.offset & ones(self.n_bits)
    }

    /// Writes the lowest `n_bits` of `value` into the subfield, as [`FieldId::write`] does.
    pub fn write(self, key: &mut PipelineKey, value: u128) {
        self.field.write(key, (value & ones(self.n_bits)) << self.offset, self.mask());
    }

    /// Sets the subfield's bits in a mask.
    pub fn set_mask(self, mask: &mut PipelineMask) {
        self.field.set_mask(mask, self.mask());
    }
}

/// A value or mask of any field as a host integer: bit 0 of the field is bit 0 of the integer.
pub type FieldBits = u128;

/// The syntax in which a user wrote [`Action::SetField`]. All forms do the same to a packet; dumps print
/// the assignment in the form in which it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetFieldForm {
    /// `set_field:VALUE[/MASK]->FIELD`. A dump leaves out a mask that covers the whole field.
    SetField,
    /// `set_field:VALUE/MASK->FIELD`. A dump shows the mask even if it covers the whole field.
    MaskedSetField,
    /// `load:VALUE->FIELD[a..b]` (`NXAST_REG_LOAD`). A dump shows one `load` for each run
    /// of one-bits in the mask.
    Load,
    /// As [`SetField`](Self::SetField), in a message before OpenFlow 1.5 that said it by `NXAST_REG_LOAD2`.
    /// Messages of these versions say it so again, as those of Open vSwitch do.
    RegLoad2,
}

impl SetFieldForm {
    /// Whether text of this form has no mask if the mask covers the whole field.
    pub fn hides_whole_mask(self) -> bool {
        matches!(self, Self::SetField | Self::RegLoad2)
    }

    /// The form of a `load` into a field. As in Open vSwitch, messages have no `load` of an option of a tunnel,
    /// and a dump shows `set_field`.
    pub fn of_load(field: FieldId) -> Self {
        match field {
            FieldId::TunMetadata(_) => Self::SetField,
            _ => Self::Load,
        }
    }
}

/// One action or instruction of a rule, of a bucket or of a packet-out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// `output:PORT`, or the bare name or number of a port: sends a copy of the packet as it is at this point.
    Output {
        /// A port of the bridge, or a reserved port such as `NORMAL` or `FLOOD`.
        port: OfPort,
        /// How many bytes a packet-in would carry. The number has no effect, because a packet-in is an
        /// [`Action::Controller`]. The rule keeps it, since controllers expect back the action that they have
        /// sent. Text leaves it out.
        #[serde(default, skip_serializing_if = "is_zero")]
        max_len: u16,
    },
    /// `controller:MAX_LEN` or `controller(...)`: sends the packet to a controller in a packet-in.
    Controller {
        /// How many bytes of the packet the packet-in carries at most; 65535 asks for the whole packet.
        max_len: u16,
        /// The reason that the packet-in gives, as its OpenFlow number (`OFPR_*`); 1 is `action`.
        reason: u8,
        /// The controller that gets the packet (`id=`); 0 is every controller that has
        /// not asked for another id.
        controller_id: u16,
        /// Bytes (`userdata=`) that the packet-in repeats, so that a controller recognises the action.
        userdata: Vec<u8>,
        /// Whether the pipeline stops behind the action until the controller resumes the packet (`NXT_RESUME`).
        /// Translation ignores this: nothing here resumes packets.
        pause: bool,
        /// The meter (`meter_id=`) that limits the rate of the packet-ins. `None` leaves that to the bridge's
        /// meter [`MeterId::CONTROLLER`], if there is one.
        meter_id: Option<u32>,
    },
    /// `output:SRC[a..b]`: sends the packet to the port whose number is in a field of the packet.
    OutputReg {
        /// The bits that hold the port number.
        src: Subfield,
        /// How many bytes of the packet a packet-in carries at most, should the field hold `CONTROLLER`.
        max_len: u16,
    },
    /// `output(port=PORT,max_len=N)`: sends a copy that is cut off behind `max_len` bytes.
    OutputTrunc {
        /// A port of the bridge, `LOCAL` or `IN_PORT`.
        port: OfPort,
        /// Size of the copy in bytes, counted from the Ethernet header, at least 14. A
        /// shorter packet goes out whole.
        max_len: u32,
    },
    /// `enqueue:PORT:QUEUE`: sends the packet through a queue of a port (OpenFlow 1.0).
    Enqueue {
        /// A port of the bridge, `LOCAL` or `IN_PORT`.
        port: OfPort,
        /// The number of the queue at that port.
        queue: u32,
    },
    /// `set_queue:N`: later outputs go through queue N of their ports.
    SetQueue(u32),
    /// `pop_queue`: later outputs go through the queue that the packet began with: the default queue of their
    /// ports, unless an earlier pass has chosen one.
    PopQueue,
    /// `group:ID`: the packet goes through the buckets of a group.
    Group(GroupId),
    /// `meter:ID`: the packet goes through a meter, which may drop it or change its DSCP. An instruction in
    /// OpenFlow 1.3 and 1.4, so the first action of its list.
    Meter(MeterId),
    /// `mod_vlan_vid:N` or `set_vlan_vid:N`: changes the VLAN id of the outermost tag.
    SetVlanVid {
        /// The new VLAN id, 0 to 4095.
        vid: u16,
        /// Whether an untagged frame gets a tag (`mod_vlan_vid`, OpenFlow 1.0) or
        /// stays as it is (`set_vlan_vid`).
        push_if_untagged: bool,
    },
    /// `mod_vlan_pcp:N` or `set_vlan_pcp:N`: changes the priority of the outermost tag.
    SetVlanPcp {
        /// The new priority code point, 0 to 7.
        pcp: u8,
        /// Whether an untagged frame gets a tag (`mod_vlan_pcp`, OpenFlow 1.0) or
        /// stays as it is (`set_vlan_pcp`).
        push_if_untagged: bool,
    },
    /// `strip_vlan` or `pop_vlan`: removes the outermost VLAN tag, if there is one.
    StripVlan,
    /// `push_vlan:TPID`: puts a tag with VLAN id 0 and priority 0 in front; its TPID is 0x8100 or 0x88a8.
    PushVlan(u16),
    /// `mod_dl_src`: changes the Ethernet source address.
    SetEthSrc(MacAddr),
    /// `mod_dl_dst`: changes the Ethernet destination address.
    SetEthDst(MacAddr),
    /// `mod_nw_src`: changes the IPv4 source address.
    SetIpv4Src(u32),
    /// `mod_nw_dst`: changes the IPv4 destination address.
    SetIpv4Dst(u32),
    /// `mod_nw_tos`: changes the DSCP. The value is a TOS byte, whose two lowest bits (ECN) are zero.
    SetIpDscp(u8),
    /// `mod_nw_ecn`: changes the ECN bits of IPv4 or IPv6, 0 to 3.
    SetIpEcn(u8),
    /// `mod_nw_ttl` or `set_nw_ttl`: changes the IPv4 TTL or the IPv6 hop limit.
    SetIpTtl(u8),
    /// `mod_tp_src`: changes the TCP, UDP or SCTP source port.
    SetL4Src(u16),
    /// `mod_tp_dst`: changes the TCP, UDP or SCTP destination port.
    SetL4Dst(u16),
    /// `set_field` or `load`: writes a constant into bits of a field.
    SetField {
        /// The field that is written.
        field: FieldId,
        /// The new bits, right-aligned in the field; zero outside `mask`.
        value: FieldBits,
        /// The bits of the field that are written.
        mask: FieldBits,
        /// The syntax that the user chose; dumps print the action in the same one.
        form: SetFieldForm,
    },
    /// `move:SRC[..]->DST[..]`: copies bits from one field to another.
    Move {
        /// The bits that are copied.
        src: Subfield,
        /// The bits that are written. `dst.n_bits` equals `src.n_bits`.
        dst: Subfield,
    },
    /// `delete_field:tun_metadataN`: takes an option of the tunnel's header away.
    DeleteField(FieldId),
    /// `push:SRC[..]`: puts the bits on the stack that the packet has while it is in the pipeline.
    StackPush(Subfield),
    /// `pop:DST[..]`: takes the value that was pushed last and writes it into a field.
    StackPop(Subfield),
    /// `dec_ttl` or `dec_ttl(ID,...)`: lowers the IP TTL by one. A packet whose TTL is 0 or 1 goes to the
    /// controllers with these ids instead; an empty list means controller 0.
    DecTtl(Vec<u16>),
    /// `set_mpls_label:N`: changes the label of the outermost label stack entry (20 bits).
    SetMplsLabel(u32),
    /// `set_mpls_tc:N`: changes the traffic class of the outermost label stack entry, 0 to 7.
    SetMplsTc(u8),
    /// `set_mpls_ttl:N`: changes the TTL of the outermost label stack entry.
    SetMplsTtl(u8),
    /// `dec_mpls_ttl`: lowers the TTL of the outermost label stack entry by one.
    DecMplsTtl,
    /// `push_mpls:ETHERTYPE`: puts a label stack entry in front and makes 0x8847
    /// or 0x8848 the frame's EtherType.
    PushMpls(u16),
    /// `pop_mpls:ETHERTYPE`: removes the outermost label stack entry. The argument is the frame's EtherType
    /// afterwards, because MPLS does not say what follows the stack.
    PopMpls(u16),
    /// `set_tunnel:KEY` or `set_tunnel64:KEY`: writes the key that the next tunnel port is to send (`tun_id`).
    SetTunnel {
        /// The key of the tunnel. VXLAN and Geneve have 24 bits for it, GRE 32.
        id: u64,
        /// Whether the action is `set_tunnel64`, as one with a key of more than 32 bits is. Dumps and messages
        /// of OpenFlow 1.0 and 1.1 tell the two apart.
        is_wide: bool,
    },
    /// `resubmit(PORT,TABLE)`: looks the packet up in a table, carries out the rule found, and returns here.
    Resubmit {
        /// The ingress port that the lookup sees; `None` leaves the packet's own.
        in_port: Option<OfPort>,
        /// The table of the lookup; `None` is the table of the rule that resubmits.
        table: Option<TableId>,
    },
    /// `clone(...)`: carries out the actions on a copy. Changes to the copy do not reach the actions behind.
    Clone(Vec<Action>),
    /// `check_pkt_larger(N)->DST[bit]`: tests the length of the packet.
    CheckPktLarger {
        /// Length in bytes that the packet is compared with. The Ethernet header counts, VLAN tags do not.
        len: u16,
        /// The bit that becomes 1 if the packet is longer than `len`, else 0.
        dst: Subfield,
    },
    /// `ct(...)`: looks up the packet's connection. Behind the action, the packet counts as not tracked; only
    /// the table that the action names sees what was found.
    Ct(Box<Ct>),
    /// `ct_clear`: forgets what is known of the packet's connection.
    CtClear,
    /// `learn(...)`: adds a rule that is made of the packet, or refreshes it.
    Learn(Box<Learner>),
    /// `fin_timeout(idle_timeout=N,hard_timeout=N)`: a TCP segment with FIN or RST shortens the timeouts of the
    /// rule that has this action. A timeout of 0 leaves that of the rule as it is.
    FinTimeout {
        /// The new idle timeout in seconds, if it is shorter than the rule's.
        idle: u16,
        /// The new hard timeout in seconds, if it is shorter than the rule's.
        hard: u16,
    },
    /// `multipath(...)`: writes the number of one of several links into a field, by a hash of the packet.
    Multipath(Box<Multipath>),
    /// `bundle(...)` or `bundle_load(...)`: outputs to one of several ports, or writes its number into a field.
    Bundle(Box<PortBundle>),
    /// `sample(...)`: hands some packets to collectors. This switch has none, so the action does nothing.
    Sample(Box<FlowSampling>),
    /// `exit`: ends the pipeline for this packet; actions behind it and behind the resubmits
    /// that led here are skipped.
    Exit,
    /// `note:xx.xx`: bytes for whoever reads the rule; they do nothing to the packet.
    Note(Vec<u8>),
    /// `conjunction(ID,CLAUSE/CLAUSES)`: the rule is one alternative of a clause of a conjunctive match.
    Conjunction(Clause),
    /// `clear_actions`: empties the packet's action set (OpenFlow 1.3.5 §5.10).
    ClearActions,
    /// `write_actions(...)`: puts actions into the packet's action set, which is carried
    /// out when the pipeline ends.
    WriteActions(Vec<Action>),
    /// `write_metadata:VALUE[/MASK]`: writes bits of the `metadata` field.
    WriteMetadata {
        /// The new bits; zero outside `mask`.
        value: u64,
        /// The bits of `metadata` that are written.
        mask: u64,
    },
    /// `goto_table:N`: goes on in a later table. Unlike `resubmit`, the pipeline does not return to this rule.
    GotoTable(TableId),
}

/// A rule's part in a conjunctive match (ovs-fields(7), "Conjunctive Match Fields"): the rule is an alternative
/// of one clause. If each clause of a conjunction has an alternative that matches a packet, the packet is
/// looked up again with the conjunction's number in the field `conj_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Clause {
    /// The number of the conjunction, which a rule with the match `conj_id=ID` names.
    pub id: u32,
    /// The number of the clause, 1 to `clauses`.
    pub clause: u8,
    /// How many clauses the conjunction has, 2 to [`Clause::MAX`].
    pub clauses: u8,
}

impl Clause {
    /// How many clauses a conjunction has, at most.
    pub const MAX: u8 = 64;

    /// The clauses that a list of actions names. A rule with such a list is never carried out itself.
    pub fn all_in(actions: &[Action]) -> impl Iterator<Item = Self> + '_ {
        actions.iter().filter_map(|action| match action {
            Action::Conjunction(clause) => Some(*clause),
            _ => None,
        })
    }
}

/// The matchable fields that an action changes, as [`Action::writes`] tells them.
///
/// This is said before any packet is seen. A translation observes which bits an action changes of one packet;
/// they are among [`bits`](Self::bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// The action leaves every field of the packet as it was.
    Nothing,
    /// The action changes one field, in packets that have the field's header.
    Field {
        /// The field that changes.
        field: FieldId,
        /// The bits of the field that change.
        mask: FieldBits,
        /// Their new value; `None` if the value depends on the packet (`move`, `pop`, `dec_ttl`).
        value: Option<FieldBits>,
    },
    /// The action changes, adds or removes a VLAN tag.
    Tags,
    /// The action changes the MPLS label stack or the EtherType. Afterwards, extraction may find other headers.
    Labels,
    /// The action leaves the packet without all that is known of its connection.
    Connection,
    /// The action leads to another table, whose rules may change every field.
    Anything,
}

/// The actions that an action contains, and when they are executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nested<'a> {
    /// The action contains no others.
    None,
    /// At once, on a copy of the packet.
    OnCopy(&'a [Action]),
    /// At the end of the pipeline, on the packet as it is then.
    AtEnd(&'a [Action]),
    /// On the connection that the packet begins, not on the packet.
    OnConnection(&'a [Action]),
}

impl Writes {
    /// One-bits where the action may leave another value than it found.
    pub fn bits(self) -> PipelineMask {
        let mut mask = PipelineMask::default();
        match self {
            Self::Nothing => {}
            Self::Field { field, .. } if field.is_vlan() => mark_tags(&mut mask.bits.headers),
            Self::Field { field, mask: bits, .. } => field.set_mask(&mut mask, bits),
            Self::Tags => mark_tags(&mut mask.bits.headers),
            Self::Labels => {
                mask.bits.headers.words_mut().fill(u64::MAX);
                // No label changes what is in front of the labels.
                let headers = &mut mask.bits.headers;
                (headers.dl_src, headers.dl_dst) = Default::default();
                (headers.vlan_tci, headers.vlan_tpid) = Default::default();
                (headers.vlan2_tci, headers.vlan2_tpid) = Default::default();
                headers.copy_tunnel(&Headers::default());
            }
            Self::Connection => mark_connection(&mut mask.bits.headers),
            Self::Anything => mask.words_mut().fill(u64::MAX),
        }
        mask
    }
}

fn mark_connection(headers: &mut Headers) {
    let untracked = {
        let mut all = *headers;
        all.words_mut().fill(u64::MAX);
        all.clear_connection();
        all
    };
    for (word, other) in headers.words_mut().iter_mut().zip(untracked.words()) {
        *word |= !other;
    }
}

fn mark_tags(headers: &mut Headers) {
    headers.vlan_tci.set(u16::MAX);
    headers.vlan_tpid.set(u16::MAX);
    headers.vlan2_tci.set(u16::MAX);
    headers.vlan2_tpid.set(u16::MAX);
}

impl<'a> Nested<'a> {
    /// The actions, whenever they are executed.
    pub fn actions(self) -> &'a [Action] {
        match self {
            Self::None => &[],
            Self::OnCopy(actions) | Self::AtEnd(actions) | Self::OnConnection(actions) => actions,
        }
    }
}

impl Action {
    /// `output:PORT`, as text says it.
    pub const fn output(port: OfPort) -> Self {
        Self::Output { port, max_len: 0 }
    }

    /// The actions inside `clone(...)`, `write_actions(...)` or `ct(exec(...))`.
    pub fn nested(&self) -> Nested<'_> {
        match self {
            Self::Clone(inner) => Nested::OnCopy(inner),
            Self::WriteActions(inner) => Nested::AtEnd(inner),
            Self::Ct(ct) => Nested::OnConnection(&ct.exec),
            Self::Output { .. }
            | Self::Controller { .. }
            | Self::OutputReg { .. }
            | Self::OutputTrunc { .. }
            | Self::Enqueue { .. }
            | Self::SetQueue(_)
            | Self::PopQueue
            | Self::Group(_)
            | Self::Meter(_)
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
            | Self::DeleteField(_)
            | Self::StackPush(_)
            | Self::StackPop(_)
            | Self::DecTtl(_)
            | Self::SetMplsLabel(_)
            | Self::SetMplsTc(_)
            | Self::SetMplsTtl(_)
            | Self::DecMplsTtl
            | Self::PushMpls(_)
            | Self::PopMpls(_)
            | Self::SetTunnel { .. }
            | Self::Resubmit { .. }
            | Self::CheckPktLarger { .. }
            | Self::CtClear
            | Self::Learn(_)
            | Self::FinTimeout { .. }
            | Self::Multipath(_)
            | Self::Bundle(_)
            | Self::Sample(_)
            | Self::Exit
            | Self::Note(_)
            | Self::Conjunction(_)
            | Self::ClearActions
            | Self::WriteMetadata { .. }
            | Self::GotoTable(_) => Nested::None,
        }
    }

    /// The action with `inner` in place of the actions that it contains. An action that contains
    /// none stays as it is.
    #[must_use]
    pub fn with_nested(&self, inner: Vec<Self>) -> Self {
        match self.nested() {
            Nested::None => self.clone(),
            Nested::OnCopy(_) => Self::Clone(inner),
            Nested::AtEnd(_) => Self::WriteActions(inner),
            Nested::OnConnection(_) => match self {
                Self::Ct(ct) => Self::Ct(Box::new(Ct { exec: inner, ..(**ct).clone() })),
                _ => self.clone(),
            },
        }
    }

    /// Shows `visit` the bits of fields that the action reads or writes by name, but for those inside actions
    /// that it contains. Of a `set_field` of all bits, these are the one-bits of the value.
    pub fn named_bits(&self, visit: &mut dyn FnMut(FieldId, FieldBits)) {
        let mut bits = |sub: &Subfield| visit(sub.field, sub.mask());
        match self {
            Self::SetField { field, value, mask, .. } if *mask == field.full_mask() => {
                visit(*field, *value);
            }
            Self::SetField { field, mask, .. } => visit(*field, *mask),
            Self::DeleteField(field) => visit(*field, 0),
            Self::Move { src, dst } => [src, dst].into_iter().for_each(bits),
            Self::StackPush(sub)
            | Self::StackPop(sub)
            | Self::OutputReg { src: sub, .. }
            | Self::CheckPktLarger { dst: sub, .. } => bits(sub),
            Self::Multipath(multipath) => bits(&multipath.dst),
            Self::Bundle(bundle) => bundle.dst.iter().for_each(bits),
            Self::Ct(ct) => {
                if let CtZone::Field(sub) = &ct.zone {
                    bits(sub);
                }
            }
            Self::Learn(learner) => {
                learner.result_dst.iter().for_each(&mut bits);
                for part in &learner.parts {
                    part.subfields().for_each(|sub| bits(&sub));
                }
            }
            _ => {}
        }
    }

    /// The meter that the action names: that of `meter`, or that of `controller(meter_id=ID)`.
    pub fn meter(&self) -> Option<MeterId> {
        match self {
            Self::Meter(id) => Some(*id),
            Self::Controller { meter_id, .. } => meter_id.map(MeterId),
            _ => None,
        }
    }

    /// The size of the action in bytes: see [`list_size`].
    pub fn size(&self) -> usize {
        const SMALL: usize = 16;
        const WITH_MASK: usize = 32;
        match self {
            Self::SetField { .. } => WITH_MASK,
            Self::Controller { userdata, .. } => WITH_MASK + userdata.len(),
            Self::Note(bytes) => SMALL + bytes.len(),
            Self::DecTtl(ids) => SMALL + size_of_val(&ids[..]),
            Self::Ct(ct) => WITH_MASK + list_size(&ct.exec),
            Self::Learn(learner) => 2 * WITH_MASK + WITH_MASK * learner.parts.len(),
            Self::Bundle(bundle) => WITH_MASK + size_of_val(&bundle.members[..]),
            Self::Multipath(_) | Self::Sample(_) => WITH_MASK,
            _ => SMALL + list_size(self.nested().actions()),
        }
    }

    /// The fields that the action changes for the actions and tables behind it. Changes to a copy of the packet
    /// (`clone`, a bucket) do not count.
    pub fn writes(&self) -> Writes {
        let whole = |field: FieldId, value: u128| Writes::Field {
            field,
            mask: field.full_mask(),
            value: Some(value),
        };
        let unknown = |field, mask| Writes::Field { field, mask, value: None };
        match *self {
            Self::Multipath(ref multipath) => unknown(multipath.dst.field, multipath.dst.mask()),
            Self::Bundle(ref bundle) => match bundle.dst {
                Some(dst) => unknown(dst.field, dst.mask()),
                None => Writes::Nothing,
            },
            Self::Learn(ref learner) => match learner.result_dst {
                Some(dst) => unknown(dst.field, dst.mask()),
                None => Writes::Nothing,
            },
            Self::SetField { field, value, mask, .. } => match field {
                FieldId::VlanVid | FieldId::DlVlan | FieldId::DlVlanPcp | FieldId::VlanPcp => {
                    Writes::Tags
                }
                _ => Writes::Field { field, mask, value: Some(value) },
            },
            Self::Move { dst, .. } | Self::StackPop(dst) | Self::CheckPktLarger { dst, .. } => {
                unknown(dst.field, dst.mask())
            }
            Self::DeleteField(field) => unknown(field, field.full_mask()),
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
            Self::SetTunnel { id, .. } => whole(FieldId::TunId, id.into()),
            // TCP, UDP and SCTP ports are the same bits of the key.
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
            Self::Ct(_) | Self::CtClear => Writes::Connection,
            Self::Resubmit { .. } | Self::GotoTable(_) => Writes::Anything,
            Self::Output { port, .. } if port == OfPort::TABLE => Writes::Anything,
            // The field may name `TABLE`.
            Self::OutputReg { .. } => Writes::Anything,
            Self::Output { .. }
            | Self::Controller { .. }
            | Self::OutputTrunc { .. }
            | Self::Enqueue { .. }
            | Self::SetQueue(_)
            | Self::PopQueue
            | Self::Group(_)
            | Self::Meter(_)
            | Self::StackPush(_)
            | Self::Clone(_)
            | Self::FinTimeout { .. }
            | Self::Sample(_)
            | Self::Exit
            | Self::Note(_)
            | Self::Conjunction(_) => Writes::Nothing,
        }
    }
}

/// Whether JSON leaves a number out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// The largest size of a list of actions, and of a group with all its buckets, in bytes as
/// [`list_size`] counts them. The limit of Open vSwitch is 64 KiB for a list as it stores it, and for a
/// group as a message carries it.
pub const MAX_LIST_SIZE: usize = 65_535;

/// The size of a list of actions in bytes, about as Open vSwitch stores the list: 16 bytes for an action, 32
/// for one with value and mask, and the actions and bytes that an action contains.
pub fn list_size(actions: &[Action]) -> usize {
    actions.iter().map(Action::size).sum()
}

/// Whether `test` holds for one of the actions, or for an action inside `clone`, `write_actions` or `ct`.
pub fn any_action(actions: &[Action], test: &mut dyn FnMut(&Action) -> bool) -> bool {
    actions.iter().any(|action| test(action) || any_action(action.nested().actions(), test))
}

/// Whether two lists of actions do the same to every packet: the `max_len` of an output does nothing, and text
/// cannot say it.
pub fn do_the_same(a: &[Action], b: &[Action]) -> bool {
    let is_same = |(a, b): (&Action, &Action)| match (a, b) {
        (Action::Output { port: a, .. }, Action::Output { port: b, .. }) => a == b,
        (Action::Clone(a), Action::Clone(b))
        | (Action::WriteActions(a), Action::WriteActions(b)) => do_the_same(a, b),
        (a, b) => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_max_len_of_an_output_makes_no_difference_wherever_it_is() {
        let output = |port, max_len| Action::Output { port: OfPort(port), max_len };
        let lists = |port, max_len| {
            let outputs = vec![output(3, 0), output(port, max_len)];
            [
                outputs.clone(),
                vec![Action::Clone(outputs.clone())],
                vec![Action::WriteActions(outputs)],
            ]
        };
        for ((text, message), other) in lists(1, 0).iter().zip(&lists(1, 65_535)).zip(&lists(2, 0))
        {
            assert!(text != message && do_the_same(text, message), "{text:?}");
            assert!(!do_the_same(text, other) && !do_the_same(text, &text[..text.len() - 1]));
        }
    }
}

//! The packet of a walk, which notes by itself which of its bits the walk has read.
//!
//! A translation is right for every packet that agrees with the first one in the bits that the translation
//! read. So nobody writes a mask by hand: a [`TrackedKey`] has the only copy of the packet, its fields are
//! private to this module, and the methods that tell something of the packet mark the bits that told it. A part
//! of the walk that reads bits without marking them does not compile. Open vSwitch has `WC_MASK_FIELD` and
//! `memset(&wc->masks...)` beside each such read (`ofproto/ofproto-dpif-xlate.c`, `lib/odp-util.c`); the bits
//! are the same here.
//!
//! # Which methods mark
//!
//! - A getter marks the bits that it returns. Getters that take `&self` return bits that every translation
//!   reads: [`TrackedKey::new`] marks these.
//! - A method that gives header bits a new value marks these bits, although it does not return them:
//!   `commit` compares headers with the headers that came in, and emits nothing for a packet that
//!   has the new value already.
//! - What rules write of a tunnel marks nothing: `commit` never compares the tunnel's fields. An output to a
//!   tunnel port, and the state that the next pass goes on with, take all of them as they are, and mark them.
//! - State beside the headers (`in_port`, `metadata`, registers, `actset_output`) starts alike for all packets
//!   of one port and pass. Setting it marks nothing.
//! - [`TrackedKey::shown`] marks nothing: it is for observers, which decide nothing.
//!
//! `tags` and `labels` treat tags and label stack entries as stacks; `commit`
//! turns rewrites into datapath actions.

mod commit;
mod labels;
mod tags;

pub(super) use labels::MAX_LABELS;
pub(super) use tags::{Tag, Tags};

use super::OFPP_UNSET;
use flow::action::{FieldBits, Subfield};
use flow::fields::FieldId;
use flow::key::{
    ETH_TYPE_NONE, FLOW_WORDS, FlowKey, FlowMask, HEADER_WORDS, Headers, KeyOfPort, KeyPortNo,
    PipelineKey, PipelineMask, Segment, VLAN_CFI, WordSet, frag,
};
use flow::types::{MacAddr, OfPort};
use packet::wire::{eth_type, ip_proto};
use std::net::IpAddr;

/// The group address of bridges (IEEE 802.1D table 7-10).
const STP_GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0];

/// The packet of a walk. See the [module](self).
pub(super) struct TrackedKey {
    /// The packet as the rules have made it, and the state beside it.
    key: PipelineKey,
    /// The headers as the datapath actions emitted so far have made them.
    base: Headers,
    /// The headers as the datapath extracted them.
    original: Headers,
    /// The bits that were read.
    mask: PipelineMask,
    /// Whether the next pass would see what is known of the packet's connection. Rules can have it forgotten.
    keeps_connection: bool,
    /// Whether the next pass has the fields of the tunnel from here, because rules or a patch have written some
    /// of them. Only the rules decide this, never the packet's bits.
    has_tunnel: bool,
    /// Whether the packet goes on with the state of an earlier pass.
    is_later_pass: bool,
}

/// The packet at an earlier point of the walk, to go back to. The bits that were read since stay marked.
#[derive(Clone, Copy)]
pub(super) struct SavedKey {
    key: PipelineKey,
    keeps_connection: bool,
    has_tunnel: bool,
}

/// The packet as datapath actions had made it at an earlier point of the walk.
#[derive(Clone, Copy)]
pub(super) struct SavedBase(Headers);

/// What came of lowering a TTL by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoweredTtl {
    /// The packet has no such header; nothing was changed.
    NoHeader,
    /// The TTL is one less now.
    Lowered,
    /// The TTL was 1 or 0; it is what it was.
    Expired,
}

impl TrackedKey {
    /// A packet that comes into the pipeline, with the state beside it. Its action set is empty.
    #[inline]
    pub(super) fn new(key: &PipelineKey) -> Self {
        let mut tracked = Self {
            key: *key,
            base: key.headers,
            original: key.headers,
            mask: PipelineMask::default(),
            keeps_connection: true,
            has_tunnel: false,
            is_later_pass: false,
        };
        tracked.key.actset_output.set(OFPP_UNSET);
        tracked.mask.bits.in_port = KeyOfPort::ALL_BITS;
        tracked.mask.bits.headers.dl_type.set(u16::MAX);
        if tracked.is_ip() {
            tracked.mask.bits.headers.nw_frag = frag::ANY | frag::LATER;
        }
        tracked
    }

    /// The bits of the datapath's key that were read so far. Every translation reads the port and the pass.
    pub(super) fn flow_mask(&self) -> FlowMask {
        let headers = self.mask.bits.headers;
        let (port_no, recirc_id) = (KeyPortNo::ALL_BITS, u32::MAX.into());
        FlowMask { bits: FlowKey { port_no, recirc_id, headers } }
    }

    /// The bits that were read so far.
    pub(super) fn mask(&self) -> &PipelineMask {
        &self.mask
    }

    /// The packet, for observers to show. Nothing that a translation returns may depend on it.
    pub(super) fn shown(&self) -> &PipelineKey {
        &self.key
    }

    /// The packet as it is now.
    pub(super) fn save(&self) -> SavedKey {
        let Self { key, keeps_connection, has_tunnel, .. } = *self;
        SavedKey { key, keeps_connection, has_tunnel }
    }

    /// Goes back to the packet as it was.
    pub(super) fn restore(&mut self, saved: &SavedKey) {
        let SavedKey { key, keeps_connection, has_tunnel } = *saved;
        (self.key, self.keeps_connection, self.has_tunnel) = (key, keeps_connection, has_tunnel);
    }

    /// The packet as the datapath actions emitted so far have made it.
    pub(super) fn save_base(&self) -> SavedBase {
        SavedBase(self.base)
    }

    /// Goes back to the packet as earlier datapath actions had made it: later ones worked on a copy.
    pub(super) fn restore_base(&mut self, saved: &SavedBase) {
        self.base = saved.0;
    }

    /// The state beside the headers, which the next pass cannot extract from the frame, and whether the tunnel
    /// is a part of that state. The state has the tunnel's fields in its headers if rules have written one of
    /// them. Otherwise the next pass finds what the frame came with.
    pub(super) fn state(&mut self) -> (PipelineKey, bool) {
        let mut state = PipelineKey { headers: Headers::default(), ..self.key };
        if self.has_tunnel {
            self.tell_tunnel(&mut state);
        }
        (state, self.has_tunnel)
    }

    /// The state beside the headers, for controllers, with the fields of the tunnel and the connection in its
    /// headers, and the EtherType, which says what the addresses of the connection are.
    pub(super) fn told_state(&mut self) -> PipelineKey {
        let mut state = PipelineKey { headers: Headers::default(), ..self.key };
        self.tell_tunnel(&mut state);
        self.tell_connection(&mut state);
        state.headers.dl_type = self.key.headers.dl_type;
        state
    }

    /// Writes what connection tracking said of the packet into a state. Its bits decide something
    /// from now on. No packet is tracked before its first pass, and each pass behind may have packets
    /// that were tracked and others.
    fn tell_connection(&mut self, state: &mut PipelineKey) {
        if self.is_later_pass {
            self.mask.bits.headers.mark_connection();
        }
        state.headers.copy_connection(&self.key.headers);
    }

    /// Writes the fields of the tunnel into a state. Their bits decide something from now on. The port decides
    /// whether a packet came through a tunnel at all, and every translation reads the port.
    fn tell_tunnel(&mut self, state: &mut PipelineKey) {
        if self.original.segments.meets(Segment::TUNNEL.id) {
            self.mask.bits.headers.mark_tunnel();
        }
        state.headers.copy_tunnel(&self.key.headers);
    }

    /// Says that a message about the packet has the fields of the tunnel that the packet begins with. The frame
    /// itself came through no tunnel, so the next pass has these fields from here.
    pub(super) fn has_tunnel_of_message(&mut self) {
        self.has_tunnel = true;
    }

    /// Takes over the state of an earlier pass, or of a message. `has_tunnel` says whether the fields of the
    /// tunnel are a part of it.
    pub(super) fn resume(&mut self, state: &PipelineKey, has_tunnel: bool) {
        self.key = PipelineKey { headers: self.key.headers, ..*state };
        self.is_later_pass = true;
        if has_tunnel {
            self.key.headers.copy_tunnel(&state.headers);
            self.has_tunnel = true;
        }
    }

    /// The packet comes in at a port of another bridge, which sees nothing that the first one wrote beside it
    /// but `pkt_mark`, and nothing of its connection or its tunnel.
    pub(super) fn arrive(&mut self, in_port: OfPort) {
        self.key = PipelineKey {
            in_port: in_port.into(),
            pkt_mark: self.key.pkt_mark,
            headers: self.key.headers,
            actset_output: OFPP_UNSET.into(),
            ..PipelineKey::default()
        };
        self.key.headers.copy_tunnel(&Headers::default());
        self.has_tunnel = true;
        self.clear_connection();
    }

    /// Forgets what is known of the packet's connection.
    pub(super) fn clear_connection(&mut self) {
        self.key.headers.clear_connection();
        self.keeps_connection = false;
    }

    /// Has the next pass see what is known of the packet's connection then.
    pub(super) fn keep_connection(&mut self) {
        self.keeps_connection = true;
    }

    /// Whether the next pass is to see what is known of the packet's connection.
    pub(super) fn keeps_connection(&self) -> bool {
        self.keeps_connection
    }

    /// Calls `find` with the packet as rules match it, as if it had come in on `in_port`.
    /// The mask is for `find` to extend by the bits that decide. With `hides_ports`, rules
    /// see a packet without transport ports.
    #[inline]
    pub(super) fn look_up<R>(
        &mut self,
        in_port: OfPort,
        hides_ports: bool,
        find: impl FnOnce(&PipelineKey, &mut PipelineMask) -> R,
    ) -> R {
        let headers = &self.key.headers;
        let (own_port, ports) = (self.key.in_port, (headers.tp_src, headers.tp_dst));
        self.key.in_port.set(in_port);
        if hides_ports {
            self.key.headers.tp_src.set(0);
            self.key.headers.tp_dst.set(0);
        }
        let found = find(&self.key, &mut self.mask);
        self.key.in_port = own_port;
        (self.key.headers.tp_src, self.key.headers.tp_dst) = ports;
        found
    }

    /// The words of a [`FlowKey`] in which the headers of `key`, which a look-up sees, are not what the
    /// datapath extracted. `hides_ports` is as in [`look_up`](Self::look_up).
    #[inline]
    pub(super) fn rewritten(&self, hides_ports: bool) -> WordSet {
        const FIRST: usize = FLOW_WORDS - HEADER_WORDS;
        let mut words = WordSet::default();
        if !hides_ports && self.key.headers == self.original {
            return words;
        }
        let mut seen = self.key.headers;
        if hides_ports {
            seen.tp_src.set(0);
            seen.tp_dst.set(0);
        }
        for (i, (word, own)) in seen.words().iter().zip(self.original.words()).enumerate() {
            if word != own {
                words.insert(FIRST + i);
            }
        }
        words
    }

    /// Bits of the TOS or traffic class of the packet, which is an IP packet.
    pub(super) fn ip_tos(&mut self, bits: u8) -> u8 {
        self.mask.bits.headers.nw_tos |= bits;
        self.key.headers.nw_tos & bits
    }

    /// The TTL or hop limit of the packet, which is an IP packet.
    pub(super) fn ip_ttl(&mut self) -> u8 {
        self.mask.bits.headers.nw_ttl = u8::MAX;
        self.key.headers.nw_ttl
    }

    /// Whether the packet came through a tunnel whose receiving end has this address.
    pub(super) fn came_to_tunnel_end(&mut self, address: IpAddr) -> bool {
        if !self.original.segments.meets(Segment::TUNNEL.id) {
            return false;
        }
        match address {
            IpAddr::V4(address) => {
                self.mask.bits.headers.tun_dst.set(u32::MAX);
                self.original.tun_dst.get() == address.to_bits()
            }
            IpAddr::V6(address) => {
                self.mask.bits.headers.tun_ipv6_dst = [0xff; 16];
                self.original.tun_ipv6_dst == address.octets()
            }
        }
    }

    /// Some bits of a field, as they were before any rule wrote them.
    pub(super) fn came_with(&mut self, field: FieldId, bits: FieldBits) -> FieldBits {
        field.set_mask(&mut self.mask, bits);
        let came = PipelineKey { headers: self.original, ..PipelineKey::default() };
        field.read(&came) & bits
    }

    /// The port that the packet came in on, or that a rule says it came in on.
    pub(super) fn in_port(&self) -> OfPort {
        self.key.in_port.get()
    }

    /// Says that the packet came in on another port.
    pub(super) fn set_in_port(&mut self, port: OfPort) {
        self.key.in_port.set(port);
    }

    /// The EtherType behind the tags.
    pub(super) fn dl_type(&self) -> u16 {
        self.key.headers.dl_type.get()
    }

    /// Whether the packet is IPv4 or IPv6.
    pub(super) fn is_ip(&self) -> bool {
        is_ip(&self.key.headers)
    }

    /// Whether the packet came in as an IP fragment, the first one included.
    pub(super) fn is_fragment(&self) -> bool {
        self.fragment_bits() & frag::ANY != 0
    }

    /// The [`frag`] bits of a packet that came in as IPv4 or IPv6, else zero.
    fn fragment_bits(&self) -> u8 {
        self.key.headers.nw_frag & self.mask.bits.headers.nw_frag
    }

    /// Source and destination MAC address.
    pub(super) fn macs(&mut self) -> (MacAddr, MacAddr) {
        let mask = &mut self.mask.bits.headers;
        (mask.dl_src, mask.dl_dst) = ([0xff; 6], [0xff; 6]);
        (MacAddr(self.key.headers.dl_src), MacAddr(self.key.headers.dl_dst))
    }

    /// Whether the packet is a message of a spanning tree (IEEE 802.1D clause 9): a frame with an LLC header to
    /// the group of bridges.
    pub(super) fn is_stp(&mut self) -> bool {
        self.mask.bits.headers.dl_dst = [0xff; 6];
        self.dl_type() == ETH_TYPE_NONE && self.key.headers.dl_dst == STP_GROUP
    }

    /// Whether the packet has the header that a field belongs to.
    pub(super) fn has(&mut self, field: FieldId) -> bool {
        field.prerequisite_mask(&mut self.mask);
        field.prerequisite_met(&self.key)
    }

    /// Some bits of a field.
    pub(super) fn read_bits(&mut self, field: FieldId, bits: FieldBits) -> FieldBits {
        field.set_mask(&mut self.mask, bits);
        field.read(&self.key) & bits
    }

    /// A run of bits, right-aligned.
    pub(super) fn read(&mut self, src: Subfield) -> FieldBits {
        src.set_mask(&mut self.mask);
        src.read(&self.key)
    }

    /// Gives the bits of `mask` in a field a new value. Ask [`has`](Self::has) first.
    pub(super) fn write_bits(&mut self, field: FieldId, value: FieldBits, mask: FieldBits) {
        match field.is_of_tunnel() {
            true => self.has_tunnel = true,
            false => field.set_mask(&mut self.mask, mask),
        }
        field.write(&mut self.key, value, mask);
        self.see_to_presence_of_tag(field);
    }

    /// Gives a run of bits a new value.
    pub(super) fn write(&mut self, dst: Subfield, value: FieldBits) {
        match dst.field.is_of_tunnel() {
            true => self.has_tunnel = true,
            false => dst.set_mask(&mut self.mask),
        }
        dst.write(&mut self.key, value);
        self.see_to_presence_of_tag(dst.field);
    }

    /// Takes an option of the tunnel away.
    pub(super) fn delete_option(&mut self, field: FieldId) {
        self.has_tunnel = true;
        field.delete(&mut self.key);
    }

    /// To write a part of the tag is to write the bit that says whether there is a tag: most fields set it, and
    /// `vlan_tci` can clear it, which takes the tag away.
    fn see_to_presence_of_tag(&mut self, field: FieldId) {
        if field.is_vlan() {
            self.mask.bits.headers.vlan_tci |= VLAN_CFI;
            if self.key.headers.vlan_tci.get() & VLAN_CFI == 0 {
                self.pop_tag();
            }
        }
    }

    /// Changes bits of `metadata`.
    pub(super) fn set_metadata(&mut self, value: u64, mask: u64) {
        let old = self.key.metadata.get();
        self.key.metadata.set(old & !mask | value & mask);
    }

    /// Notes the output port of the action set, in the 32 bits that OpenFlow 1.5 has for port numbers.
    pub(super) fn set_actset_output(&mut self, port: u32) {
        self.key.actset_output.set(port);
    }

    /// Gives the bits of `mask` in the TOS byte or traffic class a new value, if the packet has one.
    pub(super) fn set_tos(&mut self, mask: u8, value: u8) {
        if self.is_ip() {
            self.mask.bits.headers.nw_tos |= mask;
            let tos = &mut self.key.headers.nw_tos;
            *tos = *tos & !mask | value & mask;
        }
    }

    /// Gives the source port (or else the destination port) a new value, if the packet has ports.
    pub(super) fn set_port(&mut self, source: bool, port: u16) {
        if !self.is_ip() || self.fragment_bits() & frag::LATER != 0 {
            return;
        }
        let (key, mask) = (&mut self.key.headers, &mut self.mask.bits.headers);
        mask.nw_proto = u8::MAX;
        if ip_proto::has_ports(key.nw_proto) {
            let (field, mask) = match source {
                true => (&mut key.tp_src, &mut mask.tp_src),
                false => (&mut key.tp_dst, &mut mask.tp_dst),
            };
            field.set(port);
            mask.set(u16::MAX);
        }
    }

    /// Lowers TTL or hop limit by one.
    pub(super) fn lower_ttl(&mut self) -> LoweredTtl {
        if !self.is_ip() {
            return LoweredTtl::NoHeader;
        }
        self.mask.bits.headers.nw_ttl = u8::MAX;
        if self.key.headers.nw_ttl <= 1 {
            return LoweredTtl::Expired;
        }
        self.key.headers.nw_ttl -= 1;
        LoweredTtl::Lowered
    }

    /// The fields that tell flows apart, as words to hash.
    pub(super) fn five_tuple(&mut self) -> [u64; HEADER_WORDS] {
        let is_fragment = self.is_fragment();
        let (key, mask) = (&self.key.headers, &mut self.mask.bits.headers);
        let mut tuple = Headers { dl_type: key.dl_type, ..Headers::default() };
        match key.dl_type.get() {
            eth_type::IPV4 | eth_type::IPV6 => {
                mask.nw_proto = u8::MAX;
                mask.nw_addrs = [0xff; 32];
                tuple.nw_proto = key.nw_proto;
                tuple.nw_addrs = key.nw_addrs;
                if ip_proto::has_ports(key.nw_proto) && !is_fragment {
                    mask.tp_src.set(u16::MAX);
                    mask.tp_dst.set(u16::MAX);
                    (tuple.tp_src, tuple.tp_dst) = (key.tp_src, key.tp_dst);
                }
            }
            _ => {
                mask.dl_src = [0xff; 6];
                mask.dl_dst = [0xff; 6];
                (tuple.dl_src, tuple.dl_dst) = (key.dl_src, key.dl_dst);
            }
        }
        *tuple.words()
    }
}

/// Whether the EtherType is that of IPv4 or IPv6.
pub(crate) fn is_ip(key: &Headers) -> bool {
    matches!(key.dl_type.get(), eth_type::IPV4 | eth_type::IPV6)
}

//! The numbers of actions, as types of standard actions and as subtypes of Nicira's.

/// Types of standard actions (`OFPAT_*`). Those with `10` in their name are OpenFlow 1.0's, the others are
/// those of 1.1 and later.
pub(super) mod of {
    pub(crate) const OUTPUT: u16 = 0;
    pub(crate) const SET_VLAN_VID: u16 = 1;
    pub(crate) const SET_VLAN_PCP: u16 = 2;
    pub(crate) const STRIP_VLAN_10: u16 = 3;
    pub(crate) const SET_DL_SRC_10: u16 = 4;
    pub(crate) const SET_DL_DST_10: u16 = 5;
    pub(crate) const SET_NW_SRC_10: u16 = 6;
    pub(crate) const SET_NW_DST_10: u16 = 7;
    pub(crate) const SET_NW_TOS_10: u16 = 8;
    pub(crate) const SET_TP_SRC_10: u16 = 9;
    pub(crate) const SET_TP_DST_10: u16 = 10;
    pub(crate) const ENQUEUE_10: u16 = 11;
    pub(crate) const SET_DL_SRC: u16 = 3;
    pub(crate) const SET_DL_DST: u16 = 4;
    pub(crate) const SET_NW_SRC: u16 = 5;
    pub(crate) const SET_NW_DST: u16 = 6;
    pub(crate) const SET_NW_TOS: u16 = 7;
    pub(crate) const SET_NW_ECN: u16 = 8;
    pub(crate) const SET_TP_SRC: u16 = 9;
    pub(crate) const SET_TP_DST: u16 = 10;
    pub(crate) const COPY_TTL_OUT: u16 = 11;
    pub(crate) const COPY_TTL_IN: u16 = 12;
    pub(crate) const SET_MPLS_LABEL: u16 = 13;
    pub(crate) const SET_MPLS_TC: u16 = 14;
    pub(crate) const SET_MPLS_TTL: u16 = 15;
    pub(crate) const DEC_MPLS_TTL: u16 = 16;
    pub(crate) const PUSH_VLAN: u16 = 17;
    pub(crate) const POP_VLAN: u16 = 18;
    pub(crate) const PUSH_MPLS: u16 = 19;
    pub(crate) const POP_MPLS: u16 = 20;
    pub(crate) const SET_QUEUE: u16 = 21;
    pub(crate) const GROUP: u16 = 22;
    pub(crate) const SET_NW_TTL: u16 = 23;
    pub(crate) const DEC_NW_TTL: u16 = 24;
    pub(crate) const SET_FIELD: u16 = 25;
    pub(crate) const COPY_FIELD: u16 = 28;
    pub(crate) const METER: u16 = 29;
    pub(crate) const EXPERIMENTER: u16 = 0xffff;
}

/// Subtypes of Nicira's actions (`NXAST_*`).
pub(super) mod nx {
    pub(crate) const RESUBMIT: u16 = 1;
    pub(crate) const SET_TUNNEL: u16 = 2;
    pub(crate) const SET_QUEUE: u16 = 4;
    pub(crate) const POP_QUEUE: u16 = 5;
    pub(crate) const REG_MOVE: u16 = 6;
    pub(crate) const REG_LOAD: u16 = 7;
    pub(crate) const NOTE: u16 = 8;
    pub(crate) const SET_TUNNEL64: u16 = 9;
    pub(crate) const MULTIPATH: u16 = 10;
    pub(crate) const BUNDLE: u16 = 12;
    pub(crate) const BUNDLE_LOAD: u16 = 13;
    pub(crate) const RESUBMIT_TABLE: u16 = 14;
    pub(crate) const OUTPUT_REG: u16 = 15;
    pub(crate) const LEARN: u16 = 16;
    pub(crate) const EXIT: u16 = 17;
    pub(crate) const DEC_TTL: u16 = 18;
    pub(crate) const FIN_TIMEOUT: u16 = 19;
    pub(crate) const CONTROLLER: u16 = 20;
    pub(crate) const DEC_TTL_CNT_IDS: u16 = 21;
    pub(crate) const WRITE_METADATA: u16 = 22;
    pub(crate) const PUSH_MPLS: u16 = 23;
    pub(crate) const POP_MPLS: u16 = 24;
    pub(crate) const SET_MPLS_TTL: u16 = 25;
    pub(crate) const DEC_MPLS_TTL: u16 = 26;
    pub(crate) const STACK_PUSH: u16 = 27;
    pub(crate) const STACK_POP: u16 = 28;
    pub(crate) const SAMPLE: u16 = 29;
    pub(crate) const SET_MPLS_LABEL: u16 = 30;
    pub(crate) const SET_MPLS_TC: u16 = 31;
    pub(crate) const OUTPUT_REG2: u16 = 32;
    pub(crate) const REG_LOAD2: u16 = 33;
    pub(crate) const CONJUNCTION: u16 = 34;
    pub(crate) const CT: u16 = 35;
    pub(crate) const CONTROLLER2: u16 = 37;
    pub(crate) const NAT: u16 = 36;
    pub(crate) const SAMPLE2: u16 = 38;
    pub(crate) const OUTPUT_TRUNC: u16 = 39;
    pub(crate) const GROUP: u16 = 40;
    pub(crate) const SAMPLE3: u16 = 41;
    pub(crate) const CLONE: u16 = 42;
    pub(crate) const CT_CLEAR: u16 = 43;
    pub(crate) const LEARN2: u16 = 45;
    pub(crate) const CHECK_PKT_LARGER: u16 = 49;
    pub(crate) const DELETE_FIELD: u16 = 50;
}

/// Number of the copy of a field that the ONF defined for OpenFlow 1.3 (`ONFACT_RAW13_COPY_FIELD`).
pub(super) const ONF_COPY_FIELD: u16 = 3200;

/// Properties of [`nx::CONTROLLER2`] (`NXAC2PT_*`).
pub(super) mod controller2 {
    pub(crate) const MAX_LEN: u16 = 0;
    pub(crate) const CONTROLLER_ID: u16 = 1;
    pub(crate) const REASON: u16 = 2;
    pub(crate) const USERDATA: u16 = 3;
    pub(crate) const PAUSE: u16 = 4;
    pub(crate) const METER_ID: u16 = 5;
}

/// The reason of a packet-in that an action asked for (`OFPR_ACTION`).
pub(super) const REASON_ACTION: u8 = 1;
/// The `max_len` that asks for the whole packet.
pub(super) const WHOLE_PACKET: u16 = 0xffff;
/// The table of a resubmit that names none.
pub(super) const SAME_TABLE: u8 = 0xff;

//! The attacks: the rules that they are for, and their frames.

use crate::rules::reading_rule;
use benches::rules::{add, matching, output};
use benches::workload::{Family, MACS, SplitMix, Tuple};
use flow::action::{Action, Subfield};
use flow::fields::FieldId;
use flow::flow_mod::FlowMod;
use flow::types::{OfPort, TableId};
use flow::{Headers, Match};
use packet::wire::{eth_type, ip_proto};

/// The last byte of the source addresses of an attack. No established host has it.
const ATTACKER: u8 = 66;
/// The last table of the deep pipeline.
const LAST_TABLE: u8 = 249;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attack {
    /// Rules that make many masks, and addresses and ports that meet all of them.
    TupleSpace,
    /// The same with IPv6.
    TupleSpace6,
    /// Random 5-tuples where every flow is cached by itself.
    Tuples,
    /// 5-tuples whose words have the same sum and the same exclusive or, for simple hash functions.
    Collisions,
    /// Random source MAC addresses under NORMAL.
    Sources,
    /// Random destination MAC addresses under NORMAL.
    Destinations,
    /// Random source MAC addresses, and 250 tables in front of NORMAL.
    DeepPipeline,
    /// Random source MAC addresses that a rule sends through a list of branches, each of which doubles the work: far
    /// more than a translation may take.
    Doubling,
}

impl Attack {
    pub(super) const ALL: [Self; 8] = [
        Self::TupleSpace,
        Self::TupleSpace6,
        Self::Tuples,
        Self::Collisions,
        Self::Sources,
        Self::Destinations,
        Self::DeepPipeline,
        Self::Doubling,
    ];

    /// What the table calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TupleSpace => "tuple space",
            Self::TupleSpace6 => "tuple space, IPv6",
            Self::Tuples => "5-tuples",
            Self::Collisions => "hash collisions",
            Self::Sources => "source MACs",
            Self::Destinations => "destination MACs",
            Self::DeepPipeline => "source MACs, 250 tables",
            Self::Doubling => "source MACs, 2^20 branches",
        }
    }

    pub(super) fn family(self) -> Family {
        if self == Self::TupleSpace6 { Family::V6 } else { Family::V4 }
    }

    pub(super) fn rules(self) -> Vec<FlowMod> {
        match self {
            Self::Tuples | Self::Collisions => vec![reading_rule()],
            Self::Sources | Self::Destinations => {
                let normal = vec![Action::Output { port: OfPort::NORMAL }];
                vec![add(0, 0, Match::any(), normal)]
            }
            Self::DeepPipeline => {
                let pass_on = |table: u8| match table {
                    LAST_TABLE => vec![Action::Output { port: OfPort::NORMAL }],
                    table => vec![Action::GotoTable(
                        TableId::new(table + 1).expect("it is not the last"),
                    )],
                };
                (0..=LAST_TABLE).map(|table| add(table, 0, Match::any(), pass_on(table))).collect()
            }
            Self::Doubling => {
                let normal = || vec![Action::Output { port: OfPort::NORMAL }];
                let dst = Subfield { field: FieldId::Reg(0), offset: 0, n_bits: 1 };
                let branch = Action::CheckPktLarger { len: 100, dst };
                let mut branches = vec![branch; 20];
                branches.extend(normal());
                let from_attacker = matching(|key, mask| {
                    key.headers.dl_src[5] = ATTACKER;
                    mask.bits.headers.dl_src[5] = 0xff;
                });
                vec![add(0, 10, from_attacker, branches), add(0, 0, Match::any(), normal())]
            }
            Self::TupleSpace => allow_a_few(Family::V4),
            Self::TupleSpace6 => allow_a_few(Family::V6),
        }
    }

    /// A frame of the attack, from a host of its own.
    pub(super) fn frame(self, rng: &mut SplitMix) -> (Tuple, [u8; 12]) {
        let (a, b) = (rng.next(), rng.next());
        let mut flow = Tuple {
            src: a as u32,
            dst: (a >> 32) as u32,
            sport: b as u16,
            dport: (b >> 16) as u16,
            proto: 17,
        };
        if self == Self::Collisions {
            (flow.dst, flow.dport) = (!flow.src, !flow.sport);
        }
        let mut macs = MACS;
        macs[11] = ATTACKER;
        let [_, _, m @ ..] = b.to_be_bytes();
        match self {
            Self::Sources | Self::DeepPipeline | Self::Doubling => {
                macs[7..11].copy_from_slice(&m[..4])
            }
            Self::Destinations => macs[1..6].copy_from_slice(&m[..5]),
            _ => {}
        }
        (flow, macs)
    }
}

/// "Allow a few, drop the rest": a port, a network, another port.
fn allow_a_few(family: Family) -> Vec<FlowMod> {
    let dl_type = if family == Family::V4 { eth_type::IPV4 } else { eth_type::IPV6 };
    let of_type = |set: &dyn Fn(&mut Headers, &mut Headers)| {
        matching(|key, mask| {
            key.headers.dl_type.set(dl_type);
            mask.bits.headers.dl_type.set(u16::MAX);
            set(&mut key.headers, &mut mask.bits.headers);
        })
    };
    let udp = |set: &dyn Fn(&mut Headers, &mut Headers)| {
        of_type(&|key, mask| {
            (key.nw_proto, mask.nw_proto) = (ip_proto::UDP, u8::MAX);
            set(key, mask);
        })
    };
    let to_80 = udp(&|key, mask| {
        key.tp_dst.set(80);
        mask.tp_dst.set(u16::MAX);
    });
    // 10/8, and in IPv6 the same bits behind 2001:db8::/96.
    let from_ten = of_type(&|key, mask| {
        let byte = if family == Family::V4 { 0 } else { 12 };
        (key.nw_addrs[byte], mask.nw_addrs[byte]) = (10, 255);
        if family == Family::V6 {
            key.nw_addrs[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
            mask.nw_addrs[..12].fill(255);
        }
    });
    let from_port = udp(&|key, mask| {
        key.tp_src.set(12_345);
        mask.tp_src.set(u16::MAX);
    });
    vec![
        add(0, 30, to_80, output(2)),
        add(0, 20, from_ten, output(2)),
        add(0, 10, from_port, output(2)),
        add(0, 1, Match::any(), Vec::new()),
    ]
}

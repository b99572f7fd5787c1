//! Attacks on the caches of a switch: the rules that they are for, and their frames.

use crate::workload::{Family, MACS, SplitMix, Tuple};

/// The last byte of the source addresses of an attack. No established host has it.
const ATTACKER: u8 = 66;
/// The last table of the deep pipeline.
const LAST_TABLE: u8 = 249;

/// Somebody who sends what makes most work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
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
    /// Random source MAC addresses that a rule sends through a list of branches, each of which doubles the
    /// work: far more than a translation may take.
    Doubling,
}

impl Attack {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 8] = [
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
    pub fn name(self) -> &'static str {
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

    /// The kind of its frames.
    pub fn family(self) -> Family {
        if self == Self::TupleSpace6 { Family::V6 } else { Family::V4 }
    }

    /// The rules in front of which it happens. Port 2 is that of the established hosts.
    pub fn rules(self) -> String {
        match self {
            Self::TupleSpace => allow_a_few("udp", "nw_src=10.0.0.0/8"),
            // 2001:db8::/96 in front of the same bits.
            Self::TupleSpace6 => allow_a_few("udp6", "ipv6_src=2001:db8::a00:0/104"),
            Self::Tuples | Self::Collisions => {
                let read = |field| format!("move:{field}[0..15]->NXM_NX_REG0[0..15]");
                let fields = ["NXM_OF_UDP_SRC", "NXM_OF_UDP_DST", "NXM_OF_IP_SRC", "NXM_OF_IP_DST"];
                format!("priority=100,udp,actions={},output:2", fields.map(read).join(","))
            }
            Self::Sources | Self::Destinations => NORMAL.to_owned(),
            Self::DeepPipeline => {
                let pass_on =
                    |table| format!("table={table},priority=0,actions=goto_table:{}\n", table + 1);
                let tables: String = (0..LAST_TABLE).map(pass_on).collect();
                format!("{tables}table={LAST_TABLE},{NORMAL}")
            }
            Self::Doubling => {
                let branches = "check_pkt_larger(100)->NXM_NX_REG0[0],".repeat(20);
                let from_attacker =
                    format!("dl_src=00:00:00:00:00:{ATTACKER:02x}/00:00:00:00:00:ff");
                format!("priority=10,{from_attacker},actions={branches}normal\n{NORMAL}")
            }
        }
    }

    /// The next frame of the attack, from a host of its own: its flow, and
    /// its destination and source addresses.
    pub fn frame(self, rng: &mut SplitMix) -> (Tuple, [u8; 12]) {
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

/// The rule of a new bridge.
const NORMAL: &str = "priority=0,actions=normal";

/// "Allow a few, drop the rest": a port, a network, another port.
fn allow_a_few(udp: &str, from_ten: &str) -> String {
    format!(
        "priority=30,{udp},tp_dst=80,actions=output:2\n\
         priority=20,{udp},{from_ten},actions=output:2\n\
         priority=10,{udp},tp_src=12345,actions=output:2\n\
         priority=1,actions=drop"
    )
}

//! Tables that several scenarios have.

use benches::rules::{add, matching, output};
use benches::workload::{Family, Tuple};
use flow::Match;
use flow::action::{Action, Subfield};
use flow::fields::FieldId;
use flow::flow_mod::FlowMod;
use packet::wire::{eth_type, ip_proto};

/// 16 rules that tell the flows apart by their destination port.
pub(crate) fn sixteen_rules(family: Family) -> Vec<FlowMod> {
    let dl_type = if family == Family::V4 { eth_type::IPV4 } else { eth_type::IPV6 };
    let rule = |n: u16| {
        let m = matching(|key, mask| {
            key.headers.dl_type.set(dl_type);
            mask.bits.headers.dl_type.set(u16::MAX);
            key.headers.nw_proto = ip_proto::UDP;
            mask.bits.headers.nw_proto = u8::MAX;
            key.headers.tp_dst.set(5000 + n);
            mask.bits.headers.tp_dst.set(u16::MAX);
        });
        add(0, 100, m, output(2 + n % 2))
    };
    (0..16).map(rule).collect()
}

/// One rule whose action reads the whole 5-tuple, so that every flow is cached by itself.
pub(crate) fn reading_rule() -> FlowMod {
    let read = |field: FieldId| Action::Move {
        src: Subfield { field, offset: 0, n_bits: 16 },
        dst: Subfield { field: FieldId::Reg(0), offset: 0, n_bits: 16 },
    };
    let fields = [FieldId::UdpSrc, FieldId::UdpDst, FieldId::Ipv4Src, FieldId::Ipv4Dst];
    let mut actions: Vec<Action> = fields.into_iter().map(read).collect();
    actions.extend(output(2));
    add(0, 100, udp(), actions)
}

fn udp() -> Match {
    matching(|key, mask| {
        key.headers.dl_type.set(eth_type::IPV4);
        mask.bits.headers.dl_type.set(u16::MAX);
        key.headers.nw_proto = ip_proto::UDP;
        mask.bits.headers.nw_proto = u8::MAX;
    })
}

/// Exactly one UDP flow.
pub(crate) fn exactly(flow: &Tuple) -> Match {
    matching(|key, mask| {
        for (flow_key, [src, dst], [sport, dport], proto, dl_type) in [
            (&mut key.headers, [flow.src, flow.dst], [flow.sport, flow.dport], 17, eth_type::IPV4),
            (&mut mask.bits.headers, [u32::MAX; 2], [u16::MAX; 2], u8::MAX, u16::MAX),
        ] {
            flow_key.dl_type.set(dl_type);
            flow_key.nw_proto = proto;
            flow_key.tp_src.set(sport);
            flow_key.tp_dst.set(dport);
            flow_key.nw_addrs[..4].copy_from_slice(&src.to_be_bytes());
            flow_key.nw_addrs[4..8].copy_from_slice(&dst.to_be_bytes());
        }
    })
}

/// Ten thousand exact rules, and one that reads the whole 5-tuple of what none of them matches.
pub(crate) fn exact_rules() -> Vec<FlowMod> {
    let exact = |n: u32| add(0, 200, exactly(&Tuple::numbered(n * 5)), output(2));
    (0..10_000).map(exact).chain([reading_rule()]).collect()
}

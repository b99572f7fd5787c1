//! Prints `learn`, and the actions that choose a link or sample packets.

use super::{PrintOptions, hex, put, subfield, value};
use crate::action::Subfield;
use crate::fields::ones;
use crate::learn::{DEFAULT_PRIORITY, LearnSource, LearnedPart, Learner};
use crate::members::{Multipath, PortBundle};
use crate::sampling::{FlowSampling, SampledDirection};
use crate::text::{port, write_table};
use crate::types::OfPort;
use std::fmt::Write;

/// Appends the action `learn(...)`: the table first, then the attributes that differ from
/// their defaults, then the parts.
pub(super) fn learn(out: &mut String, learner: &Learner, options: &PrintOptions<'_>) {
    out.push_str("learn(table=");
    write_table(out, learner.table, options.ports);
    let numbers = [
        ("idle_timeout", learner.idle_timeout, 0),
        ("hard_timeout", learner.hard_timeout, 0),
        ("fin_idle_timeout", learner.fin_idle_timeout, 0),
        ("fin_hard_timeout", learner.fin_hard_timeout, 0),
        ("priority", learner.priority, DEFAULT_PRIORITY),
    ];
    for (name, number, default) in numbers {
        if number != default {
            put!(out, ",{name}={number}");
        }
    }
    if learner.send_flow_rem {
        out.push_str(",send_flow_rem");
    }
    if learner.delete_learned {
        out.push_str(",delete_learned");
    }
    if learner.cookie.0 != 0 {
        put!(out, ",cookie={:#x}", learner.cookie.0);
    }
    if learner.limit != 0 {
        put!(out, ",limit={}", learner.limit);
    }
    if let Some(dst) = learner.result_dst {
        out.push_str(",result_dst=");
        subfield(out, dst);
    }
    for part in &learner.parts {
        out.push(',');
        match *part {
            LearnedPart::Match { dst, from: LearnSource::Value(bits) } => {
                matched(out, dst, bits, options);
            }
            LearnedPart::Match { dst, from: LearnSource::Field(src) } => {
                subfield(out, dst);
                if src != dst {
                    out.push('=');
                    subfield(out, src);
                }
            }
            LearnedPart::Load { dst, from } => {
                out.push_str("load:");
                match from {
                    LearnSource::Value(bits) => hex(out, bits),
                    LearnSource::Field(src) => subfield(out, src),
                }
                out.push_str("->");
                subfield(out, dst);
            }
            LearnedPart::Output(src) => {
                out.push_str("output:");
                subfield(out, src);
            }
        }
    }
    out.push(')');
}

/// Appends a value that learned rules match.
fn matched(out: &mut String, dst: Subfield, bits: u128, options: &PrintOptions<'_>) {
    let def = dst.field.def();
    if dst == Subfield::whole(dst.field) {
        put!(out, "{}=", def.name);
        value(out, dst.field, bits, ones(8 * def.wire_len() as u16), options.ports);
    } else {
        subfield(out, dst);
        out.push('=');
        hex(out, bits);
    }
}

/// Appends the action `multipath(...)`, whose number of links is one more than the highest number of a link.
pub(super) fn multipath(out: &mut String, multipath: &Multipath) {
    let Multipath { fields, basis, algorithm, max_link, arg, dst } = multipath;
    let (fields, algorithm, n_links) = (fields.name(), algorithm.name(), u32::from(*max_link) + 1);
    put!(out, "multipath({fields},{basis},{algorithm},{n_links},{arg},");
    subfield(out, *dst);
    out.push(')');
}

/// Appends `bundle(...)` or `bundle_load(...)`.
pub(super) fn bundle(out: &mut String, bundle: &PortBundle, options: &PrintOptions<'_>) {
    let PortBundle { fields, basis, algorithm, members, dst } = bundle;
    let name = if dst.is_some() { "bundle_load" } else { "bundle" };
    put!(out, "{name}({},{basis},{},ofport,", fields.name(), algorithm.name());
    if let Some(dst) = dst {
        subfield(out, *dst);
        out.push(',');
    }
    out.push_str("members:");
    for (i, member) in members.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        port::write(out, *member, options.ports);
    }
    out.push(')');
}

/// Appends the action `sample(...)` with all its numbers; the port and the direction only
/// if the action has them.
pub(super) fn sample(out: &mut String, sampling: &FlowSampling, options: &PrintOptions<'_>) {
    let FlowSampling { probability, collector_set_id, obs_domain_id, obs_point_id, .. } = sampling;
    put!(
        out,
        "sample(probability={probability},collector_set_id={collector_set_id},\
         obs_domain_id={obs_domain_id},obs_point_id={obs_point_id}"
    );
    if sampling.sampling_port != OfPort::NONE {
        out.push_str(",sampling_port=");
        port::write(out, sampling.sampling_port, options.ports);
    }
    out.push_str(match sampling.direction {
        SampledDirection::Unsaid => "",
        SampledDirection::Ingress => ",ingress",
        SampledDirection::Egress => ",egress",
    });
    out.push(')');
}

/// Appends the action `fin_timeout(...)`. Both timeouts are seconds; one that is 0 is left out.
pub(super) fn fin_timeout(out: &mut String, idle: u16, hard: u16) {
    out.push_str("fin_timeout(");
    let timeouts = [("idle_timeout", idle), ("hard_timeout", hard)];
    for (i, (name, seconds)) in timeouts.iter().filter(|(_, seconds)| *seconds != 0).enumerate() {
        let comma = if i > 0 { "," } else { "" };
        put!(out, "{comma}{name}={seconds}");
    }
    out.push(')');
}

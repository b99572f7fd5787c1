//! Writes packets, masks and datapath actions in the words of `ofproto/trace` and `ovs-dpctl`.
//!
//! [`crate::policy::xlate`] records one pass through the tables, and [`walk()`] follows a frame
//! through all its passes. The other modules print this record: in the lines of `ofproto/trace`, or
//! in sentences (`sentence`) that also name the rules that lost (`rivals`).

mod difference;
mod dp_action;
mod dp_flow;
mod rivals;
mod sentence;
#[cfg(test)]
mod tests;
mod walk;
mod why;

pub use difference::{Difference, differences, field_text};
pub use dp_action::write_datapath_actions;
pub use dp_flow::write_datapath_flow;
pub use rivals::{Lost, Rival, Rivals};
pub use sentence::{action_sentence, drop_meaning, note_sentence, outcome_sentence, port_words};
pub use walk::{Pass, TracedFrame, walk};
pub use why::{Cause, Reason, reasons};

use crate::policy::learning::LearnedRule;
use crate::policy::xlate::Note;
use flow::Match;
use flow::action::{Action, SetFieldForm, Subfield};
use flow::fields::FieldId;
use flow::key::{FlowKey, FlowMask, Headers, KeyOfPort, KeyPortNo, PipelineKey, PipelineMask};
use flow::text::{
    DEFAULT_PRIORITY, PortNames, PrintOptions, mask_inner_headers, packet_fields, write_actions,
    write_match, write_subfield,
};
use flow::types::{OfPort, PortNo};
use std::fmt::Write as _;

/// The key that rules match when a frame with this key comes in. `of` maps a datapath's port number
/// to an OpenFlow number.
pub fn as_it_comes_in(key: &FlowKey, of: impl Fn(PortNo) -> Option<OfPort>) -> PipelineKey {
    let of_port = of(key.port_no.get()).unwrap_or(OfPort::NONE);
    PipelineKey { in_port: of_port.into(), headers: key.headers, ..PipelineKey::default() }
}

/// The bits of a packet that its verdict depends on: `recirc_id=0,eth,tcp,in_port=1,nw_frag=no`. `key` is the
/// packet as it came in.
pub fn write_megaflow(
    out: &mut String,
    recirc_id: u32,
    key: &PipelineKey,
    mask: &FlowMask,
    names: &dyn PortNames,
) {
    use std::fmt::Write;
    match recirc_id {
        0 => out.push_str("recirc_id=0,eth,"),
        id => {
            let _ = write!(out, "recirc_id={id:#x},eth,");
        }
    }
    let mut read = PipelineMask::default();
    read.bits.headers = mask.bits.headers;
    if mask.bits.port_no == KeyPortNo::ALL_BITS {
        read.bits.in_port = KeyOfPort::ALL_BITS;
    }
    // Bits of headers that the packet does not have are not shown.
    let mut shown = PipelineMask::default();
    let has = FieldId::all().filter(|field| field.prerequisite_met(key));
    for field in packet_fields(&key.headers).into_iter().chain(has) {
        let bits = field.get_mask(&read);
        field.set_mask(&mut shown, bits);
    }
    let mut inner = Headers::default();
    // That there is no second tag is not shown.
    let has_second_tag = key.headers.vlan2_tci.get() != 0;
    mask_inner_headers(&key.headers, &mut inner);
    let (shown_bits, read_bits) = (&mut shown.bits.headers, &read.bits.headers);
    if has_second_tag {
        shown_bits.vlan2_tci = inner.vlan2_tci & read_bits.vlan2_tci;
    }
    for (n, entry) in shown_bits.mpls_lse.iter_mut().enumerate().skip(1) {
        *entry = inner.mpls_lse[n] & read_bits.mpls_lse[n];
    }
    write_match(out, &Match::new(key, &shown), DEFAULT_PRIORITY, names);
}

/// The rule that a packet would make, as `ofproto/trace` shows it.
fn learned_text(learned: &LearnedRule, options: &PrintOptions<'_>) -> String {
    let request = &learned.request;
    let mut text = format!("-> table={} ", request.table.unwrap_or_default());
    let start = text.len();
    write_match(&mut text, &request.matching, DEFAULT_PRIORITY, options.ports);
    if text.len() > start {
        text.push(' ');
    }
    let _ = write!(text, "priority={}", request.priority);
    if request.cookie.0 != 0 {
        let _ = write!(text, " cookie={:#x}", request.cookie.0);
    }
    if request.idle_timeout != 0 {
        let _ = write!(text, " idle={}", request.idle_timeout);
    }
    if request.hard_timeout != 0 {
        let _ = write!(text, " hard={}", request.hard_timeout);
    }
    if request.flags.send_flow_rem {
        text.push_str(" send_flow_rem");
    }
    text.push_str(" actions=");
    write_actions(&mut text, &request.actions, options);
    text
}

fn subfield_text(subfield: Subfield) -> String {
    let mut text = String::new();
    write_subfield(&mut text, subfield);
    text
}

/// The value of a subfield: that of a whole field as rules write it, that of a part in hexadecimal.
fn value_text(subfield: Subfield, value: u128, options: &PrintOptions<'_>) -> String {
    let mask = subfield.field.full_mask();
    if subfield == Subfield::whole(subfield.field) {
        let form = SetFieldForm::SetField;
        let action = Action::SetField { field: subfield.field, value, mask, form };
        let mut text = String::new();
        write_actions(&mut text, &[action], options);
        let written = text.strip_prefix("set_field:").and_then(|text| text.split_once("->"));
        if let Some((value, _)) = written {
            return value.to_owned();
        }
    }
    if value == 0 { "0".into() } else { format!("{value:#x}") }
}

/// A remark with the mark that `ofproto/trace` puts before it; `None` for a remark that
/// `ofproto/trace` does not make.
pub fn note_text(note: &Note, options: &PrintOptions<'_>) -> Option<String> {
    let set = |verb: &str, actions: &[Action]| {
        let mut text = format!("-> action set {verb}: ");
        match actions {
            [] => text.push_str("empty"),
            actions => write_actions(&mut text, actions, options),
        }
        text
    };
    Some(match note {
        Note::Flood => "-> no learned MAC for destination, flooding".into(),
        Note::ForwardLearned => "-> forwarding to learned port".into(),
        Note::Answered { ip, mac, port } => {
            format!("-> {ip} is at {mac} behind port {port}: answered, not flooded")
        }
        Note::LeftOut(..) => return None,
        Note::Protected(_) => ">> Flow is between protected ports, skipping output.".into(),
        Note::LearnedOnInPort => "-> learned port is input port, dropping".into(),
        Note::LearnedPortUnknown => "-> learned port is unknown, dropping".into(),
        Note::ReservedMulticast => "-> packet has reserved destination MAC, dropping".into(),
        Note::VlanNotAllowed => ">> disallowed VLAN VID for this input port, dropping".into(),
        Note::OwnAddress => "-> source is the switch's own host, dropping".into(),
        Note::PartialVlan => ">> dropping packet with partial VLAN tag received on port".into(),
        Note::SkipInPort => ">> skipping output to input port".into(),
        Note::NoSuchPort(_) => ">> Nonexistent output port".into(),
        Note::NoForward(_) => ">> OFPPC_NO_FWD set, skipping output".into(),
        Note::PortDown(_) => ">> port is down, skipping output".into(),
        Note::NoPatchPeer(_) => ">> patch port has no peer, skipping output".into(),
        Note::CannotTruncate(_) => ">> Cannot truncate output to patch port".into(),
        Note::NoTunnel(reason) => format!(">> not tunneling: {}", reason.sentence()),
        Note::OutputPortIs(port) => format!("-> output port is {port}"),
        Note::OutputPortOutOfRange(port) => format!(">> output port {port} is out of range"),
        Note::FieldIsNow(dst, value) => {
            format!("-> {} is now {}", subfield_text(*dst), value_text(*dst, *value, options))
        }
        Note::StackUnderflow => ">>>> stack underflow <<<<".into(),
        Note::UsingBucket(bucket) => format!("-> using bucket {bucket}"),
        Note::NoSuchGroup(_) => ">> output to nonexistent group".into(),
        Note::NoSuchMeter(id) => format!(">> there is no meter {id}: every packet passes"),
        Note::Learns(learned) => learned_text(learned, options),
        Note::NoRoomToLearn => "-> Limit exceeded, learn failed".into(),
        Note::NoLiveBucket => ">> no live bucket".into(),
        Note::DropsFragments => {
            "Packets are IP fragments and the fragment handling mode is \"drop\".".into()
        }
        Note::ToControllers(reason) => format!("-> packet-in to controllers ({})", reason.name()),
        Note::TtlExpired => ">> IPv4 decrement TTL exception".into(),
        Note::Dropped(reason) => format!(">> {}, dropping", reason.sentence()),
        Note::ActionSetIs(actions) => set("is", actions),
        Note::ActionSetWas(actions) => set("was", actions),
    })
}

//! Writes actions, remarks and verdicts as sentences, for `ofctl trace --explain`.

use crate::policy::xlate::{LeftOut, Note, Translation};
use flow::action::Action;
use flow::text::{NoPortNames, PortNames, PrintOptions, write_action, write_actions, write_match};
use flow::types::{OfPort, PortNo};
use flow::verdict::{DpAction, DropReason};
use std::fmt::Write;

/// A sentence that tells what an action does.
pub fn action_sentence(action: &Action, options: &PrintOptions<'_>) -> String {
    let names = options.ports;
    let list = |actions: &[Action]| {
        let mut text = String::new();
        write_actions(&mut text, actions, options);
        text
    };
    match action {
        Action::Output { port, .. } => output(*port, names),
        Action::OutputTrunc { port, max_len } => {
            format!("{}, cut to {max_len} bytes", output(*port, names))
        }
        Action::OutputReg { .. } => "send it to the port whose number is in a field".into(),
        Action::Controller { .. } => "give it to the controller".into(),
        Action::Enqueue { port, queue } => format!("{}, queue {queue}", output(*port, names)),
        Action::Group(group) => format!("do what group {} says", group.0),
        Action::Meter(meter) => {
            format!("send it through meter {meter}, which drops or remarks what is too much")
        }
        Action::GotoTable(table) => format!("go on in table {table}"),
        Action::Resubmit { in_port, table } => {
            let whereto = match table {
                Some(table) => format!("look it up in table {table}"),
                None => "look it up in this table again".to_owned(),
            };
            match in_port.filter(|port| *port != OfPort::IN_PORT) {
                Some(port) => {
                    format!("{whereto}, as if it had come in on {}", port_words(port, names))
                }
                None => whereto,
            }
        }
        Action::Clone(inner) => format!("do this with a copy: {}", list(inner)),
        Action::WriteActions(inner) => format!("keep this for the end: {}", list(inner)),
        Action::ClearActions => "forget what was kept for the end".into(),
        Action::Ct(ct) => match (ct.commit, ct.table) {
            (false, None) => "look its connection up".into(),
            (false, Some(table)) => {
                format!("look its connection up, and go on with what is found in table {table}")
            }
            (true, None) => "remember its connection".into(),
            (true, Some(table)) => {
                format!("remember its connection, and go on with it in table {table}")
            }
        },
        Action::Learn(learner) => format!("make a rule of table {} of it", learner.table),
        Action::FinTimeout { .. } => {
            "shorten this rule's timeouts, if it ends a TCP connection".into()
        }
        Action::Multipath(_) => "choose a link for it".into(),
        Action::Bundle(bundle) if bundle.dst.is_some() => "choose a port for it".into(),
        Action::Bundle(_) => "send it to a port of the bundle".into(),
        Action::Sample(_) => "sample it, for which there are no collectors".into(),
        Action::CtClear => "forget what is known of its connection".into(),
        Action::Exit => "stop here".into(),
        Action::DeleteField(field) => {
            format!("take the option {} off its tunnel's header", field.def().name)
        }
        Action::StripVlan => "take its outer VLAN tag off".into(),
        Action::PushVlan(_) => "put a VLAN tag on".into(),
        Action::PushMpls(_) => "put an MPLS label on".into(),
        Action::PopMpls(_) => "take its outer MPLS label off".into(),
        Action::DecTtl(_) | Action::DecMplsTtl => "lower its TTL by one".into(),
        Action::SetQueue(queue) => format!("choose queue {queue} for what is sent from here on"),
        Action::PopQueue => "go back to the queue that it began with".into(),
        Action::Note(_) | Action::Conjunction(_) => "nothing that changes its way".into(),
        Action::StackPush(_) | Action::StackPop(_) | Action::CheckPktLarger { .. } => {
            list(std::slice::from_ref(action))
        }
        _ => {
            let mut text = String::from("change it: ");
            write_action(&mut text, action, options);
            text
        }
    }
}

fn output(port: OfPort, names: &dyn PortNames) -> String {
    match port {
        OfPort::IN_PORT => "send it back out of the port it came in on".into(),
        OfPort::NORMAL => "switch it by its MAC addresses".into(),
        OfPort::FLOOD => "send it to all ports that take part in flooding".into(),
        OfPort::ALL => "send it to all other ports".into(),
        OfPort::CONTROLLER => "give it to the controller".into(),
        OfPort::TABLE => "look it up in table 0".into(),
        OfPort::NONE => "send it nowhere".into(),
        port => format!("send it to {}", port_words(port, names)),
    }
}

/// A port in a sentence: `port 1`, `port veth0` or `LOCAL`. A port in a sentence: `port 2`, `port p2`, `LOCAL`.
pub fn port_words(port: OfPort, names: &dyn PortNames) -> String {
    match names.name(port) {
        Some(name) => format!("port {name}"),
        None if port.reserved_name().is_some() => port.to_string(),
        None => format!("port {port}"),
    }
}

/// A sentence for a remark. `None` if the sentence of the action says the same.
pub fn note_sentence(note: &Note, options: &PrintOptions<'_>) -> Option<String> {
    let name = |port: &OfPort| port_words(*port, options.ports);
    Some(match note {
        Note::Flood => "no port is known for its destination address, so it is flooded".into(),
        Note::ForwardLearned => {
            "its destination address was learned, so only that port gets it".into()
        }
        Note::Answered { ip, mac, port } => {
            format!(
                "it asks for {ip}, which is known to be at {mac} behind {}: the switch answers, and nothing is flooded",
                name(port)
            )
        }
        Note::LearnedOnInPort => {
            "its destination address was learned on the port it came in on, so it is dropped".into()
        }
        Note::Protected(port) => {
            format!("{} is protected, as is the ingress port: left out", name(port))
        }
        Note::LearnedPortUnknown => {
            "its destination address was learned on a port that is gone, so it is dropped".into()
        }
        Note::ReservedMulticast => {
            "its destination is a link-local address that switches do not forward".into()
        }
        Note::VlanNotAllowed => "the ingress port does not carry its VLAN, so it is dropped".into(),
        Note::OwnAddress => {
            "its source is the address of the switch's own host, which is behind another port, so it is dropped"
                .into()
        }
        Note::PartialVlan => "it ends inside its VLAN tag, so it is dropped".into(),
        Note::SkipInPort => {
            "it came in there, and only output:IN_PORT sends a packet back: left out".into()
        }
        Note::NoSuchPort(port) => format!("there is no {}: left out", name(port)),
        Note::NoForward(port) => format!("{} is configured not to forward: left out", name(port)),
        Note::PortDown(port) => format!("{} is down: left out", name(port)),
        Note::NoPatchPeer(peer) => {
            format!("no patch port called \"{peer}\" names this one as its peer: left out")
        }
        Note::CannotTruncate(port) => {
            format!("{} is no port of a device, and takes whole packets only: left out", name(port))
        }
        Note::NoTunnel(reason) => format!("{}: left out", reason.sentence()),
        Note::LeftOut(port, LeftOut::NoFlood) => {
            format!("{} is left out: it is configured with no-flood", name(port))
        }
        Note::LeftOut(port, LeftOut::PeerDown) => {
            format!("{} is left out: BFD says that its remote end is down", name(port))
        }
        Note::LeftOut(port, LeftOut::Vlan(vlan)) => {
            format!("{} is left out: it does not carry VLAN {vlan}", name(port))
        }
        Note::NoSuchGroup(group) => format!("there is no group {}", group.0),
        Note::NoSuchMeter(meter) => format!("there is no meter {meter}, so it passes"),
        Note::DropsFragments => "the bridge drops IP fragments".into(),
        Note::Learns(learned) => {
            let request = &learned.request;
            let mut text = String::from("it makes, or keeps, a rule of table ");
            let _ = write!(text, "{}: ", request.table.unwrap_or_default());
            write_match(&mut text, &request.matching, request.priority, options.ports);
            text.push_str(" actions=");
            write_actions(&mut text, &request.actions, options);
            text
        }
        Note::NoRoomToLearn => "the table has no room for that rule: it is not learned".into(),
        Note::NoLiveBucket => "none of the group's buckets is alive".into(),
        Note::UsingBucket(bucket) => format!("the group chose bucket {bucket}"),
        Note::OutputPortIs(port) => format!("the field names {}", name(port)),
        Note::OutputPortOutOfRange(port) => {
            format!("the field has the value {port}, which is no number of a port: left out")
        }
        Note::StackUnderflow => "the stack is empty: nothing is written".into(),
        Note::ToControllers(reason) => format!("controllers get it ({})", reason.name()),
        Note::TtlExpired => "its TTL ran out: the rest of the list is not executed".into(),
        Note::Dropped(reason) => format!("{}: nothing at all is sent", reason.sentence()),
        Note::ActionSetWas(_) | Note::FieldIsNow(..) => return None,
        Note::ActionSetIs(actions) if actions.is_empty() => {
            "nothing is kept for the end that would send it".into()
        }
        Note::ActionSetIs(actions) => {
            let mut text = String::from("kept for the end: ");
            write_actions(&mut text, actions, options);
            text
        }
    })
}

/// Why a translation drops the packet, in English, lower case, without full stop. If the translation has spent
/// its budget of steps, the text names the rule with which it did.
pub fn drop_meaning(translation: &Translation, reason: DropReason) -> String {
    let mut meaning = reason.sentence().to_owned();
    if let Some(rule) = &translation.exhausted_by {
        let mut matching = String::new();
        write_match(&mut matching, &rule.matching, rule.priority, &NoPortNames);
        let matching = if matching.is_empty() { "without a match" } else { &matching };
        let place = format!(", the last of them by the rule of table {}: {matching}", rule.table);
        meaning.push_str(&place);
    }
    meaning
}

/// A sentence that tells what becomes of the packet. `words_of` says what a port is called in a sentence, such
/// as `port 2`; `None` if there is no port of the number any more.
pub fn outcome_sentence(
    translation: &Translation,
    words_of: &dyn Fn(PortNo) -> Option<String>,
) -> String {
    if let Some(reason) = translation.drop {
        return format!(
            "It is dropped: {} ({}).",
            drop_meaning(translation, reason),
            reason.name()
        );
    }
    let mut ends = Ends::default();
    ends.visit(&translation.actions);
    let mut ports: Vec<String> = Vec::new();
    for port_no in ends.ports {
        let text = words_of(port_no).unwrap_or_else(|| "a port that is gone".to_owned());
        if !ports.contains(&text) {
            ports.push(text);
        }
    }
    let mut parts = Vec::new();
    if !ports.is_empty() {
        let changed = if ends.is_changed { ", changed on the way" } else { "" };
        parts.push(format!("it is sent to {}{changed}", and(&ports)));
    }
    if ends.is_punted {
        parts.push("it is given to the controller".to_owned());
    }
    if ends.recirculates {
        parts.push("it is looked up again, because its headers have changed".to_owned());
    }
    if ends.is_metered {
        parts.push("unless a meter drops it".to_owned());
    }
    if ends.depends_on_length {
        parts.push("what is sent where depends on its length".to_owned());
    }
    let mut text = parts.join("; ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text.push('.');
    text
}

/// The ends to which a list of datapath actions leads.
#[derive(Default)]
struct Ends {
    ports: Vec<PortNo>,
    is_changed: bool,
    is_punted: bool,
    is_metered: bool,
    recirculates: bool,
    depends_on_length: bool,
}

impl Ends {
    fn visit(&mut self, actions: &[DpAction]) {
        for action in actions {
            match action {
                DpAction::Output(port)
                | DpAction::OutputTrunc { port, .. }
                | DpAction::OutputQueued { port, .. }
                | DpAction::Tunnel { port, .. }
                | DpAction::TunnelTrunc { port, .. } => {
                    self.ports.push(*port);
                }
                DpAction::Answer { port, .. } => {
                    self.ports.push(*port);
                    self.is_changed = true;
                }
                DpAction::Controller(_) => self.is_punted = true,
                DpAction::Meter(_) => self.is_metered = true,
                DpAction::Recirculate(_) => self.recirculates = true,
                DpAction::Ct(_) | DpAction::CtClear => {}
                DpAction::Clone(inner) => self.visit(inner),
                DpAction::CheckLen { longer, fits, .. } => {
                    self.depends_on_length = true;
                    self.visit(longer);
                    self.visit(fits);
                }
                _ => self.is_changed = true,
            }
        }
    }
}

/// Joins words: `a, b and c`.
fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

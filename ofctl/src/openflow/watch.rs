//! The verbs `monitor` and `snoop`: print the messages of a switch as they come, until Ctrl-C.

use super::channel::Channel;
use super::ports::with_names;
use super::{Call, MessageRecord, Rejected, switch};
use crate::options::Options;
use crate::output::Output;
use crate::{Outcome, Usage};
use anyhow::bail;
use control::Refusal;
use flow::text::{ParseContext, parse_filter};
use flow::types::OfVersion;
use oftext::Printer;
use openflow::{
    FlowMonitor, MonitorCommand, MonitorFlags, MultipartRequest, OfMessage, PacketInForm,
    SwitchConfig,
};
use std::io::Write;

/// How many words the verb can have: each `watch:` is one.
const MANY: usize = 64;

/// Whether a word asks for messages of OpenFlow, and not for events of our own switch.
pub(super) fn is_about_messages(word: &str) -> bool {
    matches!(word, "invalid_ttl" | "resume")
        || word.starts_with("watch:")
        || word.starts_with(|c: char| c.is_ascii_digit())
}

/// Carries out the verb `monitor`.
pub(super) fn monitor(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, MANY)?;
    let mut channel = call.open(0, MANY)?;
    let names = call.shown_names(&mut channel)?;
    let mut monitors = 0;
    let printer = Printer { ports: &names, verbosity: call.options.how.verbosity() + 2 };
    let mut out = Output::new();
    for word in call.words {
        if let Ok(miss_send_len) = word.parse::<u16>() {
            let config = switch::configuration(&mut channel)?;
            channel.carry_out(&[OfMessage::SetConfig(SwitchConfig { miss_send_len, ..config })])?;
        } else if let Some(what) = word.strip_prefix("watch:") {
            let request = watched(call, &mut channel, what, monitors)?;
            monitors += 1;
            let request = MultipartRequest::FlowMonitor(vec![request]);
            for part in channel.all_parts(&OfMessage::MultipartRequest(request))? {
                show(call.options, &mut out, &part, &printer)?;
            }
        } else {
            bail!("{word}: unsupported \"monitor\" argument");
        }
    }
    prefer_packet_in2(&mut channel)?;
    follow(call, &mut channel, &mut out, &printer)
}

/// Has the switch send packet-ins in the form that tells most. A switch that does not know the form sends its own.
fn prefer_packet_in2(channel: &mut Channel) -> anyhow::Result<()> {
    let wanted = OfMessage::SetPacketInFormat(PacketInForm::Nxt2);
    match channel.carry_out(&[wanted]) {
        Err(error) if !error.is::<Rejected>() => Err(error),
        _ => Ok(()),
    }
}

/// The monitor that `watch:` describes: `!initial`, `!add` and the like switch off what is told, and the other words select
/// rules as those of `dump-flows` do.
fn watched(
    call: &Call<'_>,
    channel: &mut Channel,
    text: &str,
    id: u32,
) -> anyhow::Result<FlowMonitor> {
    let mut flags = MonitorFlags {
        initial: true,
        add: true,
        removed: true,
        modify: true,
        instructions: true,
        no_abbrev: false,
        own: true,
    };
    let mut rest = Vec::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        match word {
            "!initial" => flags.initial = false,
            "!add" => flags.add = false,
            "!delete" => flags.removed = false,
            "!modify" => flags.modify = false,
            "!actions" => flags.instructions = false,
            "!own" | "!abbrev" => flags.own = false,
            word if word.starts_with('!') => {
                let known = "!initial, !add, !delete, !modify, !actions, !own";
                return Err(Usage(format!("{word} is not known: write {known}")).into());
            }
            word => rest.push(word),
        }
    }
    let rest = rest.join(",");
    let version = channel.version();
    let parsed = with_names(channel, |ports| {
        let lenient = call.options.how.lenient;
        parse_filter(&rest, &ParseContext { version, lenient, ports, ..ParseContext::default() })
    })?;
    let filter = Box::new(parsed.map_err(|error| Refusal::of_text(&error, None, 1, &rest))?);
    Ok(FlowMonitor { id, command: MonitorCommand::Add, flags, filter })
}

/// Carries out the verb `snoop`: prints what a bridge and its controllers say to each other.
pub(super) fn snoop(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, 0)?;
    let Some(place) = call.place.snoop() else {
        return Err(Usage(format!(
            "{}: only a bridge of this machine can be snooped on",
            call.place.name
        ))
        .into());
    };
    // The controllers decide in which versions they speak.
    let mut channel = Channel::open_for(&place, &call.options.how, &OfVersion::ALL)?;
    let printer = Printer { verbosity: call.options.how.verbosity() + 2, ..Printer::default() };
    follow(call, &mut channel, &mut Output::new(), &printer)
}

/// Prints messages until the switch closes the connection. Echo requests are answered.
fn follow(
    call: &Call<'_>,
    channel: &mut Channel,
    out: &mut Output,
    printer: &Printer<'_>,
) -> anyhow::Result<Outcome> {
    // A switch without events is silent. Scripts wait for this line: messages that come after it are printed.
    if call.options.how.timeout.is_none() {
        channel.wait_for_ever()?;
    }
    eprintln!("ofctl: watching; Ctrl-C ends");
    loop {
        let message = channel.receive_any()?;
        show(call.options, out, &message, printer)?;
    }
}

fn show(
    options: &Options,
    out: &mut Output,
    message: &[u8],
    printer: &Printer<'_>,
) -> anyhow::Result<()> {
    match options.how.json {
        true => writeln!(out, "{}", serde_json::to_string(&MessageRecord::new(message, printer))?)?,
        false => out.write_all(printer.print(message).as_bytes())?,
    }
    Ok(out.flush()?)
}

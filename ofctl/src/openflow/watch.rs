//! The verbs `monitor` and `snoop`: print the messages of a switch as they come, until Ctrl-C.

use super::channel::Channel;
use super::ports::with_names;
use super::{Call, MessageRecord, Rejected, switch};
use crate::options::Options;
use crate::output::Output;
use crate::utc::utc;
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
use serde::Serialize;
use std::io::Write;
use std::time::UNIX_EPOCH;

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
    let how = &call.options.how;
    let mut channel = Channel::open_for(&call.place, how, &versions(call)?)?;
    let names = call.shown_names(&mut channel)?;
    let (mut monitors, mut resumes) = (0, false);
    let printer = Printer { ports: &names, verbosity: how.verbosity() + 2 };
    let mut out = Output::new();
    for word in call.words {
        if let Ok(miss_send_len) = word.parse::<u16>() {
            configure(&mut channel, |config| SwitchConfig { miss_send_len, ..config })?;
        } else if word == INVALID_TTL {
            configure(&mut channel, |config| SwitchConfig { invalid_ttl: true, ..config })?;
        } else if word == "resume" {
            // Without a length, the switch sends no packets at all.
            configure(&mut channel, |config| SwitchConfig { miss_send_len: u16::MAX, ..config })?;
            resumes = true;
        } else if let Some(what) = word.strip_prefix("watch:") {
            let request = watched(call, &mut channel, what, monitors)?;
            monitors += 1;
            let request = OfMessage::MultipartRequest(MultipartRequest::FlowMonitor(vec![request]));
            let (xid, bytes) = channel.encode(&request);
            if how.verbosity() > 0 {
                show(call.options, &mut out, &bytes, &printer)?;
            }
            channel.send_bytes(&bytes)?;
            channel.parts_of(xid, |part| show(call.options, &mut out, &part, &printer))?;
        } else {
            bail!("{word}: unsupported \"monitor\" argument");
        }
    }
    choose_packet_ins(&mut channel, how.packet_in_format)?;
    follow(call, &mut channel, &mut out, &printer, resumes)
}

/// The word that asks for packets whose TTL has run out.
const INVALID_TTL: &str = "invalid_ttl";

/// The versions of OpenFlow in which the connection may speak: those of the command line that know the words
/// behind the verb.
fn versions(call: &Call<'_>) -> anyhow::Result<Vec<OfVersion>> {
    let mut versions = call.options.how.allowed_versions();
    if call.words.iter().any(|word| word == INVALID_TTL) {
        versions.retain(|version| *version <= OfVersion::OpenFlow12);
        if versions.is_empty() {
            bail!(
                "invalid_ttl requires one of the OpenFlow versions OpenFlow10, OpenFlow11, OpenFlow12 but none is enabled \
                 (use -O)"
            );
        }
    }
    Ok(versions)
}

/// Changes the configuration of the switch for this connection.
fn configure(
    channel: &mut Channel,
    change: impl FnOnce(SwitchConfig) -> SwitchConfig,
) -> anyhow::Result<()> {
    let config = switch::configuration(channel)?;
    channel.carry_out(&[OfMessage::SetConfig(change(config))])
}

/// Has the switch send packet-ins in the form that the user names, by default in the one that tells most.
/// Without a name, a switch that does not know a form sends its own.
fn choose_packet_ins(channel: &mut Channel, named: Option<PacketInForm>) -> anyhow::Result<()> {
    if let Some(form) = named {
        return channel.carry_out(&[OfMessage::SetPacketInFormat(form)]);
    }
    // Only in OpenFlow 1.0 is Nicira's older form more than that of the version.
    let forms = match channel.version() {
        OfVersion::OpenFlow10 => &[PacketInForm::Nxt2, PacketInForm::Nxt][..],
        _ => &[PacketInForm::Nxt2],
    };
    for form in forms {
        match channel.carry_out(&[OfMessage::SetPacketInFormat(*form)]) {
            Err(error) if error.is::<Rejected>() => {}
            decided => return decided,
        }
    }
    Ok(())
}

/// The monitor that `watch:` describes: `!initial`, `!add` and the like switch off what is told, and the other
/// words select rules as those of `dump-flows` do.
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
    channel.listen_only();
    let printer = Printer { verbosity: call.options.how.verbosity() + 2, ..Printer::default() };
    follow(call, &mut channel, &mut Output::new(), &printer, false)
}

/// Prints messages until the switch closes the connection. With `resumes`, packets that wait at
/// the switch go on, and the messages that say so are printed, too.
fn follow(
    call: &Call<'_>,
    channel: &mut Channel,
    out: &mut Output,
    printer: &Printer<'_>,
    resumes: bool,
) -> anyhow::Result<Outcome> {
    // A switch without events is silent. Scripts wait for this line: messages that come after it are printed.
    if call.options.how.timeout.is_none() {
        channel.wait_for_ever()?;
    }
    eprintln!("ofctl: watching; Ctrl-C ends");
    loop {
        let message = channel.receive_any()?;
        show(call.options, out, &message, printer)?;
        if let Some(mut resume) = resume_of(&message).filter(|_| resumes) {
            resume[4..8].copy_from_slice(&channel.new_xid().to_be_bytes());
            match call.options.how.json {
                true => show(call.options, out, &resume, printer)?,
                false => write!(out, "send: {}", printer.print(&resume))?,
            }
            out.flush()?;
            channel.send_bytes(&resume)?;
        }
    }
}

/// The message that has the switch go on with the packet of a packet-in; `None` if the message is no
/// packet-in whose packet waits. The properties are those of the packet-in: some may be about fields that
/// nobody but the switch knows.
fn resume_of(message: &[u8]) -> Option<Vec<u8>> {
    const EXPERIMENTER: u8 = 4;
    const NICIRA: [u8; 4] = 0x2320u32.to_be_bytes();
    /// Numbers of Nicira's messages: `NXT_PACKET_IN2` and `NXT_RESUME`.
    const PACKET_IN2: [u8; 4] = 30u32.to_be_bytes();
    const RESUME: [u8; 4] = 28u32.to_be_bytes();
    /// The type of the property that says what the switch needs to go on (`NXPINT_CONTINUATION`).
    const CONTINUATION: [u8; 2] = 8u16.to_be_bytes();
    /// The size of the headers: of the message, of the experimenter, and of a property.
    const HEAD: usize = openflow::HEADER_SIZE + 8;
    const PROPERTY_HEAD: usize = 4;
    let is_packet_in = message.get(1) == Some(&EXPERIMENTER)
        && message.get(8..12) == Some(&NICIRA)
        && message.get(12..16) == Some(&PACKET_IN2);
    if !is_packet_in {
        return None;
    }
    let mut properties = message.get(HEAD..)?;
    while let Some(([a, b, high, low], _)) = properties.split_first_chunk::<PROPERTY_HEAD>() {
        if [*a, *b] == CONTINUATION {
            let mut resume = message.to_vec();
            resume[12..16].copy_from_slice(&RESUME);
            return Some(resume);
        }
        let len = usize::from(u16::from_be_bytes([*high, *low])).max(PROPERTY_HEAD);
        properties = properties.get(len.next_multiple_of(8)..)?;
    }
    None
}

/// Prints a message, with `--timestamp` behind the time when the message came.
fn show(
    options: &Options,
    out: &mut Output,
    message: &[u8],
    printer: &Printer<'_>,
) -> anyhow::Result<()> {
    let now = options.how.timestamp.then(|| UNIX_EPOCH.elapsed().unwrap_or_default());
    if options.how.json {
        #[derive(Serialize)]
        struct Timed {
            #[serde(skip_serializing_if = "Option::is_none")]
            time: Option<f64>,
            #[serde(flatten)]
            message: MessageRecord,
        }
        let message = MessageRecord::new(message, printer);
        let timed = Timed { time: now.map(|now| now.as_millis() as f64 / 1000.0), message };
        writeln!(out, "{}", serde_json::to_string(&timed)?)?;
    } else {
        if let Some(now) = now {
            write!(out, "{}.{:03}: ", utc(now.as_secs(), ' '), now.subsec_millis())?;
        }
        out.write_all(printer.print(message).as_bytes())?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn only_packets_that_wait_are_resumed() {
        let packet = "000000120200000000010200000000020800000000000000";
        let waits = "0008000c00000000aabbccdd00000000";
        let message = |number: &str, properties: &str| {
            let size = 16 + properties.len() / 2;
            bytes(&format!("0404{size:04x}0000000000002320{number}{properties}"))
        };
        let resumed = message("0000001c", &format!("{packet}{waits}"));
        assert_eq!(resume_of(&message("0000001e", &format!("{packet}{waits}"))), Some(resumed));
        assert_eq!(resume_of(&message("0000001e", packet)), None);
        assert_eq!(resume_of(&message("00000011", &format!("{packet}{waits}"))), None);
        assert_eq!(resume_of(&bytes("0402000800000000")), None);
    }
}

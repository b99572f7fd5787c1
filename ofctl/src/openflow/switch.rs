//! The verbs about a switch as a whole: `show`, `dump-desc`, `dump-ipfix-bridge`, `dump-ipfix-flow`,
//! `dump-tables`, `get-frags`, `set-frags`, `probe`, `ping`, `benchmark`.

use super::Call;
use super::channel::Channel;
use crate::bridges::REASSEMBLE;
use crate::output::{print, print_json};
use crate::{Outcome, connect};
use anyhow::{Context, bail};
use flow::types::{Fragments, OfPort, OfVersion};
use openflow::{MultipartRequest, OfMessage, SwitchConfig};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Carries out the verb `show`.
pub(super) fn show(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    let mut replies = vec![channel.transact(&OfMessage::FeaturesRequest)?];
    // From OpenFlow 1.3 on, the reply about features has no ports.
    if channel.version() >= OfVersion::OpenFlow13 {
        let request = MultipartRequest::PortDesc(OfPort::NONE);
        replies.extend(channel.all_parts(&OfMessage::MultipartRequest(request))?);
    }
    replies.push(channel.transact(&OfMessage::GetConfigRequest)?);
    call.print_numbers(&replies)
}

/// Carries out the verb `dump-desc`.
pub(super) fn describe(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    dump(call, MultipartRequest::Desc)
}

/// Carries out the verb `dump-ipfix-bridge`.
pub(super) fn dump_bridge_exporter(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    dump(call, MultipartRequest::IpfixBridge)
}

/// Carries out the verb `dump-ipfix-flow`.
pub(super) fn dump_flow_exporters(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    dump(call, MultipartRequest::IpfixFlow)
}

/// Carries out the verb `dump-tables`.
pub(super) fn dump_tables(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    dump(call, MultipartRequest::Table)
}

/// Carries out a verb without words that prints the reply to a request.
pub(super) fn dump(call: &mut Call<'_>, request: MultipartRequest) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    let replies = channel.all_parts(&OfMessage::MultipartRequest(request))?;
    call.print_numbers(&replies)
}

/// The configuration of the switch.
pub(super) fn configuration(channel: &mut Channel) -> anyhow::Result<SwitchConfig> {
    let reply = channel.transact(&OfMessage::GetConfigRequest)?;
    match OfMessage::decode(&reply, channel.encoding())? {
        OfMessage::GetConfigReply(config) => Ok(config),
        _ => bail!("the switch does not answer with its configuration"),
    }
}

/// Carries out the verb `get-frags`.
pub(super) fn get_fragments(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    let frags = configuration(&mut channel)?.fragments.map_or(REASSEMBLE, Fragments::name);
    #[derive(Serialize)]
    struct Handling {
        frags: &'static str,
    }
    match call.options.how.json {
        true => print_json(&Handling { frags })?,
        false => print(&format!("{frags}\n"))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `set-frags`.
pub(super) fn set_fragments(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(1, 1)?;
    let known = Fragments::ALL.into_iter().find(|fragments| fragments.name() == call.words[0]);
    let fragments = match known {
        None if call.words[0] != REASSEMBLE => return Err(connect::wrong_usage(call.options)),
        fragments => fragments,
    };
    let mut channel = call.open(1, 1)?;
    let config = SwitchConfig { fragments, ..configuration(&mut channel)? };
    channel.carry_out(&[OfMessage::SetConfig(config)])?;
    // A switch without the requested handling keeps the old one, and says so only when it is asked.
    let now = configuration(&mut channel)?.fragments;
    if now != fragments {
        bail!(
            "{}: setting fragment handling mode failed (this switch probably doesn't support mode \"{}\")",
            call.place.name,
            call.words[0]
        );
    }
    done(call)
}

/// Tells that a request was carried out: nothing, or with `--json` an object.
pub(super) fn done(call: &Call<'_>) -> anyhow::Result<Outcome> {
    changed(call, 1)
}

/// Tells how many requests were carried out: nothing, or with `--json` an object.
pub(super) fn changed(call: &Call<'_>, count: u64) -> anyhow::Result<Outcome> {
    crate::output::tell_change(&call.options.how, &control::Changed { count, notes: Vec::new() })
}

/// Carries out the verb `probe`: does nothing if the switch answers.
pub(super) fn probe(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    let mut channel = call.open(0, 0)?;
    let reply = channel.transact(&OfMessage::EchoRequest(Vec::new()))?;
    if reply.len() != openflow::HEADER_SIZE {
        bail!("reply does not match request");
    }
    done(call)
}

/// The largest payload of an echo request.
const MAX_PAYLOAD: usize = u16::MAX as usize - openflow::HEADER_SIZE;

/// How many echo requests `ping` sends.
const PINGS: u32 = 10;

/// An echo request and its reply, as `--json` prints them.
#[derive(Serialize)]
struct Echo {
    /// The size of the payload in bytes.
    bytes: usize,
    /// The transaction id.
    xid: u32,
    /// How long the reply took, in milliseconds.
    milliseconds: f64,
}

/// Carries out the verb `ping`: sends ten echo requests, and prints how long each reply takes.
pub(super) fn ping(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(0, 1)?;
    let size = call.words.first().map_or(Ok(64), |word| word.parse::<usize>());
    let size = size.ok().filter(|size| *size <= MAX_PAYLOAD);
    let Some(size) = size else {
        bail!("payload must be between 0 and {MAX_PAYLOAD} bytes");
    };
    let mut channel = call.open(0, 1)?;
    let payload: Vec<u8> =
        (0..size).map(|n| (n as u8).wrapping_mul(167).wrapping_add(13)).collect();
    let mut echoes = Vec::new();
    for _ in 0..PINGS {
        let start = Instant::now();
        let reply = channel.transact(&OfMessage::EchoRequest(payload.clone()))?;
        let milliseconds = start.elapsed().as_secs_f64() * 1000.0;
        let xid = u32::from_be_bytes([reply[4], reply[5], reply[6], reply[7]]);
        if OfMessage::decode(&reply, channel.encoding()).ok()
            != Some(OfMessage::EchoReply(payload.clone()))
        {
            print("Reply does not match request:\n")?;
            call.print_numbers(&[reply])?;
            continue;
        }
        let echo = Echo { bytes: reply.len() - openflow::HEADER_SIZE, xid, milliseconds };
        if !call.options.how.json {
            let Echo { bytes, xid, milliseconds } = echo;
            print(&format!(
                "{bytes} bytes from {}: xid={xid:08x} time={milliseconds:.1} ms\n",
                call.place.name
            ))?;
        } else {
            echoes.push(echo);
        }
    }
    if call.options.how.json {
        print_json(&echoes)?;
    }
    Ok(Outcome::Done)
}

/// What `benchmark` has measured, as `--json` prints it.
#[derive(Serialize)]
struct Benchmark {
    /// How many echo requests were answered.
    count: usize,
    /// The size of each in bytes, with its header.
    bytes: usize,
    /// The time that all of them took together.
    seconds: f64,
}

/// Carries out the verb `benchmark`: sends COUNT echo requests of N bytes, one at a time.
pub(super) fn benchmark(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(2, 2)?;
    let number =
        |word: &str| word.parse::<usize>().with_context(|| format!("\"{word}\" is not a number"));
    let (size, count) = (number(&call.words[0])?, number(&call.words[1])?);
    if size > MAX_PAYLOAD {
        bail!("payload must be between 0 and {MAX_PAYLOAD} bytes");
    }
    let mut channel = call.open(2, 2)?;
    let bytes = size + openflow::HEADER_SIZE;
    let json = call.options.how.json;
    if !json {
        print(&format!(
            "Sending {count} packets * {bytes} bytes (with header) = {} bytes total\n",
            count * bytes
        ))?;
    }
    let request = OfMessage::EchoRequest(vec![0; size]);
    let start = Instant::now();
    for _ in 0..count {
        channel.transact(&request)?;
    }
    let taken = start.elapsed().max(Duration::from_nanos(1));
    let seconds = taken.as_secs_f64();
    if json {
        print_json(&Benchmark { count, bytes, seconds })?;
        return Ok(Outcome::Done);
    }
    let rate = |amount: usize| amount as f64 / seconds;
    print(&format!(
        "Finished in {:.1} ms ({:.0} packets/s) ({:.0} bytes/s)\n",
        seconds * 1000.0,
        rate(count),
        rate(count * bytes)
    ))?;
    Ok(Outcome::Done)
}

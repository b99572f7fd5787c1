//! The verb `bundle`: sends the requests of a file as one bundle, which takes effect as a whole or not at all.

use super::channel::Channel;
use super::flows::in_bundle;
use super::ports::with_names;
use super::{Call, switch};
use crate::{Outcome, files};
use control::Refusal;
use flow::flow_mod::Command;
use flow::text::{
    GroupCommand, ParseContext, parse_flow_file_line, parse_group_file_line, parse_packet_out,
    strip_comment,
};
use openflow::OfMessage;

/// Carries out the verb `bundle`. Each line of the file begins with `flow`, `group` or `packet-out`.
pub(super) fn bundle(call: &mut Call<'_>) -> anyhow::Result<Outcome> {
    call.expect(1, 1)?;
    let how = &call.options.how;
    let mut channel = Channel::open_for(&call.place, how, &how.versions_with_bundles())?;
    let path = &call.words[0];
    let (version, lenient) = (channel.version(), call.options.how.lenient);
    let mut requests = Vec::new();
    for (n, line) in files::read(path)?.lines().enumerate() {
        let Some(text) = strip_comment(line) else {
            continue;
        };
        let (kind, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        let rest = rest.trim_start();
        let name = Some(files::name(path));
        let parsed = with_names(&mut channel, |ports| {
            let context = ParseContext {
                version,
                lenient,
                ports,
                command: Command::Add,
                ..ParseContext::default()
            };
            Ok(match kind {
                "flow" => Some(OfMessage::FlowMod(Box::new(parse_flow_file_line(rest, &context)?))),
                "group" => Some(OfMessage::GroupMod(parse_group_file_line(
                    rest,
                    GroupCommand::Add,
                    &context,
                )?)),
                "packet-out" => {
                    Some(OfMessage::PacketOut(Box::new(parse_packet_out(rest, &context)?)))
                }
                _ => None,
            })
        })?;
        match parsed.map_err(|error| Refusal::of_text(&error, name, n + 1, rest))? {
            Some(request) => requests.push(request),
            None => anyhow::bail!(
                "{}:{}: Unsupported bundle message type: {kind}",
                files::name(path),
                n + 1
            ),
        }
    }
    in_bundle(call, &mut channel, &requests)?;
    switch::changed(call, requests.len() as u64)
}

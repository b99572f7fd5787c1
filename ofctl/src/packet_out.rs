//! The verb `packet-out`: hands the switch a packet with actions. If the packet is dropped, the reason is
//! printed to standard error.

use crate::Outcome;
use crate::connect::{call, unexpected, wrong_usage};
use crate::options::{Options, Words};
use crate::output::print_json;
use control::record::PacketOutRecord;
use control::{Operation, PacketOutRequest, Reply};

/// How many words the old form of the verb can have: port, actions, and packets.
const MANY: usize = 1024;

/// Carries out the verb `packet-out`.
pub(crate) fn send(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, MANY)?;
    let texts = match call.words {
        [text] => vec![text.clone()],
        // The old form of `ovs-ofctl`: port, actions, and one or more packets.
        [in_port, actions, packets @ ..] if !packets.is_empty() => packets
            .iter()
            .map(|packet| format!("in_port={in_port},packet={packet},actions={actions}"))
            .collect(),
        _ => return Err(wrong_usage(options)),
    };
    let mut records = Vec::new();
    for text in texts {
        let how = &options.how;
        let request = PacketOutRequest { text, version: how.version(), lenient: how.lenient };
        let Reply::PacketOut(record) = call.client.ask(Operation::PacketOut(request))? else {
            return Err(unexpected());
        };
        records.push(record);
    }
    if options.how.json {
        print_json(&records)?;
    } else {
        records.iter().filter_map(complaint).for_each(|text| eprintln!("ofctl: {text}"));
    }
    Ok(Outcome::Done)
}

fn complaint(record: &PacketOutRecord) -> Option<String> {
    let cause = record.dropped.as_ref()?;
    Some(format!("the packet was dropped: {} ({})", cause.meaning, cause.reason))
}

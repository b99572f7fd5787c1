//! The verb `bfd-show`: sessions of BFD through tunnel ports, as `ovs-appctl bfd/show` prints them.

use crate::Outcome;
use crate::connect::{port_call, unexpected};
use crate::options::{Options, Words};
use crate::output::{print, print_json};
use control::record::{BfdEndRecord, BfdRecord};
use control::{Operation, Reply};
use std::fmt::Write;

/// Carries out the verb `bfd-show`.
pub(crate) fn show(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = port_call(options, words, 0, 1)?;
    let port = call.words.first().cloned();
    let Reply::Bfd(sessions) = call.client.ask(Operation::BfdShow { port })? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&sessions)?,
        false => print(&sessions.iter().map(render).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Outcome::Done)
}

fn render(session: &BfdRecord) -> String {
    let BfdRecord { name, is_forwarding, tx_interval, detect_time, n_flaps, local, remote, .. } =
        session;
    let mut out = format!(
        "---- {name} ----\n\tForwarding: {is_forwarding}\n\tDetect Multiplier: {}\n\tTX Interval: Approx {tx_interval}ms\n\t\
         Detect Time: {detect_time}ms\n\tFlaps: {n_flaps}\n",
        local.mult
    );
    let mut end = |who: &str, end: &BfdEndRecord| {
        let BfdEndRecord { state, diagnostic, discriminator, min_tx, min_rx, .. } = end;
        let _ = write!(
            out,
            "\n\t{who} Session State: {state}\n\t{who} Diagnostic: {diagnostic}\n\t{who} Discriminator: {discriminator}\n\t\
             {who} Minimum TX Interval: {min_tx}ms\n\t{who} Minimum RX Interval: {min_rx}ms\n"
        );
    };
    end("Local", local);
    end("Remote", remote);
    let _ = writeln!(out, "\tRemote Detect Multiplier: {}", remote.mult);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_shown_in_the_words_of_open_vswitch() {
        let end = |state: &str| BfdEndRecord {
            state: state.to_owned(),
            diagnostic: "No Diagnostic".to_owned(),
            discriminator: "0x7".to_owned(),
            min_tx: 100,
            min_rx: 1000,
            mult: 3,
        };
        let session = BfdRecord {
            port: 2,
            name: "net-1".to_owned(),
            is_forwarding: true,
            tx_interval: 1000,
            detect_time: 3000,
            n_flaps: 1,
            local: end("up"),
            remote: end("up"),
        };
        let text = render(&session);
        for line in [
            "---- net-1 ----\n\tForwarding: true\n\tDetect Multiplier: 3\n\tTX Interval: Approx 1000ms\n",
            "\tLocal Session State: up\n\tLocal Diagnostic: No Diagnostic\n\tLocal Discriminator: 0x7\n",
            "\tRemote Minimum RX Interval: 1000ms\n\tRemote Detect Multiplier: 3\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}

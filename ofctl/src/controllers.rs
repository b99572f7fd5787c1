//! The verbs about controllers, about what a bridge does without one, and about the files for TLS. They are
//! those of `ovs-vsctl`.

use crate::connect::{call, connect, unexpected, wrong_usage};
use crate::options::{Options, Words};
use crate::output::{print, print_json, tell_reply};
use crate::{Outcome, Usage};
use control::record::SslRecord;
use control::{Operation, Reply};
use serde::Serialize;

/// The word that stands for no controller at all, as in `ovs-vsctl`.
const NO_CONTROLLER: &str = "none";

/// Carries out the verb `set-controller`.
pub(crate) fn set(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let (bridge, targets) = match &words.words[..] {
        // A bridge's name has neither of these.
        [first, rest @ ..] if !first.contains([':', '=']) && first != NO_CONTROLLER => {
            (Some(first.clone()), rest)
        }
        all => (None, all),
    };
    let controllers = controllers(targets)?;
    if targets.is_empty() {
        return Err(wrong_usage(options));
    }
    let mut client = connect(&options.how)?;
    client.set_bridge(bridge);
    let reply = client.ask(Operation::SetControllers { controllers })?;
    tell_reply(&options.how, &reply)
}

/// Each target with the settings behind it, as the daemon reads a controller.
fn controllers(words: &[String]) -> Result<Vec<String>, Usage> {
    let mut controllers: Vec<String> = Vec::new();
    if words.len() == 1 && words[0] == NO_CONTROLLER {
        return Ok(controllers);
    }
    for word in words {
        // A target has its colon in front of an equals sign, if it has one at all.
        let is_setting = word.find('=').is_some_and(|equals| !word[..equals].contains(':'));
        match controllers.last_mut() {
            Some(controller) if is_setting => {
                controller.push(',');
                controller.push_str(word);
            }
            None if is_setting => {
                let message =
                    format!("\"{word}\" is a setting: write the controller in front of it");
                return Err(Usage(message));
            }
            _ => controllers.push(word.clone()),
        }
    }
    Ok(controllers)
}

/// Carries out the verb `get-controller`.
pub(crate) fn get(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let Reply::Controllers(controllers) = call.client.ask(Operation::GetControllers)? else {
        return Err(unexpected());
    };
    if options.how.json {
        print_json(&controllers)?;
    } else {
        print(&controllers.iter().map(|controller| format!("{controller}\n")).collect::<String>())?;
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `del-controller`.
pub(crate) fn delete(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let reply = call.client.ask(Operation::SetControllers { controllers: Vec::new() })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `set-fail-mode`.
pub(crate) fn set_fail_mode(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let mode = Some(call.words[0].clone());
    let reply = call.client.ask(Operation::SetFailMode { mode })?;
    tell_reply(&options.how, &reply)
}

/// The answer of `get-fail-mode` as JSON.
#[derive(Serialize)]
struct FailModeAnswer {
    /// What the bridge does without a controller: `standalone` or `secure`.
    fail_mode: String,
}

/// Carries out the verb `get-fail-mode`.
pub(crate) fn get_fail_mode(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let fail_mode = call.client.show()?.fail_mode;
    match options.how.json {
        true => print_json(&FailModeAnswer { fail_mode })?,
        false => print(&format!("{fail_mode}\n"))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `del-fail-mode`.
pub(crate) fn delete_fail_mode(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let reply = call.client.ask(Operation::SetFailMode { mode: None })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `set-protocols`.
pub(crate) fn set_protocols(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 1, 1)?;
    let versions = match &*call.words[0] {
        "all" => Vec::new(),
        names => names.split(',').map(|name| name.trim().to_owned()).collect(),
    };
    let reply = call.client.ask(Operation::SetProtocols { versions })?;
    tell_reply(&options.how, &reply)
}

/// The answer of `get-protocols` as JSON.
#[derive(Serialize)]
struct ProtocolsAnswer {
    /// The versions of OpenFlow that the bridge speaks, the lowest one first.
    protocols: Vec<String>,
}

/// Carries out the verb `get-protocols`.
pub(crate) fn get_protocols(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let mut call = call(options, words, 0, 0)?;
    let protocols = call.client.show()?.protocols;
    match options.how.json {
        true => print_json(&ProtocolsAnswer { protocols })?,
        false => print(&format!("{}\n", protocols.join(",")))?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `set-ssl`.
pub(crate) fn set_ssl(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let [private_key, certificate, ca_cert] = &words.words[..] else {
        return Err(wrong_usage(options));
    };
    // The daemon runs in another folder.
    let full = |path: &String| -> Result<String, Usage> {
        let full =
            std::path::absolute(path).map_err(|error| Usage(format!("\"{path}\": {error}")))?;
        full.into_os_string().into_string().map_err(|_| Usage(format!("\"{path}\" is no text")))
    };
    let files = Some(SslRecord {
        private_key: full(private_key)?,
        certificate: full(certificate)?,
        ca_cert: full(ca_cert)?,
    });
    let reply = connect(&options.how)?.ask(Operation::SetSsl { files })?;
    tell_reply(&options.how, &reply)
}

/// Carries out the verb `get-ssl`.
pub(crate) fn get_ssl(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let Reply::Ssl(files) = connect(&options.how)?.ask(Operation::GetSsl)? else {
        return Err(unexpected());
    };
    match options.how.json {
        true => print_json(&files)?,
        false => print(&files.map(|files| files.to_string()).unwrap_or_default())?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `del-ssl`.
pub(crate) fn delete_ssl(options: &Options, words: &Words) -> anyhow::Result<Outcome> {
    if !words.words.is_empty() {
        return Err(wrong_usage(options));
    }
    let reply = connect(&options.how)?.ask(Operation::SetSsl { files: None })?;
    tell_reply(&options.how, &reply)
}

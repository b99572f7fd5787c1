//! The verbs that take parts of messages apart, line by line from standard input: `parse-actions`,
//! `parse-nx-match` and `parse-oxm`.
//!
//! Matches are text like `NXM_OF_ETH_TYPE(0800), NXM_OF_IP_SRC_W(0a000000/ff000000)`: the name of each field in
//! messages, `_W` if it has a mask, and value and mask in hexadecimal.

use crate::Outcome;
use crate::options::{MatchVersion, Options};
use crate::output::{print, print_json};
use anyhow::bail;
use flow::fields::{FieldId, WireName};
use flow::text::{PrintOptions, strip_comment, write_actions};
use flow::types::OfVersion;
use openflow::{ErrorCode, decode_actions, decode_match, encode_match, match_fields};
use serde::Serialize;
use std::fmt::Write;
use std::io::Read;

/// A line of standard input and what it means, as `--json` prints it.
#[derive(Serialize)]
struct Part {
    /// The line as it was read, without its end.
    line: String,
    /// The line read and written again; missing if it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The error that a switch would send.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Part {
    fn new(line: &str, result: Result<String, ErrorCode>) -> Self {
        let error = result.as_ref().err().map(|code| code.name());
        Self { line: line.to_owned(), text: result.ok(), error }
    }
}

/// The lines of standard input.
fn input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

fn version(arguments: &MatchVersion) -> anyhow::Result<OfVersion> {
    match control::version::parse(&arguments.version) {
        Some(version) => Ok(version),
        None => bail!("{}: not a valid OpenFlow version", arguments.version),
    }
}

/// Carries out the verb `parse-actions`: each line has actions as bytes in hexadecimal.
pub(crate) fn actions(options: &Options, arguments: &MatchVersion) -> anyhow::Result<Outcome> {
    let version = version(arguments)?;
    let name = control::version::name(version);
    let (mut text, mut parts) = (String::new(), Vec::new());
    for line in input()?.lines().filter_map(strip_comment) {
        let bytes = super::offline::bytes(line)?;
        let result = decode_actions(&bytes, version).map(|actions| {
            let mut text = "actions=".to_owned();
            write_actions(&mut text, &actions, &PrintOptions { version, ..Default::default() });
            text
        });
        let _ = match &result {
            Ok(actions) => writeln!(text, "{actions}\n"),
            Err(code) => writeln!(text, "bad {name} actions: {}\n", code.name()),
        };
        parts.push(Part::new(line, result));
    }
    finish(options, &text, &parts)
}

fn finish(options: &Options, text: &str, parts: &[Part]) -> anyhow::Result<Outcome> {
    match options.how.json {
        true => print_json(&parts)?,
        false => print(text)?,
    }
    Ok(Outcome::Done)
}

/// Carries out the verb `parse-nx-match`.
pub(crate) fn nx_match(options: &Options) -> anyhow::Result<Outcome> {
    matches(options, OfVersion::OpenFlow10)
}

/// Carries out the verb `parse-oxm`.
pub(crate) fn oxm(options: &Options, arguments: &MatchVersion) -> anyhow::Result<Outcome> {
    let version = version(arguments)?;
    if version < OfVersion::OpenFlow12 {
        bail!("{}: has no OXM matches: write OpenFlow12 or a later version", arguments.version);
    }
    matches(options, version)
}

fn matches(options: &Options, version: OfVersion) -> anyhow::Result<Outcome> {
    let (mut text, mut parts) = (String::new(), Vec::new());
    for line in input()?.lines() {
        let Some(code) = strip_comment(line) else {
            // Comments and empty lines are printed as they are.
            let _ = writeln!(text, "{line}");
            continue;
        };
        let bytes = fields(code)?;
        let result = decode_match(&bytes)
            .and_then(|(matching, cookie)| field_text(&encode_match(&matching, version, cookie)));
        let _ = match &result {
            Ok(fields) => writeln!(text, "{fields}"),
            Err(code) => writeln!(text, "nx_pull_match() returned error {}", code.name()),
        };
        parts.push(Part::new(code, result));
    }
    finish(options, &text, &parts)
}

/// The name of Nicira's field for cookies, which is no field of packets, with its class and number.
const COOKIE: (&str, u16, u8) = ("NXM_NX_COOKIE", 1, 30);
/// The size of a cookie in bytes.
const COOKIE_SIZE: usize = 8;

/// Every name of a field in messages.
fn names() -> impl Iterator<Item = &'static WireName> {
    FieldId::all().flat_map(|field| field.def().wire.iter())
}

/// The bytes of a match that is given as text.
fn fields(line: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if line == "<any>" {
        return Ok(bytes);
    }
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        if rest.is_empty() {
            return Ok(bytes);
        }
        let Some((name, behind)) = rest.split_once('(') else {
            bail!("{line}: missing ( at end of nx_match");
        };
        let Some((inside, behind)) = behind.split_once(')') else {
            bail!("{line}: missing ) following field {name}");
        };
        rest = behind;
        let (plain, has_mask) = match name.strip_suffix("_W") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let known = names().find(|wire| wire.name == plain);
        let cookie = (plain == COOKIE.0).then_some((COOKIE.1, COOKIE.2, 0));
        let known = known.map(|wire| (wire.class, wire.number, wire.experimenter)).or(cookie);
        let Some((class, number, experimenter)) = known else {
            bail!("{line}: unknown field `{name}'");
        };
        let (value, mask) = match inside.split_once('/') {
            Some((value, mask)) if has_mask => (value, Some(mask)),
            None if !has_mask => (inside, None),
            _ => bail!("{line}: field {name} has a mask if its name ends in _W, and else none"),
        };
        let mut data = super::offline::bytes(value)?;
        if let Some(mask) = mask {
            data.extend(super::offline::bytes(mask)?);
        }
        let is_long = class == u16::MAX;
        let size = data.len() + if is_long { 4 } else { 0 };
        let Ok(size) = u8::try_from(size) else {
            bail!("{line}: field {name} has more bytes than a match can hold");
        };
        bytes.extend(class.to_be_bytes());
        bytes.extend([number << 1 | u8::from(has_mask), size]);
        if is_long {
            bytes.extend(experimenter.to_be_bytes());
        }
        bytes.extend(data);
    }
}

/// The text of the bytes of a match.
fn field_text(bytes: &[u8]) -> Result<String, ErrorCode> {
    let mut out = String::new();
    for field in match_fields(bytes)? {
        out.push_str(if out.is_empty() { "" } else { ", " });
        let is_it = |wire: &&WireName| (wire.class, wire.number) == (field.class, field.number);
        // Open vSwitch gave the number of the cookie to a field of packets, too.
        let is_cookie =
            (field.class, field.number, field.value.len()) == (COOKIE.1, COOKIE.2, COOKIE_SIZE);
        match names().find(is_it) {
            _ if is_cookie => out.push_str(COOKIE.0),
            Some(wire) => out.push_str(wire.name),
            None => {
                let _ = write!(out, "{}:{}", field.class, field.number);
            }
        }
        out.push_str(if field.mask.is_some() { "_W(" } else { "(" });
        let hex = |out: &mut String, bytes: &[u8]| {
            bytes.iter().for_each(|byte| {
                let _ = write!(out, "{byte:02x}");
            });
        };
        hex(&mut out, &field.value);
        if let Some(mask) = &field.mask {
            out.push('/');
            hex(&mut out, mask);
        }
        out.push(')');
    }
    Ok(if out.is_empty() { "<any>".to_owned() } else { out })
}

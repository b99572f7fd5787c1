//! Reads the files that verbs take. The path `-` stands for standard input.

use crate::options::How;
use crate::{Outcome, flows};
use anyhow::{Context, Error, anyhow};
use control::{Client, ClientError, Operation, Reason, Refusal};
use std::fs::File;
use std::io::{self, Read};

/// The name of a file in messages: its path, or `<stdin>`.
pub(crate) fn name(path: &str) -> &str {
    if path == "-" { "<stdin>" } else { path }
}

/// Opens a file for reading. The error names the path.
pub(crate) fn open(path: &str) -> anyhow::Result<Box<dyn Read>> {
    Ok(match path {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).with_context(|| format!("open {path}"))?),
    })
}

/// The contents of a file, which has to be UTF-8. The error names the file.
pub(crate) fn read(path: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).with_context(|| format!("read {}", name(path)))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("{}: line {line} is not UTF-8 text", name(path))
    })
}

/// As [`flows::send`], for a request whose text is a file. Each error names the file.
pub(crate) fn send(
    how: &How,
    client: &mut Client,
    operation: Operation,
    path: &str,
) -> anyhow::Result<Outcome> {
    let mut file = open(path)?;
    let name = name(path);
    flows::send(how, client, operation, &mut file).map_err(|error| match error.downcast() {
        Ok(ClientError::Refused(refusal)) => ClientError::Refused(within(name, refusal)).into(),
        Ok(error) => named(error, name),
        Err(error) => error,
    })
}

/// What went wrong with a request whose text is a file, with the name of the file if the file is
/// what could not be read.
pub(crate) fn named(error: ClientError, name: &str) -> Error {
    match error {
        ClientError::Source(error) => Error::new(error).context(format!("read {name}")),
        error @ ClientError::LineTooLong { .. } => Error::new(error).context(name.to_owned()),
        ClientError::Refused(refusal) if refusal.reason == Reason::Text => {
            ClientError::Refused(within(name, refusal)).into()
        }
        error => error.into(),
    }
}

/// A refusal with the name of a file. The switch itself puts the name in front of a line that is wrong, but not
/// of text that has no lines.
fn within(name: &str, mut refusal: Box<Refusal>) -> Box<Refusal> {
    if refusal.place.is_none() {
        refusal.message = format!("{name}: {}", refusal.message);
    }
    refusal
}

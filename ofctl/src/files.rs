//! Reads the files that verbs take. The path `-` stands for standard input.

use crate::Outcome;
use anyhow::Context;
use control::{Client, ClientError, Operation};
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
    let mut text = String::new();
    open(path)?.read_to_string(&mut text).with_context(|| format!("read {}", name(path)))?;
    Ok(text)
}

/// Makes a request whose text is a file, and drops the reply. Each error names the file.
pub(crate) fn send(
    client: &mut Client,
    operation: Operation,
    path: &str,
) -> anyhow::Result<Outcome> {
    let mut file = open(path)?;
    let name = name(path);
    match client.call(operation, &mut file, &mut |_| Ok(())) {
        Ok(_) => Ok(Outcome::Done),
        Err(ClientError::Source(error)) => Err(error).with_context(|| format!("read {name}")),
        Err(error @ ClientError::LineTooLong { .. }) => Err(error).with_context(|| name.to_owned()),
        Err(ClientError::Refused(mut refusal)) => {
            // The switch puts the name in front of a line that is wrong, but not of text that has no lines.
            if refusal.place.is_none() {
                refusal.message = format!("{name}: {}", refusal.message);
            }
            Err(ClientError::Refused(refusal).into())
        }
        Err(error) => Err(error.into()),
    }
}

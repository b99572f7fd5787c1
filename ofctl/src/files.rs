//! Files of rules; `-` is standard input.

use anyhow::Context;
use std::fs::File;
use std::io::{self, Read};

/// What a file is called in messages.
pub(crate) fn name(path: &str) -> &str {
    if path == "-" { "<stdin>" } else { path }
}

/// Opens a file.
pub(crate) fn open(path: &str) -> anyhow::Result<Box<dyn Read>> {
    Ok(match path {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).with_context(|| format!("open {path}"))?),
    })
}

/// All of a file.
pub(crate) fn read(path: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text).with_context(|| format!("read {}", name(path)))?;
    Ok(text)
}

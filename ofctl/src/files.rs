//! Reads the files that verbs take. The path `-` stands for standard input.

use anyhow::Context;
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

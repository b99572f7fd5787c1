//! Where a report goes: to the terminal, and to the files that were asked for.

use super::Report;
use crate::interrupt;
use anyhow::Context;
use clap::Args;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a command line says about it.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Compare the results with the goals; exit with 1 if one is missed
    #[arg(long)]
    pub goals: bool,
    /// Write the results as JSON to this file, or - for stdout instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the results as a picture to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// The files of a report, open for writing.
#[derive(Debug)]
pub struct Outputs {
    json: Option<File>,
    is_json_on_stdout: bool,
    svg: Option<File>,
}

impl OutputArgs {
    /// Opens the files: before anything is measured, lest it was in vain.
    ///
    /// # Errors
    /// A file cannot be created.
    pub fn open(&self) -> anyhow::Result<Outputs> {
        let is_json_on_stdout = self.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let json = self.json.as_deref().filter(|_| !is_json_on_stdout);
        let svg = self.svg.as_deref();
        Ok(Outputs {
            json: json.map(create).transpose()?,
            is_json_on_stdout,
            svg: svg.map(create).transpose()?,
        })
    }
}

impl Outputs {
    /// Writes the report everywhere. The exit code tells whether a goal was missed, or Ctrl-C came.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(mut self, report: &Report) -> anyhow::Result<ExitCode> {
        if self.is_json_on_stdout {
            print!("{}", report.to_json());
        } else {
            print!("{report}");
        }
        if let Some(file) = &mut self.json {
            file.write_all(report.to_json().as_bytes()).context("write the results")?;
        }
        if let Some(file) = &mut self.svg {
            file.write_all(report.to_svg().as_bytes()).context("write the picture")?;
        }
        if interrupt::has_come() {
            return Ok(interrupt::EXIT_CODE.into());
        }
        let is_missed = report.goals().iter().any(|goal| goal.is_met() == Some(false));
        Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("create {}", path.display()))
}

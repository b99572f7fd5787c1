//! The manual page and the completions of `ofctl`, made of the command line that `ofctl` reads.

use crate::Outcome;
use crate::options::Options;
use crate::output::Output;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use std::io::Write;

/// Carries out the verb `completions`.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), "ofctl", &mut text);
    write(&text)
}

/// Carries out the verb `man`.
pub(crate) fn page() -> anyhow::Result<Outcome> {
    let mut command = Options::command();
    command.build();
    let man = Man::new(command.clone())
        .section("8")
        .source(concat!("switchd ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    verbs(&mut command).to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_extra_section(&mut text)?;
    let mut end = Roff::default();
    end.control("SH", ["SEE ALSO"]);
    end.text([bold("switchd"), roman("(8), "), bold("ovs-ofctl"), roman("(8)")]);
    end.to_writer(&mut text)?;
    write(&text)
}

/// The section with each verb: its usage, what it does, and the options that only it has.
fn verbs(command: &mut Command) -> Roff {
    let mut page = Roff::default();
    page.control("SH", ["VERBS"]);
    for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set()) {
        let usage = verb.render_usage().to_string();
        let usage = usage.trim().trim_start_matches("Usage:").trim();
        // A verb with several forms has a line for each.
        for (n, line) in usage.lines().enumerate() {
            page.control(if n == 0 { "TP" } else { "TQ" }, []);
            page.text([bold(line.trim())]);
        }
        let about = verb.get_long_about().or(verb.get_about());
        page.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
        let own = verb.get_arguments().filter(|a| !a.is_global_set() && !a.is_hide_set());
        for argument in own.filter(|argument| argument.get_id() != "help") {
            page.control("RS", []);
            page.control("TP", []);
            page.text([italic(name(argument))]);
            page.text([roman(argument.get_help().map(ToString::to_string).unwrap_or_default())]);
            page.control("RE", []);
        }
    }
    page
}

/// An option as it is typed, or the placeholder of a word.
fn name(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map(ToString::to_string).unwrap_or_default();
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

/// Prints text that is all of our own.
fn write(text: &[u8]) -> anyhow::Result<Outcome> {
    let mut out = Output::new();
    out.write_all(text)?;
    out.finish()?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_verb_and_its_own_options() {
        let mut command = Options::command();
        command.build();
        let shown = verbs(&mut command).to_roff();
        for verb in Options::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let name = verb.get_name().replace('-', "\\-");
            assert!(shown.contains(&format!("ofctl {name}")), "{name}: {shown}");
        }
        assert!(shown.contains("\\-\\-packet HEX") && !shown.contains("\\-\\-timeout"), "{shown}");
    }
}

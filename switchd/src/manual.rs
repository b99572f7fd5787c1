//! The manual page and the completions of `switchd`, made of the command line that `switchd` reads.

use crate::edition;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The text that the options ask for: the manual page, or the completions for a shell. `None`
/// if they ask for neither.
pub(crate) fn page(command: Command, wants_manual: bool, shell: Option<Shell>) -> Option<String> {
    let mut text = Vec::new();
    if wants_manual {
        manual(command, &mut text).ok()?;
    } else {
        clap_complete::generate(shell?, &mut command.clone(), "switchd", &mut text);
    }
    String::from_utf8(text).ok()
}

fn manual(command: Command, text: &mut Vec<u8>) -> std::io::Result<()> {
    let man = Man::new(command).section("8").source(edition::program());
    man.render_title(text)?;
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    man.render_options_section(text)?;
    man.render_extra_section(text)?;
    let mut end = Roff::default();
    end.control("SH", ["SEE ALSO"]);
    end.text([bold("ofctl"), roman("(8), "), bold("systemctl"), roman("(1)")]);
    end.to_writer(text)
}

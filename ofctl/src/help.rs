//! The verb `help`: explains verbs, and the words of rules and groups. Also the help of one verb
//! (`ofctl add-flow --help`), which shows the options that have an effect on that verb.

use crate::options::{Options, Words};
use crate::output::print;
use crate::{Outcome, Usage};
use clap::{Arg, Command, CommandFactory};
use flow::manual::{self, Article, Chapter};
use std::fmt::Write;

/// The line of a verb's help about the options that every verb has.
const COMMON_LINE: &str = "Options of every verb: --json, --read-only, --socket <PATH>, -t <SECONDS>; ofctl --help explains them.";

/// The options with which rules are read: version, formats, and whether wrong text is corrected.
const READ: &[&str] = &["protocols", "formats", "lenient"];

/// The options that distinguish verbs, by verb. A verb that is not in the table has none of them.
const OWN: &[(&[&str], &[&[&str]])] = &[
    (&["add-flow", "add-flows"], &[READ, &["bundle"]]),
    (&["replace-flows"], &[READ, &["bundle", "readd"]]),
    (&["mod-flows", "del-flows"], &[READ, &["strict", "bundle"]]),
    (
        &["dump-flows"],
        &[READ, &["names", "no_names", "stats", "no_stats", "sort", "rsort"], &["conjunctions"]],
    ),
    (&["diff-flows"], &[READ, &["names", "no_names"]]),
    (&["dump-aggregate", "packet-out"], &[&["protocols", "lenient"]]),
    (&["add-group", "add-groups", "del-groups"], &[&["protocols", "lenient", "bundle"]]),
    (&["insert-buckets", "remove-buckets"], &[&["protocols", "lenient", "bundle"]]),
    (&["mod-group"], &[&["protocols", "lenient", "bundle", "may_create"]]),
    (&["dump-groups", "dump-group-stats"], &[&["protocols", "names", "no_names"]]),
    (
        &["add-meter", "mod-meter", "del-meters", "dump-meters", "meter-stats", "meter-features"],
        &[&["protocols"]],
    ),
    (&["show", "dump-ports-desc", "dump-tables"], &[&["protocols"]]),
    (&["dump-ports"], &[&["protocols", "names", "no_names"]]),
    (&["fdb-show", "dump-cached-flows"], &[&["names", "no_names"]]),
    (
        &["monitor"],
        &[&["protocols", "names", "no_names", "more"], &["packet_in_format", "timestamp"]],
    ),
    (&["snoop"], &[&["protocols", "more", "timestamp"]]),
    (&["trace"], &[&["protocols", "lenient", "names", "no_names", "conjunctions"]]),
    (&["lint"], &[&["protocols", "lenient", "names", "no_names"]]),
    (&["parse-flow", "parse-flows", "check"], &[READ]),
    (
        &["dump-desc", "dump-group-features", "probe", "ping", "benchmark"],
        &[&["protocols", "more"]],
    ),
    (&["dump-table-features", "dump-table-desc", "mod-table"], &[&["protocols", "more"]]),
    (&["queue-stats", "queue-get-config"], &[&["protocols", "more"]]),
    (&["dump-ipfix-bridge", "dump-ipfix-flow"], &[&["protocols", "more"]]),
    (&["add-tlv-map", "del-tlv-map", "dump-tlv-map"], &[&["protocols", "more"]]),
    (&["bundle", "compose-packet"], &[&["protocols", "lenient"]]),
    (&["ofp-print", "ofp-parse", "ofp-parse-pcap"], &[&["more"]]),
];

/// Carries out the verb `help`.
pub(crate) fn help(_: &Options, words: &Words) -> anyhow::Result<Outcome> {
    let text = match words.words.as_slice() {
        [] => Options::command().render_long_help().to_string(),
        [word] => explain(word)?,
        _ => return Err(Usage("help takes one word: ofctl help [VERB | WORD]".to_owned()).into()),
    };
    print(&text)?;
    Ok(Outcome::Done)
}

/// What is to be said of a word: a verb, a list of words, or a word of rules and groups.
fn explain(word: &str) -> Result<String, Usage> {
    let mut command = command();
    command.build();
    if let Some(verb) = command.find_subcommand_mut(word) {
        return Ok(verb.render_help().to_string());
    }
    if let Some(chapter) = Chapter::ALL.into_iter().find(|chapter| chapter.name() == word) {
        return Ok(list(chapter));
    }
    let articles: Vec<String> = manual::find(word).iter().map(Article::text).collect();
    if !articles.is_empty() {
        return Ok(articles.join("\n"));
    }
    let near =
        manual::nearest(word).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
    let chapters = Chapter::ALL.map(Chapter::name).join(", ");
    Err(Usage(format!(
        "\"{word}\" is no verb and no word of rules\nhint: {near}ofctl help lists verbs; ofctl help {chapters} \
         list words of rules"
    )))
}

/// The words of a chapter, with a sentence each.
fn list(chapter: Chapter) -> String {
    let articles = chapter.articles();
    let width = articles.iter().map(|article| article.title().len()).max().unwrap_or(0);
    let mut out = String::new();
    for article in &articles {
        let summary = article.summary().replace('`', "");
        let _ = writeln!(out, "{:width$}  {summary}", article.title());
    }
    let _ = writeln!(out, "\nofctl help WORD tells more; docs/rules.md has everything.");
    out
}

/// The command line, with only those options in a verb's help that have an effect on the verb. The command is
/// not built yet (`Command::build`).
pub(crate) fn command() -> Command {
    let command = Options::command();
    let options: Vec<Arg> = global_options(&command).cloned().collect();
    command.mut_subcommands(|verb| {
        let own = own_options(verb.get_name());
        let is_hidden = |option: &&Arg| !own.contains(&option.get_id().as_str());
        // A verb that has an option of its own does not get the global one of this name.
        let hidden = options.iter().filter(is_hidden).map(|option| option.clone().hide(true));
        verb.args(hidden.collect::<Vec<_>>()).after_help(COMMON_LINE).max_term_width(100)
    })
}

/// The options that every verb accepts.
fn global_options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|option| option.is_global_set())
}

/// The identifiers of the options that have an effect on the verb, without those that every verb has.
fn own_options(verb: &str) -> Vec<&'static str> {
    let of_verb = OWN.iter().filter(|(verbs, _)| verbs.contains(&verb));
    of_verb.flat_map(|(_, options)| options.iter().flat_map(|some| some.iter().copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The options of which [`COMMON_LINE`] tells, and those of `ssl:`:
    /// identifiers of [`How`](crate::options::How).
    const COMMON: [&str; 7] =
        ["json", "read_only", "socket", "timeout", "private_key", "certificate", "ca_cert"];

    #[test]
    fn every_option_is_common_or_belongs_to_verbs_that_exist() {
        let command = Options::command();
        let own: Vec<&str> = OWN.iter().flat_map(|(verbs, _)| *verbs).copied().collect();
        for verb in &own {
            assert!(command.find_subcommand(verb).is_some(), "{verb}");
        }
        let own: Vec<&str> = own.into_iter().flat_map(own_options).collect();
        for option in global_options(&command) {
            let option = option.get_id().as_str();
            assert!(own.contains(&option) != COMMON.contains(&option), "{option}");
        }
    }

    #[test]
    fn the_help_of_a_verb_has_the_options_of_the_verb() {
        insta::assert_snapshot!(explain("mod-group").unwrap());
        let text = explain("show").unwrap();
        assert!(!text.contains("--strict") && text.contains(COMMON_LINE), "{text}");
        assert!(explain("dump-flows").unwrap().contains("--rsort"));
        assert!(explain("check").unwrap().contains("--ports"));
        let option = Options::read(&["ofctl", "show", "--help"].map(Into::into)).unwrap_err();
        assert_eq!(option.to_string(), text);
    }

    #[test]
    fn words_are_explained_and_listed() {
        insta::assert_snapshot!(explain("tp_dst").unwrap());
        assert!(explain("fields").unwrap().contains("\nip_dst, nw_dst "));
        assert!(explain("actions").unwrap().contains("\nresubmit "));
        let wrong = explain("nw_dts").unwrap_err().to_string();
        assert!(wrong.contains("did you mean nw_dst?"), "{wrong}");
    }
}

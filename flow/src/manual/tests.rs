use super::*;
use crate::flow_mod::Command;
use crate::text::{
    GroupCommand, MeterCommand, ParseContext, parse_filter, parse_flow, parse_group, parse_meter,
    parse_packet_out,
};
use crate::types::OfVersion;
use std::path::Path;

/// Parses the text of a command line as the verb does.
fn parse(command: &str) -> Result<(), String> {
    let (words, text) = command.split_once('"').ok_or("no text in quotes")?;
    let text = text.strip_suffix('"').ok_or("no closing quote")?;
    let mut words = words.split_whitespace().skip(1).peekable();
    let version = match words.next_if_eq(&"-O") {
        None => OfVersion::OpenFlow10,
        Some(_) => match words.next() {
            Some("OpenFlow13") => OfVersion::OpenFlow13,
            Some("OpenFlow14") => OfVersion::OpenFlow14,
            Some("OpenFlow15") => OfVersion::OpenFlow15,
            other => return Err(format!("version {other:?}")),
        },
    };
    let context = ParseContext { version, ..ParseContext::default() };
    let group = |command| parse_group(text, command, &context).map(drop);
    match words.next() {
        Some("add-flow") => parse_flow(text, &context).map(drop),
        Some("del-flows") => {
            let context = ParseContext { command: Command::Delete, ..context };
            parse_flow(text, &context).map(drop)
        }
        Some("dump-flows") => parse_filter(text, &context).map(drop),
        Some("packet-out") => parse_packet_out(text, &context).map(drop),
        Some("add-group") => group(GroupCommand::Add),
        Some("add-meter") => parse_meter(text, MeterCommand::Add).map(drop),
        Some("insert-buckets") => group(GroupCommand::InsertBuckets),
        verb => return Err(format!("verb {verb:?}")),
    }
    .map_err(|error| error.render(text))
}

#[test]
fn every_example_is_one_that_the_verb_accepts_and_has_the_word() {
    for article in Chapter::ALL.iter().flat_map(|chapter| chapter.articles()) {
        let example = article.example.to_ascii_lowercase();
        parse(&article.example).unwrap_or_else(|e| panic!("{}: {e}", article.example));
        let mut names = article.others.iter().copied().chain([article.name.as_str()]);
        assert!(names.any(|name| example.contains(name)), "{}: {example}", article.name);
    }
}

#[test]
fn every_article_says_something() {
    for article in Chapter::ALL.iter().flat_map(|chapter| chapter.articles()) {
        let Article { name, meaning, .. } = &article;
        assert!(meaning.ends_with('.') && meaning.split_whitespace().count() > 2, "{name}");
        assert_eq!(meaning.matches('`').count() % 2, 0, "{name}");
        assert!(!meaning.contains("  "), "{name}");
        assert!(article.facts.iter().all(|(_, text)| !text.is_empty()), "{name}");
    }
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/rules.md is not what the tables say: UPDATE_DOCS=1 cargo test -p flow manual"
    );
}

#[test]
fn words_are_found_by_all_their_names() {
    for (word, count) in [("nw_dst", 1), ("ip_dst", 1), ("REG5", 1), ("in_port", 2), ("tcp", 1)] {
        assert_eq!(find(word).len(), count, "{word}");
    }
    assert_eq!(find("table").len(), 2);
    assert_eq!(nearest("nw_dts").as_deref(), Some("nw_dst"));
    assert_eq!(nearest("feilds").as_deref(), Some("fields"));
}

#[test]
fn an_article_fits_a_terminal() {
    insta::assert_snapshot!(find("nw_tos")[0].text());
    insta::assert_snapshot!(find("resubmit")[0].text());
    for article in Chapter::ALL.iter().flat_map(|chapter| chapter.articles()) {
        for line in article.text().lines().filter(|line| !line.contains("example")) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}

//! Tests of the command line.

use super::*;
use clap::CommandFactory;

fn parse(words: &str) -> Options {
    let argv = std::iter::once("ofctl").chain(words.split_whitespace());
    Options::try_parse_from(argv).unwrap_or_else(|e| panic!("{words}: {e}"))
}

#[test]
fn the_command_line_is_consistent() {
    Options::command().debug_assert();
}

#[test]
fn options_stand_anywhere() {
    for words in [
        "-O OpenFlow13 --strict add-flow br0 drop",
        "add-flow -OOpenFlow13 br0 drop --strict",
        "add-flow br0 --strict drop -O openflow13",
        "--protocols=OpenFlow10,OpenFlow13 --strict add-flow br0 drop",
    ] {
        let options = parse(words);
        assert_eq!(options.how.version(), OfVersion::OpenFlow13, "{words}");
        assert!(options.how.strict, "{words}");
        let Verb::AddFlow(words) = &options.verb else { panic!("{options:?}") };
        assert_eq!(words.words, ["br0", "drop"]);
    }
}

#[test]
fn options_about_a_log_have_no_effect() {
    let read = |words: &str| {
        let argv: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        Options::read(&argv).map(|options| (options.verb.name(), options.how.version()))
    };
    let plain = read("ofctl -O OpenFlow13 show br0").unwrap();
    for words in [
        "ofctl -vwarn -O OpenFlow13 show br0",
        "ofctl -v -O OpenFlow13 show -v br0",
        "ofctl -vPATTERN:console:%c -O OpenFlow13 show br0 --verbose --verbose=console:dbg",
    ] {
        assert_eq!(read(words).unwrap(), plain, "{words}");
    }
    assert!(read("ofctl --verbos show").is_err());
}

#[test]
fn an_option_with_no_wins_over_the_one_without() {
    assert!(parse("dump-flows --names").how.names());
    assert!(!parse("--names dump-flows --no-names").how.names());
    assert!(parse("dump-flows --stats").how.stats());
    assert!(!parse("dump-flows --no-stats --stats").how.stats());
}

#[test]
fn sorting_takes_a_field_or_none() {
    assert_eq!(parse("dump-flows --sort br0").how.sort, ["priority"]);
    assert_eq!(parse("--rsort=in_port dump-flows br0").how.rsort, ["in_port"]);
}

#[test]
fn the_name_of_a_verb_is_the_word_that_users_type() {
    let command = Options::command();
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        let needed = match name {
            "parse-flow" | "parse-flows" | "ofp-print" | "ofp-parse" | "ofp-parse-pcap"
            | "compose-packet" | "parse-actions" | "parse-oxm" | "check" | "apply" => " x",
            "completions" => " bash",
            _ => "",
        };
        assert_eq!(parse(&format!("{name}{needed}")).verb.name(), name);
    }
}

/// What a page has between backticks, or indented by four blanks, and begins with `ofctl`.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let indented = page.lines().filter_map(|line| line.strip_prefix("    "));
    quoted.chain(indented).filter_map(|code| code.strip_prefix("ofctl "))
}

#[test]
fn the_pages_name_verbs_that_exist() {
    let known = Options::command();
    for (name, page) in [
        ("README.md", include_str!("../../../README.md")),
        ("bridges.md", include_str!("../../../docs/bridges.md")),
        ("caches.md", include_str!("../../../docs/caches.md")),
        ("config.md", include_str!("../../../docs/config.md")),
        ("save.md", include_str!("../../../docs/save.md")),
        ("cookbook.md", include_str!("../../../docs/cookbook.md")),
        ("from-ovs.md", include_str!("../../../docs/from-ovs.md")),
        ("json.md", include_str!("../../../docs/json.md")),
        ("openflow-client.md", include_str!("../../../docs/openflow-client.md")),
        ("ports.md", include_str!("../../../docs/ports.md")),
        ("restart.md", include_str!("../../../docs/restart.md")),
        ("rules.md", include_str!("../../../docs/rules.md")),
        ("service.md", include_str!("../../../docs/service.md")),
        ("state.md", include_str!("../../../docs/state.md")),
        ("troubleshooting.md", include_str!("../../../docs/troubleshooting.md")),
    ] {
        for command in commands(page) {
            let mut words = command.split_whitespace().skip_while(|word| word.starts_with('-'));
            let verb = words.next().unwrap_or_default();
            // A placeholder, or an option that stands alone.
            if verb.is_empty() || verb == "VERB" {
                continue;
            }
            let is_known = known.find_subcommand(verb.trim_end_matches([';', ',']));
            assert!(is_known.is_some(), "{name}: ofctl {command}");
        }
    }
}

#[test]
fn a_misspelt_verb_gets_the_nearest_verbs() {
    let shown = |verb: &str| {
        let error = Options::read(&["ofctl", verb].map(OsString::from)).unwrap_err();
        error.to_string().lines().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        shown("dump-flow"),
        [
            "error: unrecognized subcommand 'dump-flow'",
            "",
            "  tip: some similar subcommands exist: 'dump-flows', 'dump-ipfix-flow', 'dump-cached-flows'",
        ]
    );
}

#[test]
fn wrong_words_are_refused() {
    for words in ["", "frob", "-O OpenFlow99 show", "show --frob", "-t x show"] {
        let words = std::iter::once("ofctl").chain(words.split_whitespace());
        assert!(Options::try_parse_from(words).is_err());
    }
}

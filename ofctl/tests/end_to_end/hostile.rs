//! Files and names that would have a terminal do something: nothing of it arrives.

use super::bench::Bench;

/// Clears the screen, sets the title, hides text, and reverses it.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}8m\u{7f}\r\u{202e}";

/// Runs `ofctl` and returns its exit status and all its text, which a terminal can show.
fn shown(bench: &Bench, arguments: &[&str]) -> (i32, String) {
    let (status, output, errors) = bench.run(arguments);
    let text = output + &errors;
    let obeyed = |c: char| c != '\n' && c != '\t' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(obeyed), "{arguments:?}: {text:?}");
    (status, text)
}

/// Whether the text has the first of the hostile characters by its number, as text from elsewhere
/// or as a quoted word.
fn is_told(text: &str) -> bool {
    text.contains("\\u001b[2J") || text.contains("\\u{1b}[2J")
}

#[test]
fn a_hostile_file_is_shown_harmlessly() {
    let bench = Bench::new();
    let file = bench.file("hostile", &format!("table=1,actions=drop\n{HOSTILE},actions=drop\n"));
    let groups = bench.file("groups", &format!("group_id=1,type={HOSTILE},bucket=output:1\n"));
    for verb in ["add-flows", "replace-flows", "parse-flows", "check", "lint", "diff-flows"] {
        let (status, text) = shown(&bench, &[verb, &file]);
        assert_ne!(status, 0, "{verb}: {text}");
        assert!(is_told(&text), "{verb}: {text}");
    }
    assert!(is_told(&shown(&bench, &["add-groups", &groups]).1));
    for words in [
        ["add-flow", HOSTILE],
        ["dump-flows", HOSTILE],
        ["trace", HOSTILE],
        ["add-port", HOSTILE],
        ["del-port", HOSTILE],
        ["add-br", HOSTILE],
        ["monitor", HOSTILE],
    ] {
        let (status, text) = shown(&bench, &words);
        assert!(status != 0 && is_told(&text), "{words:?}: {text}");
    }
}

#[test]
fn a_name_with_such_characters_is_refused() {
    let bench = Bench::new();
    let rule = format!("table=1,name=\"a{HOSTILE}b\",label=\"{HOSTILE}\",actions=drop");
    let (status, text) = shown(&bench, &["-OOpenFlow15", "add-flow", &rule]);
    assert!(status == 1 && is_told(&text), "{text}");
}

#[test]
fn a_long_word_is_shown_in_part() {
    let bench = Bench::new();
    let word = "x".repeat(900_000);
    let file = bench.file("long", &format!("{word},actions=drop\n"));
    for verb in ["add-flows", "check", "parse-flows", "lint"] {
        let (status, text) = shown(&bench, &[verb, &file]);
        assert!(status != 0 && text.len() < 4000, "{verb}: {} bytes", text.len());
        assert!(text.contains("characters ...]"), "{verb}: {text}");
    }
}

//! Replays the fuzz corpus and all past crashes, so that what was mended stays so on machines without
//! a fuzzer.

fn replay(name: &str, target: fn(&[u8])) {
    let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(&folder).expect("the corpus is in the repository");
    let mut count = 0;
    for file in files {
        let path = file.expect("a readable folder").path();
        target(&std::fs::read(&path).expect("a readable file"));
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}

#[test]
fn frames() {
    replay("frame", fuzz::frame);
}

#[test]
fn rules() {
    replay("rule", fuzz::rule);
}

#[test]
fn control_messages() {
    replay("control", fuzz::control);
}

#[test]
fn cached_and_translated_verdicts() {
    replay("verdict", fuzz::verdict);
}

//! Calls each target with every input of the corpus, which includes the inputs of all past crashes.

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
fn no_frame_of_the_corpus_panics() {
    replay("frame", fuzz::frame);
}

#[test]
fn offloads_of_the_corpus_are_refused_or_carried_out() {
    replay("offload", fuzz::offload);
}

#[test]
fn frames_of_the_corpus_are_tracked_and_leave_once() {
    replay("connections", fuzz::connections);
}

#[test]
fn rules_of_the_corpus_parse_back_or_are_refused() {
    replay("rule", fuzz::rule);
}

#[test]
fn files_of_the_corpus_are_compared_and_translated_within_bounds() {
    replay("file", fuzz::file);
}

#[test]
fn control_messages_of_the_corpus_are_decoded_or_refused() {
    replay("control", fuzz::control);
}

#[test]
fn openflow_messages_of_the_corpus_are_decoded_or_refused() {
    replay("openflow", fuzz::openflow);
}

#[test]
fn datagrams_of_the_corpus_are_unwrapped_or_refused() {
    replay("tunnel", fuzz::tunnel);
}

#[test]
fn verdicts_of_the_corpus_are_the_same_with_and_without_caches() {
    replay("verdict", fuzz::verdict);
}

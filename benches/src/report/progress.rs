//! What a benchmark is busy with, for the impatient.

use std::io::{IsTerminal, Write};

/// One line on stderr that is written over and over; nothing where that is not a terminal. An empty
/// text wipes it.
pub fn progress(text: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Nothing is lost if it cannot be written.
        let _ = write!(terminal, "\r\x1b[K{text}").and_then(|()| terminal.flush());
    }
}

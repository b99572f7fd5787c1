//! Errors, as `ofctl` tells them on standard error: in words, or with `--json` as an object (docs/json.md).

use crate::openflow::Rejected;
use crate::options::How;
use crate::socket::{self, NoSwitch};
use crate::{Outcome, Usage};
use control::{ClientError, OpenFlowError, Reason, Refusal, TextPlace};
use flow::text::printable;
use serde::Serialize;
use std::ffi::OsString;
use std::process::ExitCode;

/// An error, as `--json` prints it.
#[derive(Serialize)]
struct ErrorRecord {
    /// What has failed, as one word: see [`kind`] and [`Reason`].
    kind: Kind,
    /// What is wrong, for people.
    message: String,
    /// What the user can write or do instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The error that an OpenFlow switch would send.
    #[serde(skip_serializing_if = "Option::is_none")]
    openflow: Option<OpenFlowError>,
    /// The part of a text that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

/// The word for what has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
enum Kind {
    /// The switch, or the parser of `ofctl`, has refused the request.
    Refused(Reason),
    /// `ofctl` itself has failed.
    Own(&'static str),
}

/// The largest number of characters of a line that a [`Place`] has.
const SHOWN: usize = 4096;

/// A part of a text, counted in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// The name of the file; `None` if the text stands on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The number of the line, from 1.
    pub(crate) line: usize,
    /// The place in the line of the first wrong character, from 1.
    pub(crate) column: usize,
    /// How many characters are wrong; 0 if the whole line is.
    pub(crate) length: usize,
    /// The line, without its comment and the blanks in front; of a line of more than [`SHOWN`] characters the
    /// part that has the first wrong one in its middle.
    pub(crate) text: String,
    /// The place in the line of the first character of `text`, from 1. `None` if `text` is the whole line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text_column: Option<usize>,
}

impl Place {
    pub(crate) fn of(place: &TextPlace) -> Self {
        let TextPlace { file, line, text, span } = place;
        let count = |part: Option<&str>| part.map_or(0, |part| part.chars().count());
        let column = count(text.get(..span.start)) + 1;
        let length = count(text.get(span.clone()));
        let (text, text_column) = match text.chars().count() > SHOWN {
            true => {
                let left_out = column.saturating_sub(SHOWN / 2);
                (text.chars().skip(left_out).take(SHOWN).collect(), Some(left_out + 1))
            }
            false => (text.clone(), None),
        };
        Self { file: file.clone(), line: *line, column, length, text, text_column }
    }
}

/// Tells an error of a verb. Returns the exit status.
pub(crate) fn tell(error: &anyhow::Error, how: &How) -> ExitCode {
    match how.json {
        true => tell_json(&record(error, how)),
        // As in ovs-ofctl, nothing stands in front of the message of a switch.
        false if error.is::<Rejected>() => eprintln!("{}", printable(&error.to_string())),
        false => eprintln!("ofctl: {}", printable(&describe(error, how))),
    }
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Tells that the command line cannot be read, or prints the help or the version that it asks for.
pub(crate) fn tell_wrong_command_line(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() || !arguments.iter().any(|word| word == "--json") {
        error.exit()
    }
    // clap prints the usage behind an empty line, and begins with "error: ".
    let text = error.to_string();
    let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    tell_json(&ErrorRecord {
        kind: Kind::Own("usage"),
        message: printable(message).into_owned(),
        hint: None,
        openflow: None,
        place: None,
    });
    ExitCode::from(2)
}

fn tell_json(error: &ErrorRecord) {
    #[derive(Serialize)]
    struct Answer<'a> {
        error: &'a ErrorRecord,
    }
    if let Ok(text) = serde_json::to_string_pretty(&Answer { error }) {
        eprintln!("{text}");
    }
}

/// The exit status of a verb that has not failed.
pub(crate) fn status(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Different => ExitCode::from(2),
        Outcome::Wrong => ExitCode::FAILURE,
    }
}

/// The refusal that the error is, from the switch or from the parser of `ofctl`.
fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(refusal)) => Some(refusal),
        _ => error.downcast_ref::<Refusal>(),
    }
}

/// The error as a message for the terminal: a refusal with the line that it is about, a silence with the time
/// that `ofctl` waited, any other error with its causes.
fn describe(error: &anyhow::Error, how: &How) -> String {
    match (refusal(error), error.downcast_ref::<ClientError>()) {
        (Some(refusal), _) => refusal.render(),
        (None, Some(ClientError::Late { waited_for })) => socket::silence(how, waited_for),
        _ => format!("{error:#}"),
    }
}

fn record(error: &anyhow::Error, how: &How) -> ErrorRecord {
    match refusal(error) {
        Some(refusal) => ErrorRecord {
            kind: Kind::Refused(refusal.reason),
            message: printable(&refusal.message).into_owned(),
            hint: refusal.hint.clone(),
            openflow: refusal.openflow.clone(),
            place: refusal.place.as_ref().map(Place::of),
        },
        None => ErrorRecord {
            kind: Kind::Own(kind(error)),
            message: printable(&describe(error, how)).into_owned(),
            hint: None,
            openflow: error.downcast_ref().and_then(openflow_error),
            place: None,
        },
    }
}

/// The error with which an OpenFlow switch has refused a request, with its numbers in OpenFlow 1.3 or 1.5.
fn openflow_error(rejected: &Rejected) -> Option<OpenFlowError> {
    let code = rejected.code?;
    let (error_type, number) = code.standard()?;
    Some(OpenFlowError { name: code.name().to_owned(), r#type: error_type, code: number })
}

/// The word for an error that is no refusal.
fn kind(error: &anyhow::Error) -> &'static str {
    if error.is::<Usage>() {
        return "usage";
    }
    if error.is::<Rejected>() {
        return "rejected";
    }
    if error.is::<NoSwitch>() {
        return "connection";
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Late { .. }) => "timeout",
        Some(ClientError::Stream(_)) => "connection",
        Some(ClientError::UnexpectedReply | ClientError::Refused(_)) => "protocol",
        Some(ClientError::Source(_) | ClientError::LineTooLong { .. }) => "file",
        Some(ClientError::Sink(_)) => "output",
        Some(_) => "failed",
        None if error.chain().any(|cause| cause.is::<std::io::Error>()) => "file",
        None => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let place = TextPlace { file: None, line: 3, text: "name=ü,frob".to_owned(), span: 8..12 };
        let Place { line, column, length, .. } = Place::of(&place);
        assert_eq!((line, column, length), (3, 8, 4));
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_told() {
        let line = format!("{}bad,{}", "ü,".repeat(100_000), "y".repeat(100_000));
        let place = TextPlace { file: None, line: 1, text: line, span: 300_000..300_003 };
        let Place { column, length, text, text_column, .. } = Place::of(&place);
        assert_eq!((column, length), (200_001, 3));
        assert_eq!(text.chars().count(), SHOWN);
        let there: String = text.chars().skip(column - text_column.unwrap()).take(length).collect();
        assert_eq!(there, "bad");
        let place = TextPlace { file: None, line: 1, text: "a".repeat(1 << 20), span: 0..1 << 20 };
        let Place { column, length, text, text_column, .. } = Place::of(&place);
        assert_eq!((column, length, text.len(), text_column), (1, 1 << 20, SHOWN, Some(1)));
    }
}

//! The whole switch as text: saved, compared, applied, taken back.

use super::answer::{Failure, Sender};
use super::progress::Progress;
use super::refuse;
use crate::desired::FileError;
use crate::saved::{Author, HistoryEntry, PlanLine, SavedSwitch, TableFault};
use crate::switch::{ApplyError, Switch};
use control::frame::{Kind, TEXT_SIZE};
use control::record::{HistoryRecord, PlanRecord, WaitingRecord};
use control::stream::StreamError;
use control::{Format, Reason, Refusal, Reply, SavedQuery, TextPlace};
use std::time::Duration;

/// Writes all of the switch.
pub(super) fn save(switch: &Switch, format: Format, to: &mut Sender<'_>) -> Result<Reply, Failure> {
    let saved = SavedSwitch::of(switch);
    let text = match format {
        Format::Text => saved.write(),
        Format::Json => serde_json::to_string_pretty(&saved).map_err(StreamError::from)? + "\n",
    };
    send_lines(text.split_inclusive('\n'), to)?;
    Ok(Reply::Listed(saved.desired.bridges.len() as u64))
}

/// Tells the differences to a file or to a state of the history.
pub(super) fn plan(
    switch: &Switch,
    query: &SavedQuery,
    history: Option<u64>,
    text: &[u8],
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let step = || progress.step();
    let wanted = match history {
        Some(number) => {
            let state = switch.state_in_history(number, &step);
            state.map_err(|error| refuse_apply(&error, query, b""))?
        }
        None => read(query, text, &step)?,
    };
    let lines = switch.plan(wanted, &step);
    let lines = lines.map_err(|error| refuse_apply(&error, query, text))?;
    list(&lines, query.format, to)
}

/// Makes the switch as a file says. `who` is the user at the other end.
pub(super) fn apply(
    switch: &Switch,
    query: &SavedQuery,
    confirm: Option<u32>,
    who: &str,
    text: &[u8],
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let step = || progress.step();
    let wanted = read(query, text, &step)?;
    let author = Author { who: who.to_owned(), what: format!("apply {}", query.name) };
    let confirm = confirm.map(|seconds| Duration::from_secs(seconds.into()));
    let lines = switch.apply(wanted, author, confirm, &step);
    let lines = lines.map_err(|error| refuse_apply(&error, query, text))?;
    list(&lines, query.format, to)
}

/// Keeps the change that waits.
pub(super) fn confirm(switch: &Switch) -> Result<Reply, Box<Refusal>> {
    let none = SavedQuery::default();
    switch.confirm().map_err(|error| refuse_apply(&error, &none, b""))?;
    Ok(Reply::Done)
}

/// Returns to an earlier state. `who` is the user at the other end.
pub(super) fn roll_back(
    switch: &Switch,
    number: Option<u64>,
    format: Format,
    who: &str,
    progress: &Progress,
    to: &mut Sender<'_>,
) -> Result<Reply, Failure> {
    let lines = switch.roll_back(number, who, &|| progress.step());
    let none = SavedQuery::default();
    let lines = lines.map_err(|error| refuse_apply(&error, &none, b""))?;
    list(&lines, format, to)
}

/// The states that can be returned to.
pub(super) fn history(switch: &Switch) -> Reply {
    let record = |entry: HistoryEntry| HistoryRecord {
        number: entry.number,
        time: entry.time,
        who: entry.who,
        what: entry.what,
        n_added: entry.added,
        n_removed: entry.removed,
        n_changed: entry.changed,
    };
    Reply::History(switch.history().into_iter().map(record).collect())
}

/// The change that waits to be confirmed.
pub(super) fn waiting(switch: &Switch) -> Option<WaitingRecord> {
    let (Author { who, what }, left) = switch.waiting()?;
    Some(WaitingRecord { what, who, seconds_left: left.as_secs() })
}

fn read(query: &SavedQuery, text: &[u8], step: &dyn Fn()) -> Result<SavedSwitch, Box<Refusal>> {
    let text = refuse::utf8(text)?;
    SavedSwitch::read(text, &query.name, step).map_err(refuse_file)
}

/// Writes differences, one a line.
fn list(lines: &[PlanLine], format: Format, to: &mut Sender<'_>) -> Result<Reply, Failure> {
    let text = lines.iter().map(|line| match format {
        Format::Text => format!("{line}\n"),
        Format::Json => {
            let mut text = String::new();
            super::status::write_record(&mut text, &record(line));
            text + "\n"
        }
    });
    send_lines(text, to)?;
    Ok(Reply::Listed(lines.len() as u64))
}

fn record(line: &PlanLine) -> PlanRecord {
    let action = match line.sign() {
        '+' => "add",
        '-' => "remove",
        _ => "change",
    };
    PlanRecord {
        action: action.to_owned(),
        kind: line.subject.name().to_owned(),
        bridge: line.bridge.clone(),
        before: line.before.clone(),
        after: line.after.clone(),
    }
}

/// Sends text in frames of whole lines.
pub(super) fn send_lines<T: AsRef<str>>(
    lines: impl IntoIterator<Item = T>,
    to: &mut Sender<'_>,
) -> Result<(), StreamError> {
    let mut piece = String::with_capacity(TEXT_SIZE);
    for line in lines {
        piece.push_str(line.as_ref());
        if piece.len() >= TEXT_SIZE / 2 {
            to.put(Kind::Text, piece.as_bytes())?;
            piece.clear();
        }
    }
    to.put(Kind::Text, piece.as_bytes())
}

fn refuse_file(error: FileError) -> Box<Refusal> {
    let FileError { file, line, message, hint, text, span, .. } = error;
    let mut refusal = Refusal::new(Reason::Text, message);
    refusal.hint = hint;
    Box::new(refusal.with_place(TextPlace { file: Some(file), line, text, span }))
}

/// The refusal of a change. `text` is the file of `query`, from which a rule that is refused is quoted.
fn refuse_apply(error: &ApplyError, query: &SavedQuery, text: &[u8]) -> Box<Refusal> {
    let refusal = |reason| Refusal::new(reason, format!("{error}"));
    Box::new(match error {
        ApplyError::Waits { .. } => refusal(Reason::Switch)
            .with_hint("ofctl confirm keeps the change, ofctl rollback takes it back"),
        ApplyError::NothingWaits => refusal(Reason::NotFound),
        ApplyError::NoState(_) | ApplyError::NoHistory => {
            refusal(Reason::NotFound).with_hint("ofctl history lists the states")
        }
        ApplyError::Setting { .. } => refusal(Reason::Switch)
            .with_hint("leave the key out, or start the switch with it: it cannot change while the switch runs"),
        ApplyError::Table(table) if table.origin > 0 => {
            let line = table.origin as usize;
            let quoted = text.split(|byte| *byte == b'\n').nth(line - 1);
            let quoted = quoted.map_or_else(
                || table.line.clone(),
                |line| String::from_utf8_lossy(line).trim_end().to_owned(),
            );
            let line = refuse::Line { file: Some(&query.name), number: line, text: &quoted };
            match &table.fault {
                TableFault::Refused(error) => return refuse::flow_mod(error, line),
                TableFault::Text(error) => return refuse::text(error, line),
            }
        }
        ApplyError::Start(error) => {
            let causes = std::iter::successors(std::error::Error::source(error), |e| e.source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            Refusal::new(Reason::Switch, format!("{error}{causes}"))
        }
        _ => refusal(Reason::Switch),
    })
}

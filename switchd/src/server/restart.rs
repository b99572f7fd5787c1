//! `ofctl restart`: another program takes over, and this one ends.

use super::answer::Sender;
use super::sessions::Shared;
use crate::takeover::{GiveError, give};
use control::frame::Kind;
use control::record::RestartRecord;
use control::stream::StreamError;
use control::{Reason, Refusal, Reply};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Restarts the switch and answers. If another program has taken over, this one ends, whether its answer can be
/// written or not.
pub(super) fn answer(shared: &Shared, to: &mut Sender<'_>) -> Result<(), StreamError> {
    let result = restart(shared);
    let answered = to.put_json(Kind::Reply, &result).and_then(|()| to.flush());
    if shared.switch.gate().is_handed_over() {
        // The main thread waits for a signal, finds that everything was handed over, and leaves it alone.
        let _ = kill(Pid::this(), Signal::SIGTERM);
    }
    answered
}

fn restart(shared: &Shared) -> Result<Reply, Box<Refusal>> {
    let Some(program) = &shared.program else {
        let message = "this switch is part of a program that cannot start itself again";
        return Err(Box::new(Refusal::new(Reason::Switch, message)));
    };
    let progress = || shared.progress.step();
    let release = || drop(shared.openflow.lock().take());
    match give(&shared.switch, &shared.listener, program, progress, release) {
        Ok(successor) => {
            let (pid, program) = (successor.pid, successor.program);
            Ok(Reply::Restarted(RestartRecord { pid, program }))
        }
        Err(error) => {
            let is_lost = matches!(error, GiveError::Lost(_));
            let refusal = Refusal::new(Reason::System, format!("restart: {error}"));
            Err(Box::new(match is_lost {
                true => refusal.with_hint("look into the log, and start the switch again"),
                false => refusal.with_hint("the switch goes on as before"),
            }))
        }
    }
}

//! The client at the other end of a session, for the log: whoever changes the switch is named there.

use crate::log_limit::{EVENTS, limited};
use control::trust::user_name;
use control::{Operation, Refusal, Reply, Request};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::os::unix::net::UnixStream;

/// The user and the process that have connected.
pub(super) struct Peer {
    /// The user, in words.
    user: String,
    /// The number of the process, which may have ended or passed the socket on.
    pid: i32,
}

impl Peer {
    /// The client of a session.
    pub(super) fn of(stream: &UnixStream) -> Self {
        match getsockopt(stream, PeerCredentials) {
            Ok(found) => Self { user: user_name(found.uid()), pid: found.pid() },
            Err(_) => Self { user: "an unknown user".to_owned(), pid: 0 },
        }
    }

    /// The user, in words: `root`, or `user alice (uid 1000)`.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Writes into the log that the client asked for a change, and whether it was made. Other requests are not
    /// logged. The lines of one user are limited together.
    pub(super) fn tell(&self, request: &Request, result: &Result<Reply, Box<Refusal>>) {
        let operation = &request.operation;
        if !operation.changes_state() && !matches!(operation, Operation::Log { filter: Some(_) }) {
            return;
        }
        let subject = format!("control by {}", self.user);
        let bridge = request.bridge.as_deref().map(|b| format!("bridge {b}: ")).unwrap_or_default();
        let (name, user, pid) = (operation.name(), &self.user, self.pid);
        match result {
            Ok(_) => {
                limited!(info, &subject, EVENTS, "{bridge}{name} by {user}, process {pid}")
            }
            Err(refusal) => limited!(
                info,
                &subject,
                EVENTS,
                "{bridge}{name} by {user}, process {pid}, gets an error: {}",
                refusal.message
            ),
        }
    }
}

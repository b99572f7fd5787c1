//! The new program's side of a hand-over.

use super::channel::{Channel, Message};
use super::courtesy::Courtesy;
use super::sections::{When, sections};
use super::{Core, FORMAT, HandoverHello, PATIENCE, SWITCH_OVER, message};
use crate::edition;
use crate::kernel_cache::GivenPrograms;
use crate::server::Listener;
use crate::state::{Contents, Kept, StateSync};
use crate::switch::{Inheritance, Switch};
use anyhow::{Context, bail, ensure};
use ports::handover::RingPositions;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use tracing::{info, warn};

/// Why there is no kernel cache: only a start has the privileges to load programs.
const NO_PROGRAMS: &str = "the program before this one had none: a new start loads the programs";

/// What this program has taken over.
pub(crate) struct Taken {
    pub(crate) switch: Switch,
    pub(crate) listener: Listener,
    channel: Channel,
}

impl Taken {
    /// Splits what was taken over. Whoever has started everything else calls the last one.
    pub(crate) fn into_parts(self) -> (Switch, Listener, impl FnOnce() -> anyhow::Result<()>) {
        let Self { switch, listener, channel } = self;
        let tell = move || {
            channel.send(message::RUNNING, b"", &[], PATIENCE).context("answer the old program")
        };
        (switch, listener, tell)
    }
}

/// Takes over from the program at the other end of standard input. Returns when the workers of the new switch
/// forward. `socket` is the path of the control socket, `state` that of the directory of kept state. With
/// `uses_kernel`, the new switch goes on with the kernel cache of the old one.
///
/// # Errors
/// Something cannot be taken over; the old program is told, and goes on.
pub(crate) fn take(
    socket: &Path,
    state: Option<(&Path, StateSync)>,
    uses_kernel: bool,
) -> anyhow::Result<Taken> {
    let courtesy = Courtesy::of_starter();
    let channel = from_standard_input().context("take over from the program at standard input")?;
    let took = take_over(&channel, courtesy, socket, state, uses_kernel);
    if let Err(error) = &took {
        // The old program may have ended.
        let _ = channel.send(message::FAILED, format!("{error:#}").as_bytes(), &[], PATIENCE);
    }
    let (switch, listener) = took?;
    Ok(Taken { switch, listener, channel })
}

fn from_standard_input() -> io::Result<Channel> {
    let channel = Channel::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    // Nobody is to take the channel for input.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(channel)
}

fn take_over(
    channel: &Channel,
    courtesy: Option<Courtesy>,
    socket: &Path,
    state: Option<(&Path, StateSync)>,
    uses_kernel: bool,
) -> anyhow::Result<(Switch, Listener)> {
    let Received { program, core, fds, contents } = receive_all(channel)?;
    let mut fds = fds.into_iter();
    let mut fd = || fds.next().context("a descriptor is missing");
    let (listening, socket_lock) = (fd()?, fd()?);
    let state_lock = if core.keeps_state { Some(fd()?) } else { None };
    let ports = core.ports.into_iter().map(|port| {
        let fds: anyhow::Result<Vec<OwnedFd>> =
            (0..port.descriptor_count()).map(|_| fd()).collect();
        Ok((port, fds?))
    });
    let ports = ports.collect::<anyhow::Result<_>>()?;
    let kernel = match core.kernel {
        _ if !uses_kernel => Err("--kernel-cache is off".to_owned()),
        None => Err(NO_PROGRAMS.to_owned()),
        Some(programs) => {
            let fds = (0..GivenPrograms::DESCRIPTORS).map(|_| fd());
            programs.take_over(fds.collect::<anyhow::Result<_>>()?)
        }
    };
    ensure!(
        core.keeps_state == state.is_some(),
        "one program keeps state and the other does not: start both with the same --state"
    );
    let Core { epoch, seed, .. } = core;
    let kept = Kept::of_snapshot(&contents)?;
    let inheritance = Inheritance {
        kept,
        seed,
        epoch,
        state: state.map(|(path, _)| path.to_owned()),
        ports,
        kernel,
    };
    let (mut switch, intake) = Switch::take_over(inheritance)?;
    take_sections(channel, &switch, When::Early, message::PREPARE)?;
    send(channel, message::PREPARED, edition::program().as_bytes())?;
    take_sections(channel, &switch, When::Early, message::PREPARE)?;
    // From now on frames wait for this program.
    if let Some(courtesy) = courtesy {
        courtesy.end();
    }
    send(channel, message::REFRESHED, b"")?;

    let positions = channel.receive(PATIENCE, || ())?;
    ensure!(positions.name == message::POSITIONS, "unexpected message \"{}\"", positions.name);
    let positions: RingPositions = serde_json::from_slice(&positions.body)?;
    // The last moment to leave everything to the old program.
    channel.send(message::COMMITTED, b"", &[], SWITCH_OVER)?;
    switch.go_on(positions);

    take_sections(channel, &switch, When::Late, message::END)?;
    let lost = switch.own_ports();
    if lost > 0 {
        warn!("{lost} devices have been locked by another switch meanwhile");
    }
    let listener = Listener::take_over(socket, listening, socket_lock)?;
    if let (Some((path, sync)), Some(lock)) = (state, state_lock) {
        switch.keep_on(intake, path, lock, sync)?;
    }
    info!("taken over from {program}");
    Ok((switch, listener))
}

/// What a switch is made of.
struct Received {
    /// Name and version of the old program.
    program: String,
    core: Core,
    fds: Vec<OwnedFd>,
    contents: Contents,
}

fn receive_all(channel: &Channel) -> anyhow::Result<Received> {
    let hello: HandoverHello = serde_json::from_slice(&receive(channel, message::HELLO)?.body)?;
    check(&hello)?;
    let Message { body, fds, .. } = receive(channel, message::CORE)?;
    let core = serde_json::from_slice(&body)?;
    let contents = Contents::of_snapshot(receive(channel, message::STATE)?.body)?;
    Ok(Received { program: hello.program, core, fds, contents })
}

/// Whether this program understands what the other one is going to hand over.
fn check(hello: &HandoverHello) -> anyhow::Result<()> {
    let HandoverHello { format, program, sections: given } = hello;
    let own = edition::program();
    if *format > FORMAT {
        bail!(
            "{own} knows hand-overs of format {FORMAT}, and {program} makes one of format {format}: stop and start \
             the switch instead"
        );
    }
    let is_known = |name: &&String| sections().any(|section| section.name == **name);
    if let Some(unknown) = given.iter().find(|name| !is_known(name)) {
        bail!(
            "{own} does not know the \"{unknown}\" that {program} hands over: stop and start the switch instead"
        );
    }
    Ok(())
}

/// Takes sections over until the message `end`.
fn take_sections(channel: &Channel, switch: &Switch, when: When, end: &str) -> anyhow::Result<()> {
    loop {
        let Message { name, body, .. } = channel.receive(PATIENCE, || ())?;
        if name == end {
            return Ok(());
        }
        let section = sections().find(|s| s.name == name && s.when == when);
        let section = section.with_context(|| format!("unexpected message \"{name}\""))?;
        (section.take)(switch, &body).with_context(|| format!("section \"{name}\""))?;
    }
}

fn receive(channel: &Channel, name: &str) -> anyhow::Result<Message> {
    let message = channel.receive(PATIENCE, || ())?;
    ensure!(message.name == name, "unexpected message \"{}\"", message.name);
    Ok(message)
}

fn send(channel: &Channel, name: &str, body: &[u8]) -> anyhow::Result<()> {
    Ok(channel.send(name, body, &[], PATIENCE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(format: u32, sections: &[&str]) -> String {
        let sections = sections.iter().map(|name| name.to_string()).collect();
        let hello = HandoverHello { format, program: "switchd 9.9.9".to_owned(), sections };
        check(&hello).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let error = refused(FORMAT + 1, &[]);
        assert!(error.contains("switchd 9.9.9 makes one of format 2"), "{error}");
        let error = refused(FORMAT, &["hosts", "weather"]);
        assert!(error.contains("does not know the \"weather\" that switchd 9.9.9"), "{error}");
        let sections = sections().map(|section| section.name.to_owned()).collect();
        check(&HandoverHello { format: FORMAT, program: edition::program(), sections }).unwrap();
    }
}

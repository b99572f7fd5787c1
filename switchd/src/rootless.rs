//! `--rootless`: the switch of an ordinary user. Its devices are in a network namespace of its own, and its
//! tunnels in the one in which it was started.
//!
//! The steps are those of [`ports::rootless`]. A program that takes over inherits the network namespace as a
//! descriptor whose number is in its environment, and is started outside: its own first thread goes inside.

use crate::options::Options;
use anyhow::Context;
use ports::netns::Netns;
use ports::rootless;
use std::io;
use std::sync::OnceLock;

/// The environment variable with the number of the descriptor of the network namespace inside.
const VARIABLE: &str = "SWITCHD_INSIDE";

/// The network namespace inside, for a program that takes over; empty without `--rootless`.
static INSIDE: OnceLock<Netns> = OnceLock::new();

/// Has a network namespace made that [`enter`] goes into, if the options say so. The caller is the only thread
/// of the process, which is root of a user namespace of its own afterwards.
///
/// # Errors
/// The kernel does not allow it, in which case the process should end, or the program that this one takes over
/// from has handed down nothing.
pub(crate) fn prepare(options: &Options) -> anyhow::Result<()> {
    if !options.is_rootless {
        return Ok(());
    }
    let inside = match options.take_over {
        true => inherited()?,
        false => {
            let denied =
                || format!("--rootless: namespaces are not allowed here: {}", rootless::advice());
            rootless::become_root().with_context(denied)?;
            rootless::make_inside().with_context(denied)?
        }
    };
    // Nobody else has set it: the caller is the only thread.
    let _ = INSIDE.set(inside);
    Ok(())
}

fn inherited() -> anyhow::Result<Netns> {
    let number = std::env::var(VARIABLE).ok().and_then(|number| number.parse().ok());
    let number =
        number.context("--rootless: the old program has handed down no network namespace")?;
    Netns::inherited(number).context("--rootless: take the network namespace of the old program")
}

/// Goes into the network namespace that [`prepare`] has made, if it has. Another thread stays outside.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn enter() -> anyhow::Result<()> {
    match INSIDE.get() {
        Some(inside) => rootless::stay_outside(inside)
            .context("--rootless: enter the network namespace of devices"),
        None => Ok(()),
    }
}

/// The environment variable, as name and value, that a successor of this
/// process needs; `None` without `--rootless`.
///
/// # Errors
/// The kernel does not let the successor inherit the network namespace.
pub(crate) fn hand_over() -> io::Result<Option<(&'static str, String)>> {
    let Some(inside) = INSIDE.get() else { return Ok(None) };
    Ok(Some((VARIABLE, inside.hand_down()?.to_string())))
}

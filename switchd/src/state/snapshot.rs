//! A journal in memory of everything that a switch has at one moment, for the program that
//! takes over from this one.

use super::change::Change;
use super::error::StateError;
use super::journal::{self, Contents};
use super::kept::{Kept, Reading};
use super::records;
use crate::desired::Desired;
use flowtable::policy::Policy;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

/// The name of a snapshot in errors.
const NAME: &str = "the state that is handed over";

/// The bytes of a journal that has the configuration of the last start, the bridges and ports that are wanted,
/// and all rules, groups and static hosts. Nobody may change them meanwhile.
///
/// # Errors
/// The kernel has no memory left.
pub(crate) fn snapshot(
    policy: &Policy,
    configured: &Desired,
    wanted: &Desired,
    now: Duration,
) -> Result<Vec<u8>, StateError> {
    let path = Path::new(NAME);
    let file = memfd_create(c"snapshot", MFdFlags::MFD_CLOEXEC).map(File::from);
    let file = file.map_err(|error| StateError::os("create", path)(error.into()))?;
    let (mut file, size) = journal::write(file, path, |to| {
        let mut out = Vec::new();
        let configured = Change::Configured(Cow::Borrowed(configured));
        records::changes(&mut out, &[configured, Change::Wanted(Cow::Borrowed(wanted))]);
        to.write(&out)?;
        for (id, name) in policy.bridges() {
            records::everything(to, policy.bridge(id), &name, now)?;
        }
        Ok(())
    })?;
    let mut bytes = Vec::with_capacity(size as usize);
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(StateError::os("read", path))?;
    Ok(bytes)
}

impl Contents {
    /// Takes the bytes of a [`snapshot`] that another program has made.
    ///
    /// # Errors
    /// The bytes have a format that this version does not know.
    pub(crate) fn of_snapshot(bytes: Vec<u8>) -> Result<Self, StateError> {
        Self::new(Path::new(NAME), bytes)
    }
}

impl<'a> Kept<'a> {
    /// The state in a [`snapshot`].
    ///
    /// # Errors
    /// A record is not whole, or has bytes that are not a change.
    pub(crate) fn of_snapshot(contents: &'a Contents) -> Result<Self, StateError> {
        let Reading { kept, torn, .. } = Self::read(contents)?;
        match torn {
            None => Ok(kept),
            Some(torn) => Err(StateError::Record {
                path: NAME.into(),
                offset: torn.offset as u64,
                why: "the record is not whole".to_owned(),
            }),
        }
    }
}

//! [`OsError`], the error of an operation on a file.

use std::io;
use std::path::{Path, PathBuf};

/// The kernel refused an operation on a file, a folder or a socket.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct OsError {
    /// The operation, as a verb: `look at`.
    pub operation: &'static str,
    /// The path of the file, folder or socket.
    pub path: PathBuf,
    /// The error of the kernel.
    pub source: io::Error,
}

impl OsError {
    /// For `map_err`: adds the operation and the path to the error of the kernel.
    pub fn of(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { operation, path, source }
    }
}

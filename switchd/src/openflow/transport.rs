//! What a connection runs over: a stream of bytes that never blocks.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// A stream that returns [`WouldBlock`](std::io::ErrorKind::WouldBlock) rather than wait, and whose descriptor says when it is
/// worth trying again. A stream that has read ahead has to give all of that before its descriptor counts.
pub(super) trait Transport: Read + Write + AsFd + Send {}

impl Transport for UnixStream {}

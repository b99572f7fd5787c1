//! [`Hello`], the first message in each direction of a session.

use serde::{Deserialize, Serialize};

/// The version of the protocol. A session needs the same version on both sides; there is no negotiation,
/// because client and daemon come from the same build.
pub const PROTOCOL: u32 = 5;

/// The sender's version of the protocol and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's [`PROTOCOL`].
    pub protocol: u32,
    /// Name and version of the sending program: `ofctl 0.1.0`.
    pub program: String,
    /// The bridges that the daemon runs, in the order in which they were added. Clients leave this empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<String>,
}

impl Hello {
    /// The `Hello` of a program with this name and version, without bridges.
    pub fn new(program: impl Into<String>) -> Self {
        Self { protocol: PROTOCOL, program: program.into(), bridges: Vec::new() }
    }

    /// Checks that the peer who sent this `Hello` speaks the same version.
    ///
    /// # Errors
    /// A message for the user, which names both versions and what to do.
    pub fn check(&self) -> Result<(), String> {
        if self.protocol == PROTOCOL {
            return Ok(());
        }
        Err(format!(
            "{} speaks version {} of the control protocol, this program version {PROTOCOL}: \
             use both from the same build",
            self.program, self.protocol
        ))
    }
}

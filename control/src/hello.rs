//! The first frame in each direction.

use serde::{Deserialize, Serialize};

/// Version of the protocol. Peers of different versions do not talk to each other: both programs
/// come from the same build.
pub const PROTOCOL: u32 = 1;

/// Who speaks, and in which version of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Name and version of the sender: `ofctl 0.1.0`.
    pub program: String,
    /// From the daemon: the bridges it runs, the default one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<String>,
}

impl Hello {
    /// A greeting in this version of the protocol.
    pub fn new(program: impl Into<String>) -> Self {
        Self { protocol: PROTOCOL, program: program.into(), bridges: Vec::new() }
    }

    /// Whether the peer speaks this version too.
    ///
    /// # Errors
    /// A sentence for the user.
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

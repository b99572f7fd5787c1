//! The files with which the switch proves who it is, and knows who its controllers are.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Files for TLS in PEM format (ovs-vsctl(8), `set-ssl`), with absolute paths. They are read for each
/// connection, so a certificate that is renewed needs no command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SslFilesDraft")]
pub struct SslFiles {
    /// The private key of the switch.
    pub private_key: PathBuf,
    /// The certificate of the switch, which belongs to the private key, and those between it and the CA.
    pub certificate: PathBuf,
    /// The certificates of those who may sign the certificates of controllers.
    pub ca_cert: PathBuf,
}

impl SslFiles {
    /// The files at these paths.
    ///
    /// # Errors
    /// A path is not absolute.
    pub fn new(
        private_key: PathBuf,
        certificate: PathBuf,
        ca_cert: PathBuf,
    ) -> Result<Self, String> {
        let files = Self { private_key, certificate, ca_cert };
        for (key, path) in files.paths() {
            if !path.is_absolute() {
                let path = path.display();
                return Err(format!("{key}: \"{path}\" must be a path that begins with \"/\""));
            }
        }
        Ok(files)
    }

    /// The paths with the names of the settings.
    pub fn paths(&self) -> [(&'static str, &Path); 3] {
        [
            ("private_key", &self.private_key),
            ("certificate", &self.certificate),
            ("ca_cert", &self.ca_cert),
        ]
    }
}

impl fmt::Display for SslFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.paths().map(|(key, path)| format!("{key}={}", path.display()));
        f.write_str(&words.join(" "))
    }
}

/// The files as they are written somewhere, before their paths are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SslFilesDraft {
    private_key: PathBuf,
    certificate: PathBuf,
    ca_cert: PathBuf,
}

impl TryFrom<SslFilesDraft> for SslFiles {
    type Error = String;

    fn try_from(draft: SslFilesDraft) -> Result<Self, String> {
        Self::new(draft.private_key, draft.certificate, draft.ca_cert)
    }
}

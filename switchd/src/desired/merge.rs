//! The command line and the file together: the command line adds to the file.
//!
//! Where both give a value, it must be the same. An option of a port that the command line leaves out may have any
//! value in the file.

use super::{
    Bridge, DEFAULT_BRIDGE, DatapathId, Desired, DesiredError, Port, PortTextError, Settings,
};

/// What the command line says of the switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The options of the switch that are given.
    pub settings: Settings,
    /// The values of `--bridge`, each with the options behind it. Options before the first `--bridge` are in an entry
    /// without a name.
    pub bridges: Vec<BridgeWords>,
}

/// A bridge as the command line has it. The same bridge may be named again, to go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeWords {
    /// `--bridge`; `None` is the only bridge.
    pub name: Option<String>,
    /// The value of `--datapath-id`; `None` without one.
    pub datapath_id: Option<DatapathId>,
    /// The values of `--port`, in their order.
    pub ports: Vec<String>,
}

/// The command line cannot be what somebody wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContradictionError {
    /// An option has another value in the file.
    #[error("--{key} is {here}, but {file} says {key} = {there}; leave one of them out")]
    Setting {
        /// The name of the option, without the dashes.
        key: String,
        /// What the command line says.
        here: String,
        /// The name of the file, as it was given.
        file: String,
        /// What the file says.
        there: String,
    },
    /// A bridge has two datapath ids.
    #[error(
        "bridge \"{bridge}\": --datapath-id is {here}, but {there} is given as well; leave one of them out"
    )]
    DatapathId {
        /// The name of the bridge.
        bridge: String,
        /// The id that the command line gives.
        here: DatapathId,
        /// The id that the file gives, or the command line before.
        there: DatapathId,
    },
    /// A port has other settings in the file.
    #[error("port \"{port}\": --port is {here}, but {file} says {there}; leave one of them out")]
    Port {
        /// The name of the port.
        port: String,
        /// What the command line says.
        here: String,
        /// The name of the file, as it was given.
        file: String,
        /// What the file says.
        there: String,
    },
    /// Nobody knows which bridge is meant.
    #[error(
        "--{option} {value}: write --bridge NAME before it, because {file} has several bridges: {known}"
    )]
    WhichBridge {
        /// The option of which the bridge is not clear: `port` or `datapath-id`.
        option: &'static str,
        /// The value of the option.
        value: String,
        /// The name of the file, as it was given.
        file: String,
        /// The names of the bridges in the file, with commas between them.
        known: String,
    },
    /// A port is described wrongly.
    #[error(transparent)]
    Text(#[from] PortTextError),
    /// The command line, or it and the file, want something twice.
    #[error(transparent)]
    Desired(#[from] DesiredError),
}

/// What a file wants, with the name of the file.
#[derive(Clone, Debug)]
pub struct FromFile {
    /// The file's name, for messages.
    pub name: String,
    /// What the file wants.
    pub desired: Desired,
}

impl CommandLine {
    /// What the command line wants, in addition to a file if there is one.
    ///
    /// # Errors
    /// Something is described wrongly, wanted twice, or otherwise in the file.
    pub fn merge(&self, file: Option<FromFile>) -> Result<Desired, ContradictionError> {
        let file =
            file.unwrap_or_else(|| FromFile { name: String::new(), desired: Desired::default() });
        let mut desired = file.desired.clone();
        desired.settings = self.merge_settings(&file)?;
        for words in &self.bridges {
            let name = words.bridge_name(&file)?;
            if desired.bridge(&name).is_err() {
                desired.add_bridge(Bridge::new(&name))?;
            }
            words.merge_id(desired.bridge_mut(&name)?)?;
            for text in &words.ports {
                merge_port(&mut desired, &name, text, &file)?;
            }
        }
        Ok(desired)
    }

    fn merge_settings(&self, file: &FromFile) -> Result<Settings, ContradictionError> {
        let theirs = file.desired.settings.words();
        for (key, here) in self.settings.words() {
            if let Some((_, there)) = theirs.iter().find(|(k, there)| *k == key && *there != here) {
                let (file, there) = (file.name.clone(), there.clone());
                return Err(ContradictionError::Setting { key, here, file, there });
            }
        }
        Ok(file.desired.settings.clone().or(self.settings.clone()))
    }
}

impl BridgeWords {
    /// The bridge that is meant.
    fn bridge_name(&self, file: &FromFile) -> Result<String, ContradictionError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        match &file.desired.bridges[..] {
            [] => Ok(DEFAULT_BRIDGE.to_owned()),
            [bridge] => Ok(bridge.name.clone()),
            several => {
                let known: Vec<&str> = several.iter().map(|b| &*b.name).collect();
                let (option, value) = match (&self.ports[..], self.datapath_id) {
                    ([port, ..], _) => ("port", port.clone()),
                    ([], id) => ("datapath-id", id.map(|id| id.to_string()).unwrap_or_default()),
                };
                let (file, known) = (file.name.clone(), known.join(", "));
                Err(ContradictionError::WhichBridge { option, value, file, known })
            }
        }
    }

    fn merge_id(&self, bridge: &mut Bridge) -> Result<(), ContradictionError> {
        match (self.datapath_id, bridge.datapath_id) {
            (Some(here), Some(there)) if here != there => {
                let bridge = bridge.name.clone();
                return Err(ContradictionError::DatapathId { bridge, here, there });
            }
            (Some(id), _) => bridge.datapath_id = Some(id),
            (None, _) => {}
        }
        Ok(())
    }
}

/// Adds a port, unless the file has it already.
fn merge_port(
    desired: &mut Desired,
    bridge: &str,
    text: &str,
    file: &FromFile,
) -> Result<(), ContradictionError> {
    let port = Port::parse(text)?;
    let theirs = file.desired.bridge(bridge).ok();
    let known = theirs.and_then(|b| b.ports.iter().find(|p| p.name == port.name));
    let Some(known) = known else {
        desired.add_port(bridge, port)?;
        return Ok(());
    };
    match known.contradiction(text)? {
        None => Ok(()),
        Some(there) => {
            let (port, file) = (port.name, file.name.clone());
            Err(ContradictionError::Port { port, here: text.to_owned(), file, there })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::file;

    fn line(arguments: &[&str]) -> CommandLine {
        let all = ["--config", "f.toml"].iter().chain(arguments).copied();
        crate::options::Options::read(all).unwrap().command_line
    }

    fn merged(file: &str, arguments: &[&str]) -> Result<String, String> {
        let desired = file::read(file, "f.toml").unwrap();
        let file = FromFile { name: "f.toml".to_owned(), desired };
        line(arguments).merge(Some(file)).map(|d| file::write(&d)).map_err(|e| e.to_string())
    }

    const FILE: &str = "\
[switch]
workers = 2

[[bridge]]
name = \"br1\"

[[bridge.port]]
device = \"veth0\"
number = 1
vlan_mode = \"access\"
tag = 10
";

    #[test]
    fn the_command_line_adds_to_the_file() {
        let more = "\
[switch]
workers = 2
mac-ageing = 60

[[bridge]]
name = \"br1\"

[[bridge.port]]
device = \"veth0\"
number = 1
vlan_mode = \"access\"
tag = 10

[[bridge.port]]
device = \"veth1\"
number = 2

[[bridge]]
name = \"br2\"
";
        let arguments = ["--mac-ageing", "60", "--port", "veth1", "--bridge", "br2"];
        assert_eq!(merged(FILE, &arguments).unwrap(), more);
    }

    #[test]
    fn what_the_file_says_may_be_said_again() {
        for again in ["veth0", "veth0,tag=10", "veth0,tag=10,number=1", "veth0,protected=false"] {
            assert_eq!(
                merged(FILE, &["--workers", "2", "--port", again]).unwrap(),
                FILE,
                "{again}"
            );
        }
    }

    #[test]
    fn a_contradiction_is_refused_by_name() {
        let check = |arguments: &[&str], message: &str| {
            assert_eq!(merged(FILE, arguments).unwrap_err(), message, "{arguments:?}");
        };
        check(
            &["--workers", "3"],
            "--workers is 3, but f.toml says workers = 2; leave one of them out",
        );
        check(
            &["--port", "veth0,tag=11"],
            "port \"veth0\": --port is veth0,tag=11, but f.toml says tag=10; leave one of them out",
        );
        check(
            &["--port", "veth0,trunks=1"],
            "port \"veth0\": --port is veth0,trunks=1, but f.toml says no trunks; leave one of them out",
        );
        check(
            &["--port", "tap:veth0"],
            "port \"veth0\": --port is tap:veth0, but f.toml says device=veth0; leave one of them out",
        );
        check(&["--port", "veth1,number=1"], "port \"veth1\": number 1 belongs to port \"veth0\"");
    }

    #[test]
    fn with_several_bridges_the_command_line_has_to_name_one() {
        let several = "[[bridge]]\nname = \"br1\"\n[[bridge]]\nname = \"br2\"\n";
        assert_eq!(
            merged(several, &["--port", "veth0"]).unwrap_err(),
            "--port veth0: write --bridge NAME before it, because f.toml has several bridges: br1, br2"
        );
        assert!(merged(several, &["--bridge", "br2", "--port", "veth0"]).is_ok());
    }
}

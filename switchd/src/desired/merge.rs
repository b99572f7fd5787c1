//! The command line and the file together: the command line adds to the file.
//!
//! Where both give a value, it must be the same. An option of a port that the command line leaves out may have
//! any value in the file.

use super::{
    AllowedVersions, Bridge, Controller, DEFAULT_BRIDGE, DatapathId, Desired, DesiredError,
    FailMode, Port, PortTextError, Settings, SslFiles,
};
use std::fmt::Display;

/// What the command line says of the switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The options of the switch that are given.
    pub settings: Settings,
    /// The files of `--private-key`, `--certificate` and `--ca-cert`; `None` without these options.
    pub ssl: Option<SslFiles>,
    /// The values of `--bridge`, each with the options behind it. Options before the first `--bridge` are in an
    /// entry without a name.
    pub bridges: Vec<BridgeWords>,
}

/// A bridge as the command line has it. The same bridge may be named again, to go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeWords {
    /// `--bridge`; `None` is the only bridge.
    pub name: Option<String>,
    /// The value of `--datapath-id`; `None` without one.
    pub datapath_id: Option<DatapathId>,
    /// The value of `--fail-mode`; `None` without one.
    pub fail_mode: Option<FailMode>,
    /// The value of `--protocols`; `None` without one.
    pub protocols: Option<AllowedVersions>,
    /// The values of `--controller` and `--listen`, in their order.
    pub controllers: Vec<Controller>,
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
    /// A setting of a bridge has two values.
    #[error(
        "bridge \"{bridge}\": --{option} is {here}, but {there} is given as well; leave one of them out"
    )]
    Bridge {
        /// The name of the bridge.
        bridge: String,
        /// The name of the option, without the dashes.
        option: &'static str,
        /// The value that the command line gives.
        here: String,
        /// The value that the file gives, or the command line before.
        there: String,
    },
    /// The file names other files for TLS.
    #[error(
        "--private-key, --certificate and --ca-cert are {here}, but {file} says {there}; leave one of them out"
    )]
    Ssl {
        /// The files that the command line names.
        here: String,
        /// The name of the file, as it was given.
        file: String,
        /// The files that the file names.
        there: String,
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
        /// The first option of which the bridge is not clear, such as `port`.
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
        desired.ssl = self.merge_ssl(&file)?;
        for words in &self.bridges {
            let name = words.bridge_name(&file)?;
            if desired.bridge(&name).is_err() {
                desired.add_bridge(Bridge::new(&name))?;
            }
            words.merge_settings(desired.bridge_mut(&name)?)?;
            let controllers = words.merge_controllers(desired.bridge(&name)?)?;
            desired.set_controllers(&name, controllers)?;
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

    fn merge_ssl(&self, file: &FromFile) -> Result<Option<SslFiles>, ContradictionError> {
        match (&self.ssl, &file.desired.ssl) {
            (Some(here), Some(there)) if here != there => Err(ContradictionError::Ssl {
                here: here.to_string(),
                file: file.name.clone(),
                there: there.to_string(),
            }),
            (here, there) => Ok(here.clone().or_else(|| there.clone())),
        }
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
                let (option, value) = self.first_word().unwrap_or_default();
                let (file, known) = (file.name.clone(), known.join(", "));
                Err(ContradictionError::WhichBridge { option, value, file, known })
            }
        }
    }

    /// An option of the bridge with its value, for messages; `None` if there is none.
    fn first_word(&self) -> Option<(&'static str, String)> {
        let port = self.ports.first().map(|port| ("port", port.clone()));
        port.or_else(|| Some(("datapath-id", self.datapath_id?.to_string())))
            .or_else(|| Some(("fail-mode", self.fail_mode?.to_string())))
            .or_else(|| Some(("protocols", self.protocols.as_ref()?.to_string())))
            .or_else(|| Some(("controller", self.controllers.first()?.to_string())))
    }

    fn merge_settings(&self, bridge: &mut Bridge) -> Result<(), ContradictionError> {
        let name = bridge.name.clone();
        let file_protocols = Some(bridge.protocols.clone()).filter(|versions| !versions.is_all());
        bridge.datapath_id = one_value(&name, "datapath-id", self.datapath_id, bridge.datapath_id)?;
        bridge.fail_mode = one_value(&name, "fail-mode", self.fail_mode, bridge.fail_mode)?;
        let protocols = one_value(&name, "protocols", self.protocols.clone(), file_protocols)?;
        bridge.protocols = protocols.unwrap_or_default();
        Ok(())
    }

    /// The controllers that the bridge has already, and those of the command line.
    fn merge_controllers(&self, bridge: &Bridge) -> Result<Vec<Controller>, ContradictionError> {
        let mut all = bridge.controllers.clone();
        for here in &self.controllers {
            let known = all.iter().find(|known| known.target == here.target).cloned();
            match one_value(&bridge.name, "controller", Some(here.clone()), known.clone())? {
                Some(new) if known.is_none() => all.push(new),
                _ => {}
            }
        }
        Ok(all)
    }
}

/// The value of an option of the command line, which must be that of the file if both have one.
fn one_value<T: PartialEq + Display>(
    bridge: &str,
    option: &'static str,
    here: Option<T>,
    there: Option<T>,
) -> Result<Option<T>, ContradictionError> {
    match (here, there) {
        (Some(here), Some(there)) if here != there => Err(ContradictionError::Bridge {
            bridge: bridge.to_owned(),
            option,
            here: here.to_string(),
            there: there.to_string(),
        }),
        (here, there) => Ok(here.or(there)),
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
    fn controllers_of_both_are_added_up() {
        let file = "\
[[bridge]]
name = \"br1\"
fail_mode = \"secure\"

[[bridge.controller]]
target = \"tcp:10.0.0.1\"
max_backoff = 1000
";
        let again = ["--controller", "tcp:10.0.0.1,max_backoff=1000", "--fail-mode", "secure"];
        assert_eq!(merged(file, &again).unwrap(), file);
        let more = merged(file, &["--listen", "ptcp:"]).unwrap();
        assert_eq!(more, format!("{file}\n[[bridge.controller]]\ntarget = \"ptcp:\"\n"));
        assert_eq!(
            merged(file, &["--controller", "tcp:10.0.0.1"]).unwrap_err(),
            "bridge \"br1\": --controller is tcp:10.0.0.1, but tcp:10.0.0.1,max_backoff=1000 is given as well; leave one \
             of them out"
        );
        assert!(
            merged(file, &["--fail-mode", "standalone"]).unwrap_err().contains("--fail-mode is")
        );
        let ssl = ["--private-key", "/a", "--certificate", "/b", "--ca-cert", "/c"];
        let with_ssl = merged(file, &ssl).unwrap();
        assert!(
            with_ssl.contains("[ssl]\nprivate_key = \"/a\"\ncertificate = \"/b\""),
            "{with_ssl}"
        );
        assert_eq!(merged(&with_ssl, &ssl).unwrap(), with_ssl);
        assert!(
            merged(&with_ssl.replace("/a", "/x"), &ssl).unwrap_err().contains("but f.toml says")
        );
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

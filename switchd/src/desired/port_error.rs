//! What is wrong with the description of a port, and what would have worked.

use super::port_settings::SettingsError;

/// A port's description is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortTextError {
    /// The device's name cannot be one.
    #[error(
        "port \"{name}\": not a network device name: \
         1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks"
    )]
    Name {
        /// The text that cannot be a name.
        name: String,
    },
    /// The word before the colon is none of ours.
    #[error(
        "port \"{text}\": no kind of port is called \"{kind}\"; write NAME, netns:NAMESPACE/NAME, \
         tap:NAME, internal:NAME, patch:NAME, vxlan:NAME, geneve:NAME, gre:NAME or dummy:NAME"
    )]
    Kind {
        /// The description of the port up to its first comma.
        text: String,
        /// The word before the colon.
        kind: String,
    },
    /// `netns:` without a namespace and a device.
    #[error("port \"{text}\": write netns:NAMESPACE/NAME, for example netns:blue/eth0")]
    Netns {
        /// The description of the port up to its first comma.
        text: String,
    },
    /// Nothing says what the port is made of.
    #[error("a port needs device=, for example device = \"veth0\"")]
    NoDevice,
    /// An option of the port cannot be used.
    #[error("port \"{port}\": {error}")]
    Option {
        /// The name of the port, or of its device if the port has no other.
        port: String,
        /// What is wrong with the option.
        error: OptionError,
    },
}

/// An option of a port is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// No port has an option of this name.
    #[error("no option is called \"{key}\"; there are {known}")]
    Key {
        /// The word before `=`.
        key: String,
        /// The names of all options.
        known: String,
    },
    /// An option that this kind of port does not have.
    #[error("{key} has no meaning for {kind}; there are {known}")]
    Meaningless {
        /// The name of the option.
        key: String,
        /// What the port is made of.
        kind: &'static str,
        /// The names of its options.
        known: String,
    },
    /// An option is given without a value.
    #[error("\"{text}\" is not an option; write key=value")]
    NoValue {
        /// The text between two commas, which has no `=`.
        text: String,
    },
    /// An option is given twice.
    #[error("option \"{key}\" is given twice")]
    Twice {
        /// The name of the option.
        key: &'static str,
    },
    /// The name for the port cannot be one.
    #[error(
        "{key}={name}: must be the name of a network device: \
         1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks"
    )]
    Name {
        /// The option that gives the name: `name` or `peer`.
        key: &'static str,
        /// The text that cannot be a name.
        name: String,
    },
    /// An option's value is not one.
    #[error("{key}={value}: must be {expected}")]
    Value {
        /// The name of the option.
        key: &'static str,
        /// The value that the option cannot have.
        value: String,
        /// The values that the option can have, in words.
        expected: &'static str,
    },
    /// A tunnel port leads nowhere.
    #[error(
        "a tunnel port needs remote_ip=ADDRESS, or remote_ip=flow for rules that write tun_dst"
    )]
    NoRemote,
    /// BFD is wanted, and rules choose the remote end.
    #[error("bfd=on needs remote_ip=ADDRESS: a session has one other end")]
    BfdNeedsRemote,
    /// Addresses of hosts are given, and nothing is answered.
    #[error("neighbours: has a meaning together with suppress=on only")]
    NeedsSuppression,
    /// A patch port leads nowhere.
    #[error("a patch port needs peer=NAME, the name of the patch port at the other end")]
    NoPeer,
    /// A patch port leads to itself.
    #[error("peer={0}: a patch port cannot be its own peer; name the patch port at the other end")]
    OwnPeer(String),
    /// How it takes part in the bridge is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

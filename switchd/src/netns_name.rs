//! Names of network namespaces.

/// A network namespace that devices of ports live in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NetnsName {
    /// The one that the switch runs in.
    Own,
    /// The one that `ip netns` knows by this name.
    Named(String),
}

impl NetnsName {
    /// The name, if the namespace has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Named(name) => Some(name),
        }
    }
}

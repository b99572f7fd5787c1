//! Ports of the switch that nothing is sent to.

use lab::{LinkSpec, Namespace, Netlink};

/// Ports of the switch, beside those of the hosts, that nothing is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlePorts {
    /// Only the hosts have ports.
    None,
    /// This many on veth devices.
    Veth(u16),
    /// This many on TAP devices.
    Tap(u16),
}

impl IdlePorts {
    const NAME: &'static str = "idle";

    /// The device of the idle port `n`, counted from 0.
    pub(super) fn device(n: u16) -> String {
        format!("{}{n}", Self::NAME)
    }

    /// Whether this is the device of an idle port.
    pub(super) fn is_device(name: &str) -> bool {
        name.starts_with(Self::NAME)
    }

    /// Makes their devices, unless the switch does, and returns what the switch is to call them.
    pub(super) fn make(self) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::None => Vec::new(),
            Self::Veth(count) => {
                make_pairs(Self::NAME, count)?;
                (0..count).map(Self::device).collect()
            }
            Self::Tap(count) => {
                // The switch's ends of the devices that it makes are silent, too.
                make_pairs(Self::NAME, 0)?;
                (0..count).map(|n| format!("tap:{}", Self::device(n))).collect()
            }
        })
    }
}

/// Veth pairs in the calling thread's network namespace. The ends `NAME0`, `NAME1` ... are for the switch and
/// down; the other ends, [`far_end`], are up.
pub(super) fn make_pairs(name: &str, count: u16) -> anyhow::Result<()> {
    Namespace::current()?.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let mut netlink = Netlink::open()?;
    let up = LinkSpec { up: true, ..LinkSpec::default() };
    for n in 0..count {
        let near = format!("{name}{n}");
        netlink.create_veth(&near, &LinkSpec::default(), &far_end(&near), &up)?;
    }
    Ok(())
}

/// The other end of a pair.
pub(super) fn far_end(near: &str) -> String {
    format!("{near}x")
}

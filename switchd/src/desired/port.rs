//! A port as somebody wants it: what it is made of, and all its settings.
//!
//! On the command line a description is a kind with a name, then options `key=value`, separated by
//! commas: `veth0`, `tap:vm1`, `netns:blue/eth0,name=blue,qdisc=honour`. A piece without `=` continues the
//! value before it, so that `trunks=10,20` reads as one option. In a file the options are keys.

use super::kind::Kind;
use super::port_keys::{DEVICE, FLAGS, flag_of};
use super::port_settings::PortSettings;
use super::word::Word;
use flow::types::{MacAddr, OfPort};
use flowtable::policy::ports::PortConfig;
use ports::spec::{KernelCacheUse, PortOptions, QdiscMode};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::fmt;

/// A port that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port's name, unique in the switch; the device's name unless `name=` says otherwise.
    pub name: String,
    /// What the port is made of: a device, or one end of a patch.
    pub kind: Kind,
    /// The OpenFlow number of the port. `None` until the bridge has given it the lowest free number.
    pub number: Option<OfPort>,
    /// How its device is opened.
    pub options: PortOptions,
    /// How it takes part in VLANs and floods.
    pub settings: PortSettings,
    /// The OpenFlow flags of the port, which `mod-port` turns.
    pub config: PortConfig,
}

impl Port {
    /// A port with default settings.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            number: None,
            options: PortOptions::default(),
            settings: PortSettings::default(),
            config: PortConfig::default(),
        }
    }

    /// The words that describe the port, the device first. What has its default value is left out.
    pub fn words(&self) -> Vec<(&'static str, Word)> {
        let mut words = vec![(DEVICE, Word::text(self.kind.describe(&self.name)))];
        if self.kind.own_name().is_some_and(|own| own != self.name) {
            words.push(("name", Word::text(&self.name)));
        }
        if let Kind::Patch { peer } = &self.kind {
            words.push(("peer", Word::text(peer)));
        }
        if let Kind::Tunnel(tunnel) = &self.kind {
            words.extend(tunnel.words());
        }
        words.extend(self.number.map(|number| match number {
            OfPort::LOCAL => ("number", Word::text("LOCAL")),
            number => ("number", Word::number(number.0)),
        }));
        words.extend(option_words(&self.options));
        words.extend(self.settings.words());
        let mut config = self.config;
        let flags = FLAGS.into_iter().filter(|flag| *flag_of(&mut config, flag));
        words.extend(flags.map(|flag| (flag, Word::Flag(true))));
        words
    }
}

/// The words for how a device is opened.
fn option_words(options: &PortOptions) -> Vec<(&'static str, Word)> {
    let mut words = Vec::new();
    words.extend(options.queues.map(|n| ("queues", Word::number(n))));
    if !options.shield {
        words.push(("shield", Word::Flag(false)));
    }
    match options.qdisc {
        QdiscMode::Auto => {}
        QdiscMode::Bypass => words.push(("qdisc", Word::text("bypass"))),
        QdiscMode::Honour => words.push(("qdisc", Word::text("honour"))),
    }
    words.extend(options.slots.map(|n| ("slots", Word::number(n))));
    words.extend(options.slot_size.map(|n| ("slot-size", Word::number(n))));
    match options.kernel_cache {
        KernelCacheUse::Auto => {}
        KernelCacheUse::On => words.push(("kernel-cache", Word::text("on"))),
        KernelCacheUse::Off => words.push(("kernel-cache", Word::text("off"))),
        KernelCacheUse::Peer => words.push(("kernel-cache", Word::text("peer"))),
    }
    words.extend(options.mac.map(|mac| ("mac", Word::text(MacAddr(mac).to_string()))));
    words
}

impl fmt::Display for Port {
    /// As the command line has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.words().iter().enumerate() {
            match i {
                0 => write!(f, "{value}")?,
                _ => write!(f, ",{key}={value}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let words = self.words();
        let mut map = serializer.serialize_map(Some(words.len()))?;
        for (key, value) in words {
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::Kind;
    use ports::spec::Target;

    fn check_error(text: &str, message: &str) {
        let error = Port::parse(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }

    /// A description that is printed as it is read.
    fn check(text: &str, kind: Kind) {
        let port = Port::parse(text).unwrap();
        assert_eq!(port.kind, kind, "{text}");
        assert_eq!(port.to_string(), text);
    }

    fn device(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn a_bare_name_is_a_network_device() {
        let port = Port::parse("veth0").unwrap();
        let kind = Kind::Device(Target::System { device: device("veth0") });
        assert_eq!(port, Port::new("veth0", kind));
    }

    #[test]
    fn kinds_come_before_a_colon() {
        check("tap:vm1", Kind::Device(Target::Tap { device: device("vm1") }));
        check("internal:br0", Kind::Device(Target::Internal { device: device("br0") }));
        check("tap:vm1,kernel-cache=on", Kind::Device(Target::Tap { device: device("vm1") }));
        check("tap:vm1,mac=02:00:00:00:00:01", Kind::Device(Target::Tap { device: device("vm1") }));
        check("dummy:p1", Kind::Device(Target::Dummy));
        let blue = Target::Netns { netns: "blue".into(), device: device("eth0") };
        check("netns:blue/eth0", Kind::Device(blue.clone()));
        check("netns:blue/eth0,name=blue", Kind::Device(blue));
        check("patch:int-br-ex,peer=phy-br-ex", Kind::Patch { peer: "phy-br-ex".into() });
    }

    #[test]
    fn all_options_are_read_and_printed() {
        let text = "veth0,name=a,number=7,queues=2,shield=false,qdisc=bypass,slots=64,slot-size=2048,\
                    kernel-cache=off,vlan_mode=access,tag=7,protected=true,storm=off,down=true,no-flood=true";
        let port = Port::parse(text).unwrap();
        assert_eq!(port.to_string(), text);
        assert_eq!((port.name.as_str(), port.number), ("a", Some(OfPort(7))));
        assert_eq!((port.options.queues, port.options.slot_size), (Some(2), Some(2048)));
        assert!(port.config.down && port.config.no_flood && !port.config.no_recv);
        let spelled = Port::parse("veth0,priority_tags=always,slot_size=1024").unwrap();
        assert_eq!(spelled.to_string(), "veth0,slot-size=1024,priority-tags=always");
        assert_eq!(Port::parse("dummy:a,name=b").unwrap().to_string(), "dummy:b");
    }

    #[test]
    fn errors_say_what_would_work() {
        const SHARED: &str = "number, vlan_mode, tag, trunks, cvlans, qinq-ethtype, priority-tags, protected, \
                              storm, down, no-stp, no-receive, no-receive-stp, no-flood, no-forward, \
                              no-packet-in";
        check_error(
            "",
            "port \"\": not a network device name: \
             1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks",
        );
        check_error(
            "tap:%d",
            "port \"%d\": not a network device name: \
             1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks",
        );
        check_error(
            "dummy:a=b",
            "port \"a=b\": not a network device name: \
             1 to 15 bytes without \"/\", \":\", \"=\", \",\", \"%\" or blanks",
        );
        check_error(
            "tun:x",
            "port \"tun:x\": no kind of port is called \"tun\"; write NAME, netns:NAMESPACE/NAME, \
             tap:NAME, internal:NAME, patch:NAME, vxlan:NAME, geneve:NAME, gre:NAME or dummy:NAME",
        );
        check_error(
            "netns:eth0",
            "port \"netns:eth0\": write netns:NAMESPACE/NAME, for example netns:blue/eth0",
        );
        check_error(
            "veth0,colour=red",
            &format!(
                "port \"veth0\": no option is called \"colour\"; there are name, queues, shield, qdisc, \
                 slots, slot-size, kernel-cache, {SHARED}"
            ),
        );
        check_error("veth0,shield", "port \"veth0\": \"shield\" is not an option; write key=value");
        check_error("veth0,", "port \"veth0\": \"\" is not an option; write key=value");
        check_error(
            "veth0,shield=on,shield=off",
            "port \"veth0\": option \"shield\" is given twice",
        );
        check_error("veth0,tag=1,tag=2", "port \"veth0\": option \"tag\" is given twice");
        check_error(
            "veth0,qdisc=none",
            "port \"veth0\": qdisc=none: must be auto, bypass or honour",
        );
        check_error(
            "tap:vm1,tag=7,shield=off",
            &format!(
                "port \"vm1\": shield has no meaning for a TAP device; there are name, queues, mac, kernel-cache, \
                 {SHARED}"
            ),
        );
        for wrong in ["01:00:00:00:00:01", "00:00:00:00:00:00", "x"] {
            check_error(
                &format!("tap:vm1,mac={wrong}"),
                &format!(
                    "port \"vm1\": mac={wrong}: must be the MAC address of one host, such as 02:00:00:00:00:01"
                ),
            );
        }
        check_error("tap:vm1,queues=0", "port \"vm1\": queues=0: must be a number from 1 to 64");
        check_error(
            "veth0,kernel-cache=auto",
            "port \"veth0\": kernel-cache=auto: must be on, off or peer",
        );
        check_error(
            "veth0,slots=1",
            "port \"veth0\": slots=1: must be a number from 16 to 1048576",
        );
        check_error(
            "veth0,tag=4096",
            "port \"veth0\": tag: \"4096\" is not a VLAN: a number from 0 to 4095",
        );
        check_error(
            "veth0,tag=1,cvlans=2",
            "port \"veth0\": cvlans has no meaning with vlan_mode=access",
        );
        check_error(
            "patch:p1",
            "port \"p1\": a patch port needs peer=NAME, the name of the patch port at the other end",
        );
        check_error(
            "patch:p1,peer=p1",
            "port \"p1\": peer=p1: a patch port cannot be its own peer; name the patch port at the other end",
        );
        check_error("veth0,no-flood=yes", "port \"veth0\": no-flood=yes: must be true or false");
    }
}

//! Opens a port that a test describes in a line of text: `eth0,shield=off`, `tap:t1`.

use ports::spec::{PortOptions, QdiscMode, Target};
use ports::{Allotment, Port, PortError};

/// Opens a port in the network namespace of the calling thread. `text` is the name of a network device, or
/// `tap:` and the name of a TAP device, with options behind commas as in the daemon's `--port`.
///
/// # Errors
/// As [`ports::open`].
///
/// # Panics
/// If the text does not describe a port.
pub fn open_port(text: &str) -> Result<Port, PortError> {
    let (head, tail) = text.split_once(',').map_or((text, None), |(head, tail)| (head, Some(tail)));
    let (target, name) = match head.strip_prefix("tap:") {
        Some(name) => (Target::Tap { device: name.to_owned() }, name),
        None => (Target::System { device: head.to_owned() }, head),
    };
    let mut options = PortOptions::default();
    for option in tail.into_iter().flat_map(|tail| tail.split(',')) {
        set(&mut options, option);
    }
    ports::open(name, &target, &options, Allotment::default())
}

fn set(options: &mut PortOptions, option: &str) {
    let number = |text: &str| Some(text.parse().expect("a number"));
    match option.split_once('=').expect("an option is key=value") {
        ("shield", "off") => options.shield = false,
        ("qdisc", "bypass") => options.qdisc = QdiscMode::Bypass,
        ("qdisc", "honour") => options.qdisc = QdiscMode::Honour,
        ("slots", n) => options.slots = number(n),
        ("slot-size", n) => options.slot_size = number(n),
        (key, value) => panic!("{key}={value}: no test has needed this option before"),
    }
}

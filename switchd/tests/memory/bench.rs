//! A switch with ports in memory, and waiting for it without sleeping blindly.

use flow::flow_mod::{Command, FlowMod};
use flow::text::{ParseContext, parse_flow};
use flow::types::OfVersion;
use lab::PATIENCE;
use ports::dummy::{Dummy, DummyOptions};
use std::time::Instant;
use switchd::desired::{DEFAULT_BRIDGE, Desired};
use switchd::switch::{Config, PortView, Switch};

pub(crate) struct Bench {
    pub(crate) switch: Switch,
    pub(crate) ports: Vec<Dummy>,
}

impl Bench {
    /// A switch with `n` ports.
    pub(crate) fn new(n: usize) -> Self {
        Self::with_options(&vec![DummyOptions::default(); n])
    }

    /// A switch with a port for each of the options.
    pub(crate) fn with_options(options: &[DummyOptions]) -> Self {
        let config = Config { seed: 42, ..Config::new(Desired::one_bridge()) };
        let switch = Switch::start(config).expect("a switch without devices starts");
        let add = |(i, options): (usize, &DummyOptions)| {
            let (port, far_end) =
                ports::dummy::open(&format!("p{}", i + 1), *options).expect("a pipe");
            switch.add_open_port(DEFAULT_BRIDGE, port).expect("a name of its own");
            far_end
        };
        let ports = options.iter().enumerate().map(add).collect();
        Self { switch, ports }
    }

    /// Adds rules.
    pub(crate) fn add(&self, rules: &[&str]) {
        self.change(Command::Add, rules);
    }

    /// Deletes the rules that the matches cover.
    pub(crate) fn delete(&self, rules: &[&str]) {
        self.change(Command::Delete, rules);
    }

    fn change(&self, command: Command, rules: &[&str]) {
        let context =
            ParseContext { version: OfVersion::OpenFlow13, command, ..ParseContext::default() };
        let rules: Vec<FlowMod> = rules.iter().map(|r| parse_flow(r, &context).expect(r)).collect();
        self.switch
            .on(DEFAULT_BRIDGE)
            .expect("the bridge of every test")
            .bridge()
            .apply(&rules, self.switch.now())
            .expect("good rules");
    }

    /// Waits until every injected frame has been received and accounted for.
    pub(crate) fn settle(&self, injected: u64) -> Vec<PortView> {
        let mut views = Vec::new();
        wait(|| {
            views = self.switch.ports();
            let accounted: u64 = views.iter().map(|p| p.totals.rx_sent + dropped(p)).sum();
            accounted == injected
        });
        views
    }
}

/// Frames received on a port and dropped.
pub(crate) fn dropped(port: &PortView) -> u64 {
    port.totals.drops().map(|(_, n)| n).sum()
}

/// Waits until something is so.
pub(crate) fn wait(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not happen within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// An Ethernet frame of 60 bytes from host `src` to host `dst`, with a number in it.
pub(crate) fn frame(src: u8, dst: u8, number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x90, 0x00];
    frame.extend(number.to_be_bytes());
    frame.resize(60, 0);
    frame
}

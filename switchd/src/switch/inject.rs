//! Packets that somebody made by hand, and those that controllers have resumed.
//!
//! The first worker sends them, in their order and between two of its batches: it has a send queue of every
//! port, and after it has answered, what the packet did is in every counter.

use super::OnBridge;
use crate::bridge::packet_out;
use crate::worker::{Command, HandedIn, Injected, Injection};
use crossbeam::channel::{self, Receiver};
use flow::packet_out::PacketOut;
use flowtable::datapath::{Ingress, Resumed};

impl OnBridge<'_> {
    /// Sends a packet, and returns what became of it; `None` if the switch is about to end, or if the packet is
    /// too short to be a frame.
    pub(crate) fn inject(&self, packet: PacketOut) -> Option<Injected> {
        self.begin_to_inject(packet)?.recv().ok()
    }

    /// Begins to send a packet, behind those that other calls have begun to send before. The
    /// channel receives what became of the packet; it is closed without that if the switch
    /// ends. `None` as in [`inject`](Self::inject).
    pub(crate) fn begin_to_inject(&self, packet: PacketOut) -> Option<Receiver<Injected>> {
        let ingress = packet_out::ingress(self.bridge(), &packet)?;
        self.hand_in(ingress, HandedIn::PacketOut(packet))
    }

    /// Goes on with a packet that has waited for a controller, and returns what became of it; `None` if the
    /// switch is about to end.
    pub(crate) fn resume(&self, resumed: Resumed) -> Option<Injected> {
        let ingress = packet_out::ingress_at(self.bridge(), resumed.state.in_port.get());
        self.hand_in(ingress, HandedIn::Resumed(resumed))?.recv().ok()
    }

    fn hand_in(&self, ingress: Ingress, packet: HandedIn) -> Option<Receiver<Injected>> {
        let (done, finished) = channel::bounded(1);
        let injection = Injection { ingress, packet, done };
        self.workers.first()?.send(Command::HandIn(Box::new(injection)));
        Some(finished)
    }
}

#[cfg(test)]
mod tests {
    use crate::desired::{DEFAULT_BRIDGE, Desired};
    use crate::switch::{Config, Switch};
    use flow::Match;
    use flow::flow_mod::{self, FlowMod};
    use flow::text::{ParseContext, parse_flow, parse_packet_out};
    use flow::types::{OfPort, TableId};
    use flow::verdict::DropReason;
    use flowtable::policy::TableRef;
    use ports::dummy::{self, Dummy, DummyOptions};

    /// From host 1 to everybody.
    const FRAME: &str = "ffffffffffff02000000000188b50000";

    fn switch(rules: &[&str]) -> (Switch, Vec<Dummy>) {
        let switch = Switch::start(Config::new(Desired::one_bridge())).unwrap();
        let open = |n: usize| dummy::open(&format!("p{n}"), DummyOptions::default()).unwrap();
        let far = (1..=3).map(|n| {
            let (port, far) = open(n);
            switch.add_open_port(DEFAULT_BRIDGE, port).unwrap();
            far
        });
        let far = far.collect();
        let rules: Vec<_> =
            rules.iter().map(|r| parse_flow(r, &ParseContext::default()).unwrap()).collect();
        switch.on(DEFAULT_BRIDGE).unwrap().bridge().apply(&rules, switch.now()).unwrap();
        (switch, far)
    }

    /// What becomes of a packet-out: the ports that send it, or why none does.
    fn inject(switch: &Switch, text: &str) -> Result<Vec<u16>, DropReason> {
        let text = text.replace("FRAME", FRAME);
        let packet = parse_packet_out(&text, &ParseContext::default()).unwrap();
        let done = switch.on(DEFAULT_BRIDGE).unwrap().inject(packet).unwrap();
        let snapshot = switch.on(DEFAULT_BRIDGE).unwrap().bridge().snapshot();
        let of = |port_no| snapshot.all_ports().by_port_no(port_no).unwrap().1.of_port.0;
        match done.dropped {
            Some(reason) => Err(reason),
            None => Ok(done.sent_to.into_iter().map(of).collect()),
        }
    }

    #[test]
    fn a_packet_out_is_sent_and_says_where_or_why_not() {
        let (switch, far) = switch(&["table=1,priority=5,reg1=7,actions=output:3"]);
        for (text, expected) in [
            ("packet=FRAME,actions=output:2,output:3", Ok(vec![2, 3])),
            ("packet=FRAME,actions=FLOOD", Ok(vec![1, 2, 3])),
            ("packet=FRAME,actions=NORMAL", Ok(vec![1, 2, 3])),
            ("in_port=2,packet=FRAME,actions=FLOOD", Ok(vec![1, 3])),
            ("in_port=2,packet=FRAME,actions=IN_PORT", Ok(vec![2])),
            ("in_port=2,packet=FRAME,actions=TABLE", Ok(vec![1, 3])),
            ("reg1=7,packet=FRAME,actions=resubmit(,1)", Ok(vec![3])),
            ("packet=FRAME,actions=resubmit(,1)", Err(DropReason::TableMiss)),
            ("packet=FRAME,actions=drop", Err(DropReason::RuleDrop)),
            ("packet=FRAME,actions=9", Err(DropReason::NoOutput)),
            ("in_port=2,packet=FRAME,actions=2", Err(DropReason::NoOutput)),
            ("packet=FRAME,actions=CONTROLLER", Err(DropReason::NoController)),
        ] {
            assert_eq!(inject(&switch, text), expected, "{text}");
        }
        let frame = far[1].sent().remove(0).bytes;
        assert_eq!(frame[..2], [0xff, 0xff]);
    }

    #[test]
    fn a_packet_out_counts_at_rules_tables_and_egress_and_at_no_ingress() {
        let (switch, _far) = switch(&[]);
        inject(&switch, "in_port=1,packet=FRAME,actions=TABLE,resubmit(,1)").unwrap();
        let tables = switch.policy().lookups();
        let at = |n| TableRef {
            bridge: switch.on(DEFAULT_BRIDGE).unwrap().bridge().id(),
            table: TableId::new(n).unwrap(),
        };
        let of = |n| tables.get(at(n));
        assert_eq!((of(0), of(1), of(2)), ((1, 1), (1, 0), (0, 0)));
        let every = FlowMod::new(flow_mod::Command::Delete, 0, Match::any(), Vec::new());
        let (mut walk, mut totals) =
            (switch.on(DEFAULT_BRIDGE).unwrap().bridge().walk(&every), Vec::new());
        while walk.next_slice(|normal| totals.push(normal.value.stats.totals())) {}
        assert_eq!(totals, [(1, 16)]);
        let ports = switch.ports();
        assert!(ports.iter().all(|port| port.totals.rx_packets == 0));
        assert_eq!(ports.iter().map(|port| port.totals.tx_packets).collect::<Vec<_>>(), [0, 1, 1]);
    }

    #[test]
    fn a_packet_out_teaches_where_its_sender_is() {
        let (switch, _far) = switch(&[]);
        let hosts =
            |switch: &Switch| switch.on(DEFAULT_BRIDGE).unwrap().bridge().snapshot().macs().len();
        inject(&switch, "packet=FRAME,actions=NORMAL").unwrap();
        assert_eq!(hosts(&switch), 0, "from nowhere");
        inject(&switch, "in_port=3,packet=FRAME,actions=NORMAL").unwrap();
        assert_eq!(hosts(&switch), 1);
    }

    #[test]
    fn a_packet_out_from_nowhere_may_go_round() {
        // Behind the label is IPv4, which only another pass can see.
        let rule = "table=1,ip,nw_dst=5.6.7.8,actions=output:2";
        let (switch, _far) = switch(&[rule]);
        let packet = "ffffffffffff02000000000188470000114045000014000000004000\
                      00000102030405060708";
        let text = format!("packet={packet},actions=pop_mpls:0x0800,resubmit(,1)");
        assert_eq!(inject(&switch, &text), Ok(vec![2]));
        let text = format!("in_port=NONE,packet={packet},actions=pop_mpls:0x0800,NORMAL");
        assert_eq!(inject(&switch, &text), Ok(vec![1, 2, 3]));
        assert!(
            switch
                .on(DEFAULT_BRIDGE)
                .unwrap()
                .bridge()
                .snapshot()
                .ports()
                .get(OfPort::NONE)
                .is_none()
        );
    }
}

//! The reasons for which a frame is dropped, each with a name for programs and a sentence for humans.

use std::fmt;

macro_rules! reasons {
    ($( $id:ident $name:literal $sentence:literal; )*) => {
        /// Why a frame was dropped. The datapath counts dropped frames by port and reason (`ofctl drops`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $( #[doc = $sentence] $id, )*
        }

        impl DropReason {
            /// Every reason, in the order of the variants: the reason at index `n` has the discriminant `n`.
            pub const ALL: &'static [Self] = &[$( Self::$id, )*];

            /// The name that `ofctl drops`, JSON output and metrics use, such as `table_miss`.
            pub fn name(self) -> &'static str {
                match self { $( Self::$id => $name, )* }
            }

            /// What happened to the frame, in English, lower case, without full stop.
            pub fn sentence(self) -> &'static str {
                match self { $( Self::$id => $sentence, )* }
            }
        }
    };
}

reasons! {
    Runt "runt" "the frame is shorter than an Ethernet header";
    TableMiss "table_miss" "no rule of the table matches";
    RuleDrop "rule_drop" "the rule that matched has no output";
    NoOutput "no_output" "every output that the rules name leads nowhere: the ingress port, or a port that does not exist";
    NoPatchPeer "no_patch_peer" "the patch port's peer does not exist, or does not name this port as its peer";
    ReservedMulticast "reserved_multicast" "the destination is a link-local address (01:80:c2:00:00:0x and the like) that switches do not forward";
    VlanNotAllowed "vlan_not_allowed" "the ingress port does not carry the frame's VLAN";
    PartialVlan "partial_vlan" "the frame ends inside its VLAN tag";
    Fragment "fragment" "the packet is an IP fragment, and the bridge is set to drop fragments";
    SamePort "same_port" "the destination was learned on the port that the frame came in on";
    OwnAddress "own_address" "the source is the address of the switch's own host, and the frame came in at another port than the host's";
    Storm "storm" "the ingress port floods more frames than its storm limit";
    NoFloodTarget "no_flood_target" "there is no other port to flood to";
    PortNoReceive "port_no_receive" "the ingress port is configured not to receive, or down";
    PortNoForward "port_no_forward" "the egress port is configured not to forward";
    Protected "protected" "the ingress port and the egress port are both protected";
    UnknownInPort "unknown_in_port" "the ingress port has been removed";
    TooManyResubmits "too_many_resubmits" "more than 4096 resubmits for one frame";
    RecursionTooDeep "recursion_too_deep" "resubmits or groups nested deeper than 64";
    StackTooDeep "stack_too_deep" "more than 64 kB pushed";
    TooManyLabels "too_many_labels" "more than 3 MPLS labels";
    TooManyActions "too_many_actions" "the rules ask for more steps than one frame may take";
    NatExhausted "nat_exhausted" "no address and port of the range of nat(...) was free for a new connection";
    FragmentOverlap "fragment_overlap" "the fragment overlaps another one of its packet";
    FragmentBudget "fragment_budget" "more fragments wait for the rest of their packets than the source may have";
    RecirculationLimit "recirculation_limit" "the frame went round too often";
    InvalidTtl "invalid_ttl" "the TTL ran out";
    NoLiveBucket "no_live_bucket" "the group has no bucket that is alive";
    UnknownGroup "unknown_group" "the group does not exist";
    Meter "meter" "the packets are more than the rate of a meter allows";
    NoController "no_controller" "the rules ask for a controller and none is connected";
    ControllerQueueFull "controller_queue_full" "more packets for controllers wait than there is room for";
    UpcallBudget "upcall_budget" "too many new flows from this port at once";
    TxQueueFull "tx_queue_full" "the egress queue is full";
    TxLinkDown "tx_link_down" "the egress port is down";
    ExceedsMtu "exceeds_mtu" "the frame is longer than the egress port can send: its MTU leaves room for one 802.1Q tag, not for an 802.1ad tag or a second one";
    TxOffload "tx_offload" "the frame's segmentation or checksum cannot be completed";
    TxError "tx_error" "the egress port refused the frame";
    RxTruncated "rx_truncated" "the frame did not fit its receive slot";
    RxRingFull "rx_ring_full" "the receive ring was full";
    RxError "rx_error" "the kernel handed over a frame that cannot be read";
    TunnelNoRemote "tunnel_no_remote" "the tunnel port sends to the address in tun_dst, and no rule has written one";
    TunnelToSelf "tunnel_to_self" "the tunnel's remote end is this end itself: remote_ip is an address of the host, or tun_dst is as the frame brought it";
    TunnelNoRoute "tunnel_no_route" "the host has no way to the tunnel's remote end";
    TunnelRefused "tunnel_refused" "a firewall or a route of the host refuses what the tunnel port sends";
    TunnelLoop "tunnel_loop" "the route to the tunnel's remote end leads through a port of this switch";
    TunnelEcn "tunnel_ecn" "the outer header says that there is congestion, and the packet's sender would not hear of it (RFC 6040)";
    TunnelHeader "tunnel_header" "the tunnel's header is damaged, or asks for what this end does not know";
    ExceedsPathMtu "exceeds_path_mtu" "the frame is longer than the way to the tunnel's remote end allows";
}

impl DropReason {
    /// How many reasons there are: the length of an array with one counter for each.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_for_troubleshooting_has_every_reason() {
        let page = include_str!("../../../docs/troubleshooting.md");
        let table = page.split("## Reasons for drops").nth(1).expect("the table");
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let names: Vec<&str> =
            rows.map(|(name, _)| name).filter(|name| !name.contains(' ')).collect();
        let reasons: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names, reasons);
    }
}

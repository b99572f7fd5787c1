//! Words of the language, each with its text for users: the names of actions here, and the attributes of rules,
//! groups and buckets beside their parsers.
//!
//! A parser looks a word up with `from_name` and distinguishes all variants, so a new word is a line of its
//! table, which does not compile without a text and an example. [`manual`](crate::manual) makes `ofctl help`
//! and docs/rules.md of the tables.

/// What users read about a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// The word, and behind it other words of the same meaning.
    pub(crate) names: &'static [&'static str],
    /// How the word is written: `output:PORT`. Capitals stand for what the user fills in.
    pub(crate) form: &'static str,
    /// Whole sentences, each line with a blank in front. Backticks stand around words of the language.
    pub(crate) meaning: &'static str,
    /// A command line without the word `ofctl` in front: `add-flow "actions=drop"`.
    pub(crate) example: &'static str,
}

/// Declares an enum whose variants are words. Each line: doc comment (the text for
/// users), variant, names, form, example.
macro_rules! vocabulary {
    ($(#[$outer:meta])* $vis:vis enum $type:ident {
        $( $(#[doc = $meaning:literal])+ $id:ident: $($name:literal)|+, $form:literal, $example:literal; )*
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $type {
            $( $(#[doc = $meaning])+ $id, )*
        }

        impl $type {
            /// Every word, in the order of the table.
            $vis const ALL: &[Self] = &[$( Self::$id, )*];

            /// The word with this name, in lower case; `None` if there is none.
            #[allow(dead_code, reason = "some vocabularies are looked up by other means")]
            $vis fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( $($name)|+ => Some(Self::$id), )*
                    _ => None,
                }
            }

            /// What users read about the word.
            $vis fn description(self) -> $crate::text::vocabulary::Description {
                match self {
                    $( Self::$id => $crate::text::vocabulary::Description {
                        names: &[$($name),+],
                        form: $form,
                        meaning: concat!($($meaning),+),
                        example: $example,
                    }, )*
                }
            }

            /// All names of all words.
            #[allow(dead_code, reason = "some vocabularies are looked up by other means")]
            $vis fn names() -> impl Iterator<Item = &'static str> {
                Self::ALL.iter().flat_map(|word| word.description().names).copied()
            }
        }
    };
}

pub(super) use vocabulary;

#[rustfmt::skip]
vocabulary! {
    /// Names an action, as a user writes it behind `actions=`.
    pub(crate) enum ActionName {
        /// Sends a copy of the packet, as it is at this point, to a port: a number, a name, or a reserved port.
        /// The word `output:` can be left out. `output:FIELD[a..b]` takes the number from a field.
        /// `output(port=PORT,max_len=N)` cuts the copy off behind N bytes, at least 14; a copy for a tunnel
        /// port is cut off in front of the tunnel. Patch ports take whole packets only. A copy never goes back
        /// to the ingress port: that is `IN_PORT`.
        Output: "output", "output:PORT, output:FIELD[a..b], output(port=PORT,max_len=BYTES)",
            "add-flow \"in_port=1,actions=output:2,output(port=3,max_len=64)\"";
        /// Sends the packet to the controllers that want it (docs/controllers.md). If there are
        /// none, and no other action forwards the packet, it is dropped (`no_controller`). They get
        /// whole packets, whatever `max_len` says.
        Controller: "controller", "controller:MAX_LEN, controller(max_len=N,reason=R,id=N,userdata=HEX,pause,meter_id=N)",
            "add-flow \"arp,actions=controller(max_len=64,reason=no_match)\"";
        /// Sends the packet through a queue of a port, as `set_queue` describes.
        Enqueue: "enqueue", "enqueue:PORT:QUEUE", "add-flow \"udp,actions=enqueue:2:1\"";
        /// Chooses the queue of later outputs. Queue N of a network device is class 1:N+1, in
        /// hexadecimal, of its queueing discipline with the handle 1: (tc-htb(8), tc-prio(8)). TAP
        /// devices and tunnels have no queues (docs/ports.md).
        SetQueue: "set_queue", "set_queue:QUEUE", "add-flow \"udp,actions=set_queue:1,output:2,pop_queue\"";
        /// Goes back to the queue that the packet had when it came, or when the latest `ct(table=...)` or other
        /// recirculation brought it back.
        PopQueue: "pop_queue", "pop_queue", "add-flow \"udp,actions=set_queue:1,output:2,pop_queue\"";
        /// Sends the packet through the buckets of a group, as the type of the group says.
        Group: "group", "group:ID", "add-flow \"ip,actions=group:1\"";
        /// Sends the packet through a meter, which drops it or changes its DSCP if there are too many. Stands
        /// in front of all other actions. OpenFlow 1.3 and later have it.
        Meter: "meter", "meter:ID", "-O OpenFlow13 add-flow \"ip,actions=meter:1,output:2\"";
        /// Sets the VLAN id of the outermost tag, 0 to 4095. A frame without a tag gets one.
        ModVlanVid: "mod_vlan_vid", "mod_vlan_vid:VLAN", "add-flow \"in_port=1,actions=mod_vlan_vid:10,output:2\"";
        /// Sets the priority of the outermost tag, 0 to 7. A frame without a tag gets one, with VLAN id 0.
        ModVlanPcp: "mod_vlan_pcp", "mod_vlan_pcp:PRIORITY", "add-flow \"in_port=1,actions=mod_vlan_pcp:5,output:2\"";
        /// Sets the VLAN id of the outermost tag, 0 to 4095. A frame without a tag stays as it is.
        SetVlanVid: "set_vlan_vid", "set_vlan_vid:VLAN", "-O OpenFlow13 add-flow \"dl_vlan=10,actions=set_vlan_vid:20,output:2\"";
        /// Sets the priority of the outermost tag, 0 to 7. A frame without a tag stays as it is.
        SetVlanPcp: "set_vlan_pcp", "set_vlan_pcp:PRIORITY", "-O OpenFlow13 add-flow \"dl_vlan=10,actions=set_vlan_pcp:5,output:2\"";
        /// Removes the outermost VLAN tag, if there is one.
        StripVlan: "strip_vlan" | "pop_vlan", "strip_vlan", "add-flow \"dl_vlan=10,actions=strip_vlan,output:2\"";
        /// Puts a tag with VLAN id 0 and priority 0 in front. TPID is 0x8100 (802.1Q) or 0x88a8 (802.1ad).
        PushVlan: "push_vlan", "push_vlan:TPID",
            "-O OpenFlow13 add-flow \"in_port=1,actions=push_vlan:0x8100,set_field:4106->vlan_vid,output:2\"";
        /// Sets the Ethernet source address.
        ModDlSrc: "mod_dl_src", "mod_dl_src:MAC", "add-flow \"in_port=1,actions=mod_dl_src:02:00:00:00:00:01,output:2\"";
        /// Sets the Ethernet destination address.
        ModDlDst: "mod_dl_dst", "mod_dl_dst:MAC", "add-flow \"in_port=1,actions=mod_dl_dst:02:00:00:00:00:02,output:2\"";
        /// Sets the IPv4 source address, and adjusts the checksums.
        ModNwSrc: "mod_nw_src", "mod_nw_src:IPV4", "add-flow \"ip,actions=mod_nw_src:10.0.0.1,output:2\"";
        /// Sets the IPv4 destination address, and adjusts the checksums.
        ModNwDst: "mod_nw_dst", "mod_nw_dst:IPV4", "add-flow \"ip,actions=mod_nw_dst:10.0.0.2,output:2\"";
        /// Sets the DSCP of IPv4 or IPv6. The number is the TOS byte: the DSCP times 4, 0 to 252.
        ModNwTos: "mod_nw_tos", "mod_nw_tos:TOS", "add-flow \"ip,actions=mod_nw_tos:184,output:2\"";
        /// Sets the ECN bits of IPv4 or IPv6, 0 to 3.
        ModNwEcn: "mod_nw_ecn", "mod_nw_ecn:ECN", "add-flow \"ip,actions=mod_nw_ecn:3,output:2\"";
        /// Sets the TTL of IPv4 or the hop limit of IPv6, 0 to 255 hops.
        ModNwTtl: "mod_nw_ttl" | "set_nw_ttl", "mod_nw_ttl:TTL", "add-flow \"ip,actions=mod_nw_ttl:64,output:2\"";
        /// Sets the source port of TCP, UDP or SCTP, 0 to 65535, and adjusts the checksum.
        ModTpSrc: "mod_tp_src", "mod_tp_src:PORT", "add-flow \"tcp,actions=mod_tp_src:80,output:2\"";
        /// Sets the destination port of TCP, UDP or SCTP, 0 to 65535, and adjusts the checksum.
        ModTpDst: "mod_tp_dst", "mod_tp_dst:PORT", "add-flow \"tcp,tcp_dst=80,actions=mod_tp_dst:8080,output:2\"";
        /// Writes a value into a field, or into the bits of it that the mask selects. The
        /// packet must have the field.
        SetField: "set_field", "set_field:VALUE[/MASK]->FIELD", "add-flow \"ip,actions=set_field:10.0.0.2->ip_dst,output:2\"";
        /// Writes a number into bits of a field. Behind the field stand the lowest and the highest bit; `[]` is
        /// all of them.
        Load: "load", "load:NUMBER->FIELD[a..b]", "add-flow \"actions=load:5->reg0[0..15],resubmit(,1)\"";
        /// Copies bits of one field to as many bits of another.
        Move: "move", "move:FIELD[a..b]->FIELD[a..b]", "add-flow \"ip,actions=move:ip_src[0..15]->reg0[0..15],resubmit(,1)\"";
        /// Puts bits of a field on the packet's stack. Tables share the stack; it is
        /// empty when a packet arrives.
        Push: "push", "push:FIELD[a..b]", "add-flow \"ip,actions=push:ip_src[],pop:reg0[],resubmit(,1)\"";
        /// Takes the value that was pushed last from the packet's stack, and writes it into bits of a field.
        Pop: "pop", "pop:FIELD[a..b]", "add-flow \"ip,actions=push:ip_src[],pop:reg0[],resubmit(,1)\"";
        /// Lowers the TTL of IPv4 or the hop limit of IPv6 by one. A packet whose TTL is 0 or 1 is dropped
        /// (`invalid_ttl`), or goes to the controllers with these ids.
        DecTtl: "dec_ttl", "dec_ttl, dec_ttl(ID,...)", "add-flow \"ip,actions=dec_ttl,output:2\"";
        /// Sets the label of the outermost MPLS entry, 0 to 1048575.
        SetMplsLabel: "set_mpls_label", "set_mpls_label:LABEL", "add-flow \"mpls,actions=set_mpls_label:100,output:2\"";
        /// Sets the traffic class of the outermost MPLS entry, 0 to 7.
        SetMplsTc: "set_mpls_tc", "set_mpls_tc:CLASS", "add-flow \"mpls,actions=set_mpls_tc:5,output:2\"";
        /// Sets the TTL of the outermost MPLS entry, 0 to 255 hops.
        SetMplsTtl: "set_mpls_ttl", "set_mpls_ttl:TTL", "add-flow \"mpls,actions=set_mpls_ttl:64,output:2\"";
        /// Lowers the TTL of the outermost MPLS entry by one. A packet whose TTL is 0
        /// or 1 is dropped (`invalid_ttl`).
        DecMplsTtl: "dec_mpls_ttl", "dec_mpls_ttl", "add-flow \"mpls,actions=dec_mpls_ttl,output:2\"";
        /// Puts an MPLS entry in front of the network header. ETHERTYPE, 0x8847 (unicast) or 0x8848
        /// (multicast), becomes the frame's EtherType.
        PushMpls: "push_mpls", "push_mpls:ETHERTYPE", "add-flow \"ip,actions=push_mpls:0x8847,set_mpls_label:100,output:2\"";
        /// Removes the outermost MPLS entry. ETHERTYPE becomes the frame's EtherType: of
        /// what stands behind the entry.
        PopMpls: "pop_mpls", "pop_mpls:ETHERTYPE", "add-flow \"mpls,mpls_bos=1,actions=pop_mpls:0x0800,output:2\"";
        /// Looks the packet up in a table, carries out the rule found there, and goes on behind this action.
        /// Without TABLE, the table of this rule is meant; PORT is the ingress port that the lookup sees. A
        /// packet takes at most 4,096 resubmits, nested at most 64 deep.
        Resubmit: "resubmit", "resubmit(PORT,TABLE), resubmit(,TABLE), resubmit:PORT", "add-flow \"ip,actions=resubmit(,1),output:2\"";
        /// Carries out actions on a copy of the packet. Changes of the copy do not reach the actions behind.
        Clone: "clone", "clone(ACTION,...)", "add-flow \"ip,actions=clone(mod_nw_dst:10.0.0.9,output:3),output:2\"";
        /// Sets a bit to 1 if the packet is longer than BYTES, else to 0. The Ethernet header
        /// counts, VLAN tags do not.
        CheckPktLarger: "check_pkt_larger", "check_pkt_larger(BYTES)->FIELD[a]",
            "add-flow \"ip,actions=check_pkt_larger(1514)->reg0[0],resubmit(,1)\"";
        /// Writes the key that the next tunnel port is to send, 0 to 0xffffffff: `tun_id`. A larger number
        /// makes it a `set_tunnel64`.
        SetTunnel: "set_tunnel", "set_tunnel:KEY", "add-flow \"in_port=1,actions=set_tunnel:0x2a,output:2\"";
        /// Writes the key that the next tunnel port is to send, as a number of 64 bits: `tun_id`.
        SetTunnel64: "set_tunnel64", "set_tunnel64:KEY", "add-flow \"in_port=1,actions=set_tunnel64:0x2a,output:2\"";
        /// Looks up the packet's connection in a zone (`connection tracking`). Table N goes on with the packet
        /// and with what was found (`ct_state` and the other fields of connections), while the actions behind
        /// go on without. With `commit`, a connection that the packet begins is remembered, and `exec(...)`
        /// writes its mark and label; `force` begins it anew if its first packet went the other way. The zone
        /// is a number, or 16 bits of a field. A connection that `alg=ftp` (with `tcp`) or `alg=tftp` (with
        /// `udp`) commits tells of connections to come, whose packets are `+rel` (docs/connections.md).
        Ct: "ct", "ct(commit,force,table=N,zone=N,nat(src=RANGE),exec(ACTION,...),alg=ALG)",
            "add-flow \"ip,ct_state=-trk,actions=ct(table=1)\"";
        /// Takes the option `tun_metadataN` away, so that the next tunnel port sends none.
        DeleteField: "delete_field", "delete_field:tun_metadataN", "add-flow \"in_port=1,actions=delete_field:tun_metadata0,output:2\"";
        /// Forgets what is known of the packet's connection.
        CtClear: "ct_clear", "ct_clear", "add-flow \"ip,actions=ct_clear,resubmit(,1)\"";
        /// Makes a rule of the packet, and adds it to table N (1 if there is no `table`), or refreshes it if
        /// it is there. The next packet sees the rule. Each `FIELD[a..b]=FIELD[a..b]` copies bits of the
        /// packet into the rule's match, `FIELD[a..b]` alone copies a field to itself, and `FIELD=VALUE`
        /// matches a value. `load:VALUE->FIELD[a..b]`, `load:FIELD[a..b]->FIELD[a..b]` and
        /// `output:FIELD[a..b]` are the rule's actions. `priority`, `idle_timeout`, `hard_timeout`, `cookie`
        /// and `send_flow_rem` are those of the rule; `fin_idle_timeout` and `fin_hard_timeout` give it a
        /// `fin_timeout`. With `limit=N`, the table gets no more than N rules with the cookie, and the bit
        /// `result_dst` says whether the rule is there. With `delete_learned`, the rules with the cookie are
        /// deleted with the last rule that learns so.
        Learn: "learn", "learn(table=N,FIELD[]=FIELD[],load:VALUE->FIELD[],output:FIELD[])",
            "add-flow \"actions=learn(table=1,hard_timeout=300,NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:in_port),resubmit(,1)\"";
        /// Shortens the timeouts of the rule when a TCP segment with FIN or RST comes. A timeout that is left
        /// out stays, and so does a shorter one.
        FinTimeout: "fin_timeout", "fin_timeout(idle_timeout=SECONDS,hard_timeout=SECONDS)",
            "add-flow \"tcp,idle_timeout=300,actions=fin_timeout(idle_timeout=5),output:2\"";
        /// Writes the number of one of N_LINKS links, from 0 on, into a field. A hash of the fields
        /// (`eth_src`, `symmetric_l4`, `symmetric_l3l4`, `symmetric_l3l4+udp`, `symmetric_l3`, `nw_src`,
        /// `nw_dst`) chooses; the algorithm is `modulo_n`, `hash_threshold`, `hrw` or `iter_hash`. Groups of
        /// the type `select` do more.
        Multipath: "multipath", "multipath(FIELDS,BASIS,ALGORITHM,N_LINKS,ARG,FIELD[a..b])",
            "add-flow \"ip,actions=multipath(symmetric_l4,0,hrw,4,0,reg0[0..1]),resubmit(,1)\"";
        /// Outputs to one of several ports that are up: the first one (`active_backup`), or one that a hash of
        /// the fields chooses (`hrw`). The fields are those of `multipath`.
        Bundle: "bundle", "bundle(FIELDS,BASIS,ALGORITHM,ofport,members:PORT,...)",
            "add-flow \"in_port=1,actions=bundle(eth_src,0,active_backup,ofport,members:2,3)\"";
        /// Chooses a port as `bundle` does, and writes its number into at least 16 bits of a field.
        BundleLoad: "bundle_load", "bundle_load(FIELDS,BASIS,ALGORITHM,ofport,FIELD[a..b],members:PORT,...)",
            "add-flow \"in_port=1,actions=bundle_load(eth_src,0,hrw,ofport,reg0[0..15],members:2,3),output:reg0[0..15]\"";
        /// Hands a part of the packets, N of 65535, to a collector of flow records (IPFIX). This switch has no
        /// collectors: the rule counts its packets, and nothing else happens.
        Sample: "sample", "sample(probability=N,collector_set_id=N,obs_domain_id=N,...)",
            "add-flow \"ip,actions=sample(probability=100,collector_set_id=1),output:2\"";
        /// Ends the pipeline for the packet: the actions behind, and those behind the resubmits
        /// that led here, are skipped.
        Exit: "exit", "exit", "add-flow \"arp,actions=output:2,exit\"";
        /// Holds bytes for whoever reads the rule. The packet stays as it is.
        Note: "note", "note:HEX.HEX...", "add-flow \"arp,actions=note:01.02.03,output:2\"";
        /// Makes the rule an alternative of clause CLAUSE, 1 to CLAUSES, of the conjunction ID. A packet for
        /// which each of the CLAUSES clauses, 2 to 64, has an alternative that matches gets ID as its
        /// `conj_id`, and the actions of the rule that matches `conj_id=ID`. All alternatives need the same
        /// priority. Only `note` and further conjunctions may stand beside this action.
        Conjunction: "conjunction", "conjunction(ID,CLAUSE/CLAUSES)",
            "add-flow \"ip,nw_src=10.0.0.0/24,actions=conjunction(7,1/2)\"";
        /// Empties the packet's action set.
        ClearActions: "clear_actions", "clear_actions", "-O OpenFlow13 add-flow \"arp,actions=clear_actions,goto_table:1\"";
        /// Puts actions into the packet's action set, which is carried out when the pipeline ends. Of two
        /// actions of one kind, the later one replaces the earlier one.
        WriteActions: "write_actions", "write_actions(ACTION,...)",
            "-O OpenFlow13 add-flow \"ip,actions=write_actions(dec_ttl,output:2),goto_table:1\"";
        /// Writes bits of the field `metadata`.
        WriteMetadata: "write_metadata", "write_metadata:VALUE[/MASK]",
            "-O OpenFlow13 add-flow \"ip,actions=write_metadata:0x5/0xff,goto_table:1\"";
        /// Goes on in a later table, and does not come back. The table's number must be higher
        /// than that of the rule.
        GotoTable: "goto_table", "goto_table:TABLE", "-O OpenFlow13 add-flow \"ip,actions=goto_table:1\"";
        /// Drops the packet. The word stands alone. A rule that forwards nothing drops, too.
        Drop: "drop", "drop", "add-flow \"ip,nw_src=10.0.0.9,actions=drop\"";
        /// Forwards as a learning bridge with VLANs does: to the port behind which the destination was seen, or
        /// else to all.
        Normal: "normal", "NORMAL", "add-flow \"priority=0,actions=NORMAL\"";
        /// Sends to all ports but the ingress port and those with the flag `no-flood`. VLANs have no effect.
        Flood: "flood", "FLOOD", "add-flow \"arp,actions=FLOOD\"";
        /// Sends to all ports but the ingress port.
        All: "all", "ALL", "add-flow \"arp,actions=ALL\"";
        /// Sends back to the ingress port.
        InPort: "in_port", "IN_PORT", "add-flow \"icmp,actions=IN_PORT\"";
        /// Sends to the port `internal:BRIDGE`, which connects the host that the switch runs on.
        Local: "local", "LOCAL", "add-flow \"ip,nw_dst=10.0.0.254,actions=LOCAL\"";
        /// Sends the packet of a `packet-out` through the tables, beginning with table 0.
        Table: "table", "TABLE", "packet-out \"in_port=1,packet=ffffffffffff02000000000108060001,actions=TABLE\"";
    }
}

//! The difference between what the rules made of the packet and what was emitted so far.
//!
//! The order is the one in which the datapath can still find each header: Ethernet, labels that are
//! to go, network, transport, labels that are to come, tags. A rewrite writes the fields that differ,
//! and of each the bits that are in the mask: those were looked at or set, so every packet of the
//! cached flow agrees in the rest.

use super::{TrackedKey, is_ip, labels, tags};
use flow::key::{Headers, VLAN_CFI};
use flow::types::mac_bits;
use flow::verdict::{AddressSums, DpAction, Rewrite, Transport};
use packet::wire::eth_type::{self, is_mpls};
use packet::wire::{icmpv6_type, ip_proto};

impl TrackedKey {
    /// Appends to `out` the actions that make of the packet what the rules have made of it, and notes that they
    /// did. `sums` is how changed addresses are treated in checksums.
    #[inline]
    pub(in crate::policy::xlate) fn commit(&mut self, out: &mut Vec<DpAction>, sums: AddressSums) {
        if self.key.headers != self.base {
            Commit { packet: self, out, sums }.all();
        }
    }
}

struct Commit<'a> {
    packet: &'a mut TrackedKey,
    out: &'a mut Vec<DpAction>,
    sums: AddressSums,
}

impl Commit<'_> {
    fn all(&mut self) {
        self.commit_eth();
        let labels_go = is_mpls(self.packet.base.dl_type.get())
            && !is_mpls(self.packet.key.headers.dl_type.get());
        if labels_go {
            self.commit_mpls();
        }
        self.commit_network();
        self.commit_ports();
        self.commit_icmp();
        if !labels_go {
            self.commit_mpls();
        }
        self.commit_tags();
    }

    fn emit(&mut self, action: DpAction) {
        self.out.push(action);
    }

    /// The rewrite of one field, from what has been emitted so far to what the rules made of it. `between` is
    /// `Rewrite::between` for the field's width, and `field` takes the field's value or mask out of headers.
    fn rewrite<T, R>(&self, between: fn(T, T, T) -> R, field: impl Fn(&Headers) -> T) -> R {
        let TrackedKey { base, key, mask, .. } = &*self.packet;
        between(field(base), field(&key.headers), field(&mask.bits.headers))
    }

    fn commit_eth(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        if key.dl_src == base.dl_src && key.dl_dst == base.dl_dst {
            return;
        }
        let action = DpAction::SetEth {
            src: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.dl_src)),
            dst: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.dl_dst)),
        };
        (self.packet.base.dl_src, self.packet.base.dl_dst) = (key.dl_src, key.dl_dst);
        self.emit(action);
    }

    fn commit_network(&mut self) {
        // Protocol 0 is how a key says that there is no sound network header.
        self.packet.mask.bits.headers.nw_proto = u8::MAX;
        if self.packet.key.headers.nw_proto == 0 {
            return;
        }
        match self.packet.base.dl_type.get() {
            eth_type::IPV4 => self.commit_ipv4(),
            eth_type::IPV6 => {
                self.commit_nd_ext();
                self.commit_nd();
                self.commit_ipv6();
            }
            eth_type::ARP => self.commit_arp(),
            _ => {}
        }
    }

    fn commit_ipv4(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let same = key.nw_addrs[..8] == base.nw_addrs[..8]
            && key.nw_tos == base.nw_tos
            && key.nw_ttl == base.nw_ttl;
        if same {
            return;
        }
        let action = DpAction::SetIpv4 {
            src: self.rewrite(Rewrite::<u32>::between, Headers::nw_src),
            dst: self.rewrite(Rewrite::<u32>::between, Headers::nw_dst),
            tos: self.rewrite(Rewrite::<u8>::between, |h| h.nw_tos),
            ttl: self.rewrite(Rewrite::<u8>::between, |h| h.nw_ttl),
            sums: self.sums,
        };
        self.packet.base.nw_addrs = key.nw_addrs;
        (self.packet.base.nw_tos, self.packet.base.nw_ttl) = (key.nw_tos, key.nw_ttl);
        self.emit(action);
    }

    fn commit_ipv6(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let same = key.nw_addrs == base.nw_addrs
            && key.nw_tos == base.nw_tos
            && key.nw_ttl == base.nw_ttl
            && key.ipv6_label == base.ipv6_label;
        if same {
            return;
        }
        let addr = u128::from_be_bytes;
        let action = DpAction::SetIpv6 {
            src: self.rewrite(Rewrite::<u128>::between, |h| addr(h.ipv6_src())),
            dst: self.rewrite(Rewrite::<u128>::between, |h| addr(h.ipv6_dst())),
            label: self.rewrite(Rewrite::<u32>::between, |h| h.ipv6_label.get()),
            tclass: self.rewrite(Rewrite::<u8>::between, |h| h.nw_tos),
            hop_limit: self.rewrite(Rewrite::<u8>::between, |h| h.nw_ttl),
            sums: self.sums,
        };
        self.packet.base.nw_addrs = key.nw_addrs;
        (self.packet.base.nw_tos, self.packet.base.nw_ttl) = (key.nw_tos, key.nw_ttl);
        self.packet.base.ipv6_label = key.ipv6_label;
        self.emit(action);
    }

    fn commit_arp(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let same = key.nw_addrs[..8] == base.nw_addrs[..8]
            && key.nw_proto == base.nw_proto
            && key.arp_sha == base.arp_sha
            && key.arp_tha == base.arp_tha;
        if same {
            return;
        }
        let action = DpAction::SetArp {
            op: self.rewrite(Rewrite::<u16>::between, |h| u16::from(h.nw_proto)),
            spa: self.rewrite(Rewrite::<u32>::between, Headers::nw_src),
            tpa: self.rewrite(Rewrite::<u32>::between, Headers::nw_dst),
            sha: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.arp_sha)),
            tha: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.arp_tha)),
        };
        self.packet.base.nw_addrs = key.nw_addrs;
        self.packet.base.nw_proto = key.nw_proto;
        (self.packet.base.arp_sha, self.packet.base.arp_tha) = (key.arp_sha, key.arp_tha);
        self.emit(action);
    }

    /// To be called before [`commit_nd`](Self::commit_nd): an address is written into the option that has its
    /// type then, as in Open vSwitch.
    fn commit_nd_ext(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let same =
            key.nd_reserved == base.nd_reserved && key.nd_options_type == base.nd_options_type;
        if same || !is_nd(key) {
            return;
        }
        let action = DpAction::SetNdExt {
            reserved: self.rewrite(Rewrite::<u32>::between, |h| h.nd_reserved.get()),
            option_type: self.rewrite(Rewrite::<u8>::between, |h| h.nd_options_type),
        };
        self.packet.base.nd_reserved = key.nd_reserved;
        self.packet.base.nd_options_type = key.nd_options_type;
        self.emit(action);
    }

    fn commit_nd(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let same = key.nd_target == base.nd_target
            && key.arp_sha == base.arp_sha
            && key.arp_tha == base.arp_tha;
        if same || !is_nd(key) {
            return;
        }
        let target = u128::from_be_bytes;
        let action = DpAction::SetNd {
            target: self.rewrite(Rewrite::<u128>::between, |h| target(h.nd_target)),
            sll: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.arp_sha)),
            tll: self.rewrite(Rewrite::<u64>::between, |h| mac_bits(h.arp_tha)),
        };
        self.packet.base.nd_target = key.nd_target;
        (self.packet.base.arp_sha, self.packet.base.arp_tha) = (key.arp_sha, key.arp_tha);
        self.emit(action);
    }

    fn commit_ports(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        if (key.tp_src, key.tp_dst) == (base.tp_src, base.tp_dst) || !is_ip(base) {
            return;
        }
        let transport = match key.nw_proto {
            ip_proto::TCP => Transport::Tcp,
            ip_proto::UDP => Transport::Udp,
            ip_proto::SCTP => Transport::Sctp,
            _ => return,
        };
        let action = DpAction::SetPorts {
            transport,
            src: self.rewrite(Rewrite::<u16>::between, |h| h.tp_src.get()),
            dst: self.rewrite(Rewrite::<u16>::between, |h| h.tp_dst.get()),
        };
        (self.packet.base.tp_src, self.packet.base.tp_dst) = (key.tp_src, key.tp_dst);
        self.emit(action);
    }

    fn commit_icmp(&mut self) {
        let (key, base) = (&self.packet.key.headers, &self.packet.base);
        let is_icmp = matches!(
            (base.dl_type.get(), key.nw_proto),
            (eth_type::IPV4, ip_proto::ICMP) | (eth_type::IPV6, ip_proto::ICMPV6)
        );
        if (key.tp_src, key.tp_dst) == (base.tp_src, base.tp_dst) || !is_icmp {
            return;
        }
        let low = |v: u16| v as u8;
        let action = DpAction::SetIcmp {
            icmp_type: self.rewrite(Rewrite::<u8>::between, |h| low(h.tp_src.get())),
            code: self.rewrite(Rewrite::<u8>::between, |h| low(h.tp_dst.get())),
        };
        (self.packet.base.tp_src, self.packet.base.tp_dst) = (key.tp_src, key.tp_dst);
        self.emit(action);
    }

    /// Pops entries of `base` down to the common bottom, pushes what `key` has on top.
    fn commit_mpls(&mut self) {
        let mut base_n = labels::count(&self.packet.base);
        let key = self.packet.key.headers;
        let key_n = labels::count(&key);
        if (base_n, self.packet.base.mpls_lse) == (key_n, key.mpls_lse) {
            return;
        }
        // An entry is written whole, whatever part of it was set.
        self.packet.mask.bits.headers.mpls_lse.iter_mut().for_each(|m| m.set(u32::MAX));
        let mut common = (1..=base_n.min(key_n))
            .take_while(|i| self.packet.base.mpls_lse[base_n - i] == key.mpls_lse[key_n - i])
            .count();
        while base_n > common {
            if base_n - 1 == common && key_n > common {
                let lse = key.mpls_lse[key_n - base_n];
                self.packet.base.mpls_lse[0] = lse;
                self.emit(DpAction::SetMpls(Rewrite::<u32>::new(lse.get(), u32::MAX)));
                common += 1;
            } else {
                // Until the last entry goes, the frame is still MPLS.
                let dl_type = key.dl_type.get();
                let ethertype =
                    if !is_mpls(dl_type) && base_n > 1 { eth_type::MPLS } else { dl_type };
                self.emit(DpAction::PopMpls { ethertype });
                labels::pop(&mut self.packet.base, base_n, ethertype);
                base_n -= 1;
            }
        }
        while base_n < key_n {
            let lse = key.mpls_lse[key_n - base_n - 1];
            let ethertype = key.dl_type.get();
            self.emit(DpAction::PushMpls { lse: lse.get(), ethertype });
            labels::push(&mut self.packet.base, base_n, ethertype);
            self.packet.base.mpls_lse[0] = lse;
            base_n += 1;
        }
    }

    /// Tags are replaced from the outside to the common inside.
    fn commit_tags(&mut self) {
        let (key, base) = (tags::tags(&self.packet.key.headers), tags::tags(&self.packet.base));
        if key == base {
            return;
        }
        self.packet.mark_tags();
        let (key_n, base_n) = (tags::count(&key), tags::count(&base));
        let common =
            (1..=base_n.min(key_n)).take_while(|i| base[base_n - i] == key[key_n - i]).count();
        for _ in common..base_n {
            self.emit(DpAction::PopVlan);
        }
        for tag in key[..key_n - common].iter().rev() {
            self.emit(DpAction::PushVlan { tpid: tag.tpid, tci: tag.tci & !VLAN_CFI });
        }
        tags::set_tags(&mut self.packet.base, key);
    }
}

/// A neighbour solicitation or advertisement.
fn is_nd(key: &Headers) -> bool {
    key.nw_proto == ip_proto::ICMPV6
        && key.tp_dst.get() == 0
        && u8::try_from(key.tp_src.get()).is_ok_and(icmpv6_type::is_nd)
}

// Frames into tunnels, and out of them. VXLAN and Geneve without options over IPv4.
#pragma once

#define ETHERNET_SIZE 14
// Bytes of the outer headers, from the outer Ethernet header on.
#define OUTER_SIZE (ETHERNET_SIZE + WRAP_SIZE)
#define VXLAN_FLAGS 0x08000000
#define GENEVE_OF_ETHERNET 0x00006558
#define BFD_PORT 3784
#define CHANGES_ECN 1     // this bit of the TOS is set in ECT(1) and CE, which would go into the packet inside (RFC 6040 §4.2)
// linux/bpf.h of Linux 6.3: BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and BPF_F_ADJ_ROOM_DECAP_L3_IPV6
#define DECAP_IPV4 (1ull << 7)
#define DECAP_IPV6 (1ull << 8)
#define AF_INET 2
#define PACKET_FOR_HOST 0 // linux/if_packet.h: PACKET_HOST

INLINE __u64 mix(__u64 hash, __u64 word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
}

// A hash of the addresses and ports of a packet, which `flow_hash` in ports/src/tunnel/tx.rs computes, too: a
// flow leaves from the same UDP port here and there.
INLINE __u64 hash_packet(struct __sk_buff *skb, __u16 type)
{
    __u64 ip[5] = {}, hash = 0;
    __u8 protocol;
    __u32 ports = 0, transport, is_fragment = 0;
    if (type == BE16(IPV4)) {
        // Begins at offset 4, so that the addresses are aligned.
        if (bpf_skb_load_bytes(skb, ETHERNET_SIZE, (__u8 *)ip + 4, 20))
            return 0;
        hash = mix(hash, ip[2]);
        protocol = ((__u8 *)ip)[13];
        is_fragment = ((__u16 *)ip)[5] & BE16(0x3fff);
        transport = ETHERNET_SIZE + 20;
    } else {
        if (bpf_skb_load_bytes(skb, ETHERNET_SIZE, ip, 40))
            return 0;
        hash = mix(mix(mix(mix(hash, ip[1]), ip[2]), ip[3]), ip[4]);
        protocol = ((__u8 *)ip)[6];
        transport = ETHERNET_SIZE + 40;
    }
    if ((protocol == TCP || protocol == UDP || protocol == SCTP) && !is_fragment &&
        !bpf_skb_load_bytes(skb, transport, &ports, 4))
        hash = mix(hash, ports);
    return hash;
}

// Puts a frame into a tunnel and sends it. Returns what the kernel is to do with it, or `DROP` if the kernel
// cannot put it there. A global function.
__attribute__((noinline)) int wrap(struct __sk_buff *skb, __u32 ifindex, struct wrapping *wrapping)
{
    if (!wrapping)
        return DROP;
    __u8 outer[OUTER_SIZE + ETHERNET_SIZE] = {};
    __u16 *half = (__u16 *)outer;
    __u32 total = skb->len + WRAP_SIZE, ports = wrapping->ports, sum;
    // The kernel writes the outer Ethernet header itself.
    if (bpf_skb_load_bytes(skb, 0, outer + OUTER_SIZE, ETHERNET_SIZE))
        return DROP;
    half[6] = BE16(IPV4);
    __builtin_memcpy(outer + ETHERNET_SIZE, wrapping->header, WRAP_SIZE);
    half[8] = BE16(total);
    // The header that is prepared has the sum of its other words in place of the checksum.
    sum = half[12] + half[8];
    sum = (sum & 0xffff) + (sum >> 16);
    half[12] = ~(sum + (sum >> 16));
    half[17] = wrapping->port[hash_packet(skb, half[31]) % (ports ? ports : 1) & (WRAP_PORTS - 1)];
    half[19] = BE16(total - 20);
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
                  BPF_F_ADJ_ROOM_ENCAP_L2(ETHERNET_SIZE) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
    if (bpf_skb_adjust_room(skb, OUTER_SIZE, BPF_ADJ_ROOM_MAC, flags))
        return DROP;
    bpf_skb_store_bytes(skb, 0, outer, ETHERNET_SIZE, 0);
    bpf_skb_store_bytes(skb, ETHERNET_SIZE, outer + ETHERNET_SIZE, OUTER_SIZE, BPF_F_RECOMPUTE_CSUM);
    skb->mark = wrapping->mark;
    struct bpf_redir_neigh neighbour = { .nh_family = AF_INET, .ipv4_nh = wrapping->next_hop };
    return bpf_redirect_neigh(ifindex, &neighbour, sizeof neighbour, 0);
}

// Whether the checksum of an IPv4 header without options is right, which begins at half-word 7 of a frame.
INLINE int is_header_right(const __u16 *half)
{
    __u32 sum = 0;
#pragma unroll
    for (int i = 7; i < 17; i++)
        sum += half[i];
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

// What a frame has in its key in place of the interface number: that of its tunnel, or 0 if it
// is one for the sockets.
INLINE __u32 find_tunnel(struct __sk_buff *skb)
{
    // The IP header begins at offset 16, so that it is aligned.
    __u64 buffer[7] = {};
    __u8 *frame = (__u8 *)buffer + 2;
    __u16 *half = (__u16 *)frame;
    struct tunnels *all = ONLY(shared_tunnels);
    if (!all || skb->vlan_present || skb->pkt_type != PACKET_FOR_HOST || skb->len < OUTER_SIZE + ETHERNET_SIZE ||
        bpf_skb_load_bytes(skb, 0, frame, OUTER_SIZE))
        return 0;
    __u32 total = skb->len - ETHERNET_SIZE, flags = *(__u32 *)(frame + 42), key = *(__u32 *)(frame + 46), geneve;
    if (half[6] != BE16(IPV4) || frame[14] != 0x45 || frame[23] != UDP || half[10] & BE16(0x3fff) ||
        frame[15] & CHANGES_ECN || BE16(half[8]) != total || BE16(half[19]) != total - 20 ||
        !is_header_right(half))
        return 0;
    geneve = flags == BE32(GENEVE_OF_ETHERNET);
    if ((!geneve && flags != BE32(VXLAN_FLAGS)) || key & BE32(0xff))
        return 0;
    // With a checksum, somebody has to verify it, and the kernel merges datagrams for the sockets: single ones
    // in between would overtake those here.
    if (half[20])
        return 0;
    __u32 src = *(__u32 *)(frame + 26), dst = *(__u32 *)(frame + 30);
    __u64 header = key | (__u64)half[18] << 32 | (__u64)geneve << 48;
    __u64 hash = mix(mix(0, src | (__u64)dst << 32), header);
    for (__u32 i = 0; i < TUNNEL_PROBES; i++) {
        struct tunnel *tunnel = &all->tunnel[(hash + i) & (TUNNELS - 1)];
        __u32 number = READ(tunnel->number);
        if (number && tunnel->src == src && tunnel->dst == dst && tunnel->header == header)
            return number;
    }
    return 0;
}

// Whether the frame inside is one of TCP that ends where its datagram ends. If it does not, there are several
// datagrams, which the kernel has merged. Large frames of UDP are for the sockets: the kernel takes them for
// frames of a tunnel still.
INLINE int is_whole(struct __sk_buff *skb, const struct key *key)
{
    __be16 size;
    if (key->nw_proto != TCP)
        return 0;
    if (key->dl_type == BE16(IPV4))
        return !bpf_skb_load_bytes(skb, OUTER_SIZE + 16, &size, 2) && OUTER_SIZE + 14 + BE16(size) == skb->len;
    return !bpf_skb_load_bytes(skb, OUTER_SIZE + 18, &size, 2) && OUTER_SIZE + 54 + BE16(size) == skb->len;
}

SEC("classifier") int unwrap(struct __sk_buff *skb)
{
    struct conf *conf = ONLY(shared_conf);
    struct frame frame;
    struct key *key = &frame.key.key;
    __u8 ethernet[ETHERNET_SIZE];
    __u32 tunnel = find_tunnel(skb), headers, place;
    if (!conf || !tunnel)
        return NEXT;
    headers = extract_at(skb, OUTER_SIZE, &frame.key);
    if (!headers || (skb->gso_size && !is_whole(skb, key)))
        return NEXT;
    // BFD between the ends of the tunnel is for the switch.
    if (key->nw_proto == UDP && key->tp_dst == BE16(BFD_PORT))
        return NEXT;
    key->ifindex = tunnel;
    key->vlan_tci = 0;
    place = find(skb, &frame, headers, skb->len - OUTER_SIZE);
    if (!place || bpf_skb_load_bytes(skb, OUTER_SIZE, ethernet, ETHERNET_SIZE))
        return NEXT;
    __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO;
    flags |= key->dl_type == BE16(IPV4) ? DECAP_IPV4 : DECAP_IPV6;
    if (bpf_skb_adjust_room(skb, -OUTER_SIZE, BPF_ADJ_ROOM_MAC, flags))
        return NEXT;
    bpf_skb_store_bytes(skb, 0, ethernet, ETHERNET_SIZE, 0);
    return run(skb, place);
}

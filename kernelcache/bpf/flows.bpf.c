// The kernel's part of the flow cache.
//
// `judge` is the filter of a receive ring: it decides whether a frame has a flow here, and leaves that in the
// frame's control block. A frame with a flow does not reach the ring. `execute` is attached to the device's
// ingress, behind the ring, and carries out what `judge` has decided. Both see the same frame one after the
// other, so that each frame is judged once, and no change can come between.
//
// `execute_sent` is attached to the egress of a TAP device that the switch itself has open: what the host sends
// there is what the switch receives. It judges and executes, in front of the descriptor of the switch.
//
// `unwrap` is attached to the ingress of a device by which datagrams of tunnels come. It takes a frame out of
// its datagram, judges and executes, in front of the host's own stack, which gets all other datagrams.
//
// `flood` is attached to nothing: the switch runs it (`BPF_PROG_TEST_RUN`) on a frame that it has received
// itself, and that is to leave by many devices.
//
// `build` beside this file makes the object that the crate contains.

#include <linux/bpf.h>
#include "layout.h"

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)BPF_FUNC_ktime_get_coarse_ns;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)BPF_FUNC_get_smp_processor_id;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 size) =
    (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 size, __u64 flags) =
    (void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_l3_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) =
    (void *)BPF_FUNC_l3_csum_replace;
static long (*const bpf_l4_csum_replace)(void *skb, __u32 offset, __u64 from, __u64 to, __u64 flags) =
    (void *)BPF_FUNC_l4_csum_replace;
static __s64 (*const bpf_csum_diff)(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __u32 seed) =
    (void *)BPF_FUNC_csum_diff;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static long (*const bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect_peer;
static long (*const bpf_redirect_neigh)(__u32 ifindex, void *params, int size, __u64 flags) =
    (void *)BPF_FUNC_redirect_neigh;
static long (*const bpf_skb_adjust_room)(void *skb, __s32 by, __u32 mode, __u64 flags) =
    (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_clone_redirect)(void *skb, __u32 ifindex, __u64 flags) = (void *)BPF_FUNC_clone_redirect;
static long (*const bpf_skb_vlan_push)(void *skb, __be16 tpid, __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*const bpf_skb_vlan_pop)(void *skb) = (void *)BPF_FUNC_skb_vlan_pop;

// An array with values of a type, which the switch maps into its memory.
#define SHARED_ARRAY(name, size, of)                   \
    struct {                                           \
        int (*type)[BPF_MAP_TYPE_ARRAY];               \
        int (*map_flags)[BPF_F_MMAPABLE];              \
        int (*max_entries)[size];                      \
        __u32 *key;                                    \
        of *value;                                     \
    } name SEC(".maps")

SHARED_ARRAY(shared_conf, 1, struct conf);
SHARED_ARRAY(shared_table, 1, struct table);
SHARED_ARRAY(shared_flows, 1, struct flows);
SHARED_ARRAY(shared_programs, 1, struct programs);
SHARED_ARRAY(shared_counts, 1, struct count); // the loader knows how many processors there are
SHARED_ARRAY(shared_floods, FLOOD_LISTS * FLOOD_DEVICES, __s64);
SHARED_ARRAY(shared_tunnels, 1, struct tunnels);

#define ONLY(map)                         \
    ({                                    \
        __u32 zero = 0;                   \
        bpf_map_lookup_elem(&map, &zero); \
    })
#define READ(place) (*(volatile __u64 *)&(place))
#define BE16(n) __builtin_bswap16(n)
#define BE32(n) __builtin_bswap32(n)

// The first nine words of `flow::FlowKey`, in network byte order but for the first.
struct key {
    __u32 ifindex, zero;
    __u8 dl_dst[6];
    __u16 dl_type;
    __u8 dl_src[6];
    __u16 vlan_tci;
    __u8 nw_proto, nw_tos, nw_ttl, nw_frag;
    __u32 ipv6_label;
    __u16 tp_src, tp_dst, tcp_flags, segments;
    __u32 nw_addrs[8];
};

union words {
    __u64 word[KEY_WORDS];
    __u16 half[KEY_WORDS * 4];
    struct key key;
};

#define IPV4 0x0800
#define ARP 0x0806
#define RARP 0x8035
#define IPV6 0x86dd
#define TAG_8021Q 0x8100
#define TAG_8021AD 0x88a8
#define TAG_9100 0x9100
#define MPLS 0x8847
#define MPLS_MULTICAST 0x8848
#define LEAST_TYPE 0x600
#define ICMP 1
#define IGMP 2
#define TCP 6
#define UDP 17
#define SCTP 132
#define FRAGMENT 1
#define LATER_FRAGMENT 2

// Reads the key of a frame, which begins at a constant offset. Returns the size of its headers in bytes, as far
// as they are read, or 0 if the frame is one for the switch: it has headers that the key's nine words do not
// hold, or contradicts itself.
INLINE __u32 extract_at(struct __sk_buff *skb, __u32 start, union words *to)
{
    // The frame begins at offset 2, so that the network header is aligned.
    __u64 buffer[8] = {};
    __u8 *frame = (__u8 *)buffer + 2;
    __u16 *half = (__u16 *)frame;
    struct key *key = &to->key;
    __u32 size = skb->len - start;
    __u64 n = size;
    if (skb->len < start)
        return 0;
    if (n >= 60) {
        n = 60;
        if (bpf_skb_load_bytes(skb, start, frame, 60))
            return 0;
    } else {
        // Without this the compiler compares a copy of the number that the call gets, which
        // the verifier does not see.
        asm volatile("" : "+r"(n));
        if (n < 14 || n > 60 || bpf_skb_load_bytes(skb, start, frame, n))
            return 0;
    }
    __builtin_memset(to, 0, sizeof *to);
    key->ifindex = skb->ifindex;
    to->half[4] = half[0];
    to->half[5] = half[1];
    to->half[6] = half[2];
    to->half[8] = half[3];
    to->half[9] = half[4];
    to->half[10] = half[5];
    key->dl_type = half[6];
    if (skb->vlan_present) {
        if (skb->vlan_proto != BE16(TAG_8021Q))
            return 0;
        key->vlan_tci = BE16((skb->vlan_tci & 0xefff) | 0x1000);
    }
    __u16 type = BE16(half[6]);
    if (type == IPV4) {
        __u32 total = BE16(half[8]), left;
        __u16 fragment = half[10];
        if (frame[14] != 0x45 || n < 34 || total < 20 || 14 + total > size)
            return 0;
        key->nw_tos = frame[15];
        key->nw_ttl = frame[22];
        key->nw_proto = frame[23];
        key->nw_addrs[0] = *(__u32 *)(frame + 26);
        key->nw_addrs[1] = *(__u32 *)(frame + 30);
        if (fragment & BE16(0x3fff)) {
            key->nw_frag = FRAGMENT;
            if (fragment & BE16(0x1fff)) {
                key->nw_frag = FRAGMENT | LATER_FRAGMENT;
                return 34;
            }
        }
        left = total - 20;
        if (key->nw_proto == TCP) {
            __u32 header = n < 54 ? 0 : (frame[46] >> 4) * 4;
            if (header < 20 || header > left)
                return 0;
            key->tp_src = half[17];
            key->tp_dst = half[18];
            key->tcp_flags = half[23] & BE16(0x0fff);
            return 34 + header;
        }
        if (key->nw_proto == UDP) {
            if (left < 8 || n < 42)
                return 0;
            key->tp_src = half[17];
            key->tp_dst = half[18];
            return 42;
        }
        if (key->nw_proto == ICMP) {
            if (left < 8 || n < 42)
                return 0;
            key->tp_src = BE16(frame[34]);
            key->tp_dst = BE16(frame[35]);
            return 42;
        }
        return key->nw_proto == SCTP || key->nw_proto == IGMP ? 0 : 34;
    }
    if (type == IPV6) {
        __u64 rest[2];
        __u16 *transport = (__u16 *)rest;
        __u32 payload = BE16(half[9]), first = *(__u32 *)(frame + 14), header;
        if ((frame[14] >> 4) != 6 || n < 54 || 54 + payload > size)
            return 0;
        key->ipv6_label = first & BE32(0x000fffff);
        key->nw_tos = BE32(first) >> 20;
        key->nw_proto = frame[20];
        key->nw_ttl = frame[21];
        __builtin_memcpy(key->nw_addrs, buffer + 3, 32);
        if (key->nw_proto == TCP) {
            if (payload < 20 || bpf_skb_load_bytes(skb, start + 54, rest, 16))
                return 0;
            header = (((__u8 *)rest)[12] >> 4) * 4;
            if (header < 20 || header > payload)
                return 0;
            key->tcp_flags = transport[6] & BE16(0x0fff);
        } else if (key->nw_proto == UDP) {
            if (payload < 8 || bpf_skb_load_bytes(skb, start + 54, rest, 8))
                return 0;
            header = 8;
        } else {
            return 0; // neighbor discovery, extension headers
        }
        key->tp_src = transport[0];
        key->tp_dst = transport[1];
        return 54 + header;
    }
    if (type == ARP) {
        if (n < 42 || half[7] != BE16(1) || half[8] != BE16(IPV4) || half[9] != BE16(0x0604))
            return 0;
        if (!frame[20])
            key->nw_proto = frame[21];
        to->half[20] = half[14];
        to->half[21] = half[15];
        to->half[22] = half[19];
        to->half[23] = half[20];
        return 42;
    }
    if (type < LEAST_TYPE || type == RARP || type == TAG_8021Q || type == TAG_8021AD || type == TAG_9100 ||
        type == MPLS || type == MPLS_MULTICAST)
        return 0;
    return 14;
}

INLINE __u32 extract(struct __sk_buff *skb, union words *to)
{
    return extract_at(skb, 0, to);
}

#define NO_LIMIT (~0ull)

struct query {
    __u64 word[KEY_WORDS];  // masked
    __u64 hash;
    __u64 generation;
    __u64 size;
    __u64 total;
    __u64 mask_version;
};

// Looks into one bucket. Returns the place of a flow that may be used for this frame, or 0.
// A global function: the verifier looks at it once, whoever calls it.
__attribute__((noinline)) int look_into_bucket(struct query *query)
{
    struct table *entries = ONLY(shared_table);
    struct flows *all = ONLY(shared_flows);
    if (!query || !entries || !all)
        return 0;
    __u32 signature = query->hash >> 32;
    __u64 *bucket = entries->bucket[query->hash & (BUCKETS - 1)];
    for (int i = 0; i < WAYS; i++) {
        __u64 entry = READ(bucket[i]);
        if (!entry || (__u32)(entry >> 32) != signature)
            continue;
        __u32 place = entry & (FLOWS - 1);
        struct flow *flow = &all->flow[place];
        __u64 differs = flow->mask_version ^ query->mask_version;
#pragma unroll
        for (int word = 0; word < KEY_WORDS; word++)
            differs |= flow->key[word] ^ query->word[word];
        if (differs || READ(flow->stamp) < query->generation)
            continue;
        __u64 max_total = READ(flow->max_total);
        if (query->size <= flow->max_size && query->total <= max_total)
            return place;
        // A frame that is too long for a tunnel takes all others of the flow with it to the
        // switch, where none overtakes another.
        if (max_total != NO_LIMIT)
            flow->max_total = 0;
    }
    return 0;
}

struct frame {
    union words key;
    __u64 size;             // of the frame, or of the segments that it is to be cut into
    __u64 total;
};

// The place of the flow that covers a frame, or 0. A global function, too.
__attribute__((noinline)) int find_flow(struct frame *frame)
{
    struct conf *conf = ONLY(shared_conf);
    if (!frame || !conf)
        return 0;
    // The moment at which the frame is judged.
    struct query query = { .generation = READ(conf->generation), .size = frame->size, .total = frame->total };
    for (__u32 i = 0; i < MASKS && i < conf->masks; i++) {
        struct mask *mask = &conf->mask[i];
        // Read before the words: a flow has the version of the words that it was masked with.
        query.mask_version = READ(mask->version);
        if (!query.mask_version)
            continue;
        __u64 hash = conf->seed + query.mask_version;
#pragma unroll
        for (int word = 0; word < KEY_WORDS; word++) {
            query.word[word] = frame->key.word[word] & READ(mask->words[word]);
            hash = (hash ^ query.word[word]) * 0x9e3779b97f4a7c15ull;
            hash ^= hash >> 32;
        }
        query.hash = hash;
        int place = look_into_bucket(&query);
        if (place)
            return place;
    }
    return 0;
}

// As `find_flow`. `headers` is what `extract` returned, and `total` the size of the frame.
INLINE __u32 find(struct __sk_buff *skb, struct frame *frame, __u32 headers, __u32 total)
{
    frame->size = skb->gso_size ? headers + skb->gso_size : total;
    frame->total = total;
    return find_flow(frame);
}

SEC("socket") int judge(struct __sk_buff *skb)
{
    struct conf *conf = ONLY(shared_conf);
    struct frame frame;
    __u32 place = 0, headers;
    if (!conf)
        return -1;
    // A switch that has taken over from another one, and has no kernel cache, leaves the filter at its rings.
    headers = READ(conf->generation) == ~0ull ? 0 : extract(skb, &frame.key);
    if (headers)
        place = find(skb, &frame, headers, skb->len);
    skb->cb[0] = conf->nonce;
    skb->cb[1] = conf->nonce >> 32;
    skb->cb[2] = skb->ifindex;
    skb->cb[3] = place;
    skb->cb[4] = skb->len;
    return place ? 0 : -1;
}

// Changes bytes of a frame. A global function: the verifier does not look at it again for each step.
__attribute__((noinline)) int set(struct __sk_buff *skb, struct step *step)
{
    if (!step)
        return 0;
    __u64 old = 0, new, size = step->size, flags = step->arg;
    long failed;
    // With constant sizes the verifier has less to try.
    if (size == 6)
        failed = bpf_skb_load_bytes(skb, step->offset, &old, 6);
    else if (size == 4)
        failed = bpf_skb_load_bytes(skb, step->offset, &old, 4);
    else if (size == 2)
        failed = bpf_skb_load_bytes(skb, step->offset, &old, 2);
    else
        failed = bpf_skb_load_bytes(skb, step->offset, &old, 8);
    new = (old & ~step->mask) | step->value;
    if (failed || new == old)
        return 0;
    if (step->l3_sum | step->l4_sum) {
        __s64 diff = bpf_csum_diff((__be32 *)&old, 8, (__be32 *)&new, 8, 0);
        if (step->l3_sum)
            bpf_l3_csum_replace(skb, step->l3_sum, 0, diff, 0);
        if (step->l4_sum)
            bpf_l4_csum_replace(skb, step->l4_sum, 0, diff, step->l4_flags);
    }
    if (size == 6)
        bpf_skb_store_bytes(skb, step->offset, &new, 6, flags);
    else if (size == 4)
        bpf_skb_store_bytes(skb, step->offset, &new, 4, flags);
    else if (size == 2)
        bpf_skb_store_bytes(skb, step->offset, &new, 2, flags);
    else
        bpf_skb_store_bytes(skb, step->offset, &new, 8, flags);
    return 0;
}

INLINE struct count *count_of(__u32 place)
{
    __u32 index = bpf_get_smp_processor_id() * FLOWS + place;
    return bpf_map_lookup_elem(&shared_counts, &index);
}

#define TO_PEER 2   // in place of the flags of bpf_redirect
#define DROP 2      // TCX_DROP
#define NEXT (-1)   // TCX_NEXT

int wrap(struct __sk_buff *skb, __u32 ifindex, struct wrapping *wrapping);

// Carries out the steps of the flow at a place. A global function, too, so that each program
// has its stack to itself.
__attribute__((noinline)) int run(struct __sk_buff *skb, __u32 place)
{
    place &= FLOWS - 1;
    // A mark must not survive a redirection into another port of the switch.
    skb->cb[0] = 0;
    struct flows *all = ONLY(shared_flows);
    struct programs *list = ONLY(shared_programs);
    struct count *count = count_of(place);
    if (!all || !list || !count)
        return DROP;
    __u32 size = skb->len + (skb->vlan_present ? 4 : 0);
    int verdict = DROP, is_lost = 0, is_done = 0;
    struct program *program = &list->program[all->flow[place].program & (PROGRAMS - 1)];
    for (__u32 i = 0; i < STEPS && !is_done; i++) {
        struct step *step = &program->step[i];
        switch (step->code) {
        case STEP_SEND_LAST:
            verdict = step->size == TO_PEER ? bpf_redirect_peer(step->arg, 0) : bpf_redirect(step->arg, step->size);
            is_done = 1;
            break;
        case STEP_SEND_COPY:
            bpf_clone_redirect(skb, step->arg, step->size);
            break;
        case STEP_PUSH_TAG:
            bpf_skb_vlan_push(skb, step->arg >> 16, step->arg & 0xffff);
            break;
        case STEP_POP_TAG:
            bpf_skb_vlan_pop(skb);
            break;
        case STEP_SET:
            set(skb, step);
            break;
        case STEP_WRAP:
            if (i < STEPS - WRAP_STEPS)
                verdict = wrap(skb, step->arg, (struct wrapping *)(step + 1));
            is_lost = verdict == DROP;
            is_done = 1;
            break;
        default:
            is_done = 1;
        }
    }
    if (is_lost) {
        // The frame has a tunnel of its own inside. Those that follow are for the switch.
        count->failed++;
        all->flow[place].max_total = 0;
        return DROP;
    }
    count->packets++;
    count->bytes += size;
    count->used = bpf_ktime_get_coarse_ns();
    return verdict;
}

SEC("classifier") int execute(struct __sk_buff *skb)
{
    struct conf *conf = ONLY(shared_conf);
    __u32 place = 0;
    if (!conf)
        return NEXT;
    if (skb->cb[0] == (__u32)conf->nonce && skb->cb[1] == (__u32)(conf->nonce >> 32) && skb->cb[2] == skb->ifindex &&
        skb->cb[4] == skb->len) {
        place = skb->cb[3];
    } else {
        // Another program has used the control block, or there is no ring: the frame is judged here.
        struct frame frame;
        __u32 headers = extract(skb, &frame.key);
        struct count *unmarked = count_of(0);
        if (unmarked)
            unmarked->packets++;
        if (headers)
            place = find(skb, &frame, headers, skb->len);
    }
    return place ? run(skb, place) : NEXT;
}

SEC("classifier") int execute_sent(struct __sk_buff *skb)
{
    struct conf *conf = ONLY(shared_conf);
    struct frame frame;
    __u32 place = 0, headers;
    if (!conf)
        return NEXT;
    headers = extract(skb, &frame.key);
    if (headers)
        place = find(skb, &frame, headers, skb->len);
    return place ? run(skb, place) : NEXT;
}

#include "tunnels.h"

// Sends a copy of the frame to each device of a list: `cb[1]` words of `shared_floods` from the one at
// `cb[0]`. Each word is the number of a device, in place of which the program leaves what the kernel
// has returned for the copy.
SEC("classifier") int flood(struct __sk_buff *skb)
{
    for (__u32 i = 0; i < FLOOD_DEVICES && i < skb->cb[1]; i++) {
        __u32 at = skb->cb[0] + i;
        __s64 *word = bpf_map_lookup_elem(&shared_floods, &at);
        if (!word)
            break;
        *word = bpf_clone_redirect(skb, *word, 0);
    }
    return 0;
}

char license_of_programs[] SEC("license") = "Dual MIT/GPL";

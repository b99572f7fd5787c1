// What the programs and the switch share: the layout of the maps. `src/layout.rs` has the same numbers, and a
// test compares them. All integers are of the machine's byte order unless a comment says otherwise.
#pragma once

// Words of a flow's key: the first nine words of `flow::FlowKey`.
#define KEY_WORDS 9
// Masks under which a frame is looked up, one after the other.
#define MASKS 8
#define BUCKETS 8192
// Entries of a bucket, which is one cache line.
#define WAYS 8
// Places for flows. Place 0 is for counting frames that came without a mark.
#define FLOWS 16384
#define PROGRAMS 4096
#define STEPS 32
// Lists of devices that frames are flooded to, and the devices that one list has room for.
#define FLOOD_LISTS 64
#define FLOOD_DEVICES 256
// Entries of the table of tunnels, and how many of them one lookup looks at.
#define TUNNELS 4096
#define TUNNEL_PROBES 8
// Bytes of the headers in front of the frame inside, from the outer IP header on: IPv4,
// UDP, and VXLAN or Geneve.
#define WRAP_SIZE 36
// Steps in whose place the header lies, behind the step itself.
#define WRAP_STEPS 2
// UDP ports that a program sends from.
#define WRAP_PORTS 8

// Codes of steps.
#define STEP_DROP 0
#define STEP_SEND_LAST 1
#define STEP_SEND_COPY 2
#define STEP_PUSH_TAG 3
#define STEP_POP_TAG 4
#define STEP_SET 5
#define STEP_WRAP 6

struct mask {
    __u64 version;          // unique among all masks that there were; 0: there is no mask here
    __u64 words[KEY_WORDS];
};

struct conf {
    __u64 generation;       // a flow with an older stamp is stale
    __u64 nonce;            // marks of this run of the switch begin with this number
    __u64 seed;             // of the hash
    __u64 masks;            // places in `mask` that may have one
    struct mask mask[MASKS];
};

// Where a flow may be: signature in the upper 32 bits, place in the lower. 0: the entry is empty. Only a hint.
struct table {
    __u64 bucket[BUCKETS][WAYS];
};

struct flow {
    __u64 stamp;            // the generation at which the verdict was last known to be right; 0: no flow
    __u32 program;
    __u32 mask_version;
    __u64 max_size;         // bytes of the largest frame, or segment, that all outputs take, without a tag out of band
    __u64 key[KEY_WORDS];   // masked
    __u64 max_total;        // bytes of the largest frame, whatever segments it is to be cut into: all ones but for tunnels, and 0
                            // when frames have to go through the sockets
    __u64 pad[3];
};

struct flows {
    struct flow flow[FLOWS];
};

struct step {
    __u8 code;
    __u8 size;              // SET: bytes to change: 2, 4, 6 or 8; SEND: flags of bpf_redirect, or TO_PEER
    __u16 offset;           // SET: of the first of them
    __u32 arg;              // SEND, WRAP: interface number; PUSH_TAG: TPID (network order) in the upper half, TCI in the lower;
                            // SET: flags of bpf_skb_store_bytes
    __u16 l3_sum, l4_sum;   // SET: offsets of the checksums that cover the bytes; 0: none does
    __u32 l4_flags;         // SET: flags of bpf_l4_csum_replace
    __u64 value, mask;      // SET: the new bits, as the bytes lie in the frame
};

// What lies in the place of the two steps behind a WRAP, which is the last step.
struct wrapping {
    __u8 header[WRAP_SIZE]; // of a packet whose lengths and UDP source port are 0
    __be16 port[WRAP_PORTS]; // UDP source ports, of which a hash of the packet inside chooses one
    __u16 ports;            // how many of them there are
    __u16 pad;
    __u32 mark;             // for queueing disciplines
    __be32 next_hop;        // the IPv4 address of the machine that the device sends to
};

struct program {
    struct step step[STEPS];
};

struct programs {
    struct program program[PROGRAMS];
};

// The outer headers of frames that come through a tunnel.
struct tunnel {
    __u64 number;           // which such frames have in their key in place of the interface number; 0: there is no entry here
    __be32 src, dst;        // IPv4 addresses
    __u64 header;           // the rest of the headers, as `find_tunnel` puts it together
};

struct tunnels {
    struct tunnel tunnel[TUNNELS];
};

// What one processor has counted for one place; at index `processor * FLOWS + place`.
struct count {
    __u64 packets;
    __u64 bytes;            // with tags out of band
    __u64 used;             // CLOCK_MONOTONIC_COARSE of the last packet, nanoseconds
    __u64 failed;           // frames that the kernel could not put into a tunnel; they are in no other number
};

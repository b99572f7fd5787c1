// What the programs and the switch share: the layout of the maps. `src/layout.rs` has the same numbers, and a test
// compares them. All integers are of the machine's byte order unless a comment says otherwise.
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
#define PROGRAMS 1024
#define STEPS 32
// Lists of devices that frames are flooded to, and the devices that one list has room for.
#define FLOOD_LISTS 64
#define FLOOD_DEVICES 256

// Codes of steps.
#define STEP_DROP 0
#define STEP_SEND_LAST 1
#define STEP_SEND_COPY 2
#define STEP_PUSH_TAG 3
#define STEP_POP_TAG 4
#define STEP_SET 5

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
    __u64 pad[4];
};

struct flows {
    struct flow flow[FLOWS];
};

struct step {
    __u8 code;
    __u8 size;              // SET: bytes to change: 2, 4, 6 or 8; SEND: flags of bpf_redirect, or TO_PEER
    __u16 offset;           // SET: of the first of them
    __u32 arg;              // SEND: interface number; PUSH_TAG: TPID (network order) in the upper half, TCI in the lower;
                            // SET: flags of bpf_skb_store_bytes
    __u16 l3_sum, l4_sum;   // SET: offsets of the checksums that cover the bytes; 0: none does
    __u32 l4_flags;         // SET: flags of bpf_l4_csum_replace
    __u64 value, mask;      // SET: the new bits, as the bytes lie in the frame
};

struct program {
    struct step step[STEPS];
};

struct programs {
    struct program program[PROGRAMS];
};

// What one processor has counted for one place; at index `processor * FLOWS + place`.
struct count {
    __u64 packets;
    __u64 bytes;            // with tags out of band
    __u64 used;             // CLOCK_MONOTONIC_COARSE of the last packet, nanoseconds
    __u64 failed;           // copies that a device refused
};

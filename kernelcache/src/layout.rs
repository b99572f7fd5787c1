//! The layout of the shared memory: the numbers of `bpf/layout.h`, and where words lie.
//!
//! Maps are arrays of 64-bit words here. Two 32-bit members share a word, the first in the lower half: the
//! loader refuses machines whose byte order is another.

/// Words of a flow's key: the first words of [`flow::FlowKey`], the number of the device
/// in place of the port's.
pub const KEY_WORDS: usize = 9;
/// Masks under which a frame is looked up, at most.
pub const MASKS: usize = 8;
/// Buckets of the table.
pub const BUCKETS: usize = 8192;
/// Entries of a bucket.
pub const WAYS: usize = 8;
/// Places for flows. Place 0 counts frames that came without a mark.
pub const FLOWS: usize = 16_384;
/// Places for programs.
pub const PROGRAMS: usize = 4096;
/// Steps of a program, at most.
pub const STEPS: usize = 32;
pub use ports::{FLOOD_DEVICES, FLOOD_LISTS};
/// Entries of the table of tunnels.
pub const TUNNELS: usize = 4096;
/// Entries of that table that one lookup looks at.
pub const TUNNEL_PROBES: usize = 8;
/// Steps in whose place the outer headers of a tunnel lie.
pub const WRAP_STEPS: usize = 2;
pub use ports::tunnel::{WRAP_PORTS, WRAP_SIZE};

/// Codes of steps.
pub mod code {
    /// The frame is dropped.
    pub const DROP: u8 = 0;
    /// The frame leaves by a device, and no step follows.
    pub const SEND_LAST: u8 = 1;
    /// A copy of the frame leaves by a device.
    pub const SEND_COPY: u8 = 2;
    /// A VLAN tag is put in front of the others.
    pub const PUSH_TAG: u8 = 3;
    /// The outermost VLAN tag is taken off.
    pub const POP_TAG: u8 = 4;
    /// Bytes of the frame are changed.
    pub const SET: u8 = 5;
    /// The frame leaves through a tunnel, and no step follows. The outer headers lie in the
    /// place of the next steps.
    pub const WRAP: u8 = 6;
}

/// The words of the map `conf`.
pub mod conf {
    use super::{KEY_WORDS, MASKS};

    /// A flow with an older stamp is stale.
    pub const GENERATION: usize = 0;
    /// The number with which marks begin.
    pub const NONCE: usize = 1;
    /// Seed of the hash.
    pub const SEED: usize = 2;
    /// Number of places that may have a mask.
    pub const MASK_COUNT: usize = 3;
    /// Words of the map.
    pub const WORDS: usize = 4 + MASKS * (1 + KEY_WORDS);

    /// The version of the mask at a place. The mask's words follow.
    pub const fn mask(place: usize) -> usize {
        4 + place * (1 + KEY_WORDS)
    }
}

/// Words of a flow in the map `flows`.
pub mod flow_words {
    /// Words of a flow.
    pub const WORDS: usize = 16;
    /// The generation at which the verdict was last known to be right; 0: there is no flow.
    pub const STAMP: usize = 0;
    /// Number of the program in the lower half, version of the mask in the upper.
    pub const PROGRAM_AND_MASK: usize = 1;
    /// Bytes of the largest frame that all outputs take.
    pub const MAX_SIZE: usize = 2;
    /// The first word of the masked key.
    pub const KEY: usize = 3;
    /// Bytes of the largest frame, whatever segments it is to be cut into.
    pub const MAX_TOTAL: usize = KEY + super::KEY_WORDS;
}

/// Words of an entry in the map `tunnels`.
pub mod tunnel_words {
    /// Words of an entry.
    pub const WORDS: usize = 3;
    /// What frames of the tunnel have in their key in place of the interface number; 0: there is no entry.
    pub const NUMBER: usize = 0;
    /// The outer IPv4 addresses, in network byte order: the source in the lower half,
    /// the destination in the upper.
    pub const ADDRESSES: usize = 1;
    /// The rest of the outer headers.
    pub const HEADER: usize = 2;
}

/// Words of a step.
pub const STEP_WORDS: usize = 4;
/// Words that one processor counts for one place: packets, bytes, time of the last packet, and frames that
/// found no way into a tunnel.
pub const COUNT_WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_compiled_with_the_same_numbers() {
        let header = include_str!("../bpf/layout.h");
        let defined: Vec<(&str, usize)> = header
            .lines()
            .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
            .map(|(name, number)| (name, number.parse().unwrap()))
            .collect();
        let expected = [
            ("KEY_WORDS", KEY_WORDS),
            ("MASKS", MASKS),
            ("BUCKETS", BUCKETS),
            ("WAYS", WAYS),
            ("FLOWS", FLOWS),
            ("PROGRAMS", PROGRAMS),
            ("STEPS", STEPS),
            ("FLOOD_LISTS", FLOOD_LISTS),
            ("FLOOD_DEVICES", FLOOD_DEVICES),
            ("TUNNELS", TUNNELS),
            ("TUNNEL_PROBES", TUNNEL_PROBES),
            ("WRAP_SIZE", WRAP_SIZE),
            ("WRAP_STEPS", WRAP_STEPS),
            ("WRAP_PORTS", WRAP_PORTS),
            ("STEP_DROP", code::DROP.into()),
            ("STEP_SEND_LAST", code::SEND_LAST.into()),
            ("STEP_SEND_COPY", code::SEND_COPY.into()),
            ("STEP_PUSH_TAG", code::PUSH_TAG.into()),
            ("STEP_POP_TAG", code::POP_TAG.into()),
            ("STEP_SET", code::SET.into()),
            ("STEP_WRAP", code::WRAP.into()),
        ];
        assert_eq!(defined, expected);
    }
}

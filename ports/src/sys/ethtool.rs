//! Features of network devices, which ethtool(8) shows with `-k` and changes with `-K` (linux/ethtool.h).
//!
//! A feature has a bit, whose number differs from kernel to kernel, and a name, which is the same in all of
//! them. `ports::netlink::features` speaks of names.

use super::{check, device_request};
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

// linux/ethtool.h
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
/// Bytes of a name, with the zeros that fill it up.
const NAME_SIZE: usize = 32;
/// Number of 32-bit words for the bits of all features: twice as many as Linux 6.18 has.
const WORDS: usize = 4;

/// Bits of features, by the number of the feature.
pub(crate) type Bits = [u32; WORDS];

/// The names of all features that this kernel knows, by the number of the feature. `fd` is any socket, and
/// `device` any device of the socket's network namespace.
pub(crate) fn feature_names(fd: BorrowedFd<'_>, device: &str) -> io::Result<Vec<String>> {
    let [low, high] = words_of(1 << ETH_SS_FEATURES);
    // Command, reserved, the mask of the sets asked for in two words, the size of the set.
    let mut info = [ETHTOOL_GSSET_INFO, 0, low, high, 0];
    // SAFETY: the kernel writes the first four words and one more for the one set asked for.
    unsafe { ask(fd, device, &mut info) }?;
    let count = info[4] as usize;
    // Command, set, number of names, names.
    let mut strings = vec![0u32; 3 + count * NAME_SIZE / size_of::<u32>()];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count as u32]);
    // SAFETY: the kernel writes the three words and a name for each feature. The number of features is a
    // constant of the kernel, which was asked for above.
    unsafe { ask(fd, device, &mut strings) }?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |name: &[u8]| {
        let size = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..size]).into_owned()
    };
    Ok(bytes.chunks_exact(NAME_SIZE).map(text).collect())
}

/// The features that are on at a device of the socket's network namespace.
pub(crate) fn active_features(fd: BorrowedFd<'_>, device: &str) -> io::Result<Bits> {
    // Command, number of groups, and for each group of 32 features:
    // available, requested, active, never changed.
    let mut request = [0; 2 + 4 * WORDS];
    request[..2].copy_from_slice(&[ETHTOOL_GFEATURES, WORDS as u32]);
    // SAFETY: the kernel writes the two words and at most as many groups as the second word says.
    unsafe { ask(fd, device, &mut request) }?;
    Ok(std::array::from_fn(|word| request[2 + 4 * word + 2]))
}

/// Turns the features with a bit in `change` on or off, as the same bit in `on` says. `count` is the number of
/// features that the kernel knows.
pub(crate) fn set_features(
    fd: BorrowedFd<'_>,
    device: &str,
    count: usize,
    change: Bits,
    on: Bits,
) -> io::Result<()> {
    // The kernel wants as many words as it has itself.
    let words = count.div_ceil(32).min(WORDS);
    let mut request = vec![ETHTOOL_SFEATURES, words as u32];
    request.extend(change.iter().zip(on).take(words).flat_map(|(change, on)| [*change, on]));
    // SAFETY: the kernel reads the two words and two for each group, and writes nothing else.
    unsafe { ask(fd, device, &mut request) }
}

/// The two words of a 64-bit number, in the order in which they lie in memory.
fn words_of(number: u64) -> [u32; 2] {
    let bytes = number.to_ne_bytes();
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4)]
}

/// Carries out a command of ethtool, which is the first word of `request`.
///
/// # Safety
/// `request` must be as large as what the command, with the sizes in the request, has
/// the kernel read and write.
unsafe fn ask(fd: BorrowedFd<'_>, device: &str, request: &mut [u32]) -> io::Result<()> {
    debug_assert!(size_of_val(request) >= 4);
    let mut ifreq = device_request(device)?;
    ifreq.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads one ifreq, and reads and writes the memory that it points to, which is
    // large enough for the command as the caller promises. Both are valid during the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) })?;
    Ok(())
}

/// The request that carries all commands of ethtool (linux/sockios.h).
const SIOCETHTOOL: libc::Ioctl = 0x8946;

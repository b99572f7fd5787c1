//! How the C library's allocator works.

/// Free memory at the end of a heap is given back to the system when it is more than this many bytes.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: i32 = 1 << 20;
/// Memory of this many bytes and more is asked of the system by itself, and given back when it is freed.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: i32 = 1 << 20;

/// Lets no call of `free` or `malloc` take long, whatever was freed before.
///
/// Whoever calls them may have a lock that workers wait for, and the allocator has locks of its own, for which
/// a worker waits that frees memory of another thread. By default glibc (mallopt(3))
///
/// - puts small pieces of free memory aside, and joins all of them when somebody asks for a large piece. After
///   a table of rules was deleted this takes milliseconds. With `M_MXFAST` at 0 each piece is joined with its
///   neighbours when it is freed, and a rule takes a tenth less memory, too.
/// - lets the limits from which memory goes back to the system grow, up to 64 MiB. Whose call to `free` exceeds
///   the limit gives back all of it, at five milliseconds or more. With limits that do not grow, memory goes
///   back in pieces of a mebibyte.
///
/// For the start of a program. With another C library than glibc this does nothing.
pub fn free_evenly() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory is passed. The call is allowed at any time; glibc takes its locks.
    unsafe {
        // The calls fail for values out of range only.
        libc::mallopt(libc::M_MXFAST, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Gives the free memory of all heaps back to the system, wherever it lies between memory in use.
///
/// A thread that allocates or frees memory meanwhile waits, for some 0.1 ms for each mebibyte that is given
/// back. So this is for moments at which much memory has become free and little is allocated. With another C
/// library than glibc this does nothing.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes no memory of ours, and locks the heaps itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

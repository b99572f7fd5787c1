//! How the C library's allocator works.

/// Lets memory that is freed in small pieces be joined with its neighbours piece by piece.
///
/// By default glibc puts small pieces aside, and joins all of them when somebody asks for a large one: a
/// table of rules that was deleted costs whoever that is some milliseconds, perhaps with a lock. Without
/// that it takes a tenth less memory a rule, too (mallopt(3), `M_MXFAST`).
///
/// For the start of a program; elsewhere than with glibc it does nothing.
pub fn free_evenly() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no memory is passed. The call is allowed at any time; glibc takes its locks.
    unsafe {
        // It fails for values out of range only.
        libc::mallopt(libc::M_MXFAST, 0);
    }
}

//! What the kernel can do, asked with calls that change nothing: their arguments are such that a kernel which knows the
//! call refuses them, and one which does not says so. Knows nothing of pods.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::sys;

/// A feature of the kernel that has no file below `/proc` to tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// `pidfd_open(2)`, Linux 5.3: signals that cannot reach another process.
    Pidfd,
    /// `openat2(2)`, Linux 5.6: paths that cannot leave a directory.
    Openat2,
    /// `clone3(2)` with `CLONE_INTO_CGROUP`, Linux 5.7: a process is born in its group.
    CloneIntoCgroup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    Yes,
    /// The kernel does not know it.
    No,
    /// A sandbox (seccomp) keeps it from us.
    Forbidden,
}

/// Asks the kernel.
pub fn support(feature: Feature) -> Support {
    match feature {
        Feature::Pidfd => told(sys::pidfd_open(std::process::id().cast_signed()).map(drop)),
        // Neither a path nor a structure: EINVAL from a kernel that has the call.
        Feature::Openat2 => told(sys::openat2_nothing()),
        // A descriptor that is not open: EBADF once the kernel has looked for the group.
        Feature::CloneIntoCgroup => told(sys::clone_into_nothing()),
    }
}

fn told(result: io::Result<()>) -> Support {
    match result.err().and_then(|e| e.raw_os_error()) {
        Some(libc::ENOSYS | libc::E2BIG) => Support::No,
        Some(libc::EPERM) => Support::Forbidden,
        _ => Support::Yes,
    }
}

/// Whether the kernel says that something keeps its clock right (`adjtimex(2)`, `STA_UNSYNC`); none: it does not say.
pub fn clock_is_synchronised() -> Option<bool> {
    sys::clock_status().map(|status| status & libc::STA_UNSYNC == 0).ok()
}

/// Time since the kernel started, suspend included.
pub fn uptime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_kernels_are_told_apart() {
        let err = |code| Err(io::Error::from_raw_os_error(code));
        for (result, expected) in [
            (Ok(()), Support::Yes),
            (err(libc::EINVAL), Support::Yes),
            (err(libc::EBADF), Support::Yes),
            (err(libc::ENOSYS), Support::No),
            (err(libc::E2BIG), Support::No),
            (err(libc::EPERM), Support::Forbidden),
        ] {
            assert_eq!(told(result), expected);
        }
    }

    #[test]
    fn every_question_is_answered_and_this_kernel_is_no_older_than_the_first_of_them() {
        assert_ne!(support(Feature::Pidfd), Support::No);
        for feature in [Feature::Openat2, Feature::CloneIntoCgroup] {
            support(feature);
        }
        assert!(uptime() > Duration::ZERO);
    }
}

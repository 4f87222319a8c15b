//! What a process of ours does when nothing has happened for a while: it lets go of the code that it has mapped. Most of
//! it served the start; what is needed again is mapped again, from the page cache as long as memory is plentiful.

use std::fs;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long nothing happens before a process rests.
pub const AFTER: Duration = Duration::from_secs(5);

/// Waits until the descriptor has something, or the wait is interrupted. Not for shims: reading the list of mappings
/// takes more of a process's own memory than it saves of the code that they all share.
pub fn wait_for(fd: BorrowedFd) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let within = PollTimeout::try_from(AFTER).expect("a few seconds fit");
    if poll(&mut fds, within) == Ok(0) {
        let_go_of_code();
        let _ = poll(&mut fds, PollTimeout::NONE);
    }
}

/// Unmaps the pages of all programs and libraries that no one can have written to.
pub fn let_go_of_code() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(unwritten) {
        // SAFETY: the range is mapped from a file, and its pages are as they are there; the next access maps them anew.
        let _ = Errno::result(unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) });
    }
}

/// Start and length of a mapping that has what its file has: code, and the part before it, where the file begins. Other
/// read-only parts may have been written to before they became so (relocations).
fn unwritten(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let is_file = fields.nth(2).is_some_and(|path| path.starts_with('/'));
    let is_unwritten = access == "r-xp" || (access == "r--p" && offset.bytes().all(|digit| digit == b'0'));
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (is_file && is_unwritten).then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_one_wrote_to_is_let_go() {
        let check = |line: &str, expected: Option<(usize, usize)>| assert_eq!(unwritten(line), expected, "{line}");
        check("55d0-55e0 r--p 00000000 fe:00 17    /usr/bin/pinnace", Some((0x55d0, 0x10)));
        check("55e0-5600 r-xp 000af000 fe:00 17    /usr/bin/pinnace", Some((0x55e0, 0x20)));
        check("5600-5610 r--p 005f0000 fe:00 17    /usr/bin/pinnace", None);
        check("5610-5620 rw-p 00626000 fe:00 17    /usr/bin/pinnace", None);
        check("5620-5630 rw-p 00000000 00:00 0     [heap]", None);
        check("7ff0-7ff1 r-xp 00000000 00:00 0     [vdso]", None);
        check("7ff1-7ff2 r--p 00000000 00:00 0", None);
        check("", None);
    }

    /// The code of this very function among them.
    #[test]
    fn code_that_was_let_go_runs_again() {
        let_go_of_code();
        assert_eq!("42".parse(), Ok(42));
    }
}

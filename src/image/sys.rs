//! Extended attributes of open files: the calls that nix has no wrapper for. Knows no archive.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::model::sorted;

/// The kernel's own bounds (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const VALUE_MAX: usize = 64 << 10;
const LIST_MAX: usize = 64 << 10;

pub(super) fn set_attribute(file: impl AsFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the name ends with a zero, the value is told with its length, and both live through the call.
    let done = unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// None: the file has no such attribute, or its file system has none at all.
pub(super) fn attribute(file: impl AsFd, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    let fd = file.as_fd().as_raw_fd();
    let mut value = vec![0u8; VALUE_MAX];
    // SAFETY: the kernel writes at most as many bytes as it is told the buffer has.
    let length = unsafe { libc::fgetxattr(fd, name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    match usize::try_from(length) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(_) => none_if_absent(io::Error::last_os_error()),
    }
}

/// The names of a file's attributes, sorted.
pub(super) fn attributes(file: impl AsFd) -> io::Result<Vec<CString>> {
    let fd = file.as_fd().as_raw_fd();
    let mut list = vec![0u8; LIST_MAX];
    // SAFETY: the kernel writes at most as many bytes as it is told the buffer has.
    let length = unsafe { libc::flistxattr(fd, list.as_mut_ptr().cast(), list.len()) };
    let Ok(length) = usize::try_from(length) else {
        return none_if_absent(io::Error::last_os_error()).map(|_| Vec::new());
    };
    let mut names: Vec<CString> = list[..length]
        .split(|byte| *byte == 0)
        .filter(|n| !n.is_empty())
        .filter_map(|n| CString::new(n).ok())
        .collect();
    sorted::by(&mut names, Ord::cmp);
    Ok(names)
}

fn none_if_absent(error: io::Error) -> io::Result<Option<Vec<u8>>> {
    match error.raw_os_error() {
        Some(libc::ENODATA | libc::ENOTSUP) => Ok(None),
        _ => Err(error),
    }
}

//! Extended attributes of files, for which the libraries that we use have no call. Follows no link.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The kernel's own bound (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const BYTES_MAX: usize = 65_536;

/// What overlayfs keeps for itself; it means nothing elsewhere.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// None: there is no such attribute, or the file system has none at all.
pub fn get(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let path = c_string(path).ok()?;
    let mut value = vec![0u8; BYTES_MAX];
    // SAFETY: reads two strings that end, and writes at most as many bytes as the vector has.
    let len = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(len).ok()?);
    Some(value)
}

pub fn set(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: reads two strings that end, and as many bytes as the slice has.
    let set = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives one file what another has: file capabilities, access lists, a user's own.
///
/// # Errors
/// One cannot be set; a file system that has none at all is none.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for name in list(from)?.split_inclusive(|b| *b == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let Some(value) = get(from, name).filter(|_| !name.to_bytes().starts_with(OVERLAY)) else { continue };
        match set(to, name, &value) {
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            set => set?,
        }
    }
    Ok(())
}

/// Names, each with a zero behind it.
fn list(path: &Path) -> io::Result<Vec<u8>> {
    let path = c_string(path)?;
    let mut names = vec![0u8; BYTES_MAX];
    // SAFETY: reads a string that ends, and writes at most as many bytes as the vector has.
    let len = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    match usize::try_from(len) {
        Ok(len) => names.truncate(len),
        Err(_) => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EOPNOTSUPP) => names.clear(),
            e => return Err(e),
        },
    }
    Ok(names)
}

fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

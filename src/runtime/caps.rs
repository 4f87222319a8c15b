//! Capabilities: the usual set of a container, changes to it, and giving up the others. Knows no container.

use std::io;

use crate::model::attempt::Capabilities;
use crate::model::capability::{self, CAPABILITIES};

use super::sys::{self, CapabilitySets};

pub const DAC_READ_SEARCH: u8 = 2;
pub const KILL: u8 = 5;
pub const SYS_MODULE: u8 = 16;
pub const SYS_RAWIO: u8 = 17;
pub const SYS_PTRACE: u8 = 19;
pub const SYS_PACCT: u8 = 20;
pub const SYS_ADMIN: u8 = 21;
pub const SYS_BOOT: u8 = 22;
pub const SYS_NICE: u8 = 23;
pub const SYS_TIME: u8 = 25;
pub const SYS_TTY_CONFIG: u8 = 26;
pub const SYSLOG: u8 = 34;
pub const PERFMON: u8 = 38;
pub const BPF: u8 = 39;

/// The set that containerd and Docker give.
const USUAL: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities, a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    pub const ALL: Set = Set(u64::MAX);

    pub const fn of(number: u8) -> Set {
        Set(1 << number)
    }

    pub fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// What a container without changes has: all of it where it has the host's file system or is privileged.
    pub fn usual() -> Set {
        Set(USUAL.iter().filter_map(|name| number(name)).fold(0, |set, number| set | 1 << number))
    }

    /// `ALL` goes first on both sides, so that `add: [ALL], drop: [CHOWN]` is all but one and `drop: [ALL], add: [CHOWN]`
    /// is one (containerd, `internal/cri/server`).
    ///
    /// # Errors
    /// There is no capability of that name.
    pub fn changed(self, changes: &Capabilities) -> Result<Set, String> {
        let mut set = self.0;
        if changes.add.iter().any(|name| is_all(name)) {
            set = Set::ALL.0;
        }
        if changes.drop.iter().any(|name| is_all(name)) {
            set = 0;
        }
        for name in changes.add.iter().filter(|name| !is_all(name)) {
            set |= 1 << known(name)?;
        }
        for name in changes.drop.iter().filter(|name| !is_all(name)) {
            set &= !(1 << known(name)?);
        }
        Ok(Set(set))
    }
}

fn is_all(name: &str) -> bool {
    capability::known(name) == Some(capability::ALL)
}

fn number(name: &str) -> Option<u8> {
    let name = capability::known(name)?;
    CAPABILITIES.iter().position(|known| *known == name).and_then(|n| u8::try_from(n).ok())
}

fn known(name: &str) -> Result<u8, String> {
    number(name).ok_or_else(|| format!("unknown capability {name:?}; names are as in capabilities(7), without CAP_"))
}

/// Takes all others from the bounding set, so that no program gets them back. Needs CAP_SETPCAP.
pub fn bound(set: Set) -> io::Result<()> {
    for number in (0..64).filter(|number| !set.has(*number)) {
        match sys::prctl(libc::PR_CAPBSET_DROP, number.into()) {
            // Beyond the last that this kernel knows.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => break,
            dropped => dropped?,
        }
    }
    Ok(())
}

/// Gives up all others now, and lets no program inherit any.
pub fn keep_only(set: Set) -> io::Result<()> {
    let has = sys::capabilities()?;
    sys::set_capabilities(&CapabilitySets {
        effective: has.permitted & set.0,
        permitted: has.permitted & set.0,
        inheritable: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_to_the_usual_set() {
        let check = |add: &[&str], drop: &[&str], expected: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|w| w.to_string()).collect();
            let changes = Capabilities { add: words(add), drop: words(drop) };
            let expected = expected.iter().fold(0, |set, name| set | 1 << number(name).unwrap());
            assert_eq!(Set::usual().changed(&changes).unwrap(), Set(expected), "{add:?} {drop:?}");
        };
        check(&[], &[], &USUAL);
        check(&[], &["ALL"], &[]);
        check(&["NET_ADMIN", "cap_sys_time"], &["all"], &["NET_ADMIN", "SYS_TIME"]);
        check(&["KILL"], &["KILL"], &USUAL.into_iter().filter(|n| *n != "KILL").collect::<Vec<_>>());
        let all = Capabilities { add: vec!["ALL".into()], drop: vec!["CHOWN".into()] };
        assert_eq!(Set::usual().changed(&all).unwrap(), Set(u64::MAX - 1));
    }

    #[test]
    fn names_that_are_none() {
        for bad in ["", "CAP_", "CAP_CAP_KILL", "é", "KILLER", "CAP", "\u{301}AAA"] {
            let changes = Capabilities { add: vec![bad.into()], drop: vec![] };
            assert!(Set::usual().changed(&changes).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_have_the_kernels_numbers() {
        let check = |name: &str, expected: u8| assert_eq!(number(name), Some(expected), "{name}");
        check("CHOWN", 0);
        check("KILL", KILL);
        check("SYS_ADMIN", SYS_ADMIN);
        check("SYS_TTY_CONFIG", SYS_TTY_CONFIG);
        check("SYSLOG", SYSLOG);
        check("BPF", BPF);
        check("CHECKPOINT_RESTORE", 40);
    }
}

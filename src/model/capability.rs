//! The names of Linux's capabilities, as `securityContext.capabilities` says them.

/// In the order of their numbers, from 0, without `CAP_`. Source: `include/uapi/linux/capability.h`, Linux 5.9.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability at once.
pub const ALL: &str = "ALL";

/// The name without `CAP_` and in capitals, as the list above has it, or `ALL`; none for what is no capability.
pub fn known(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    CAPABILITIES.into_iter().chain([ALL]).find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_each_spelling() {
        let check = |name: &str, expected| assert_eq!(known(name), expected, "{name}");
        check("NET_ADMIN", Some("NET_ADMIN"));
        check("CAP_NET_ADMIN", Some("NET_ADMIN"));
        check("cap_chown", Some("CHOWN"));
        check("all", Some("ALL"));
        check("", None);
        check("CAP_", None);
        check("CAP_CAP_CHOWN", None);
        check("NET-ADMIN", None);
    }

    #[test]
    fn a_name_stands_at_its_number() {
        assert_eq!(
            (CAPABILITIES[12], CAPABILITIES[21], CAPABILITIES[40]),
            ("NET_ADMIN", "SYS_ADMIN", "CHECKPOINT_RESTORE")
        );
    }
}

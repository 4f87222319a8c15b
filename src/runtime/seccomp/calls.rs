//! The system calls that a container does not get, with their numbers on every architecture that matters here. Knows no
//! filter.
//!
//! They are those that Docker's default profile withholds (`profiles/seccomp/default.json` of moby): what changes the
//! machine as a whole, what the kernel does not keep apart by namespace, and what nobody needs and has had many holes.

use crate::runtime::caps;

/// A call that is denied.
pub struct Call {
    /// For the reader, and for tests.
    #[cfg_attr(not(test), expect(dead_code))]
    pub name: &'static str,
    /// Whoever has one of these capabilities gets it.
    pub unless: &'static [u8],
    numbers: [u16; 4],
}

/// The column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    X86_64,
    X86,
    Arm,
    /// `asm-generic/unistd.h`: aarch64, riscv64 and whatever came later.
    Generic,
}

impl Call {
    /// None: the architecture has no such call.
    pub fn number(&self, numbers: Numbers) -> Option<u32> {
        Some(self.numbers[numbers as usize]).filter(|number| *number != NONE).map(u32::from)
    }
}

const NONE: u16 = u16::MAX;
const NEVER: &[u8] = &[];

const fn call(name: &'static str, unless: &'static [u8], numbers: [u16; 4]) -> Call {
    Call { name, unless, numbers }
}

/// Denied or not by its flags.
pub const CLONE: Call = call("clone", &[caps::SYS_ADMIN], [56, 120, 120, 220]);
/// Its flags lie in memory, where a filter cannot look; a C library that is told that there is none takes `clone`.
pub const CLONE3: Call = call("clone3", &[caps::SYS_ADMIN], [435, 435, 435, 435]);

#[rustfmt::skip]
pub const DENIED: [Call; 66] = [
    call("fanotify_init", &[caps::SYS_ADMIN], [300, 338, 367, 262]),
    call("fsconfig", &[caps::SYS_ADMIN], [431, 431, 431, 431]),
    call("fsmount", &[caps::SYS_ADMIN], [432, 432, 432, 432]),
    call("fsopen", &[caps::SYS_ADMIN], [430, 430, 430, 430]),
    call("fspick", &[caps::SYS_ADMIN], [433, 433, 433, 433]),
    call("lookup_dcookie", &[caps::SYS_ADMIN], [212, 253, 249, 18]),
    call("mount", &[caps::SYS_ADMIN], [165, 21, 21, 40]),
    call("mount_setattr", &[caps::SYS_ADMIN], [442, 442, 442, 442]),
    call("move_mount", &[caps::SYS_ADMIN], [429, 429, 429, 429]),
    call("open_tree", &[caps::SYS_ADMIN], [428, 428, 428, 428]),
    call("open_tree_attr", &[caps::SYS_ADMIN], [467, 467, 467, 467]),
    call("pivot_root", &[caps::SYS_ADMIN], [155, 217, 218, 41]),
    call("quotactl", &[caps::SYS_ADMIN], [179, 131, 131, 60]),
    call("quotactl_fd", &[caps::SYS_ADMIN], [443, 443, 443, 443]),
    call("setdomainname", &[caps::SYS_ADMIN], [171, 121, 121, 162]),
    call("sethostname", &[caps::SYS_ADMIN], [170, 74, 74, 161]),
    call("setns", &[caps::SYS_ADMIN], [308, 346, 375, 268]),
    call("swapoff", &[caps::SYS_ADMIN], [168, 115, 115, 225]),
    call("swapon", &[caps::SYS_ADMIN], [167, 87, 87, 224]),
    call("umount", &[caps::SYS_ADMIN], [NONE, 22, NONE, NONE]),
    call("umount2", &[caps::SYS_ADMIN], [166, 52, 52, 39]),
    call("unshare", &[caps::SYS_ADMIN], [272, 310, 337, 97]),
    call("reboot", &[caps::SYS_BOOT], [169, 88, 88, 142]),
    call("kexec_load", &[caps::SYS_BOOT], [246, 283, 347, 104]),
    call("kexec_file_load", &[caps::SYS_BOOT], [320, NONE, 401, 294]),
    call("create_module", &[caps::SYS_MODULE], [174, 127, NONE, NONE]),
    call("delete_module", &[caps::SYS_MODULE], [176, 129, 129, 106]),
    call("finit_module", &[caps::SYS_MODULE], [313, 350, 379, 273]),
    call("get_kernel_syms", &[caps::SYS_MODULE], [177, 130, NONE, NONE]),
    call("init_module", &[caps::SYS_MODULE], [175, 128, 128, 105]),
    call("query_module", &[caps::SYS_MODULE], [178, 167, NONE, NONE]),
    call("acct", &[caps::SYS_PACCT], [163, 51, 51, 89]),
    call("kcmp", &[caps::SYS_PTRACE], [312, 349, 378, 272]),
    call("pidfd_getfd", &[caps::SYS_PTRACE], [438, 438, 438, 438]),
    call("process_madvise", &[caps::SYS_PTRACE], [440, 440, 440, 440]),
    call("ioperm", &[caps::SYS_RAWIO], [173, 101, NONE, NONE]),
    call("iopl", &[caps::SYS_RAWIO], [172, 110, NONE, NONE]),
    call("clock_settime", &[caps::SYS_TIME], [227, 264, 262, 112]),
    call("clock_settime64", &[caps::SYS_TIME], [NONE, 404, 404, NONE]),
    call("settimeofday", &[caps::SYS_TIME], [164, 79, 79, 170]),
    call("stime", &[caps::SYS_TIME], [NONE, 25, NONE, NONE]),
    call("vhangup", &[caps::SYS_TTY_CONFIG], [153, 111, 111, 58]),
    call("get_mempolicy", &[caps::SYS_NICE], [239, 275, 320, 236]),
    call("mbind", &[caps::SYS_NICE], [237, 274, 319, 235]),
    call("migrate_pages", &[caps::SYS_NICE], [256, 294, 400, 238]),
    call("move_pages", &[caps::SYS_NICE], [279, 317, 344, 239]),
    call("set_mempolicy", &[caps::SYS_NICE], [238, 276, 321, 237]),
    call("set_mempolicy_home_node", &[caps::SYS_NICE], [450, 450, 450, 450]),
    call("syslog", &[caps::SYSLOG, caps::SYS_ADMIN], [103, 103, 103, 116]),
    call("perf_event_open", &[caps::PERFMON, caps::SYS_ADMIN], [298, 336, 364, 241]),
    call("bpf", &[caps::BPF, caps::SYS_ADMIN], [321, 357, 386, 280]),
    call("open_by_handle_at", &[caps::DAC_READ_SEARCH], [304, 342, 371, 265]),
    call("_sysctl", NEVER, [156, 149, 149, NONE]),
    call("add_key", NEVER, [248, 286, 309, 217]),
    call("io_uring_enter", NEVER, [426, 426, 426, 426]),
    call("io_uring_register", NEVER, [427, 427, 427, 427]),
    call("io_uring_setup", NEVER, [425, 425, 425, 425]),
    call("keyctl", NEVER, [250, 288, 311, 219]),
    call("nfsservctl", NEVER, [180, 169, 169, 42]),
    call("request_key", NEVER, [249, 287, 310, 218]),
    call("sysfs", NEVER, [139, 135, 135, NONE]),
    call("uselib", NEVER, [134, 86, 86, NONE]),
    call("userfaultfd", NEVER, [323, 374, 388, 282]),
    call("ustat", NEVER, [136, 62, 62, NONE]),
    call("vm86", NEVER, [NONE, 166, NONE, NONE]),
    call("vm86old", NEVER, [NONE, 113, NONE, NONE]),
];

//! The filter on a container's system calls, as a program for the kernel (seccomp(2), classic BPF). A deny list: what it does
//! not name is allowed, so that programs of tomorrow run; the lists of capabilities and namespaces do the main work.
//!
//! A kernel runs programs of more than one architecture, with other numbers: 32-bit ones beside 64-bit ones are filtered by
//! their own numbers; x32 programs on x86_64, and whatever else there may be, get no call at all (`ENOSYS`).

mod calls;

use std::io;

use super::caps::{self, Set};
use super::sys::{self, Instruction};
use calls::{CLONE, CLONE3, Call, DENIED, Numbers};

/// `AUDIT_ARCH_…` of `include/uapi/linux/audit.h`, and the column of numbers that goes with it.
type Architecture = (u32, Numbers);

const X86_64: Architecture = (0xc000_003e, Numbers::X86_64);
const X86: Architecture = (0x4000_0003, Numbers::X86);
const AARCH64: Architecture = (0xc000_00b7, Numbers::Generic);
const ARM: Architecture = (0x4000_0028, Numbers::Arm);
const RISCV64: Architecture = (0xc000_00f3, Numbers::Generic);

/// Those that one kernel can run beside the one we are built for: a 32-bit node on a 64-bit kernel counts too.
const ARCHITECTURES: &[Architecture] = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    &[X86_64, X86]
} else if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
    &[AARCH64, ARM]
} else if cfg!(target_arch = "riscv64") {
    &[RISCV64]
} else {
    &[]
};

/// Numbers of x32 have this bit.
const X32: u32 = 0x4000_0000;
/// `CLONE_NEW…` but the time namespace, whose bit `clone` has for something else.
const NAMESPACES: u32 = 0x7e02_0000;

/// Places in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT_LOW: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

const ALLOW: u32 = 0x7fff_0000;
const ERROR: u32 = 0x0005_0000;
const DENY: u32 = ERROR | libc::EPERM as u32;
const NO_SUCH_CALL: u32 = ERROR | libc::ENOSYS as u32;

/// Puts this process under the filter for a container with these capabilities. Where the kernel demands it, no_new_privs is
/// set first.
///
/// # Errors
/// The kernel has no filters, or none of ours fits this architecture.
pub fn enter(allowed: Set) -> io::Result<()> {
    if ARCHITECTURES.is_empty() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "there is no filter for this architecture"));
    }
    let program = program(ARCHITECTURES, allowed);
    match sys::filter_calls(&program) {
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
            sys::filter_calls(&program)
        }
        entered => entered,
    }
}

/// Whether this says that the kernel was built without filters.
pub fn is_missing(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) || e.kind() == io::ErrorKind::Unsupported
}

fn program(architectures: &[Architecture], allowed: Set) -> Vec<Instruction> {
    let mut program = vec![load(ARCHITECTURE)];
    for (word, numbers) in architectures {
        let block = block(*numbers, allowed);
        // One jump can pass over 255 instructions; this one takes two for any number.
        program.push(branch(EQUAL, *word, 1, 0));
        program.push(Instruction { code: JUMP, yes: 0, no: 0, k: block.len() as u32 });
        program.extend(block);
    }
    program.push(answer(NO_SUCH_CALL));
    program
}

/// The part for one architecture; always ends with an answer.
fn block(numbers: Numbers, allowed: Set) -> Vec<Instruction> {
    let is_denied = |call: &&Call| !call.unless.iter().any(|capability| allowed.has(*capability));
    let denied: Vec<u32> = DENIED.iter().filter(is_denied).filter_map(|call| call.number(numbers)).collect();
    let tail = tail(numbers, allowed);
    let (denies, unknown) = (tail.len() - 2, tail.len() - 1);
    let mut block = vec![load(NUMBER)];
    if numbers == Numbers::X86_64 {
        block.push(branch(AT_LEAST, X32, (denied.len() + unknown) as u8, 0));
    }
    for (n, number) in denied.iter().enumerate() {
        let to_tail = denied.len() - 1 - n;
        block.push(branch(EQUAL, *number, (to_tail + denies) as u8, 0));
    }
    block.extend(tail);
    block
}

/// Decides on `clone`; its last two instructions deny, and deny that there is such a call.
fn tail(numbers: Numbers, allowed: Set) -> Vec<Instruction> {
    let mut tail = Vec::new();
    if !allowed.has(caps::SYS_ADMIN) {
        let clone3 = CLONE3.number(numbers).unwrap_or(u32::MAX);
        let clone = CLONE.number(numbers).unwrap_or(u32::MAX);
        tail.push(branch(EQUAL, clone3, 5, 0));
        tail.push(branch(EQUAL, clone, 0, 2));
        tail.push(load(FIRST_ARGUMENT_LOW));
        tail.push(branch(ANY_BIT, NAMESPACES, 1, 0));
    }
    tail.extend([answer(ALLOW), answer(DENY), answer(NO_SUCH_CALL)]);
    tail
}

// Source: include/uapi/linux/bpf_common.h.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

fn load(place: u32) -> Instruction {
    Instruction { code: LOAD, yes: 0, no: 0, k: place }
}

fn branch(code: u16, k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, yes, no, k }
}

fn answer(k: u32) -> Instruction {
    Instruction { code: RETURN, yes: 0, no: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Capabilities;

    /// What the kernel would answer.
    fn run(program: &[Instruction], architecture: u32, number: u32, first_argument: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        for _ in 0..program.len() {
            let Instruction { code, yes, no, k } = program[at];
            at += 1;
            let mut branch = |holds: bool| at += usize::from(if holds { yes } else { no });
            match code {
                LOAD if k == NUMBER => value = number,
                LOAD if k == ARCHITECTURE => value = architecture,
                LOAD if k == FIRST_ARGUMENT_LOW => value = first_argument,
                JUMP => at += k as usize,
                EQUAL => branch(value == k),
                AT_LEAST => branch(value >= k),
                ANY_BIT => branch(value & k != 0),
                RETURN => return k,
                code => panic!("{code}"),
            }
        }
        panic!("no answer");
    }

    fn with(add: &[&str]) -> Vec<Instruction> {
        let changes = Capabilities { add: add.iter().map(|a| a.to_string()).collect(), drop: vec![] };
        let allowed = Set::usual().changed(&changes).unwrap();
        program(&[X86_64, X86, AARCH64, ARM, RISCV64], allowed)
    }

    #[test]
    fn every_call_is_denied_on_every_architecture_until_a_capability_allows_it() {
        let (usual, all) = (with(&[]), with(&["ALL"]));
        for (word, numbers) in [X86_64, X86, AARCH64, ARM, RISCV64] {
            for call in &DENIED {
                let Some(number) = call.number(numbers) else { continue };
                assert_eq!(run(&usual, word, number, 0), DENY, "{} {numbers:?}", call.name);
                let expected = if call.unless.is_empty() { DENY } else { ALLOW };
                assert_eq!(run(&all, word, number, 0), expected, "{} {numbers:?}", call.name);
            }
        }
    }

    #[test]
    fn what_is_not_named_is_allowed() {
        let denied = |numbers: Numbers| DENIED.iter().filter_map(move |call| call.number(numbers)).collect::<Vec<_>>();
        let usual = with(&[]);
        for (word, numbers) in [X86_64, X86, AARCH64, ARM, RISCV64] {
            for number in (0..600).filter(|n| !denied(numbers).contains(n) && CLONE3.number(numbers) != Some(*n)) {
                assert_eq!(run(&usual, word, number, 0), ALLOW, "{number} {numbers:?}");
            }
        }
    }

    #[test]
    fn processes_are_made_in_the_same_namespaces() {
        let (usual, admin) = (with(&[]), with(&["SYS_ADMIN"]));
        let fork = libc::SIGCHLD as u32;
        for (word, numbers) in [X86_64, X86, AARCH64, ARM, RISCV64] {
            let clone = CLONE.number(numbers).unwrap();
            let thread = libc::CLONE_VM as u32 | libc::CLONE_THREAD as u32;
            assert_eq!(run(&usual, word, clone, fork), ALLOW);
            assert_eq!(run(&usual, word, clone, thread), ALLOW);
            for flag in [libc::CLONE_NEWNS, libc::CLONE_NEWUSER, libc::CLONE_NEWNET, libc::CLONE_NEWPID] {
                assert_eq!(run(&usual, word, clone, fork | flag as u32), DENY, "{flag:x}");
                assert_eq!(run(&admin, word, clone, fork | flag as u32), ALLOW, "{flag:x}");
            }
            assert_eq!(run(&usual, word, CLONE3.number(numbers).unwrap(), 0), NO_SUCH_CALL);
            assert_eq!(run(&admin, word, CLONE3.number(numbers).unwrap(), 0), ALLOW);
        }
    }

    #[test]
    fn other_ways_into_the_kernel_are_closed() {
        let usual = with(&[]);
        const READ: u32 = 0;
        assert_eq!(run(&usual, X86_64.0, READ | X32, 0), NO_SUCH_CALL);
        assert_eq!(run(&usual, X86_64.0, u32::MAX, 0), NO_SUCH_CALL);
        assert_eq!(run(&usual, 0x1234_5678, READ, 0), NO_SUCH_CALL);
        assert!(usual.len() < 4096, "BPF_MAXINSNS: {}", usual.len());
    }

    /// Of the architecture that the test is built for.
    #[test]
    fn numbers_are_those_of_the_c_library() {
        let numbers = ARCHITECTURES[0].1;
        let check = |name: &str, expected: libc::c_long| {
            let call = DENIED.iter().chain([&CLONE, &CLONE3]).find(|call| call.name == name).unwrap();
            assert_eq!(call.number(numbers), Some(expected as u32), "{name}");
        };
        check("clone", libc::SYS_clone);
        check("clone3", libc::SYS_clone3);
        check("mount", libc::SYS_mount);
        check("umount2", libc::SYS_umount2);
        check("unshare", libc::SYS_unshare);
        check("setns", libc::SYS_setns);
        check("bpf", libc::SYS_bpf);
        check("keyctl", libc::SYS_keyctl);
        check("reboot", libc::SYS_reboot);
        check("init_module", libc::SYS_init_module);
        check("open_by_handle_at", libc::SYS_open_by_handle_at);
        check("perf_event_open", libc::SYS_perf_event_open);
        check("userfaultfd", libc::SYS_userfaultfd);
    }
}

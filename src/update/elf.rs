//! Whether a file is a program for this machine, by the head of its ELF form: the same as this program's own.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const HEAD_BYTES: usize = 20;

/// # Errors
/// It is none; completes a sentence that begins with the file.
pub fn check(file: &Path) -> Result<(), String> {
    let head = |path: &Path| -> io::Result<[u8; HEAD_BYTES]> {
        let mut head = [0; HEAD_BYTES];
        File::open(path)?.read_exact(&mut head)?;
        Ok(head)
    };
    let own = head(Path::new("/proc/self/exe")).map_err(|e| format!("cannot be compared with this program: {e}"))?;
    same_machine(head(file).ok().as_ref(), &own)
}

/// Width and byte order of words stand at 4 and 5, the sort of file at 16, the machine at 18. Source: `elf(5)`.
fn same_machine(head: Option<&[u8; HEAD_BYTES]>, own: &[u8; HEAD_BYTES]) -> Result<(), String> {
    let Some(head) = head.filter(|head| head.starts_with(b"\x7fELF")) else {
        return Err("is no program: neither an ELF file nor an archive (.tar.gz) with one named pinnace".into());
    };
    if head[4..6] != own[4..6] || head[18..20] != own[18..20] {
        return Err(format!("is a program for another machine ({}, this one is {})", name(head), name(own)));
    }
    Ok(())
}

fn name(head: &[u8; HEAD_BYTES]) -> String {
    let big = head[5] == 2;
    let machine = if big { [head[19], head[18]] } else { [head[18], head[19]] };
    let bits = if head[4] == 2 { 64 } else { 32 };
    match u16::from_le_bytes(machine) {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => format!("riscv{bits}"),
        8 => format!("mips{bits}{}", if big { "" } else { "el" }),
        other => format!("ELF machine {other}, {bits} bits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(width: u8, order: u8, machine: u16) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', width, order]);
        head[18..].copy_from_slice(&if order == 2 { machine.to_be_bytes() } else { machine.to_le_bytes() });
        head
    }

    #[test]
    fn only_a_program_for_this_machine_will_do() {
        let own = head(2, 1, 62);
        assert!(same_machine(Some(&head(2, 1, 62)), &own).is_ok());
        for (other, named) in [
            (head(2, 1, 183), "aarch64"),
            (head(1, 1, 62), "x86_64"),
            (head(1, 1, 40), "arm"),
            (head(1, 2, 8), "mips32"),
            (head(2, 1, 9999), "ELF machine 9999"),
        ] {
            let why = same_machine(Some(&other), &own).unwrap_err();
            assert!(why.contains(named) && why.contains("another machine"), "{why}");
        }
        let mut script = own;
        script[0] = b'#';
        for none in [None, Some(&script)] {
            assert!(same_machine(none, &own).unwrap_err().contains("is no program"));
        }
        assert!(check(Path::new("/proc/self/exe")).is_ok());
        assert!(check(Path::new("/etc/passwd")).is_err() && check(Path::new("/nowhere")).is_err());
    }
}

//! Makes the release binary a sixth smaller by what the linker can leave out or write shorter:
//!
//! - Unwind tables: with `panic = "abort"` nothing reads them (`force-unwind-tables=no` cannot be said in a profile, and
//!   does not reach std). Panics still say their message and place; a backtrace is empty.
//! - Relocations: packed (RELR) they take a twentieth. The start-up code must know them, glibc's since 2.36, musl's since
//!   1.2.4; so they are packed only where a program made that way runs here, that is, not for another architecture.
//! - Functions whose code is the same (mostly one generic function for types of one layout): they are kept once. Rust
//!   promises no address of their own to functions; data keep theirs. lld can do this, which rustc takes for x86_64.
//!
//! A linker that does not know one of these leaves the binary larger, not unbuilt. Other profiles and other programs
//! (tests, benches, examples) are left as they are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const NO_UNWIND_TABLES: &str = "SECTIONS { /DISCARD/ : {
    *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o) .eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*)
} } INSERT BEFORE .text;
";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let Ok(directory) = env::var("OUT_DIR").map(PathBuf::from) else { return };
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let (trial, script) = (directory.join("trial"), directory.join("no-unwind-tables.ld"));
        let no_tables = ["-Wl,--no-eh-frame-hdr".to_string(), format!("-Wl,-T,{}", script.display())];
        if std::fs::write(&script, NO_UNWIND_TABLES).is_ok() && links(&trial, &no_tables) {
            link_with(&no_tables);
        }
        let packed = ["-Wl,-z,pack-relative-relocs".to_string()];
        if links(&trial, &packed) && runs(&trial) {
            link_with(&packed);
        }
        let folded = ["-Wl,--icf=all".to_string()];
        if links(&trial, &folded) {
            link_with(&folded);
        }
    }
}

fn link_with(arguments: &[String]) {
    arguments.iter().for_each(|argument| println!("cargo::rustc-link-arg-bins={argument}"));
}

/// Makes a program as the binary will be made, with these arguments for the linker; whether that was possible.
fn links(program: &Path, arguments: &[String]) -> bool {
    let source = program.with_extension("rs");
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg(&source).arg("-o").arg(program).arg("-Cpanic=abort");
    rustc.args(env::var("TARGET").map(|target| format!("--target={target}")));
    rustc.args(env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}")));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let written = std::fs::write(&source, "fn main() { println!(\"{:?}\", std::env::args()); }");
    written.is_ok() && rustc.output().is_ok_and(|output| output.status.success())
}

/// For another architecture the system may have an emulator; what runs in it says nothing of the device.
fn runs(program: &Path) -> bool {
    let native = env::var("TARGET").ok().zip(env::var("HOST").ok()).is_some_and(|(target, host)| {
        let architecture = |triple: &str| triple.split('-').next().map(str::to_string);
        architecture(&target) == architecture(&host)
    });
    native && Command::new(program).output().is_ok_and(|output| output.status.success())
}

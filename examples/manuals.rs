//! Writes the manual pages and completions from the command line's definition, for packages:
//! `cargo run --example manuals -- DIR` makes `DIR/man1/pinnace*.1` and `DIR/completions/{bash,zsh,fish}`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::shells::{Bash, Fish, Zsh};
use pinnace::cli::args::Cli;

fn main() -> io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("say where to: cargo run --example manuals -- DIR"));
    };
    write(&directory)
}

fn write(directory: &Path) -> io::Result<()> {
    let pages = directory.join("man1");
    let scripts = directory.join("completions");
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&scripts)?;
    clap_mangen::generate_to(command(), &pages)?;
    clap_complete::generate_to(Bash, &mut command(), "pinnace", &scripts)?;
    clap_complete::generate_to(Zsh, &mut command(), "pinnace", &scripts)?;
    clap_complete::generate_to(Fish, &mut command(), "pinnace", &scripts)?;
    Ok(())
}

/// The top page's template is for a terminal; a manual lists the verbs by itself.
fn command() -> clap::Command {
    Cli::command().version(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_and_every_shell_a_script() {
        let directory = std::env::temp_dir().join(format!("pinnace-manuals-{}", std::process::id()));
        write(&directory).unwrap();
        let page = |name: &str| fs::read_to_string(directory.join("man1").join(name)).unwrap().replace("\\-", "-");
        for verb in command().get_subcommands() {
            let text = page(&format!("pinnace-{}.1", verb.get_name()));
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", verb.get_name());
            assert!(page("pinnace.1").contains(verb.get_name()), "{}", verb.get_name());
        }
        for script in ["pinnace.bash", "_pinnace", "pinnace.fish"] {
            let text = fs::read_to_string(directory.join("completions").join(script)).unwrap();
            assert!(text.contains("doctor"), "{script}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}

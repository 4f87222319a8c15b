//! A session written down: `$ ` begins a command and `> ` goes on with it, `# ` is a remark, everything else is output. An
//! exit code that is not 0 stands in brackets below the output. Commands are the shell's; in it `pinnace` is the binary under
//! test, `$WORK` a directory of the session's own.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::device::Device;
use crate::normal::Normal;

/// A remark, or a command with its output.
enum Part {
    Remark(String),
    Command { text: String, output: String },
}

/// Runs the session `name` and compares what is printed with what is written down.
#[track_caller]
pub fn check(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tutorial").join(name).with_extension("txt");
    let parts = parse(&fs::read_to_string(&file).unwrap());
    let device = Device::start(&[]);
    let normal = Normal::of(&device);
    let mut differences = String::new();
    let mut played = String::new();
    for part in &parts {
        match part {
            Part::Remark(line) => writeln!(played, "{line}").unwrap(),
            Part::Command { text, output } => {
                let printed = play(&device, &normal, text);
                if printed != *output {
                    write!(differences, "\n{text}{}", difference(output, &printed)).unwrap();
                }
                write!(played, "{text}{printed}").unwrap();
            }
        }
    }
    if std::env::var_os("PINNACE_BLESS").is_some() {
        fs::write(&file, played).unwrap();
        return;
    }
    assert!(
        differences.is_empty(),
        "{}: - is written down, + is printed{differences}\n{}",
        file.display(),
        device.log()
    );
}

fn play(device: &Device, normal: &Normal, text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| &line[2..]).collect();
    let said = device.shell(&lines.join("\n"));
    let mut printed = normal.apply(&said.out);
    if !printed.is_empty() && !printed.ends_with('\n') {
        printed.push_str("[no end of line]\n");
    }
    if said.code != 0 {
        writeln!(printed, "[exit {}]", said.code).unwrap();
    }
    printed
}

fn parse(session: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for line in session.lines() {
        match parts.last_mut() {
            _ if line.starts_with("$ ") => {
                parts.push(Part::Command { text: format!("{line}\n"), output: String::new() });
            }
            Some(Part::Command { text, output }) if line.starts_with("> ") && output.is_empty() => {
                writeln!(text, "{line}").unwrap();
            }
            _ if line.starts_with("# ") => parts.push(Part::Remark(line.to_string())),
            Some(Part::Command { output, .. }) => writeln!(output, "{line}").unwrap(),
            Some(Part::Remark(_)) | None => parts.push(Part::Remark(line.to_string())),
        }
    }
    parts
}

/// The lines that differ, between those that do not at the beginning and at the end.
fn difference(expected: &str, printed: &str) -> String {
    let (expected, printed): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), printed.lines().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut expected.iter().zip(&printed));
    let tail = same(&mut expected[head..].iter().rev().zip(printed[head..].iter().rev()));
    let mut text = String::new();
    for (mark, lines) in [("-", &expected), ("+", &printed)] {
        for line in &lines[head..lines.len() - tail] {
            writeln!(text, "{mark} {line}").unwrap();
        }
    }
    text
}

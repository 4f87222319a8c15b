//! One list of targets, told in three places: `tests/cross` builds them, `cross.toml` serves users of the cross tool, and
//! `docs/targets.md` promises them. Knows of TOML what `cross.toml` needs, and refuses the rest.

use std::path::Path;

/// Keys that cross knows (main branch, `src/cross_toml.rs`), by section; it only warns of others, and then they do nothing.
const BUILD: &[&str] = &["build-std", "zig", "pre-build", "dockerfile", "default-target"];
const TARGET: &[&str] = &["build-std", "zig", "image", "pre-build", "dockerfile", "runner"];
const ENV: &[&str] = &["volumes", "passthrough"];
const RUNNERS: &[&str] = &["\"qemu-user\"", "\"qemu-system\"", "\"native\""];

/// Section, key, value as it stands there.
type Line = (String, String, String);

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Sections and keys with strings and lists of strings on one line.
fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_string();
            continue;
        }
        let (key, value) = line.split_once(" = ").ok_or_else(|| format!("neither section nor key: {line}"))?;
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(value);
        let string = |s: &str| s.len() >= 2 && s.starts_with('"') && s.ends_with('"') && s.matches('"').count() == 2;
        if !inner.split(", ").all(string) {
            return Err(format!("neither a string nor a list of strings: {line}"));
        }
        lines.push((section.clone(), key.to_string(), value.to_string()));
    }
    Ok(lines)
}

/// What cross would not understand.
fn unknown(lines: &[Line]) -> Vec<String> {
    let known = |(section, key, value): &&Line| {
        let keys = match section.split('.').collect::<Vec<_>>()[..] {
            ["build"] => BUILD,
            ["target", _] => TARGET,
            ["build", "env"] | ["target", _, "env"] => ENV,
            _ => &[],
        };
        keys.contains(&key.as_str()) && (key != "runner" || RUNNERS.contains(&value.as_str()))
    };
    lines
        .iter()
        .filter(|line| !known(line))
        .map(|(section, key, value)| format!("[{section}] {key} = {value}"))
        .collect()
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

fn built() -> Vec<String> {
    let script = read("tests/cross");
    let list =
        script.split_once("\nall=(").and_then(|(_, rest)| rest.split_once(')')).expect("tests/cross has a list").0;
    sorted(list.split_whitespace().map(str::to_string))
}

#[test]
fn cross_knows_every_key_of_cross_toml() {
    let lines = parse(&read("cross.toml")).unwrap();
    assert_eq!(unknown(&lines), [""; 0]);
    let check = |text: &str, bad: usize| assert_eq!(unknown(&parse(text).unwrap()).len(), bad, "{text}");
    check("[build]\nxargo = \"x\"", 1);
    check("[target.a]\nimages = \"x\"", 1);
    check("[target.a]\nrunner = \"qemu\"", 1);
    check("[target]\nimage = \"x\"", 1);
    check("[target.a.env]\nvolumes = [\"x\", \"y\"]", 0);
    assert!(parse("key = [\"a\" \"b\"]").is_err());
}

#[test]
fn cross_toml_serves_the_targets_that_are_built() {
    let targets = parse(&read("cross.toml")).unwrap().into_iter().filter_map(|(section, ..)| {
        let name = section.strip_prefix("target.")?;
        Some(name.to_string())
    });
    assert_eq!(sorted(targets), built());
}

#[test]
fn the_page_lists_the_targets_that_are_built() {
    let page = read("docs/targets.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(sorted(rows.map(|(name, _)| name.to_string()).filter(|name| name.contains("-linux-musl"))), built());
}

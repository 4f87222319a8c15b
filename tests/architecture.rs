//! The import table of ARCHITECTURE.md, held against the code: which module may name which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module of `src/` may import of this crate, itself apart.
const TABLE: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("manifest", &["model"]),
    ("core", &["model"]),
    ("store", &["model"]),
    ("runtime", &["model"]),
    ("transport", &["model"]),
    ("image", &["model", "transport"]),
    ("update", &["model", "transport"]),
    ("clock", &["model"]),
    ("config", &["model", "manifest"]),
    ("link", &["model", "manifest"]),
    ("api", &["model", "manifest"]),
    ("cli", &["model", "manifest"]),
    ("init", &["model", "config"]),
    ("doctor", &["model", "config", "clock", "runtime", "link", "store"]),
];
/// The loop joins all of them but the command line.
const NODE: [&str; 11] =
    ["model", "manifest", "core", "store", "runtime", "image", "update", "clock", "config", "link", "api"];

fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut waiting) = (Vec::new(), vec![root.clone()]);
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string();
                found.push((module, path));
            }
        }
    }
    found
}

/// The modules that a source names after `crate::`, also in a list, comments and text apart.
fn named(source: &str) -> BTreeSet<String> {
    let code: String =
        source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(list));
        let items: Vec<&str> = if rest.starts_with('{') { list.split(',').collect() } else { vec![rest] };
        for item in items {
            let name: String = item.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                names.insert(name);
            }
        }
    }
    names
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = TABLE.into_iter().chain([("node", &NODE[..])]).collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (module, path) in sources() {
        if module == "lib" || module == "main" {
            continue;
        }
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("src/{module} is not in the table"));
        seen.insert(module.clone());
        for name in named(&fs::read_to_string(&path).unwrap()) {
            if name != module && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: {module} must not import {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), table.len(), "a module of the table has no source: {seen:?}");
}

/// CONTRIBUTING.md and docs/security.md say where it is.
#[test]
fn unsafe_code_stays_in_the_runtime_but_for_four_calls() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut outside = BTreeMap::new();
    for (module, path) in sources() {
        let source = fs::read_to_string(&path).unwrap();
        let uses = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
        let uses =
            uses.filter(|code| code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe")).count();
        if module != "runtime" && uses > 0 {
            outside.insert(path.strip_prefix(&root).unwrap().display().to_string(), uses);
        }
    }
    assert_eq!(outside, [("clock.rs".to_string(), 1), ("image/sys.rs".to_string(), 3)].into());
}

#[test]
fn the_scan_sees_lists_and_paths_and_no_comments() {
    let source = "use crate::{core::step, model};\nlet x = crate::link::start(); // crate::api\n";
    assert_eq!(named(source), ["core", "link", "model"].map(String::from).into());
}

/// What keeps the core pure stands at its head, where it cannot be left out in silence.
#[test]
fn the_core_denies_clocks_and_random_order() {
    let head = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/mod.rs")).unwrap();
    for lint in ["clippy::disallowed_methods", "clippy::disallowed_types", "clippy::wildcard_enum_match_arm"] {
        assert!(head.contains("#![deny(") && head.contains(lint), "{lint} is not denied in src/core/mod.rs");
    }
    let clippy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("clippy.toml")).unwrap();
    for name in ["std::time::SystemTime::now", "std::time::Instant::now", "std::collections::HashMap"] {
        assert!(clippy.contains(name), "{name} is not disallowed in clippy.toml");
    }
}

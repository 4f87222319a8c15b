//! What is different in each run, made the same: random endings of names, times, ages, uids, and what the host is.

use serde_json::Value;

use crate::device::Device;

/// The characters of a random ending, which spell no word (`k8s.io/apimachinery/pkg/util/rand`).
const SUFFIX: &str = "bcdfghjklmnpqrstvwxz2456789";

/// `9` is any digit, `x` a hexadecimal one, `A` a capital, `a` a small letter; every other character is itself.
const SHAPES: [(&str, &str); 10] = [
    ("9999-99-99T99:99:99.999999999Z", "<time>"),
    ("9999-99-99T99:99:99.999999Z", "<time>"),
    ("9999-99-99T99:99:99Z", "<time>"),
    ("Aaa, 99 Aaa 9999 99:99:99 +9999", "<date>"),
    ("Aaa Aaa 99 99:99:99 AAA 9999", "<date>"),
    ("Aaa Aaa  9 99:99:99 AAA 9999", "<date>"),
    ("Aaa Aaa 99 99:99:99 AAAA 9999", "<date>"),
    ("Aaa Aaa  9 99:99:99 AAAA 9999", "<date>"),
    ("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "<uid>"),
    (".xxxxxxxxxxxxxxxx", ".<event>"),
];

/// A time after one of these is a setting and no age.
const SETTINGS: [&str; 4] = ["back-off", "@every", "timeout", "after"];

pub struct Normal {
    /// What is said of this host alone, and the word for it; longest first.
    host: Vec<(String, String)>,
}

impl Normal {
    pub fn of(device: &Device) -> Normal {
        let node = device.json(&["node", "gw-7"]);
        let text = |pointer: &str| node.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_string();
        let mut host = vec![
            (device.path().display().to_string(), "$WORK".to_string()),
            (text("/status/addresses/0/address"), "<ip>".to_string()),
            (text("/status/addresses/1/address"), "<hostname>".to_string()),
            (text("/status/capacity/memory"), "<memory>".to_string()),
            (text("/status/conditions/3/message"), "<clock>".to_string()),
            (env!("CARGO_MANIFEST_DIR").to_string(), "$PWD".to_string()),
        ];
        for field in ["kernelVersion", "osImage", "machineID", "systemUUID", "bootID", "architecture"] {
            host.push((text(&format!("/status/nodeInfo/{field}")), format!("<{field}>")));
        }
        host.retain(|(from, _)| !from.is_empty());
        host.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Normal { host }
    }

    pub fn apply(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(|line| self.line(line)).collect();
        // Rows are in the order of their names' random endings.
        let is_drawn = |line: &str| first_word(line).is_some_and(|name| name.contains("-xxxxx"));
        for rows in lines.chunk_by_mut(|a, b| is_drawn(a) && first_word(a) == first_word(b)) {
            rows.sort();
        }
        lines.join("\n") + if text.ends_with('\n') { "\n" } else { "" }
    }

    fn line(&self, line: &str) -> String {
        let mut line = line.to_string();
        for (from, to) in &self.host {
            line = whole_words(&line, from, to);
        }
        for (shape, to) in SHAPES {
            line = shaped(&line, shape, to);
        }
        for (before, after) in [("resourceVersion: \"", "\""), ("\"resourceVersion\": \"", "\"")] {
            line = between(&line, before, after, "<rv>");
        }
        ages(&endings(&line))
    }
}

fn first_word(line: &str) -> Option<&str> {
    line.split_whitespace().next()
}

/// A host named `vm` must not change every word that has these letters.
fn whole_words(line: &str, from: &str, to: &str) -> String {
    let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let whole = is_edge(before.chars().next_back()) && is_edge(after.chars().next());
        out.push_str(before);
        out.push_str(if whole { to } else { from });
        rest = after;
    }
    out + rest
}

fn shaped(line: &str, shape: &str, to: &str) -> String {
    let (characters, shape): (Vec<char>, Vec<char>) = (line.chars().collect(), shape.chars().collect());
    let mut out = String::new();
    let mut at = 0;
    while at < characters.len() {
        let fits = characters[at..].len() >= shape.len()
            && shape.iter().zip(&characters[at..]).all(|(shape, c)| is_shaped(*shape, *c));
        match fits {
            true => out.push_str(to),
            false => out.push(characters[at]),
        }
        at += if fits { shape.len() } else { 1 };
    }
    out
}

fn is_shaped(shape: char, c: char) -> bool {
    match shape {
        '9' => c.is_ascii_digit(),
        'x' => c.is_ascii_hexdigit(),
        'A' => c.is_ascii_uppercase(),
        'a' => c.is_ascii_lowercase(),
        literal => literal == c,
    }
}

fn between(line: &str, before: &str, after: &str, to: &str) -> String {
    match line.split_once(before).and_then(|(head, rest)| Some((head, rest.split_once(after)?.1))) {
        Some((head, tail)) => format!("{head}{before}{to}{after}{tail}"),
        None => line.to_string(),
    }
}

/// `batch-job-x7k2p` to `batch-job-xxxxx`, and a CronJob's `tick-29412345` to `tick-88888888`.
fn endings(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let (name, edge) = match word.chars().next_back() {
            Some(last) if !last.is_ascii_alphanumeric() && last != '-' => word.split_at(word.len() - last.len_utf8()),
            Some(_) | None => (word, ""),
        };
        let mut parts: Vec<&str> = name.split('-').collect();
        let count = parts.len();
        for (at, part) in parts.iter_mut().enumerate().skip(1) {
            if at + 1 == count && part.len() == 5 && part.chars().all(|c| SUFFIX.contains(c)) {
                *part = "xxxxx";
            }
            if part.len() == 8 && part.chars().all(|c| c.is_ascii_digit()) {
                *part = "88888888";
            }
        }
        out.push_str(&parts.join("-"));
        out.push_str(edge);
    }
    out
}

/// Each age is `0s`; the columns stay where they are.
fn ages(line: &str) -> String {
    if line.contains("Grace Period") || line.contains("Deadline") {
        return line.to_string();
    }
    let mut out = String::new();
    let mut before = "";
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find([' ', '(', ')']).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        if is_age(word) && !SETTINGS.contains(&before) {
            out.push_str("0s");
            if tail.starts_with("  ") {
                out.push_str(&" ".repeat(word.len() - 2));
            }
        } else {
            out.push_str(word);
        }
        before = if word.is_empty() { before } else { word };
        let gap = tail.find(|c| !matches!(c, ' ' | '(' | ')')).unwrap_or(tail.len());
        out.push_str(&tail[..gap]);
        rest = &tail[gap..];
    }
    out
}

/// `5s`, `3m12s`, `2d4h`: digits and units by turns.
fn is_age(word: &str) -> bool {
    let mut had_digit = false;
    let fits = word.chars().all(|c| {
        let fits = c.is_ascii_digit() || (had_digit && "smhdy".contains(c));
        had_digit = c.is_ascii_digit();
        fits
    });
    fits && word.ends_with(['s', 'm', 'h', 'd', 'y'])
}

#[test]
fn only_what_differs_between_runs_is_made_the_same() {
    let normal = Normal { host: vec![("vm".into(), "<host>".into())] };
    let check = |text: &str, expected: &str| assert_eq!(normal.apply(text), expected);
    check("batch-job-x7k2p   0/1   12s   3m1s\n", "batch-job-xxxxx   0/1   0s    0s\n");
    check("pod/tick-29412345-x7k2p created", "pod/tick-88888888-xxxxx created");
    check("vm vms vm-1", "<host> vms <host>-1");
    check("back-off 10s restarting", "back-off 10s restarting");
    check("at 2026-01-01T00:15:00Z", "at <time>");
    check("uid: 3d69c295-5f2b-8671-95fb-32e1bbbec6d1", "uid: <uid>");
    check("  resourceVersion: \"17\"", "  resourceVersion: \"<rv>\"");
    check("ssd-monitor daemon-apple batch-hours", "ssd-monitor daemon-apple batch-hours");
    check("a-bbbbb 2\na-ccccc 1\n", "a-xxxxx 1\na-xxxxx 2\n");
    check("Normal b a-bbbbb\nNormal a a-ccccc", "Normal b a-xxxxx\nNormal a a-xxxxx");
}

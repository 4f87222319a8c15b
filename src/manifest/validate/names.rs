//! The forms of names, labels and keys, with the API server's sentences about them
//! (`apimachinery/pkg/util/validation/validation.go`). Each function gives the rules that a text breaks.

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Names of most objects.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let mut broken = too_long(text, SUBDOMAIN_MAX);
    if !text.split('.').all(is_label) {
        broken.push(SUBDOMAIN.into());
    }
    broken
}

/// Names of namespaces and containers, and host names.
pub(super) fn label(text: &str) -> Vec<String> {
    let mut broken = too_long(text, LABEL_MAX);
    if !is_label(text) {
        broken.push(LABEL.into());
    }
    broken
}

pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut broken = too_long(text, LABEL_MAX);
    if !text.is_empty() && !is_word(text) {
        broken.push(LABEL_VALUE.into());
    }
    broken
}

/// Keys of labels, annotations and taints: `app`, `example.com/app`.
pub(super) fn qualified(text: &str) -> Vec<String> {
    let mut parts = text.split('/');
    let (first, second, more) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if more.is_some() {
        return vec![format!(
            "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )];
    }
    let (prefix, name) = second.map_or((None, first), |second| (Some(first), second));
    let mut broken = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_string()],
        Some(prefix) => subdomain(prefix).into_iter().map(|rule| format!("prefix part {rule}")).collect(),
        None => Vec::new(),
    };
    if name.is_empty() {
        broken.push("name part must be non-empty".into());
    }
    broken.extend(too_long(name, LABEL_MAX).into_iter().map(|rule| format!("name part {rule}")));
    if !is_word(name) {
        broken.push(format!("name part {QUALIFIED}"));
    }
    broken
}

/// Keys of ConfigMaps and Secrets.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut broken = too_long(text, SUBDOMAIN_MAX);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        broken.push(CONFIG_KEY.into());
    }
    match text {
        "." | ".." => broken.push(format!("must not be '{text}'")),
        text if text.starts_with("..") => broken.push("must not start with '..'".into()),
        _ => {}
    }
    broken
}

/// Names of environment variables, as relaxed in 1.32.
pub(super) fn env_name(text: &str) -> Vec<String> {
    let printable = |b: u8| (b' '..=b'~').contains(&b) && b != b'=';
    if text.is_empty() || !text.bytes().all(printable) { vec![ENV_NAME.into()] } else { Vec::new() }
}

/// Names of ports (IANA service names).
pub(super) fn port(text: &str) -> Vec<String> {
    let rules = [
        (text.len() > 15, "must be no more than 15 characters"),
        (
            !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (!text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (text.contains("--"), "must not contain consecutive hyphens"),
        (text.starts_with('-') || text.ends_with('-'), "must not begin or end with a hyphen"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).map(|(_, rule)| rule.to_string()).collect()
}

fn too_long(text: &str, max: usize) -> Vec<String> {
    if text.len() > max { vec![format!("must be no more than {max} characters")] } else { Vec::new() }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    has_form(text, inner, |b| inner(b) || b == b'-')
}

fn is_word(text: &str) -> bool {
    has_form(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn has_form(text: &str, at_the_ends: impl Fn(u8) -> bool, within: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(|b| at_the_ends(*b))) && bytes.iter().all(|b| within(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: fn(&str) -> Vec<String>, good: &[&str], bad: &[(&str, &str)]) {
        for text in good {
            assert_eq!(rule(text), Vec::<String>::new(), "{text:?}");
        }
        for (text, expected) in bad {
            let broken = rule(text).join("; ");
            assert!(broken.contains(expected), "{text:?}: {broken}");
        }
    }

    #[test]
    fn names_of_objects() {
        let long = "a".repeat(254);
        check(
            subdomain,
            &["a", "a.b-c.d", "0"],
            &[
                ("", "subdomain"),
                ("A", "subdomain"),
                ("a..b", "subdomain"),
                ("a-.b", "subdomain"),
                ("é", "subdomain"),
                (&long, "no more than 253"),
            ],
        );
        check(label, &["a", "a-1"], &[("a.b", "label"), ("-a", "label"), (&long, "no more than 63")]);
    }

    #[test]
    fn labels() {
        check(label_value, &["", "A.b_c", "1"], &[("-a", "a valid label"), ("a b", "a valid label")]);
        check(
            qualified,
            &["a", "x.y/A_b", "a/b"],
            &[
                ("", "name part must be non-empty"),
                ("a/", "non-empty"),
                ("/a", "prefix part must"),
                ("A_/b", "prefix part a lower"),
                ("a/b/c", "a qualified name"),
                ("a b", "name part must consist"),
            ],
        );
    }

    #[test]
    fn keys_variables_and_ports() {
        check(
            config_key,
            &["a.B-c_d", "..a.b.".trim_start_matches('.')],
            &[("", "config key"), ("..", "must not be '..'"), ("..a", "must not start"), ("a/b", "config key")],
        );
        check(
            env_name,
            &["A", "a-b.c", "1", "with space"],
            &[("", "printable"), ("a=b", "printable"), ("é", "printable")],
        );
        check(
            port,
            &["http", "a-1"],
            &[
                ("1", "at least one letter"),
                ("HTTP", "alpha-numeric"),
                ("a--b", "consecutive"),
                ("-a", "begin or end"),
                ("abcdefghijklmnop", "15"),
            ],
        );
    }
}

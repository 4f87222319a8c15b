//! Reads what a registry wants to see before it answers: the header `WWW-Authenticate` (RFC 9110 section 11.6.1; distribution
//! spec, "Token Authentication"). Knows no secret.

/// A longer header is not read.
const BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: String, scope: String },
}

/// All that is understood of one answer's headers, in their order; schemes that nobody here speaks are left out.
pub fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    headers.filter(|header| header.len() <= BYTES_MAX).flat_map(one_header).collect()
}

fn one_header(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((scheme, after)) = word(rest) {
        let (parameters, after) = parameters(after);
        rest = after;
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm").filter(|realm| !realm.is_empty())
        {
            let (service, scope) = (value("service").unwrap_or_default(), value("scope").unwrap_or_default());
            found.push(Challenge::Bearer { realm, service, scope });
        }
    }
    found
}

/// The `key=value` and `key="value"` that follow, up to the next scheme.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        let Some((key, after)) = word(rest) else { return (found, rest) };
        // A word that no `=` follows is the next scheme.
        let Some(after) = after.trim_start().strip_prefix('=') else { return (found, rest) };
        let (value, after) = value(after.trim_start());
        found.push((key.to_ascii_lowercase(), value));
        rest = after;
    }
}

/// The next token, behind spaces and commas.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_string(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.into(), scope: scope.into() }
    }

    #[track_caller]
    fn check(header: &str, expected: &[Challenge]) {
        assert_eq!(read([header].into_iter()), expected, "{header}");
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let scope = "repository:a/b:pull";
        check(
            r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:a/b:pull""#,
            &[bearer("https://auth.example.com/token", "registry.example.com", scope)],
        );
        check(
            r#"bearer Realm = "https://a/t" , scope="repository:a/b:pull,push""#,
            &[bearer("https://a/t", "", "repository:a/b:pull,push")],
        );
        check("Bearer realm=https://a/t,service=s", &[bearer("https://a/t", "s", "")]);
        check(r#"Basic realm="Registry \"X\", main""#, &[Challenge::Basic]);
        check(r#"Basic realm="a", Bearer realm="https://b/""#, &[Challenge::Basic, bearer("https://b/", "", "")]);
        check("basic", &[Challenge::Basic]);
        check(r#"Negotiate, Digest realm="x", nonce="y", Basic"#, &[Challenge::Basic]);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for header in [
            "",
            ",,,",
            "Bearer",
            "Bearer realm=",
            "Bearer service=\"s\"",
            "=",
            "\"",
            "Bearer realm=\"",
            "Ä",
            "Bearer \\",
        ] {
            check(header, &[]);
        }
        check("Bearer realm=\"https://a", &[bearer("https://a", "", "")]);
        check(&format!("Basic {}", "x".repeat(BYTES_MAX)), &[]);
    }
}

//! `$(NAME)` in commands, arguments and values of variables. Knows no pod.

/// Replaces every `$(NAME)` by what `value_of` gives. A name without a value stays as it was written, `$$` stands for
/// `$`, and whatever is no reference is kept. Source: `third_party/forked/golang/expansion/expand.go`.
pub fn expand<'v>(text: &str, value_of: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = reference(rest) {
            match value_of(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The name in `(NAME)…` and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('(')?.split_once(')')
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let value_of = |name: &str| match name {
            "A" => Some("a"),
            "EMPTY" => Some(""),
            "REF" => Some("$(A)"),
            _ => None,
        };
        assert_eq!(expand(text, value_of), expected, "{text}");
    }

    #[test]
    fn references_are_replaced_and_everything_else_is_kept() {
        check("", "");
        check("$(A)", "a");
        check("x$(A)y$(A)", "xaya");
        check("$(EMPTY)", "");
        check("$(REF)", "$(A)");
        check("$(B)", "$(B)");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$a");
        check("$$$$(A)", "$$(A)");
        check("$$", "$");
        check("$A", "$A");
        check("$", "$");
        check("a$", "a$");
        check("$(A", "$(A");
        check("$(A $(A)", "$(A $(A)");
        check("$()", "$()");
        check("$é$(A)é", "$éaé");
        check("\n$(A)", "\na");
    }
}

use serde_json::json;

use super::*;

fn object() -> Value {
    json!({
        "metadata": {"name": "x", "labels": {"zz": "1", "a.b/c": "d"}},
        "list": [{"n": "a", "v": 1, "on": true}, {"n": "b", "v": 2}, {"n": "c", "v": 3.5, "sub": ["x", "y"]}],
        "nums": [10, 20, 30, 40], "empty": [], "nul": null, "flag": true, "f": 1.5, "big": 10_000_000_000_i64,
        "data": {"k": "v"},
    })
}

#[track_caller]
fn check(template: &str, expected: &str) {
    let text = Template::parse(template).and_then(|t| t.render(&object()));
    assert_eq!(text.as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn check_refused(template: &str, expected: &str) {
    let error = Template::parse(template).and_then(|t| t.render(&object())).unwrap_err();
    assert!(error.contains(expected), "{template}: {error}");
}

/// What kubectl 1.32.4 printed for the same templates over the same object.
#[test]
fn templates_are_filled_in_as_by_kubectl() {
    check("{.metadata.name}", "x");
    check("{.metadata.labels}", r#"{"a.b/c":"d","zz":"1"}"#);
    check(r"{.metadata.labels.a\.b/c}", "d");
    check(r"{.metadata.labels['a\.b/c']}", "d");
    check("{.metadata.labels['a.b/c']}", "");
    check("{['metadata.name']}", "x");
    check("{.metadata['name', 'labels']}", r#"x {"a.b/c":"d","zz":"1"}"#);
    check("{.list[*].n}", "a b c");
    check("{.list.*.n}", "a b c");
    check("{.list[-1].n}", "c");
    check("{.list[0]['n','v']}", "a 1");
    check("{.nums[0:2]}", "10 20");
    check("{.nums[-2:]}", "30 40");
    check("{.nums[:-1]}", "10 20 30");
    check("{.nums[4:]}", "");
    check("{.nums[2:2]}", "");
    check("{.nums[::2]}", "10 30");
    check("{.nums[0,2]}", "10 30");
    check("{.nums}", "[10,20,30,40]");
    check("{.empty}", "[]");
    check("{.empty[*]}", "");
    check("{.nul}", "null");
    check("{.nul[0]}", "");
    check("{.flag}{.f}", "true1.5");
    check("{.big}", "10000000000");
    check("{.nope}", "");
    check("{.nope[0].x}", "");
    check("{.f.x}", "");
    check("{.list.n}", "");
    check("{..n}", "a b c");
    check("{.metadata..name}", "x");
    check("{..sub[0]}", "x");
    check("{$.flag}{@.flag}{ .flag }", "truetruetrue");
    check("text only", "text only");
    check("a{.flag}b{.nope}c", "atruebc");
    check("{1}{-1}{1.5}{true}", "1-11.5true");
    check("{.metadata.*}", r#"{"a.b/c":"d","zz":"1"} x"#);
}

#[test]
fn filters_choose_as_in_kubectl() {
    check(r#"{.list[?(@.n=="b")].v}"#, "2");
    check("{.list[?(@.n=='b' )].v}", "2");
    check(r#"{.list[?("b"==@.n)].n}"#, "b");
    check(r#"{.list[?(@.n!="b")].n}"#, "a c");
    check("{.list[?(@.on)].n}", "a");
    check("{.list[?(@.on==true)].n}", "a");
    check("{.list[?(@.sub[1]==\"y\")].n}", "c");
    check("{.list[?(@.nope!=\"b\")].n}", "");
    check("{.nums[?(@>15)]}", "20 30 40");
    check("{.nums[?(@<=20)]}", "10 20");
    check(r#"{.list[?(@.n=="b")]}"#, r#"{"n":"b","v":2}"#);
    // kubectl cannot compare 3.5 with 1; we can.
    check("{.list[?(@.v>1)].n}", "b c");
}

#[test]
fn ranges_and_quoted_text() {
    check("{range .list[*]}{.n}:{.v}{\"\\n\"}{end}", "a:1\nb:2\nc:3.5\n");
    check("{range .list[*]}[{.n}]{range .sub[*]}<{@}>{end}{end}", "[a][b][c]<x><y>");
    check("{range .list[*]}{@.n}{end}{.flag}", "abctrue");
    check("{range .list[*]}{.n}", "abc");
    check("{range .nope[*]}x{end}", "");
    check(r#"{"a\tb"}{'q"q'}{"it's"}"#, "a\tbq\"qit's");
    check(r#"{"a" "b"}"#, "b");
}

#[test]
fn what_is_no_template_is_refused() {
    check_refused("{.flag", "unclosed action");
    check_refused("{.list[}", "invalid array index }");
    check_refused("{.list[0}", "unterminated array");
    check_refused("{.list[a]}", "invalid array index a");
    check_refused(r#"{.list[?(@.n=="b"]}"#, "unterminated filter");
    check_refused("{end}", "not in range, nothing to end");
    check_refused("{flag}", "unrecognized identifier flag");
    check_refused("{\"x}", "unterminated quoted string");
    check_refused("{.nums[1:2:3:4]}", "invalid array index 1:2:3:4");
    check_refused("{.nums[99999999999999999999]}", "invalid array index");
    check_refused("{.list[?(!@.on)].n}", "operator");
    check_refused(&format!("{{.a{}", "[?(@.a".repeat(10_000)), "nested too deep");
    check_refused(&"{range .a[*]}".repeat(100_000), "nested too deep");
    check_refused("{é}", "unrecognized identifier é");
    check_refused("{#}", "unrecognized character");
}

#[test]
fn what_cannot_be_found_or_compared_is_an_error() {
    check_refused("{.list[-4].n}", "array index out of bounds: index -1, length 3");
    check_refused("{.list[3].n}", "array index out of bounds: index 3, length 3");
    check_refused("{.nums[0:10]}", "array index out of bounds: index 9, length 4");
    check_refused("{.nums[5:6]}", "array index out of bounds: index 5, length 4");
    check_refused("{.nums[3:1]}", "starting index 3 is greater than ending index 1");
    check_refused("{.nums[0:4:0]}", "step must be > 0");
    check_refused("{.empty[0]}", "array index out of bounds: index 0, length 0");
    check_refused("{.flag[0]}", "is not array or slice");
    check_refused("{.metadata[?(@==\"x\")]}", "is not array or slice and cannot be filtered");
    check_refused("{.list[?(@.v==\"b\")].n}", "incompatible types for comparison");
}

#[test]
fn a_single_expression_may_come_without_braces() {
    for text in [".metadata.name", "metadata.name", "{.metadata.name}", "{metadata.name}"] {
        assert_eq!(Template::parse_relaxed(text).unwrap().render(&object()).as_deref(), Ok("x"), "{text}");
    }
    for text in ["", "{}", "{.a}{.b}", "{{.a}}"] {
        assert!(Template::parse_relaxed(text).is_err(), "{text}");
    }
}

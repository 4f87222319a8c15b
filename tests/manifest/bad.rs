//! Text that is no manifest, fields that do not exist, values of the wrong type: what is said of them.

use pinnace::manifest::decode_stream;
use pinnace::model::{Failure, Reason};

use crate::{job, pod};

fn refusal(text: &[u8]) -> Failure {
    match decode_stream(text, "default") {
        Ok(_) => panic!("taken: {}", String::from_utf8_lossy(&text[..text.len().min(2000)])),
        Err(failure) => failure,
    }
}

/// The text cannot be decoded, and this is said of it.
#[track_caller]
fn undecodable(text: impl AsRef<[u8]>, expected: &str) {
    let failure = refusal(text.as_ref());
    assert_eq!(failure.reason, Reason::BadRequest, "{failure}");
    assert!(failure.message.contains(expected), "expected {expected}\n     got {failure}");
}

/// The object is invalid, with exactly these causes.
#[track_caller]
pub(crate) fn invalid(text: &str, expected: &[&str]) {
    let failure = refusal(text.as_bytes());
    assert_eq!(failure.reason, Reason::Invalid, "{failure}");
    let causes: Vec<String> = failure.causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    assert_eq!(causes, expected, "{failure}");
}

#[test]
fn text_that_is_no_manifest() {
    let too_large = "too large or too deeply nested, the most that is taken is 50000 values, 64 levels";
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..10 {
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
    }
    undecodable("[".repeat(10_000), too_large);
    undecodable("{".repeat(10_000), too_large);
    undecodable("{a: ".repeat(10_000), too_large);
    undecodable("{\"a\":".repeat(10_000), too_large);
    undecodable("- ".repeat(10_000), too_large);
    undecodable(laughs, too_large);
    undecodable("- 1\n".repeat(60_000), too_large);
    undecodable("a: 1\n---\n".repeat(2_000), too_large);
    undecodable("{}\n".repeat(2_000), "too many documents, the most that is taken is 1000");
    undecodable(b"kind: Job\nname: \xff\n", "line 2: byte 16 is not UTF-8");
    undecodable(b"kind: Job\nname: a\0b\n", "line 2: byte 17 is NUL: the file is not text");
    undecodable(b"\xff\xfek\0i\0n\0d\0", "line 1: byte 0 is not UTF-8");
    undecodable("apiVersion: v1\n\tkind: Job\n", "yaml: line 1, column 13: ");
    undecodable("a: \"x\nb: 1\n", "yaml: line 1, column 4: unclosed quote");
    undecodable("a:\n  b: 1\n c: 2\n", "yaml: line 3, column 2: while parsing a block mapping");
    undecodable("a: *b\n", "yaml: line 1, column 4: ");
    undecodable("a: .inf\n", "yaml: line 1, column 4: ");
    undecodable("kind: Job\nkind: Job\n", "yaml: line 2, column 1: duplicate mapping key `kind`");
    undecodable("{\"kind\": 1,\n \"kind\": 2}", "json: line 2, column 11: duplicate field \"kind\"");
    undecodable("{\"kind\": \"Job\"} x", "json: line 1, column 17: ");
    undecodable("hello", "document at line 1: an object with apiVersion and kind is needed here, not \"hello\"");
    undecodable(
        "a: 1\n---\n- b\n",
        "document at line 3: an object with apiVersion and kind is needed here, not [\"b\"]",
    );
}

#[test]
fn five_megabytes() {
    let failure = refusal(&vec![b'a'; 5 << 20]);
    assert_eq!(failure.reason, Reason::RequestEntityTooLarge);
    assert!(
        failure.message.starts_with("the manifest is 5242880 bytes long, the most that is taken is 1048576"),
        "{failure}"
    );
}

#[test]
fn kinds_and_versions() {
    undecodable("apiVersion: v1\nfoo: 1\n", "Object 'Kind' is missing in an object with the fields [apiVersion, foo]");
    undecodable("kind: Job\n", "Object 'apiVersion' is missing in");
    undecodable("apiVersion: 1\nkind: Job\n", "Object 'apiVersion' must be a string, is 1");
    undecodable(
        "apiVersion: apps/v1\nkind: Deployment\n",
        "no matches for kind \"Deployment\" in version \"apps/v1\": pinnace takes ConfigMap (v1), Namespace (v1), Node (v1), \
         Pod (v1), Secret (v1), DaemonSet (apps/v1, apps/v1beta2, extensions/v1beta1), CronJob (batch/v1, batch/v1beta1), \
         Job (batch/v1), Image (pinnace.dev/v1)",
    );
    undecodable("apiVersion: batch/v2\nkind: Job\n", "no matches for kind \"Job\" in version \"batch/v2\"");
    undecodable("apiVersion: v1\nkind: Event\n", "no matches for kind \"Event\"");
}

#[test]
fn unknown_fields_are_named_with_line_and_suggestion() {
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: x\nspec:\n  parralelism: 2\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: c\n        imag: x\n";
    let failure = refusal(text.as_bytes());
    assert_eq!(
        failure.message,
        "Job in version \"v1\" cannot be handled as a Job: strict decoding error: \
         unknown field \"spec.parralelism\" (line 6, did you mean \"parallelism\"?), \
         unknown field \"spec.template.spec.containers[0].imag\" (line 12, did you mean \"image\"?)"
    );
    let second = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\n---\n{text}");
    undecodable(
        second,
        "document at line 5: Job in version \"v1\" cannot be handled as a Job: strict decoding error: unknown field \"spec.parralelism\" (line 10,",
    );
    undecodable(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata:\n    nam: x\n",
        "unknown field \"metadata.nam\" (line 7, did you mean \"name\"?)",
    );
    undecodable(job("  zzzzzz: 1\n", &pod("command: [a]")), "unknown field \"spec.zzzzzz\" (line 5)");
    undecodable(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: x}\nspec: {templateGeneration: 1}\n",
        "unknown field \"spec.templateGeneration\"",
    );
    undecodable(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: x}\nspec: {startingDeadlineSecond: 1, startingDeadlineSeconds: 1}\n",
        "unknown field \"spec.startingDeadlineSecond\" (line 4, did you mean \"startingDeadlineSeconds\"?)",
    );
}

#[test]
fn wrong_types_are_told_as_the_api_server_tells_them() {
    let wrong = |spec: &str, expected: &str| undecodable(job(spec, &pod("command: [a]")), expected);
    wrong(
        "  parallelism: two\n",
        "Job in version \"v1\" cannot be handled as a Job: json: cannot unmarshal string into Go struct field JobSpec.spec.parallelism of type int32 (line 5)",
    );
    wrong(
        "  parallelism: 1.5\n",
        "cannot unmarshal number 1.5 into Go struct field JobSpec.spec.parallelism of type int32",
    );
    wrong("  parallelism: 2147483648\n", "cannot unmarshal number 2147483648 into");
    wrong("  parallelism: yes\n", "cannot unmarshal bool into Go struct field JobSpec.spec.parallelism of type int32");
    wrong("  suspend: \"true\"\n", "cannot unmarshal string into Go struct field JobSpec.spec.suspend of type bool");
    let in_container = |container: &str, expected: &str| undecodable(job("", &pod(container)), expected);
    in_container(
        "command: a",
        "cannot unmarshal string into Go struct field Container.spec.template.spec.containers.command of type []string (spec.template.spec.containers[0].command, line 6)",
    );
    in_container(
        "command: [1]",
        "cannot unmarshal number into Go struct field Container.spec.template.spec.containers.command of type string (spec.template.spec.containers[0].command[0], line 6, put it in quotes to make it a text)",
    );
    in_container(
        "env: {A: b}",
        "cannot unmarshal object into Go struct field Container.spec.template.spec.containers.env of type []v1.EnvVar",
    );
    in_container(
        "env: [{name: A, value: 5}]",
        "cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
    );
    in_container(
        "resources: {limits: {cpu: 1x}}",
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' (spec.template.spec.containers[0].resources.limits[cpu], line 6)",
    );
    undecodable(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {a: yes}}\n",
        "cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
    );
    undecodable(
        "apiVersion: v1\nkind: Pod\nmetadata: []\n",
        "cannot unmarshal array into Go struct field Pod.metadata of type v1.ObjectMeta",
    );
    undecodable(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: \"hello!\"}\n",
        "illegal base64 data at input byte 5 (data[a], line 4)",
    );
}

#[test]
fn metadata() {
    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let config_map = |meta: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {meta}\n");
    invalid(&config_map("{}"), &["metadata.name: Required value: name or generateName is required"]);
    invalid(&config_map("{name: A}"), &[&format!("metadata.name: Invalid value: \"A\": {SUBDOMAIN}")]);
    invalid(
        &config_map("{generateName: \"-\"}"),
        &[&format!("metadata.generateName: Invalid value: \"-\": {SUBDOMAIN}")],
    );
    invalid(
        &config_map("{name: a, resourceVersion: x}"),
        &["metadata.resourceVersion: Invalid value: \"x\": must be a number, as this node gives it"],
    );
    invalid(
        &config_map("{name: a, finalizers: [x.y/z]}"),
        &["metadata.finalizers: Forbidden: not supported by pinnace"],
    );
    invalid(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, namespace: b}\n",
        &["metadata.namespace: Forbidden: not allowed on this type"],
    );
    let long = "a".repeat(64);
    invalid(
        &job("", &pod("command: [a]")).replace("name: x", &format!("name: {long}")),
        &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 63 characters")],
    );
    let failure = refusal(config_map("{name: a, labels: {a_: b, c: \"-\"}, annotations: {\"/x\": z}}").as_bytes());
    let fields: Vec<&str> = failure.causes.iter().map(|c| c.field.as_str()).collect();
    assert_eq!(fields, ["metadata.labels", "metadata.labels", "metadata.annotations"]);
    assert!(failure.causes[0].message.starts_with("Invalid value: \"a_\": name part must consist of"), "{failure}");
    assert!(failure.causes[1].message.starts_with("Invalid value: \"-\": a valid label must be"), "{failure}");
    assert_eq!(failure.causes[2].message, "Invalid value: \"/x\": prefix part must be non-empty");
    let large = format!("{{name: a, annotations: {{a: {}}}}}", "x".repeat(262_144));
    invalid(&config_map(&large), &["metadata.annotations: Too long: may not be more than 262144 bytes"]);
}

#[test]
fn several_mistakes_are_all_told_with_their_lines() {
    let failure =
        refusal(job("  parallelism: -1\n  backoffLimit: -2\n", "{containers: [{name: c, command: [a]}]}").as_bytes());
    assert_eq!(
        failure.message,
        "Job.batch \"x\" is invalid: [spec.parallelism: Invalid value: -1: must be greater than or equal to 0 (line 5), \
         spec.backoffLimit: Invalid value: -2: must be greater than or equal to 0 (line 6), \
         spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\" (line 8)]"
    );
    assert_eq!((failure.name.as_str(), failure.causes.len()), ("x", 3));
    let many: String = (0..500).map(|i| format!("{{name: V{i}=}}, ")).collect();
    let failure = refusal(job("", &pod(&format!("command: [a], env: [{many}]"))).as_bytes());
    assert_eq!(failure.causes.len(), 50);
}

#[test]
fn one_object_twice_in_one_manifest() {
    let one = job("", &pod("command: [a]"));
    undecodable(format!("{one}---\n{one}"), "Job default/x is in this manifest twice, on line 1 and on line 8");
    let generated = one.replace("name: x", "generateName: x-");
    assert_eq!(crate::decode(&format!("{generated}---\n{generated}")).len(), 2);
}

/// A message goes into an ack and onto a terminal, whatever was sent.
#[test]
fn the_message_about_a_megabyte_is_short() {
    let long = "k".repeat(400_000);
    let pod = |container: &str| {
        format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"a\"}},\"spec\":{{\"containers\":[{{{container}}}]}}}}"
        )
    };
    for text in [
        pod(&format!("\"{long}\": 1")),
        pod(&format!("\"name\": \"{long}\"")),
        pod(&format!("\"resources\": {{\"limits\": {{\"{long}\": \"{long}\"}}}}")),
        pod(&format!("\"command\": \"{long}\"")),
        pod("").replace("Pod", &long),
        format!("{{\"{long}\": 1, \"{long}\": 2}}"),
        format!("? {long}\n: 1\n? {long}\n: 2\n"),
        long.clone(),
    ] {
        let failure = refusal(text.as_bytes());
        let length =
            failure.message.len() + failure.causes.iter().map(|c| c.message.len() + c.field.len()).sum::<usize>();
        assert!(length < 4_000, "{length} bytes: {:.300}", failure.message);
    }
}

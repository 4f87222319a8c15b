//! Any bytes and any distortion of a good manifest: an answer, never a panic, and never without bound.

use pinnace::manifest::{decode_stream, merge_patch, read_header, read_stream, strategic_merge_patch};
use proptest::prelude::*;
use serde_json::Value;

const SEEDS: [&str; 5] = [
    include_str!("../../examples/ssd-monitor-daemonset.yaml"),
    include_str!("../../examples/cronjob.yaml"),
    "# pinnace: {\"v\":1,\"slot\":\"a\"}\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: s}\n  data: {a: aGk=}\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec:\n  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [n]}]}]}}}\n  tolerations: [{key: a, operator: Exists, tolerationSeconds: 3, effect: NoExecute}]\n  containers:\n  - &c\n    name: c\n    image: x\n    env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]\n    ports: [{containerPort: 80, protocol: TCP}]\n    resources: {limits: {cpu: 500m, memory: 64Mi}}\n",
    "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"parallelism\":2,\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"command\":[\"a\"]}]}}}}",
];

/// Words and values that mean something somewhere.
const BITS: [&str; 24] = [
    "null",
    "~",
    "[]",
    "{}",
    "-1",
    "99999999999999999999",
    "1.5",
    ".inf",
    "yes",
    "0644",
    "\"\"",
    "'",
    "\"",
    "&a",
    "*a",
    "<<: *c",
    "---\n",
    "\t",
    "\0",
    "é",
    "!!binary",
    "? ",
    "|\n",
    "- ",
];

fn all_of(text: &[u8]) {
    let failures = [decode_stream(text, "default").err(), read_stream(text).err(), read_header(text).err()];
    for failure in failures.into_iter().flatten() {
        assert!(!failure.message.is_empty());
        assert!(failure.message.len() < 100_000, "a message of {} bytes", failure.message.len());
    }
}

fn distorted() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0usize..12, prop::sample::select(&BITS[..]));
    (prop::sample::select(&SEEDS[..]), prop::collection::vec(edit, 1..6)).prop_map(|(seed, edits)| {
        let mut text = seed.as_bytes().to_vec();
        for (at, cut, put) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.bytes());
        }
        text
    })
}

/// A good manifest in which one value is another.
fn with_another_value() -> impl Strategy<Value = Value> {
    let values = prop::sample::select(
        &["null", "true", "-1", "3", "1.5", "1e300", "\"\"", "\"x\"", "[]", "[null]", "[1]", "{}", "{\"a\":null}"][..],
    );
    (prop::sample::select(&SEEDS[..]), any::<prop::sample::Index>(), values).prop_map(|(seed, at, value)| {
        let mut document = read_stream(seed.as_bytes()).unwrap().remove(0).0;
        let mut places = Vec::new();
        pointers(&document, String::new(), &mut places);
        let place = places[at.index(places.len())].clone();
        *document.pointer_mut(&place).unwrap() = serde_json::from_str(value).unwrap();
        document
    })
}

fn pointers(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(k, v)| pointers(v, format!("{path}/{}", k.replace('~', "~0").replace('/', "~1")), found)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{path}/{i}"), found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if !path.is_empty() {
        found.push(path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all_of(&bytes);
    }

    #[test]
    fn any_text_of_yaml_marks(text in "[-?:,\\[\\]{}#&*!|>'\"%@`a0 \n\t~<.]{0,80}") {
        all_of(text.as_bytes());
    }

    #[test]
    fn any_distortion(text in distorted()) {
        all_of(&text);
    }

    #[test]
    fn any_value_in_any_place(document in with_another_value()) {
        all_of(document.to_string().as_bytes());
    }

    #[test]
    fn any_patch(mut a in with_another_value(), b in with_another_value()) {
        strategic_merge_patch(&mut a.clone(), &b);
        merge_patch(&mut a, &b);
    }

    /// Decoding what was decoded changes nothing more: defaults are filled in once.
    #[test]
    fn a_decoded_document_decodes_to_itself(document in with_another_value()) {
        let Ok(first) = decode_stream(document.to_string().as_bytes(), "default") else { return Ok(()) };
        for one in first {
            let Some(job) = one.record.as_job() else { continue };
            let again = serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": job.spec.document()});
            let again = decode_stream(again.to_string().as_bytes(), "default").map_err(|e| TestCaseError::fail(e.message))?;
            prop_assert_eq!(again[0].record.as_job().unwrap().spec.document(), job.spec.document());
        }
    }
}

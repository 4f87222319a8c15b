//! What is taken, and what becomes of it.

use pinnace::manifest::read_stream;
use pinnace::model::pod::TolerationOperator;
use pinnace::model::{Kind, Record};
use serde_json::{Value, json};

use crate::{decode, decode_one, job, pod};

#[test]
fn a_stream_may_have_several_documents_lists_and_comments() {
    let text = "# only a comment\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\n# another\n---\n\
                apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: b}\n\
                - apiVersion: v1\n  kind: List\n  items:\n  - apiVersion: v1\n    kind: Secret\n    metadata: {name: c, namespace: ns}\n\
                ...\n---\napiVersion: v1\nkind: ConfigMapList\nmetadata: {resourceVersion: \"1\"}\nitems:\n- metadata: {name: d}\n";
    let keys: Vec<String> = decode(text).iter().map(|d| d.record.key().to_string()).collect();
    assert_eq!(keys, ["Namespace a", "ConfigMap default/b", "Secret ns/c", "ConfigMap default/d"]);
    let lines: Vec<usize> = read_stream(text.as_bytes()).unwrap().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, [3, 13, 19, 28]);
    for nothing in ["", "\n", "# x\n", "---\n---\n", "\u{feff}", "null\n", "apiVersion: v1\nkind: List\nitems: []\n"] {
        assert!(decode(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn json_is_taken_as_well_one_object_or_several() {
    let text = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}\n\n\
                {\"apiVersion\":\"v1\",\n\t\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"b\"}}";
    assert_eq!(decode(text).len(), 2);
    assert_eq!(read_stream(text.as_bytes()).unwrap()[1].1, 3);
    assert_eq!(decode("{apiVersion: v1, kind: ConfigMap, metadata: {name: flow}}").len(), 1);
}

/// A client sends objects on as they are: no namespace, no defaults, kinds that pinnace does not know.
#[test]
fn a_client_reads_without_judging() {
    let read = read_stream(b"kind: Deployment\nspec: {x: 0644, y: yes}\n").unwrap();
    assert_eq!(read[0].0, json!({"kind": "Deployment", "spec": {"x": 420, "y": true}}));
}

#[track_caller]
fn scalar(yaml: &str, expected: Value) {
    let read = read_stream(format!("a: {yaml}\n").as_bytes()).unwrap();
    assert_eq!(read[0].0["a"], expected, "{yaml}");
}

#[test]
fn scalars_are_read_as_kubectl_reads_them() {
    for (yaml, expected) in [
        ("yes", json!(true)),
        ("Off", json!(false)),
        ("\"yes\"", json!("yes")),
        ("0644", json!(420)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        ("-5", json!(-5)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("~", json!(null)),
        ("", json!(null)),
        ("2026-01-01", json!("2026-01-01")),
        ("12:30", json!("12:30")),
        ("1.2.3", json!("1.2.3")),
        ("18446744073709551616", json!(18446744073709551616.0)),
        ("|\n  two\n  lines", json!("two\nlines\n")),
        (">-\n  one\n  line", json!("one line")),
    ] {
        scalar(yaml, expected);
    }
}

#[test]
fn merge_keys_and_aliases_are_resolved() {
    let text = "base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\nlist: [*b]\n";
    let read = read_stream(text.as_bytes()).unwrap();
    assert_eq!(read[0].0, json!({"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]}));
}

#[test]
fn a_job_is_a_work_queue_when_only_the_parallelism_is_given() {
    let numbers = |spec: &str| {
        let decoded = decode_one(&job(spec, &pod("command: [a]")));
        let job = decoded.record.as_job().unwrap().clone();
        (job.spec.completions, job.spec.parallelism)
    };
    assert_eq!(numbers(""), (Some(1), Some(1)));
    assert_eq!(numbers("  parallelism: 3\n"), (None, Some(3)));
    assert_eq!(numbers("  completions: 3\n"), (Some(3), Some(1)));
    assert_eq!(numbers("  completions: null\n  parallelism: 2.0\n"), (None, Some(2)));
    assert_eq!(numbers("  completions: 0\n  parallelism: 0\n"), (Some(0), Some(0)));
}

#[test]
fn a_container_without_image_runs_on_the_host() {
    for image in ["image: host, ", "image: \"\", ", "image: null, ", ""] {
        let decoded = decode_one(&job("", &pod(&format!("{image}command: [a]"))));
        let container = decoded.record.as_job().unwrap().spec.document()["template"]["spec"]["containers"][0].clone();
        assert!(container.get("imagePullPolicy").is_none(), "{container}");
    }
    for (image, policy) in
        [("a:1", "IfNotPresent"), ("a:latest", "Always"), ("h:5000/a", "Always"), ("a@sha256:0", "IfNotPresent")]
    {
        let decoded = decode_one(&job("", &pod(&format!("image: \"{image}\""))));
        let spec = decoded.record.as_job().unwrap().spec.document().clone();
        assert_eq!(spec["template"]["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

/// What `kubectl create --dry-run=client -o yaml` and `kubectl get -o yaml` write and what asks for what is so anyway.
#[test]
fn fields_that_ask_for_nothing_special_are_taken() {
    let spec = "{restartPolicy: OnFailure, hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet, volumes: [], \
                schedulerName: default-scheduler, serviceAccountName: default, serviceAccount: default, priority: 0, \
                preemptionPolicy: PreemptLowerPriority, enableServiceLinks: false, automountServiceAccountToken: false, \
                hostPID: false, hostIPC: false, hostUsers: true, shareProcessNamespace: false, os: {name: linux}, \
                imagePullSecrets: null, securityContext: {}, overhead: {}, subdomain: \"\", \
                affinity: {podAffinity: {}, nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: \
                [{weight: 1, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}, \
                containers: [{name: c, image: x, resources: {}, terminationMessagePath: /dev/termination-log, \
                terminationMessagePolicy: File, tty: false, stdin: false, volumeMounts: [], lifecycle: null, \
                ports: [{containerPort: 80}], \
                securityContext: {privileged: false, readOnlyRootFilesystem: false, procMount: Default}}]}";
    let decoded = decode_one(&job("  completionMode: NonIndexed\n  managedBy: kubernetes.io/job-controller\n", spec));
    assert_eq!(decoded.warnings, Vec::<String>::new());
    let port = decoded.record.as_job().unwrap().spec.template.spec.containers[0].ports[0].clone();
    assert_eq!((port.container_port, port.host_port, port.protocol.as_str()), (80, 80, "TCP"));
}

#[test]
fn a_job_without_labels_has_those_of_its_template() {
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, labels: {}}\nspec: {template: {metadata: {creationTimestamp: null, labels: {a: b}}, \
                spec: {restartPolicy: Never, containers: [{name: c, command: [a]}]}}}\n";
    assert_eq!(decode_one(text).record.meta().labels["a"], "b");
    let own = text.replace("labels: {}", "labels: {c: d}");
    assert_eq!(decode_one(&own).record.meta().labels.keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_pod_of_its_own_has_the_defaults_of_a_pod() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: p-}\nspec:\n  tolerations: [{operator: Exists}]\n  containers:\n  - \
                {name: c, image: x, resources: {limits: {cpu: 1, memory: 64Mi}, requests: {cpu: 0.5}}, env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}\n  \
                initContainers: [{name: i, command: [a]}]\n";
    let decoded = decode_one(text);
    let pod = decoded.record.as_pod().unwrap();
    assert_eq!((pod.meta.name.as_str(), pod.meta.generate_name.as_str()), ("", "p-"));
    let resources = &pod.spec.containers[0].resources;
    assert_eq!((resources.requests["cpu"].milli(), resources.requests["memory"].as_str()), (500, "64Mi"));
    assert_eq!(pod.spec.tolerations[0].operator, TolerationOperator::Exists);
    let document = pod.spec.document();
    assert_eq!(document["enableServiceLinks"], true);
    assert_eq!(document["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!((pod.status.init.len(), pod.status.containers.len()), (1, 1));
}

#[test]
fn old_daemon_sets_have_their_old_defaults() {
    let text = |version: &str, spec: &str| {
        format!(
            "apiVersion: {version}\nkind: DaemonSet\nmetadata: {{name: d}}\nspec:\n{spec}  template:\n    metadata: {{labels: {{a: b}}}}\n    \
             spec: {{containers: [{{name: c, command: [a]}}]}}\n"
        )
    };
    let old = decode_one(&text("extensions/v1beta1", "  templateGeneration: 3\n"));
    let ds = old.record.as_daemon_set().unwrap();
    assert_eq!(ds.spec.selector.match_labels["a"], "b");
    assert_eq!(ds.spec.document()["updateStrategy"], json!({"type": "OnDelete"}));
    let new = decode_one(&text(
        "apps/v1",
        "  selector: {matchLabels: {a: b}}\n  updateStrategy: {rollingUpdate: {maxSurge: 50%, maxUnavailable: 0}}\n",
    ));
    let expected = json!({"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}, "type": "RollingUpdate"});
    assert_eq!(new.record.as_daemon_set().unwrap().spec.document()["updateStrategy"], expected);
}

#[test]
fn a_secret_has_its_texts_in_base64() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: \"aG\\nk=\", b: eA==}\nstringData: {b: héllo, c: \"\"}\nimmutable: true\n";
    let decoded = decode_one(text);
    let secret = decoded.record.as_secret().unwrap();
    let expected = json!({"data": {"a": "aGk=", "b": "aMOpbGxv", "c": ""}, "immutable": true, "type": "Opaque"});
    assert_eq!(secret.spec.document(), &expected);
    let map = decode_one(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {k: null, l: \"1\"}\nbinaryData: {b: AA==}\n",
    );
    let map = map.record.as_config_map().unwrap();
    assert_eq!(
        (map.spec.data["k"].as_str(), map.spec.data["l"].as_str(), map.spec.binary_data["b"].as_str()),
        ("", "1", "AA==")
    );
    assert_eq!(map.spec.document().as_object().unwrap().keys().collect::<Vec<_>>(), ["data", "binaryData"]);
}

#[test]
fn nodes_namespaces_and_images() {
    let node = decode_one(
        "apiVersion: v1\nkind: Node\nmetadata: {name: node, labels: {disk: ssd}}\nspec: {unschedulable: true, taints: [{key: k, value: v, effect: NoExecute, timeAdded: \"2026-01-01T00:00:00Z\"}]}\n",
    );
    let node = node.record.as_node().unwrap();
    assert!(node.spec.unschedulable && node.spec.taints[0].value == "v");
    assert_eq!(node.meta.namespace, "");
    let namespace = decode_one(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nspec: {finalizers: [kubernetes]}\nstatus: {phase: Active}\n",
    );
    assert_eq!(namespace.record.kind(), Kind::Namespace);
    let image = decode_one(
        "apiVersion: pinnace.dev/v1\nkind: Image\nspec: {reference: luksa/batch-job, directory: /srv/x, env: [A=b], workingDir: /w}\n",
    );
    let Record::Image(image) = &image.record else { panic!() };
    assert_eq!(image.meta.name, pinnace::model::image::object_name("luksa/batch-job"));
    assert_eq!((image.spec.reference.as_str(), image.spec.working_dir.as_str()), ("luksa/batch-job", "/w"));
}

/// A Job that was read from the node has what the node wrote into it.
#[test]
fn a_job_may_come_back_with_its_generated_selector() {
    let generated = "  selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}}\n";
    decode_one(&job(generated, &pod("command: [a]")));
    let own = "  manualSelector: true\n  selector: {matchExpressions: [{key: a, operator: DoesNotExist}]}\n";
    decode_one(&job(own, &pod("command: [a]")));
}

#[test]
fn odd_but_legal_things_are_warned_of() {
    let env = "env: [{name: A, value: \"1\"}, {name: A}]";
    let decoded = decode_one(&job("", &pod(&format!("command: [a], {env}, resources: {{limits: {{memory: 100m}}}}"))));
    assert_eq!(
        decoded.warnings,
        [
            "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ]
    );
}

#[test]
fn a_megabyte_is_taken_as_long_as_it_is_no_more() {
    let text = |bytes: usize| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata:\n  k: {}\n", "x".repeat(bytes))
    };
    let most = pinnace::manifest::BYTES_MAX - text(0).len();
    decode_one(&text(most));
    assert!(pinnace::manifest::decode_stream(text(most + 1).as_bytes(), "default").is_err());
}

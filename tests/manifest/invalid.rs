//! Values that make no sense, and fields that pinnace does not do: what is said of each.

use crate::bad::invalid;
use crate::{job, pod};

/// A Job with one mistake in the only container of its pod; causes begin with the container's path.
#[track_caller]
fn invalid_container(container: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|e| format!("spec.template.spec.containers[0].{e}")).collect();
    invalid(&job("", &pod(container)), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn invalid_pod(fields: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|e| format!("spec.template.spec.{e}")).collect();
    let spec = format!("{{restartPolicy: Never, {fields}, containers: [{{name: c, command: [a]}}]}}");
    invalid(&job("", &spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn jobs() {
    let wrong = |spec: &str, expected: &[&str]| invalid(&job(spec, &pod("command: [a]")), expected);
    for field in ["parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds"] {
        wrong(
            &format!("  {field}: -1\n"),
            &[&format!("spec.{field}: Invalid value: -1: must be greater than or equal to 0")],
        );
    }
    wrong("  manualSelector: true\n", &["spec.selector: Required value"]);
    wrong(
        "  selector: {matchLabels: {a: b}}\n",
        &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` not auto-generated"],
    );
    wrong(
        "  manualSelector: true\n  selector: {matchLabels: {a: b}}\n",
        &["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"],
    );
    wrong(
        "  podReplacementPolicy: Never\n",
        &[
            "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ],
    );
    wrong(
        "  completionMode: Indexed\n",
        &["spec.completionMode: Forbidden: not supported by pinnace with another value than \"NonIndexed\""],
    );
    for field in [
        "backoffLimitPerIndex: 1",
        "maxFailedIndexes: 1",
        "podFailurePolicy: {rules: []}",
        "successPolicy: {rules: []}",
    ] {
        let name = field.split(':').next().unwrap();
        wrong(&format!("  {field}\n"), &[&format!("spec.{name}: Forbidden: not supported by pinnace")]);
    }
    let restart =
        |policy: &str| job("", &format!("{{restartPolicy: {policy}, containers: [{{name: c, command: [a]}}]}}"));
    invalid(
        &restart("Always"),
        &["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    invalid(
        &restart("X"),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"X\": supported values: \"Always\", \"OnFailure\", \"Never\"",
            "spec.template.spec.restartPolicy: Unsupported value: \"X\": supported values: \"OnFailure\", \"Never\"",
        ],
    );
    invalid(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\n",
        &[
            "spec.template.spec.containers: Required value",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ],
    );
}

#[test]
fn cron_jobs() {
    let text = |name: &str, spec: &str| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}}}\nspec:\n{spec}  jobTemplate: {{spec: {{template: {{spec: {}}}}}}}\n",
            pod("command: [a]")
        )
    };
    let wrong = |spec: &str, expected: &[&str]| invalid(&text("x", spec), expected);
    wrong("", &["spec.schedule: Required value"]);
    wrong(
        "  schedule: \"* * * *\"\n",
        &["spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]"],
    );
    wrong(
        "  schedule: \"0 0 * * 7\"\n",
        &["spec.schedule: Invalid value: \"0 0 * * 7\": end of range (7) above maximum (6): 7"],
    );
    wrong(
        "  schedule: TZ=UTC\n",
        &["spec.schedule: Invalid value: \"TZ=UTC\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"],
    );
    let minutely = |more: &str| format!("  schedule: \"* * * * *\"\n  {more}\n");
    wrong(
        &minutely("timeZone: \"\""),
        &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"],
    );
    wrong(
        &minutely("timeZone: Mars/Base"),
        &["spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base"],
    );
    wrong(
        &minutely("startingDeadlineSeconds: -1"),
        &["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"],
    );
    wrong(
        &minutely("successfulJobsHistoryLimit: -1"),
        &["spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"],
    );
    wrong(
        &minutely("concurrencyPolicy: Queue"),
        &["spec.concurrencyPolicy: Unsupported value: \"Queue\": supported values: \"Allow\", \"Forbid\", \"Replace\""],
    );
    let long = "a".repeat(53);
    invalid(
        &text(&long, &minutely("suspend: true")),
        &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 52 characters")],
    );
    let in_job = text("x", &minutely("suspend: true")).replace(
        "{spec: {template",
        "{spec: {parallelism: -1, manualSelector: true, selector: {matchLabels: {a: b}}, template",
    );
    invalid(
        &in_job,
        &[
            "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
            "spec.jobTemplate.spec.manualSelector: Unsupported value: \"true\": supported values: \"nil\", \"false\"",
            "spec.jobTemplate.spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn daemon_sets() {
    let text = |spec: &str, pod: &str| {
        format!(
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: x}}\nspec:\n{spec}  template: {{metadata: {{labels: {{a: b}}}}, spec: {{{pod}containers: [{{name: c, command: [a]}}]}}}}\n"
        )
    };
    let selector = "  selector: {matchLabels: {a: b}}\n";
    invalid(&text("", ""), &["spec.selector: Required value"]);
    invalid(
        &text("  selector: {}\n", ""),
        &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
    );
    invalid(
        &text("  selector: {matchLabels: {a: c}}\n", ""),
        &["spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"],
    );
    invalid(
        &text(selector, "restartPolicy: OnFailure, "),
        &["spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\""],
    );
    invalid(
        &text(selector, "activeDeadlineSeconds: 5, "),
        &["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"],
    );
    let rolling = |rolling: &str, expected: &str| {
        let path = "spec.updateStrategy.rollingUpdate";
        invalid(
            &text(&format!("{selector}  updateStrategy: {{rollingUpdate: {{{rolling}}}}}\n"), ""),
            &[&format!("{path}.{expected}")],
        );
    };
    rolling("maxSurge: 1", "maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero");
    rolling("maxUnavailable: 0%", "maxUnavailable: Required value: cannot be 0 when maxSurge is 0");
    rolling("maxUnavailable: 101%", "maxUnavailable: Invalid value: \"101%\": must not be greater than 100%");
    rolling("maxUnavailable: -1", "maxUnavailable: Invalid value: -1: must be greater than or equal to 0");
    rolling(
        "maxUnavailable: x",
        "maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
    invalid(
        &text(&format!("{selector}  updateStrategy: {{type: X}}\n"), ""),
        &["spec.updateStrategy.type: Unsupported value: \"X\": supported values: \"RollingUpdate\", \"OnDelete\""],
    );
    invalid(
        &text("  selector: {matchExpressions: [{key: a, operator: Gt, values: [\"1\"]}]}\n", ""),
        &["spec.selector.matchExpressions[0].operator: Invalid value: \"Gt\": not a valid selector operator"],
    );
}

#[test]
fn containers() {
    invalid_container(
        "image: host",
        &["command: Required value: image is absent or \"host\", so the program must be named"],
    );
    invalid_container("image: \" a\"", &["image: Invalid value: \" a\": must not have leading or trailing whitespace"]);
    invalid_container("command: [\"\"]", &["command[0]: Required value: the program must be named"]);
    invalid_container(
        "command: [\"a\\0\"]",
        &["command[0]: Invalid value: \"a\\u0000\": must not contain a NUL character"],
    );
    invalid_container("command: [a], workingDir: x", &["workingDir: Invalid value: \"x\": must be an absolute path"]);
    invalid_container(
        "image: x, imagePullPolicy: Often",
        &["imagePullPolicy: Unsupported value: \"Often\": supported values: \"Always\", \"IfNotPresent\", \"Never\""],
    );
    invalid_container("image: x, ports: [{}]", &["ports[0].containerPort: Required value"]);
    invalid_container(
        "image: x, ports: [{containerPort: 65536}]",
        &["ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"],
    );
    invalid_container(
        "image: x, ports: [{containerPort: 80, hostPort: 8080}]",
        &["ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"],
    );
    invalid_container(
        "image: x, ports: [{containerPort: 80, protocol: ICMP}]",
        &["ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""],
    );
    invalid_container(
        "image: x, ports: [{containerPort: 80, hostPort: 80}, {containerPort: 80, hostPort: 80}]",
        &["ports[1].hostPort: Duplicate value: \"TCP/80\""],
    );
    let requests = "must be less than or equal to cpu limit of 1";
    invalid_container(
        "image: x, resources: {limits: {cpu: 1}, requests: {cpu: 1500m}}",
        &[&format!("resources.requests: Invalid value: \"1500m\": {requests}")],
    );
    invalid_container(
        "image: x, resources: {limits: {cpu: -1}}",
        &["resources.limits[cpu]: Invalid value: -1: must be greater than or equal to 0"],
    );
    invalid_container(
        "image: x, resources: {limits: {cpu: 1u}}",
        &["resources.limits[cpu]: Invalid value: \"1u\": must be a whole number of thousandths of a CPU (1m)"],
    );
    invalid_container(
        "image: x, resources: {limits: {nvidia.com/gpu: 1}}",
        &["resources.limits[nvidia.com/gpu]: Forbidden: not supported by pinnace"],
    );
    invalid_container(
        "image: x, securityContext: {runAsUser: -1}",
        &["securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    );
    for field in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle"] {
        invalid_container(
            &format!("image: x, {field}: {{a: b}}"),
            &[&format!("{field}: Forbidden: not supported by pinnace")],
        );
    }
    for field in ["volumeDevices", "resizePolicy"] {
        invalid_container(
            &format!("image: x, {field}: [a]"),
            &[&format!("{field}: Forbidden: not supported by pinnace")],
        );
    }
    for field in ["stdin", "stdinOnce", "tty"] {
        invalid_container(
            &format!("image: x, {field}: true"),
            &[&format!("{field}: Forbidden: not supported by pinnace with another value than false")],
        );
    }
    for field in ["seLinuxOptions: {level: a}", "appArmorProfile: {type: Unconfined}", "windowsOptions: {a: b}"] {
        let name = field.split(':').next().unwrap();
        invalid_container(
            &format!("image: x, securityContext: {{{field}}}"),
            &[&format!("securityContext.{name}: Forbidden: not supported by pinnace")],
        );
    }
}

#[test]
fn environments() {
    let env = |env: &str, expected: &str| {
        invalid_container(&format!("image: x, env: [{env}]"), &[&format!("env[0].{expected}")])
    };
    env("{value: a}", "name: Required value");
    env(
        "{name: a=b}",
        "name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
    );
    env(
        "{name: A, valueFrom: {}}",
        "valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`",
    );
    env(
        "{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}",
        "valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
    );
    env(
        "{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: s, key: k}}}",
        "valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
    );
    env(
        "{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a b']\"}}}",
        "valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.labels['a b']\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
    env(
        "{name: A, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage}}}",
        "valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.ephemeral-storage\": supported values: \"limits.cpu\", \"limits.memory\", \"requests.cpu\", \"requests.memory\"",
    );
    env("{name: A, valueFrom: {secretKeyRef: {name: s}}}", "valueFrom.secretKeyRef.key: Required value");
    env("{name: A, valueFrom: {configMapKeyRef: {key: k}}}", "valueFrom.configMapKeyRef.name: Required value");
    let from = |from: &str, expected: &str| {
        invalid_container(&format!("image: x, envFrom: [{from}]"), &[&format!("envFrom[0]{expected}")])
    };
    from("{prefix: A}", ": Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`");
    from(
        "{configMapRef: {name: a}, secretRef: {name: b}}",
        ": Invalid value: \"\": may not have more than one field specified at a time",
    );
    from("{secretRef: {}}", ".secretRef.name: Required value");
}

#[test]
fn pods() {
    for field in [
        "topologySpreadConstraints",
        "readinessGates",
        "hostAliases",
        "ephemeralContainers",
        "schedulingGates",
        "resourceClaims",
    ] {
        invalid_pod(&format!("{field}: [a]"), &[&format!("{field}: Forbidden: not supported by pinnace")]);
    }
    for field in ["priorityClassName", "runtimeClassName", "subdomain"] {
        invalid_pod(&format!("{field}: a"), &[&format!("{field}: Forbidden: not supported by pinnace")]);
    }
    for field in ["overhead", "dnsConfig", "resources"] {
        invalid_pod(&format!("{field}: {{cpu: 1}}"), &[&format!("{field}: Forbidden: not supported by pinnace")]);
    }
    invalid_pod(
        "affinity: {podAffinity: {a: b}, podAntiAffinity: {a: b}}",
        &[
            "affinity.podAffinity: Forbidden: not supported by pinnace",
            "affinity.podAntiAffinity: Forbidden: not supported by pinnace",
        ],
    );
    invalid_pod("imagePullSecrets: [{name: a}, {}]", &["imagePullSecrets[1].name: Required value"]);
    invalid_pod("hostPID: true", &["hostPID: Forbidden: not supported by pinnace with another value than false"]);
    invalid_pod(
        "serviceAccountName: robot",
        &["serviceAccountName: Forbidden: not supported by pinnace with another value than \"default\""],
    );
    invalid_pod(
        "dnsPolicy: None",
        &[
            "dnsPolicy: Forbidden: not supported by pinnace with another value than \"ClusterFirst\" or \"ClusterFirstWithHostNet\" or \"Default\"",
        ],
    );
    invalid_pod(
        "initContainers: [{name: i, command: [a], restartPolicy: Always}]",
        &["initContainers[0].restartPolicy: Forbidden: not supported by pinnace"],
    );
    invalid_pod("initContainers: [{name: c, command: [a]}]", &["initContainers[0].name: Duplicate value: \"c\""]);
    invalid_pod(
        "initContainers: [{}]",
        &[
            "initContainers[0].name: Required value",
            "initContainers[0].command: Required value: image is absent or \"host\", so the program must be named",
        ],
    );
    invalid_pod(
        "terminationGracePeriodSeconds: 99999999999",
        &["terminationGracePeriodSeconds: Invalid value: 99999999999: must be between 0 and 2147483647, inclusive"],
    );
    invalid_pod(
        "activeDeadlineSeconds: 0",
        &["activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
    invalid_pod(
        "tolerations: [{value: x}]",
        &[
            "tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ],
    );
    invalid_pod(
        "tolerations: [{key: a, operator: Exists, value: x}]",
        &["tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'"],
    );
    invalid_pod(
        "tolerations: [{key: a, operator: In}]",
        &["tolerations[0].operator: Unsupported value: \"In\": supported values: \"Equal\", \"Exists\""],
    );
    invalid_pod(
        "tolerations: [{key: a, effect: Not}]",
        &[
            "tolerations[0].effect: Unsupported value: \"Not\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
    invalid_pod(
        "tolerations: [{key: a, tolerationSeconds: 1}]",
        &["tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set"],
    );
    let affinity = |terms: &str| {
        format!("affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{{terms}}}}}}}")
    };
    let path = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    invalid_pod(&affinity(""), &[&format!("{path}: Required value: must have at least one node selector term")]);
    invalid_pod(
        &affinity("nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt}]}]"),
        &[&format!(
            "{path}[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
        )],
    );
    invalid_pod(
        &affinity("nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Is}]}]"),
        &[&format!("{path}[0].matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator")],
    );
    invalid_pod(
        &affinity("nodeSelectorTerms: [{matchFields: [{key: a, operator: In, values: [b]}]}]"),
        &[&format!("{path}[0].matchFields[0].key: Invalid value: \"a\": not a valid field selector key")],
    );
}

#[test]
fn data_nodes_and_images() {
    let key = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    invalid(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a/b: c}\n",
        &[&format!("data[a/b]: Invalid value: \"a/b\": {key}")],
    );
    invalid(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: c}\nbinaryData: {a: AA==}\n",
        &["binaryData[a]: Invalid value: \"a\": duplicate of key present in data"],
    );
    invalid(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {..: c}\n",
        &["data[..]: Invalid value: \"..\": must not be '..'"],
    );
    let node = |spec: &str| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: x}}\nspec: {{{spec}}}\n");
    invalid(
        &node("taints: [{key: a, effect: Never}]"),
        &[
            "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ],
    );
    invalid(&node("taints: [{key: a}]"), &["spec.taints[0].effect: Required value"]);
    invalid(
        &node("taints: [{key: a, effect: NoExecute}, {key: a, value: b, effect: NoExecute}]"),
        &["spec.taints[1]: Duplicate value: {\"key\":\"a\",\"value\":\"b\",\"effect\":\"NoExecute\"}"],
    );
    invalid(&node("podCIDR: 10.0.0.0/8"), &["spec.podCIDR: Forbidden: not supported by pinnace"]);
    let image = |spec: &str| format!("apiVersion: pinnace.dev/v1\nkind: Image\nmetadata: {{}}\nspec: {{{spec}}}\n");
    invalid(
        &image(""),
        &[
            "spec.reference: Required value: the name that manifests use",
            "spec.directory: Required value: the directory that the image stands for",
        ],
    );
    let why = "a repository has parts of letters and digits between slashes, joined by one `.`, `_`, `__` or some `-`";
    let expected = format!("spec.reference: Invalid value: \"Bad//x\": image name \"Bad//x\": {why}");
    invalid(&image("reference: Bad//x, directory: /x"), &[&expected]);
    invalid(
        &image("reference: host, directory: x, env: [a]"),
        &[
            "spec.reference: Invalid value: \"host\": \"host\" means the host's own file system",
            "spec.directory: Invalid value: \"x\": must be an absolute path",
            "spec.env[0]: Invalid value: \"a\": must have the form NAME=VALUE",
        ],
    );
}

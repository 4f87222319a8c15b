//! Volumes, mounts and security contexts: what is taken, with which defaults, and what is said of the rest.

use serde_json::{Value, json};

use crate::bad::invalid;
use crate::{decode_one, job, pod};

/// A Job whose only container mounts what it is given.
fn with(volumes: &str, mounts: &str) -> String {
    let container = format!("{{name: c, command: [a], volumeMounts: [{mounts}]}}");
    job("", &format!("{{restartPolicy: Never, volumes: [{volumes}], containers: [{container}]}}"))
}

/// One volume, named `v`; causes begin with its path.
#[track_caller]
fn wrong(source: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|e| format!("spec.template.spec.volumes[0].{e}")).collect();
    invalid(&with(&format!("{{name: v, {source}}}"), ""), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

/// One mount of the volumes `v` and `w`.
#[track_caller]
fn wrong_mount(mounts: &str, expected: &[&str]) {
    let path = "spec.template.spec.containers[0].volumeMounts";
    let expected: Vec<String> = expected.iter().map(|e| format!("{path}{e}")).collect();
    let text = with("{name: v}, {name: w}", mounts);
    invalid(&text, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn wrong_security(of_pod: &str, of_container: &str, expected: &[&str]) {
    let container = format!("{{name: c, command: [a], securityContext: {{{of_container}}}}}");
    let spec = format!("{{restartPolicy: Never, securityContext: {{{of_pod}}}, containers: [{container}]}}");
    let expected: Vec<String> = expected.iter().map(|e| format!("spec.template.spec.{e}")).collect();
    invalid(&job("", &spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn check_defaults(volume: &str, expected: Value) {
    let decoded = decode_one(&with(volume, ""));
    let spec = decoded.record.as_job().unwrap().spec.document()["template"]["spec"].clone();
    assert_eq!(spec["volumes"][0], expected);
}

#[test]
fn volumes_have_the_defaults_of_the_api_server() {
    check_defaults("{name: v}", json!({"name": "v", "emptyDir": {}}));
    check_defaults(
        "{name: v, emptyDir: {medium: Memory, sizeLimit: 1Mi}}",
        json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    );
    check_defaults("{name: v, emptyDir: {medium: \"\"}}", json!({"name": "v", "emptyDir": {"medium": ""}}));
    check_defaults("{name: v, hostPath: {path: /a}}", json!({"name": "v", "hostPath": {"path": "/a", "type": ""}}));
    check_defaults(
        "{name: v, configMap: {name: m}}",
        json!({"name": "v", "configMap": {"name": "m", "defaultMode": 420}}),
    );
    check_defaults(
        "{name: v, secret: {secretName: s, defaultMode: 0400, optional: true, items: [{key: a, path: b/c, mode: 0777}]}}",
        json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 256, "optional": true,
            "items": [{"key": "a", "path": "b/c", "mode": 511}]}}),
    );
    let item = json!({"path": "a", "fieldRef": {"fieldPath": "metadata.labels", "apiVersion": "v1"}});
    check_defaults(
        "{name: v, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}]}}",
        json!({"name": "v", "downwardAPI": {"items": [item], "defaultMode": 420}}),
    );
    check_defaults(
        "{name: v, projected: {sources: [{downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}]}}, {secret: {name: s}}]}}",
        json!({"name": "v", "projected": {"sources": [{"downwardAPI": {"items": [item]}}, {"secret": {"name": "s"}}],
            "defaultMode": 420}}),
    );
}

#[test]
fn mounts_and_security_contexts_are_taken() {
    let mounts = "{name: v, mountPath: /a, readOnly: true, mountPropagation: HostToContainer, recursiveReadOnly: Disabled}, \
                  {name: v, mountPath: /b, subPath: x/..y, mountPropagation: None}, {name: v, mountPath: c, subPathExpr: $(A)}";
    let decoded = decode_one(&with("{name: v}", mounts));
    let spec = &decoded.record.as_job().unwrap().spec.template.spec;
    let paths: Vec<&str> = spec.containers[0].volume_mounts.iter().map(|m| m.mount_path.as_str()).collect();
    assert_eq!((paths, spec.volumes[0].name.as_str()), (vec!["/a", "/b", "c"], "v"));
    let text = "{restartPolicy: Never, imagePullSecrets: [{name: s}], \
                securityContext: {fsGroup: 5, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: Unconfined}}, \
                containers: [{name: c, command: [a], securityContext: {privileged: true, readOnlyRootFilesystem: true, \
                capabilities: {add: [NET_ADMIN, CAP_SYS_TIME], drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}]}";
    let decoded = decode_one(&job("", text));
    let spec = &decoded.record.as_job().unwrap().spec.template.spec;
    let security = &spec.containers[0].security_context;
    assert!(security.privileged && security.read_only_root_filesystem);
    assert_eq!((spec.security_context.fs_group, spec.image_pull_secrets[0].name.as_str()), (Some(5), "s"));
    assert_eq!((security.capabilities.add.len(), security.capabilities.drop[0].as_str()), (2, "ALL"));
}

#[test]
fn sources_that_pinnace_does_not_have_are_refused_by_name_also_when_they_are_empty() {
    for kind in [
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "csi",
        "ephemeral",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "glusterfs",
        "image",
        "iscsi",
        "nfs",
        "persistentVolumeClaim",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ] {
        for content in ["{}", "{claimName: x}"] {
            wrong(&format!("{kind}: {content}"), &[&format!("{kind}: Forbidden: not supported by pinnace")]);
        }
    }
    check_defaults("{name: v, nfs: null}", json!({"name": "v", "emptyDir": {}}));
    for kind in ["serviceAccountToken", "clusterTrustBundle"] {
        wrong(
            &format!("projected: {{sources: [{{{kind}: {{path: a}}}}]}}"),
            &[&format!("projected.sources[0].{kind}: Forbidden: not supported by pinnace")],
        );
    }
    wrong(
        "emptyDir: {medium: HugePages-2Mi}",
        &["emptyDir.medium: Forbidden: not supported by pinnace with another value than \"Memory\""],
    );
    wrong_mount(
        "{name: v, mountPath: /a, mountPropagation: Bidirectional}",
        &[
            "[0].mountPropagation: Forbidden: not supported by pinnace with another value than \"HostToContainer\" or \"None\"",
        ],
    );
    wrong_mount(
        "{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled}",
        &["[0].recursiveReadOnly: Forbidden: not supported by pinnace with another value than \"Disabled\""],
    );
}

#[test]
fn volumes() {
    let many = |volumes: &str, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|e| format!("spec.template.spec.volumes{e}")).collect();
        invalid(&with(volumes, ""), &expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    many("{name: a}, {name: a}", &["[1].name: Duplicate value: \"a\""]);
    many("{emptyDir: {}}", &["[0].name: Required value"]);
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    many("{name: a.b}", &[&format!("[0].name: Invalid value: \"a.b\": {label}")]);
    wrong(
        "emptyDir: {}, hostPath: {path: relative}, configMap: {}",
        &[
            "hostPath: Forbidden: may not specify more than 1 volume type",
            "configMap: Forbidden: may not specify more than 1 volume type",
        ],
    );
    wrong(
        "emptyDir: {medium: Memory, sizeLimit: -1}",
        &["emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"],
    );
    wrong("hostPath: {}", &["hostPath.path: Required value"]);
    wrong("hostPath: {path: /a/../b}", &["hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]);
    wrong("hostPath: {path: a}", &["hostPath.path: Invalid value: \"a\": must be an absolute path"]);
    wrong(
        "hostPath: {path: /a, type: Pipe}",
        &[
            "hostPath.type: Unsupported value: \"Pipe\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ],
    );
    wrong("configMap: {}", &["configMap.name: Required value"]);
    wrong("secret: {}", &["secret.secretName: Required value"]);
    let mode = "must be a number between 0 and 0777 (octal), both inclusive";
    for (kind, name) in
        [("configMap", "name: a, "), ("secret", "secretName: a, "), ("downwardAPI", ""), ("projected", "")]
    {
        for bad in [-1, 512] {
            wrong(
                &format!("{kind}: {{{name}defaultMode: {bad}}}"),
                &[&format!("{kind}.defaultMode: Invalid value: {bad}: {mode}")],
            );
        }
    }
    let item = |item: &str, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|e| format!("configMap.items[0].{e}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        wrong(&format!("configMap: {{name: m, items: [{{{item}}}]}}"), &expected);
    };
    item("", &["key: Required value", "path: Required value"]);
    item("key: a, path: /b", &["path: Invalid value: \"/b\": must be a relative path"]);
    item("key: a, path: b/../c", &["path: Invalid value: \"b/../c\": must not contain '..'"]);
    item("key: a, path: ../b", &["path: Invalid value: \"../b\": must not contain '..'"]);
    item("key: a, path: ..b", &["path: Invalid value: \"..b\": must not start with '..'"]);
    item("key: a, path: \"b\\0\"", &["path: Invalid value: \"b\\u0000\": must not contain a NUL character"]);
    item("key: a, path: b, mode: 0x200", &[&format!("mode: Invalid value: 512: {mode}")]);
}

#[test]
fn files_about_the_pod() {
    let file = |file: &str, expected: &[&str]| {
        for (kind, around) in [("downwardAPI", ""), ("projected.sources[0].downwardAPI", "projected")] {
            let source = format!("downwardAPI: {{items: [{{{file}}}]}}");
            let source = if around.is_empty() { source } else { format!("projected: {{sources: [{{{source}}}]}}") };
            let expected: Vec<String> = expected.iter().map(|e| format!("{kind}.items[0]{e}")).collect();
            wrong(&source, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        }
    };
    file("path: a", &[": Required value: one of fieldRef and resourceFieldRef is required"]);
    file("fieldRef: {fieldPath: metadata.name}", &[".path: Required value"]);
    file(
        "path: a, fieldRef: {fieldPath: spec.nodeName}",
        &[
            ".fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
        ],
    );
    file(
        "path: a, fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {containerName: c, resource: limits.cpu}",
        &[": Invalid value: \"resource\": fieldRef and resourceFieldRef can not be specified simultaneously"],
    );
    file("path: a, resourceFieldRef: {resource: limits.cpu}", &[".resourceFieldRef.containerName: Required value"]);
    file(
        "path: a, resourceFieldRef: {containerName: c, resource: limits.gpu}",
        &[
            ".resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.memory\", \"requests.cpu\", \"requests.memory\"",
        ],
    );
    wrong(
        "projected: {sources: [{secret: {name: s}, configMap: {name: m}}]}",
        &["projected.sources[0]: Forbidden: may not specify more than 1 volume type"],
    );
    wrong(
        "projected: {sources: [{secret: {items: [{key: a, path: b}]}}, {configMap: {name: m, items: [{key: a, path: b}]}}]}",
        &[
            "projected.sources[0].secret.name: Required value",
            "projected.sources[1].configMap.items[0].path: Invalid value: \"b\": conflicting duplicate paths",
        ],
    );
}

#[test]
fn mounts() {
    wrong_mount("{name: x, mountPath: /a}", &["[0].name: Not found: \"x\""]);
    wrong_mount("{mountPath: /a}", &["[0].name: Required value", "[0].name: Not found: \"\""]);
    wrong_mount("{name: v}", &["[0].mountPath: Required value"]);
    wrong_mount(
        "{name: v, mountPath: /a}, {name: w, mountPath: /a}",
        &["[1].mountPath: Invalid value: \"/a\": must be unique"],
    );
    for root in ["/", "//", ".", "/./"] {
        let expected = format!("[0].mountPath: Invalid value: \"{root}\": must not be the root of the file system");
        wrong_mount(&format!("{{name: v, mountPath: {root}}}"), &[&expected]);
    }
    wrong_mount("{name: v, mountPath: /a/../b}", &["[0].mountPath: Invalid value: \"/a/../b\": must not contain '..'"]);
    let nul = "must not contain a NUL character";
    wrong_mount("{name: v, mountPath: \"/a\\0\"}", &[&format!("[0].mountPath: Invalid value: \"/a\\u0000\": {nul}")]);
    for field in ["subPath", "subPathExpr"] {
        let sub = |value: &str, expected: &str| {
            let expected = format!("[0].{field}: Invalid value: \"{value}\": {expected}");
            wrong_mount(&format!("{{name: v, mountPath: /a, {field}: {value}}}"), &[&expected]);
        };
        sub("/x", "must be a relative path");
        sub("x/..", "must not contain '..'");
    }
    wrong_mount(
        "{name: v, mountPath: /a, subPath: x, subPathExpr: z}",
        &["[0].subPathExpr: Invalid value: \"z\": subPathExpr and subPath are mutually exclusive"],
    );
    wrong_mount(
        "{name: v, mountPath: /a, mountPropagation: \"\"}",
        &[
            "[0].mountPropagation: Unsupported value: \"\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
        ],
    );
    // A volume that is wrong is none that could be mounted.
    let text = with("{name: v, hostPath: {}}", "{name: v, mountPath: /a}");
    invalid(
        &text,
        &[
            "spec.template.spec.volumes[0].hostPath.path: Required value",
            "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ],
    );
    let unknown = pod("command: [a], volumeMounts: [{name: v, mountpath: /a}]");
    let failure = pinnace::manifest::decode_stream(job("", &unknown).as_bytes(), "default").unwrap_err();
    assert!(failure.message.contains("did you mean \"mountPath\"?"), "{failure}");
}

#[test]
fn security_contexts() {
    wrong_security(
        "fsGroup: -1, fsGroupChangePolicy: Never",
        "",
        &[
            "securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
        ],
    );
    let at = "containers[0].securityContext";
    wrong_security(
        "seccompProfile: {}",
        "seccompProfile: {type: \"\"}",
        &[
            &format!("{at}.seccompProfile.type: Required value: type is required when seccompProfile is set"),
            "securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
        ],
    );
    let other = "not supported by pinnace with another value than \"RuntimeDefault\" or \"Unconfined\"";
    wrong_security(
        "",
        "seccompProfile: {type: Localhost, localhostProfile: a.json}",
        &[
            &format!("{at}.seccompProfile.type: Forbidden: {other}"),
            &format!("{at}.seccompProfile.localhostProfile: Forbidden: not supported by pinnace"),
        ],
    );
    let no = "not a capability of Linux (such as NET_ADMIN, or ALL)";
    wrong_security(
        "",
        "capabilities: {add: [NET_ADMIN, FLY], drop: [\"\"]}",
        &[
            &format!("{at}.capabilities.add[1]: Invalid value: \"FLY\": {no}"),
            &format!("{at}.capabilities.drop[0]: Invalid value: \"\": {no}"),
        ],
    );
    let cannot = "cannot set `allowPrivilegeEscalation` to false and";
    wrong_security(
        "",
        "allowPrivilegeEscalation: false, privileged: true",
        &[&format!(
            "{at}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"privileged\":true}}: {cannot} `privileged` to true"
        )],
    );
    wrong_security(
        "",
        "allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}",
        &[&format!(
            "{at}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"capabilities\":{{\"add\":[\"CAP_SYS_ADMIN\"]}}}}: {cannot} `capabilities.Add` CAP_SYS_ADMIN"
        )],
    );
    wrong_security(
        "",
        "procMount: Unmasked",
        &[&format!("{at}.procMount: Forbidden: not supported by pinnace with another value than \"Default\"")],
    );
}

//! What each field is for, in a sentence of our own, for `explain`. A field that pinnace refuses needs none.

/// Type in Go, then its fields.
type Words = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const WORDS: &[Words] = &[
    ("Job", "Runs pods until enough of them have succeeded.", &[("spec", "What to run, how often and how long.")]),
    (
        "JobSpec",
        "What a Job runs.",
        &[
            ("parallelism", "Pods at a time, at most. Default 1."),
            (
                "completions",
                "Pods that must succeed. Default 1; with parallelism alone, one success is enough once no pod runs.",
            ),
            ("activeDeadlineSeconds", "Fails the Job, and ends its pods, after so many seconds."),
            ("backoffLimit", "Failures before the Job is given up. Default 6."),
            ("selector", "Finds the Job's pods; made by itself unless manualSelector is true."),
            ("manualSelector", "Take the selector as it is written."),
            ("template", "The pod to run; its restartPolicy must be OnFailure or Never."),
            ("ttlSecondsAfterFinished", "Deletes the Job so many seconds after its end. Without it the Job stays."),
            ("suspend", "True: run no pod, and end those that run. Default false."),
            ("podReplacementPolicy", "When a pod that goes is replaced: TerminatingOrFailed (default) or Failed."),
            ("completionMode", "How successes count."),
            ("managedBy", "Who looks after the Job."),
        ],
    ),
    ("CronJob", "Makes a Job at each time of a schedule.", &[("spec", "When, and which Job.")]),
    (
        "CronJobSpec",
        "When a Job is made, and which.",
        &[
            (
                "schedule",
                "Five fields: minute, hour, day, month, weekday; or @hourly and the like. `pinnace schedule` shows its times.",
            ),
            ("timeZone", "Name of the zone the schedule is read in. Default UTC."),
            ("startingDeadlineSeconds", "A time that is missed by more is left out."),
            (
                "concurrencyPolicy",
                "While the last Job runs: Allow another (default), Forbid it, or Replace the running one.",
            ),
            ("suspend", "True: make no Job. Default false."),
            ("jobTemplate", "The Job to make."),
            ("successfulJobsHistoryLimit", "Finished Jobs that are kept. Default 3."),
            ("failedJobsHistoryLimit", "Failed Jobs that are kept. Default 1."),
        ],
    ),
    (
        "JobTemplateSpec",
        "The Job that a CronJob makes.",
        &[("metadata", "Its labels and annotations."), ("spec", "As of a Job.")],
    ),
    ("DaemonSet", "Keeps one pod running on the node.", &[("spec", "Which pod, and how it is replaced.")]),
    (
        "DaemonSetSpec",
        "The pod that a DaemonSet keeps running.",
        &[
            ("selector", "Finds its pods; must match the template's labels and never changes."),
            ("template", "The pod to run; its restartPolicy must be Always."),
            ("updateStrategy", "How a changed template comes into force."),
            ("minReadySeconds", "A new pod counts as available after so many seconds. Default 0."),
            ("revisionHistoryLimit", "Old templates that are kept for rollout undo. Default 10."),
        ],
    ),
    (
        "DaemonSetUpdateStrategy",
        "How a changed template comes into force.",
        &[
            ("type", "RollingUpdate (default), or OnDelete: when somebody deletes the pod."),
            ("rollingUpdate", "For RollingUpdate."),
        ],
    ),
    (
        "RollingUpdateDaemonSet",
        "The order of old and new.",
        &[
            ("maxUnavailable", "1 (default): the old pod ends before the new one starts."),
            ("maxSurge", "1: the new pod starts before the old one ends. Default 0."),
        ],
    ),
    ("Pod", "Containers that run together, once or again and again.", &[("spec", "What runs, and how.")]),
    (
        "PodTemplateSpec",
        "The pods that are made.",
        &[("metadata", "Their labels and annotations."), ("spec", "As of a pod.")],
    ),
    (
        "PodSpec",
        "What a pod runs.",
        &[
            ("initContainers", "Run one after the other, to their end, before the containers."),
            ("containers", "Run side by side."),
            ("restartPolicy", "Always (default), OnFailure or Never."),
            ("terminationGracePeriodSeconds", "Between SIGTERM and SIGKILL. Default 30."),
            ("activeDeadlineSeconds", "Fails the pod after so many seconds."),
            ("nodeName", "Runs on the node of that name alone."),
            ("nodeSelector", "Labels that the node must have."),
            ("affinity", "Rules for the node's labels."),
            ("tolerations", "Taints of the node that do not matter."),
            ("hostname", "In the environment as HOSTNAME; the host's own name does not change."),
            ("securityContext", "Users, groups and system calls of all containers."),
            ("volumes", "Directories and files for its containers."),
            ("imagePullSecrets", "Logins for registries; asked before the node's own."),
            ("hostNetwork", "Pods use the host's network in any case."),
            ("hostPID", "Process ids."),
            ("hostIPC", "Shared memory."),
            ("hostUsers", "User ids are the host's."),
            ("shareProcessNamespace", "Containers see each other's processes."),
            ("dnsPolicy", "The host's resolver is used."),
            ("schedulerName", "Who places the pod."),
            ("enableServiceLinks", "There are no Services."),
            ("automountServiceAccountToken", "There are no service accounts."),
            ("serviceAccountName", "There are no service accounts."),
            ("serviceAccount", "Old name of serviceAccountName."),
            ("priority", "Nothing is preempted."),
            ("preemptionPolicy", "Nothing is preempted."),
            ("setHostnameAsFQDN", "Full name as host name."),
            ("os", "Of the image."),
        ],
    ),
    ("PodOS", "The system that an image is for.", &[("name", "linux")]),
    (
        "Container",
        "One program of a pod.",
        &[
            ("name", "Unique in the pod; a DNS label."),
            ("image", "The image; without one the program is the host's."),
            ("imagePullPolicy", "IfNotPresent, Always or Never. Default Always for :latest, else IfNotPresent."),
            ("command", "Program and first arguments, in the place of the image's entrypoint. $(NAME) is a variable."),
            ("args", "Arguments, in the place of the image's."),
            ("workingDir", "Where it starts. Default: the image's, else /."),
            ("env", "Environment variables."),
            ("envFrom", "All keys of ConfigMaps and Secrets as environment variables."),
            ("ports", "Ports that it serves; a hostPort is reserved on the node."),
            ("resources", "What it asks for, and what it may use at most."),
            ("securityContext", "User, group and rights; wins over the pod's."),
            ("volumeMounts", "Where it sees the pod's volumes."),
            ("terminationMessagePath", "A file with last words."),
            ("terminationMessagePolicy", "Where last words come from."),
            ("stdin", "Standard input is empty."),
            ("stdinOnce", "Standard input is empty."),
            ("tty", "There is no terminal."),
        ],
    ),
    (
        "EnvVar",
        "One environment variable.",
        &[
            ("name", "Its name."),
            ("value", "Its value; $(NAME) is a variable that stands before it."),
            ("valueFrom", "Where its value comes from."),
        ],
    ),
    (
        "EnvVarSource",
        "Where a value comes from; one of these.",
        &[
            ("fieldRef", "A field of the pod."),
            ("resourceFieldRef", "A request or limit of a container."),
            ("configMapKeyRef", "A key of a ConfigMap."),
            ("secretKeyRef", "A key of a Secret."),
        ],
    ),
    (
        "ObjectFieldSelector",
        "A field of the pod.",
        &[
            ("apiVersion", "v1"),
            (
                "fieldPath",
                "metadata.name, .namespace, .uid, .labels['K'], .annotations['K']; spec.nodeName; status.podIP, .hostIP",
            ),
        ],
    ),
    (
        "ResourceFieldSelector",
        "A request or limit.",
        &[
            ("containerName", "Which container. Default: this one."),
            ("resource", "limits.cpu, limits.memory, requests.cpu, requests.memory"),
            ("divisor", "The unit, rounded up. Default 1."),
        ],
    ),
    (
        "ConfigMapKeySelector",
        "A key of a ConfigMap.",
        &[("name", "The ConfigMap."), ("key", "The key."), ("optional", "True: start without it.")],
    ),
    (
        "SecretKeySelector",
        "A key of a Secret.",
        &[("name", "The Secret."), ("key", "The key."), ("optional", "True: start without it.")],
    ),
    (
        "EnvFromSource",
        "All keys of one object.",
        &[("prefix", "Put before each key."), ("configMapRef", "A ConfigMap."), ("secretRef", "A Secret.")],
    ),
    ("ConfigMapEnvSource", "A ConfigMap.", &[("name", "Its name."), ("optional", "True: start without it.")]),
    ("SecretEnvSource", "A Secret.", &[("name", "Its name."), ("optional", "True: start without it.")]),
    (
        "ContainerPort",
        "A port that a container serves.",
        &[
            ("name", "A name for it."),
            ("containerPort", "The port; the host's, as the network is."),
            ("hostPort", "No two pods may have the same."),
            ("protocol", "TCP (default), UDP or SCTP."),
        ],
    ),
    (
        "ResourceRequirements",
        "Amounts of cpu and memory.",
        &[
            ("limits", "Enforced by the kernel, where the host has the controllers."),
            ("requests", "Its share when all want more. Default: the limits."),
        ],
    ),
    (
        "PodSecurityContext",
        "Users, groups and system calls of all containers.",
        &[
            ("runAsUser", "User id; only a node of root can change it. Default: the daemon's."),
            ("runAsGroup", "Group id."),
            ("runAsNonRoot", "True: a container that would run as root does not start."),
            ("supplementalGroups", "Further group ids."),
            ("fsGroup", "Group id that owns the volumes, hostPath aside, and that every process has too."),
            ("fsGroupChangePolicy", "When volumes are given to fsGroup: here always."),
            ("seccompProfile", "Which system calls are let through."),
        ],
    ),
    (
        "SecurityContext",
        "User, group and rights of one container.",
        &[
            ("runAsUser", "User id."),
            ("runAsGroup", "Group id."),
            ("runAsNonRoot", "True: it does not start as root."),
            (
                "allowPrivilegeEscalation",
                "False: set-user-id programs gain nothing. Default: false with an image that is given no such right, else true.",
            ),
            ("privileged", "True: all rights on the host. Of containers of an image."),
            ("readOnlyRootFilesystem", "True: it writes to volumes alone. Of containers of an image."),
            ("capabilities", "Rights of root that it has more or less than usual."),
            ("seccompProfile", "Which system calls are let through; wins over the pod's."),
            ("procMount", "What of /proc is seen."),
        ],
    ),
    (
        "Capabilities",
        "Changes to the usual rights of root; names with CAP_ or without, or ALL.",
        &[("add", "Rights that it has too."), ("drop", "Rights that it does not have.")],
    ),
    ("SeccompProfile", "A filter of system calls.", &[("type", "RuntimeDefault: pinnace's own. Unconfined: none.")]),
    ("LocalObjectReference", "A Secret of type kubernetes.io/dockerconfigjson.", &[("name", "Its name.")]),
    (
        "Volume",
        "A directory for containers; one source beside the name.",
        &[
            ("name", "Unique in the pod; volumeMounts call it so."),
            ("emptyDir", "A directory that lives as long as the pod."),
            ("hostPath", "A file or directory of the host."),
            ("configMap", "The keys of a ConfigMap as files; they follow its changes."),
            ("secret", "The keys of a Secret as files; they follow its changes."),
            ("downwardAPI", "Fields of the pod as files."),
            ("projected", "Several of the last three in one directory."),
        ],
    ),
    (
        "EmptyDirVolumeSource",
        "A directory that lives as long as the pod.",
        &[
            ("medium", "Memory: a tmpfs, empty after a reboot. Default: the disk."),
            ("sizeLimit", "The most it may hold; on the disk a pod that holds more is evicted."),
        ],
    ),
    (
        "HostPathVolumeSource",
        "A file or directory of the host.",
        &[
            ("path", "Where it is; absolute."),
            (
                "type",
                "What must be there: Directory, File, Socket, CharDevice or BlockDevice; DirectoryOrCreate and FileOrCreate make it. Default: no check.",
            ),
        ],
    ),
    (
        "ConfigMapVolumeSource",
        "The keys of a ConfigMap as files.",
        &[
            ("name", "The ConfigMap."),
            ("items", "These keys alone. Default: all, under their own names."),
            ("defaultMode", "Mode of the files. Default 0644."),
            ("optional", "True: start without it."),
        ],
    ),
    (
        "SecretVolumeSource",
        "The keys of a Secret as files.",
        &[
            ("secretName", "The Secret."),
            ("items", "These keys alone. Default: all, under their own names."),
            ("defaultMode", "Mode of the files. Default 0644."),
            ("optional", "True: start without it."),
        ],
    ),
    (
        "KeyToPath",
        "One key as a file.",
        &[
            ("key", "The key."),
            ("path", "The file, below the volume."),
            ("mode", "Its mode. Default: the volume's defaultMode."),
        ],
    ),
    (
        "DownwardAPIVolumeSource",
        "Fields of the pod as files.",
        &[("items", "The files."), ("defaultMode", "Mode of the files. Default 0644.")],
    ),
    (
        "DownwardAPIVolumeFile",
        "One field as a file.",
        &[
            ("path", "The file, below the volume."),
            ("fieldRef", "A field of the pod; all labels and all annotations too."),
            ("resourceFieldRef", "A request or limit of a container, which containerName names."),
            ("mode", "Its mode. Default: the volume's defaultMode."),
        ],
    ),
    (
        "ProjectedVolumeSource",
        "Several sources in one directory.",
        &[("sources", "No two of them write the same file."), ("defaultMode", "Mode of the files. Default 0644.")],
    ),
    (
        "VolumeProjection",
        "One source; one of these.",
        &[
            ("configMap", "Keys of a ConfigMap."),
            ("secret", "Keys of a Secret."),
            ("downwardAPI", "Fields of the pod."),
        ],
    ),
    (
        "ConfigMapProjection",
        "Keys of a ConfigMap as files.",
        &[
            ("name", "The ConfigMap."),
            ("items", "These keys alone. Default: all."),
            ("optional", "True: start without it."),
        ],
    ),
    (
        "SecretProjection",
        "Keys of a Secret as files.",
        &[
            ("name", "The Secret."),
            ("items", "These keys alone. Default: all."),
            ("optional", "True: start without it."),
        ],
    ),
    ("DownwardAPIProjection", "Fields of the pod as files.", &[("items", "The files.")]),
    (
        "VolumeMount",
        "Where a container sees a volume.",
        &[
            ("name", "The volume."),
            ("mountPath", "Where in the container; absolute, and not the root."),
            (
                "subPath",
                "This path of the volume instead of the whole; files there stay as they are until the next start.",
            ),
            ("subPathExpr", "As subPath, with $(NAME) for variables of env."),
            ("readOnly", "True: no writing. Volumes of files never are written to."),
            ("mountPropagation", "HostToContainer: what the host mounts below later is seen. Default None."),
            ("recursiveReadOnly", "Whether mounts below are read-only too."),
        ],
    ),
    ("Affinity", "Rules for the place.", &[("nodeAffinity", "For the node's labels.")]),
    (
        "NodeAffinity",
        "Rules for the node's labels.",
        &[
            ("requiredDuringSchedulingIgnoredDuringExecution", "Must hold, or the pod stays Pending."),
            ("preferredDuringSchedulingIgnoredDuringExecution", "A preference among one node."),
        ],
    ),
    ("NodeSelector", "Terms; one must hold.", &[("nodeSelectorTerms", "One of them must hold.")]),
    ("PreferredSchedulingTerm", "A preference.", &[("weight", "1 to 100."), ("preference", "A term.")]),
    (
        "NodeSelectorTerm",
        "Requirements; all must hold.",
        &[("matchExpressions", "On labels of the node."), ("matchFields", "On metadata.name.")],
    ),
    (
        "NodeSelectorRequirement",
        "One requirement.",
        &[
            ("key", "The label."),
            ("operator", "In, NotIn, Exists, DoesNotExist, Gt or Lt."),
            ("values", "For In and NotIn; one number for Gt and Lt."),
        ],
    ),
    (
        "Toleration",
        "A taint that does not matter.",
        &[
            ("key", "The taint's; empty with Exists: all taints."),
            ("operator", "Equal (default) or Exists."),
            ("value", "For Equal."),
            ("effect", "NoSchedule, PreferNoSchedule, NoExecute; empty: all."),
            ("tolerationSeconds", "Evicted by NoExecute after so many seconds."),
        ],
    ),
    (
        "LabelSelector",
        "Objects by their labels; all must hold.",
        &[("matchLabels", "Labels with these values."), ("matchExpressions", "Further requirements.")],
    ),
    (
        "LabelSelectorRequirement",
        "One requirement.",
        &[("key", "The label."), ("operator", "In, NotIn, Exists or DoesNotExist."), ("values", "For In and NotIn.")],
    ),
    (
        "ObjectMeta",
        "What every object has.",
        &[
            ("name", "Unique among its kind in its namespace."),
            ("generateName", "Beginning of a name that the node completes."),
            ("namespace", "Default: default."),
            ("labels", "For selectors."),
            ("annotations", "For tools."),
            ("uid", "Which object is meant."),
            ("resourceVersion", "Which state of it is meant: an update of another one is refused."),
        ],
    ),
    (
        "ConfigMap",
        "Settings for programs.",
        &[
            ("data", "Keys and texts."),
            ("binaryData", "Keys and bytes, base64."),
            ("immutable", "True: never changes again."),
        ],
    ),
    (
        "Secret",
        "Settings that are not shown. Not encrypted in the store.",
        &[
            ("type", "What it holds. Default Opaque."),
            ("data", "Keys and bytes, base64."),
            ("stringData", "Keys and texts, put into data."),
            ("immutable", "True: never changes again."),
        ],
    ),
    ("Namespace", "A place for names.", &[("spec", "Nothing to set.")]),
    ("NamespaceSpec", "Nothing to set.", &[("finalizers", "What must be done before it goes.")]),
    ("Node", "This device.", &[("spec", "Whether the node starts pods.")]),
    (
        "NodeSpec",
        "Whether the node starts pods.",
        &[
            ("unschedulable", "Cordoned: no new pods but those of DaemonSets."),
            ("taints", "Keep pods away that do not tolerate them."),
            ("drained", "No pod runs (pinnace's own)."),
        ],
    ),
    (
        "Taint",
        "Keeps pods away.",
        &[("key", "Its name."), ("value", "Its value."), ("effect", "NoSchedule, PreferNoSchedule or NoExecute.")],
    ),
    ("Image", "A directory that pods may use as an image.", &[("spec", "The directory and its defaults.")]),
    (
        "ImageSpec",
        "A directory as an image.",
        &[
            ("reference", "The name in manifests."),
            ("directory", "Root of the container's file system; / is the host's own."),
            ("entrypoint", "Program and first arguments."),
            ("cmd", "Further arguments."),
            ("env", "NAME=VALUE."),
            ("workingDir", "Where it starts."),
        ],
    ),
];

/// What a type is; empty for one that has no words.
pub fn of_type(go: &str) -> &'static str {
    find(go).map_or("", |(_, text, _)| text)
}

/// What a field is for; empty where there is nothing to say.
pub fn of_field(go: &str, field: &str) -> &'static str {
    match field {
        "apiVersion" if go != "ObjectFieldSelector" => "Group and version of the kind.",
        "kind" => "The kind.",
        "metadata" if find(go).is_none_or(|(_, _, fields)| fields.iter().all(|(name, _)| *name != "metadata")) => {
            "Name, namespace, labels and annotations."
        }
        "status" => "How it stands.",
        _ => find(go)
            .and_then(|(_, _, fields)| fields.iter().find(|(name, _)| *name == field))
            .map_or("", |(_, text)| text),
    }
}

fn find(go: &str) -> Option<&'static Words> {
    WORDS.iter().find(|(name, _, _)| *name == go)
}

#[cfg(test)]
mod tests {
    use super::super::{Schema, Shape, Standing, of};
    use super::*;
    use crate::model::Kind;

    fn visit(schema: &'static Schema, visited: &mut Vec<(&'static str, &'static str)>) {
        assert!(!of_type(schema.go).is_empty(), "{} has no words", schema.go);
        for field in schema.fields {
            if visited.contains(&(schema.go, field.name)) {
                continue;
            }
            visited.push((schema.go, field.name));
            match field.standing {
                Standing::Refused | Standing::Never | Standing::Dropped => {}
                Standing::Done | Standing::Idle | Standing::Only(_) => {
                    assert!(!of_field(schema.go, field.name).is_empty(), "{}.{} has no words", schema.go, field.name);
                }
            }
            let mut shape = &field.shape;
            while let Shape::List(inner) | Shape::Map(inner) = shape {
                shape = inner;
            }
            if let Shape::Object(inner) = shape {
                visit(inner, visited);
            }
        }
    }

    #[test]
    fn every_field_that_is_taken_has_words_and_no_words_are_left_over() {
        let mut visited = Vec::new();
        Kind::SERVED.into_iter().filter_map(of).for_each(|schema| visit(schema, &mut visited));
        for (go, _, fields) in WORDS {
            for (field, _) in *fields {
                assert!(visited.contains(&(go, field)), "{go}.{field} does not exist");
            }
        }
        let bytes: usize = WORDS.iter().flat_map(|(_, _, fields)| fields.iter()).map(|(_, text)| text.len()).sum();
        assert!(bytes < 30_000, "{bytes} bytes of words: binaries are to be small");
    }
}

//! The texts of the script's manifests. Knows nothing of what happens to them.

pub struct Work<'a> {
    pub name: &'a str,
    pub policy: &'a str,
    pub command: &'a str,
    /// None: a work queue.
    pub completions: Option<u64>,
    pub parallelism: u64,
    pub backoff: u64,
    pub deadline: Option<u64>,
    pub ttl: Option<u64>,
    pub suspend: bool,
    /// `podReplacementPolicy: Failed`.
    pub waits: bool,
}

impl Default for Work<'_> {
    fn default() -> Self {
        Work {
            name: "batch",
            policy: "Never",
            command: "[\"work\", \"5\", \"0\"]",
            completions: Some(1),
            parallelism: 1,
            backoff: 6,
            deadline: None,
            ttl: None,
            suspend: false,
            waits: false,
        }
    }
}

pub struct Cron<'a> {
    pub policy: &'a str,
    pub schedule: &'a str,
    pub deadline: Option<u64>,
    /// What each Job's pod takes.
    pub seconds: u64,
    pub history: Option<u64>,
}

pub struct Daemons<'a> {
    pub version: u64,
    /// `RollingUpdate`, `OnDelete`, or `Surge`: a rolling update with the new pod first.
    pub strategy: &'a str,
    pub command: &'a str,
}

pub fn header(rev: u64, empty: bool, prune: bool) -> String {
    format!("# pinnace: {{\"v\":1,\"rev\":{rev},\"empty\":{empty},\"prune\":{prune}}}\n")
}

pub fn map(name: &str, value: u64) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: \"{value}\"}}\n")
}

pub fn job(work: &Work) -> String {
    let line = |name: &str, value: Option<u64>| value.map(|v| format!("  {name}: {v}\n")).unwrap_or_default();
    let mut spec = line("completions", work.completions);
    spec += &line("parallelism", Some(work.parallelism));
    spec += &line("backoffLimit", Some(work.backoff));
    spec += &line("activeDeadlineSeconds", work.deadline);
    spec += &line("ttlSecondsAfterFinished", work.ttl);
    if work.suspend {
        spec += "  suspend: true\n";
    }
    if work.waits {
        spec += "  podReplacementPolicy: Failed\n";
    }
    let Work { name, policy, command, .. } = work;
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n{spec}  template:\n    spec:\n      restartPolicy: {policy}\n      terminationGracePeriodSeconds: 5\n      containers:\n      - {{name: main, command: {command}}}\n"
    )
}

pub fn daemon_set(set: &Daemons) -> String {
    let Daemons { version, command, .. } = set;
    let strategy = match set.strategy {
        "Surge" => "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}".to_string(),
        kind => format!("{{type: {kind}}}"),
    };
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{app: agent}}}}\n  updateStrategy: {strategy}\n  template:\n    metadata: {{labels: {{app: agent}}, annotations: {{version: \"{version}\"}}}}\n    spec:\n      terminationGracePeriodSeconds: 5\n      containers:\n      - {{name: main, command: {command}}}\n"
    )
}

pub fn cron_job(cron: &Cron) -> String {
    let Cron { policy, schedule, seconds, .. } = cron;
    let mut more = cron.deadline.map(|d| format!("  startingDeadlineSeconds: {d}\n")).unwrap_or_default();
    if let Some(history) = cron.history {
        more += &format!("  successfulJobsHistoryLimit: {history}\n  failedJobsHistoryLimit: {history}\n");
    }
    format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: tick}}\nspec:\n  schedule: \"{schedule}\"\n  concurrencyPolicy: {policy}\n{more}  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: OnFailure\n          terminationGracePeriodSeconds: 5\n          containers:\n          - {{name: main, command: [\"work\", \"{seconds}\", \"0\"]}}\n"
    )
}

/// A DaemonSet whose pod mounts the ConfigMap `conf` and the Secret `key`.
pub fn reader(version: u64) -> String {
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: reader}}\nspec:\n  selector: {{matchLabels: {{app: reader}}}}\n  template:\n    metadata: {{labels: {{app: reader}}, annotations: {{version: \"{version}\"}}}}\n    spec:\n      terminationGracePeriodSeconds: 5\n      volumes:\n      - {{name: conf, configMap: {{name: conf}}}}\n      - {{name: key, secret: {{secretName: key}}}}\n      containers:\n      - name: main\n        command: [\"forever\"]\n        volumeMounts: [{{name: conf, mountPath: /run/conf}}, {{name: key, mountPath: /run/key}}]\n"
    )
}

pub fn secret(name: &str, value: u64) -> String {
    format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{v: \"{value}\"}}\n")
}

//! What `--help` says beyond the flags: the groups of verbs, and examples for each.

/// The top page. clap has no groups of verbs, so they are written out; a test sees that none is forgotten.
pub const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Node:
  node          Run the node: take manifests, start pods, answer the verbs below
  cordon        Start no new pods on this node, but those of DaemonSets
  uncordon      Start pods again after cordon or drain
  drain         End every pod and start none until uncordon
  taint         Put taints on the node, or take them off
  store         Print the node's database
  init          Make a settings file, a key and a certificate request
  config        Print what the settings file may have
  update        Try another version of pinnace, and go back if it does not hold
  doctor        Examine this device and its way to the broker
  debug         Look into the node for a report of a bug

Change:
  apply         Make objects as the files say
  create        Create objects from files or flags
  replace       Replace objects that are there
  delete        Delete objects, and wait until they are gone
  scale         Set how many pods a Job runs at a time
  rollout       Follow, restart or roll back a DaemonSet
  label         Set or remove labels
  annotate      Set or remove annotations
  image         Bring images to this node, and look after them

Look:
  get           Show one or many objects
  describe      Show all that is known of objects, with their events
  logs          Print what the containers of a pod have written
  events        Show what happened
  top           Show what pods or the node use of CPU and memory
  wait          Wait until objects have a condition, exist, or are gone

More:
  explain       Show which fields a kind has
  api-resources List the kinds that this program knows
  schedule      Print the times at which a CronJob's schedule fires
  completion    Print a script that completes verbs and flags in a shell
  version       Print the versions of this program and of the node

Options:
{options}

Examples:
  pinnace apply -f job.yaml
  pinnace get jobs,pods
  pinnace logs -f job/batch-job
`pinnace VERB --help` tells more of a verb.
";

pub const NODE: &str = "\
Each flag that is a setting has an environment variable (--data-dir is PINNACE_DATA_DIR) and a key in the
settings file; the flag wins, then the variable. --config has none: without it, /etc/pinnace/config.yaml
is read where it is there. SIGTERM ends the daemon and leaves its pods running.

Examples:
  pinnace node
  pinnace node --labels disk=ssd --broker mqtt://broker:1883 --fleet demo";

pub const APPLY: &str = "\
Examples:
  pinnace apply -f job.yaml
  pinnace apply -f manifests/ -R
  cat job.yaml | pinnace apply -f - --dry-run=server";

pub const CREATE: &str = "\
Examples:
  pinnace create -f job.yaml
  pinnace create -f job.yaml --dry-run=client -o yaml
  pinnace create job backup-now --from=cronjob/backup";

pub const CREATE_JOB: &str = "\
Examples:
  pinnace create job backup-now --from=cronjob/backup
  pinnace create job hello --image=busybox -- echo hello";

pub const CREATE_CONFIGMAP: &str = "\
Examples:
  pinnace create configmap app --from-literal=level=debug --from-file=app.conf";

pub const CREATE_SECRET: &str = "\
Examples:
  pinnace create secret generic broker --from-file=password=pw.txt";

pub const REPLACE: &str = "\
Examples:
  pinnace replace -f configmap.yaml
  pinnace replace --force -f job.yaml";

pub const GET: &str = "\
Examples:
  pinnace get pods -o wide
  pinnace get daemonsets,jobs,cronjobs,pods
  pinnace get job/batch-job -o yaml
  pinnace get pods -l job-name=batch-job -w
  pinnace get jobs -o jsonpath='{range .items[*]}{.metadata.name} {.status.succeeded}{\"\\n\"}{end}'";

pub const DESCRIBE: &str = "\
Examples:
  pinnace describe job batch-job
  pinnace describe pods -l job-name=batch-job
  pinnace describe node";

pub const LOGS: &str = "\
Examples:
  pinnace logs batch-job-28xfk
  pinnace logs -f job/batch-job
  pinnace logs ssd-monitor-9kz4d --previous --tail=20";

pub const DELETE: &str = "\
Examples:
  pinnace delete job batch-job
  pinnace delete pods -l app=worker --grace-period=5
  pinnace delete -f manifests/";

pub const SCALE: &str = "\
Examples:
  pinnace scale job multi-completion-batch-job --replicas=3
  pinnace scale job/batch --current-replicas=2 --replicas=3";

pub const WAIT: &str = "\
Examples:
  pinnace wait --for=condition=complete job/batch-job --timeout=5m
  pinnace wait --for=delete pod/worker-7d2kx
  pinnace wait --for=jsonpath='{.status.phase}'=Running pod/worker-7d2kx";

pub const EVENTS: &str = "\
Examples:
  pinnace events
  pinnace events --for job/batch-job -w
  pinnace events --types=Warning";

pub const DRAIN: &str = "\
Every pod ends, those of DaemonSets too, and nothing starts again, also after a reboot, until `pinnace uncordon`.
Jobs do not count it as a failure.

Examples:
  pinnace drain
  pinnace drain --timeout=2m";

pub const TAINT: &str = "\
Effects: NoSchedule, PreferNoSchedule, NoExecute.

Examples:
  pinnace taint nodes gateway-7 dedicated=batch:NoSchedule
  pinnace taint nodes gateway-7 dedicated:NoSchedule-
  pinnace taint dedicated-";

pub const LABEL: &str = "\
Examples:
  pinnace label node gateway-7 disk=ssd
  pinnace label node gateway-7 disk=hdd --overwrite
  pinnace label node gateway-7 disk-";

pub const ROLLOUT: &str = "\
Examples:
  pinnace rollout status ds/ssd-monitor
  pinnace rollout restart ds/ssd-monitor
  pinnace rollout undo ds/ssd-monitor --to-revision=2";

pub const IMAGE: &str = "\
Examples:
  # From a file, without a registry
  docker save luksa/batch-job | ssh gateway-7 pinnace image import -
  # A root file system becomes an image
  pinnace image import rootfs.tar.gz --name acme/tool:1.2 --entrypoint /bin/tool
  # From a registry
  pinnace image pull registry.example:5000/acme/tool:1.2
  # A directory of the device, used as it is; / is the host's own file system
  pinnace image add busybox:1.36 /srv/images/busybox
  pinnace image list";

pub const SCHEDULE: &str = "\
Examples:
  pinnace schedule \"0,15,30,45 * * * *\"
  pinnace schedule \"30 2 * * MON-FRI\" --time-zone Europe/Berlin -n 10
  pinnace schedule \"@daily\" --from 2026-01-01T00:00:00Z";

pub const TOP: &str = "\
Figures are of the second in which they are asked for; nothing is measured otherwise.

Examples:
  pinnace top pods -A --sort-by=memory
  pinnace top node";

pub const DOCTOR: &str = "\
Works with a running node and without one. Each thing is ok, warn, fail or skipped, with what to do about it.
The exit code is 1 when something fails. Run it as the node's user: sudo for a node of root.

Examples:
  sudo pinnace doctor
  sudo pinnace doctor --json";

pub const UPDATE: &str = "\
Pods go on all the while. A version that does not come up, cannot open the store, or has no
session with the broker where there was one before gives way to the one before, by itself.
The exit code is 1 when it did. See docs/upgrading.md.

Examples:
  pinnace update --from ./pinnace
  pinnace update --from https://releases.example.com/pinnace.tar.gz --sha256 4f1a…
  pinnace update
  pinnace update --undo";

pub const INIT: &str = "\
Asks for what is not given when it runs at a terminal. A key that is there is kept.

Examples:
  sudo pinnace init --broker mqtts://broker.example.com --fleet prod
  pinnace init --dir ./gw-7 --name gw-7";

pub const EXPLAIN: &str = "\
Examples:
  pinnace explain job.spec
  pinnace explain pod.spec.containers.env
  pinnace explain cronjob --recursive";

pub const DEBUG: &str = "\
The dump has no contents of Secrets, but manifests with their environment variables: look at it before you send it.

Examples:
  sudo pinnace debug dump > pinnace-dump.json
  pinnace debug trace";

pub const COMPLETION: &str = "\
Examples:
  source <(pinnace completion bash)
  pinnace completion fish > ~/.config/fish/completions/pinnace.fish";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::args::Cli;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_top_page_names_every_verb() {
        for verb in Cli::command().get_subcommands() {
            assert!(super::TEMPLATE.contains(&format!("\n  {} ", verb.get_name())), "{} is missing", verb.get_name());
        }
    }
}

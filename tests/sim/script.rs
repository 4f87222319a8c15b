//! What people and the fleet do to the device: manifests drawn from a small alphabet, so that one seed differs from the
//! next in features as well as in moments.

use crate::crash_backend::Random;

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A new content of a slot; empty: the slot is cleared.
    Publish {
        slot: String,
        text: String,
    },
    Reconnect,
    WipeBroker,
    Scale {
        job: String,
        parallelism: u32,
    },
    Suspend {
        job: String,
        suspend: bool,
    },
    DeletePod,
    DeleteJob {
        job: String,
    },
    Drain,
    Uncordon,
    StepClock {
        seconds: i64,
    },
    SetClock,
}

/// The slots of the fleet. Jobs of `steady` are disturbed by faults alone, never by people: their ledger must be exact.
pub const STEADY: &str = "steady";

pub fn steady(random: &mut Random) -> String {
    let policy = if random.chance(2) { "Never" } else { "OnFailure" };
    let completions = 1 + random.next() % 6;
    let parallelism = 1 + random.next() % 3;
    let seconds = 1 + random.next() % 20;
    let program = if random.chance(2) { "work" } else { "flaky" };
    job("steady", policy, completions, parallelism, 30, &format!("[\"{program}\", \"{seconds}\", \"0\"]"))
}

fn job(name: &str, policy: &str, completions: u64, parallelism: u64, backoff: u64, command: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  completions: {completions}\n  parallelism: {parallelism}\n  backoffLimit: {backoff}\n  template:\n    spec:\n      restartPolicy: {policy}\n      terminationGracePeriodSeconds: 5\n      containers:\n      - {{name: main, command: {command}}}\n"
    )
}

fn daemon_set(version: u64, surge: bool, command: &str) -> String {
    let strategy = if surge { "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}" } else { "{type: RollingUpdate}" };
    format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: agent}}\nspec:\n  selector: {{matchLabels: {{app: agent}}}}\n  updateStrategy: {strategy}\n  template:\n    metadata: {{labels: {{app: agent}}, annotations: {{version: \"{version}\"}}}}\n    spec:\n      terminationGracePeriodSeconds: 5\n      containers:\n      - {{name: main, command: {command}}}\n"
    )
}

fn cron_job(policy: &str, schedule: &str, deadline: Option<u64>, seconds: u64) -> String {
    let deadline = deadline.map(|d| format!("  startingDeadlineSeconds: {d}\n")).unwrap_or_default();
    format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: tick}}\nspec:\n  schedule: \"{schedule}\"\n  concurrencyPolicy: {policy}\n{deadline}  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: OnFailure\n          terminationGracePeriodSeconds: 5\n          containers:\n          - {{name: main, command: [\"work\", \"{seconds}\", \"0\"]}}\n"
    )
}

/// One thing that happens, drawn with weights.
pub fn draw(random: &mut Random) -> Act {
    let pick = |random: &mut Random, from: &[&str]| from[random.next() as usize % from.len()].to_string();
    match random.next() % 20 {
        0..=3 => Act::Publish { slot: "jobs".into(), text: jobs(random) },
        4..=6 => {
            let command = pick(random, &["[\"forever\"]", "[\"stubborn\"]", "[\"work\", \"30\", \"1\"]"]);
            let surge = random.chance(3);
            Act::Publish { slot: "agents".into(), text: daemon_set(random.next() % 3, surge, &command) }
        }
        7 | 8 => {
            let policy = pick(random, &["Allow", "Forbid", "Replace"]);
            let schedule = pick(random, &["* * * * *", "*/2 * * * *", "@every 30s", "0,15,30,45 * * * *"]);
            let deadline = random.chance(3).then(|| 10 + random.next() % 200);
            let text = cron_job(&policy, &schedule, deadline, 1 + random.next() % 100);
            Act::Publish { slot: "cron".into(), text }
        }
        9 => Act::Publish { slot: pick(random, &["jobs", "agents", "cron"]), text: String::new() },
        10 => Act::Publish {
            slot: "broken".into(),
            text: pick(random, &["kind: Job\n: [", "apiVersion: v1\nkind: Nope\n"]),
        },
        11 => Act::Reconnect,
        12 => Act::WipeBroker,
        13 => Act::Scale { job: "batch".into(), parallelism: (random.next() % 5) as u32 },
        14 => Act::Suspend { job: "batch".into(), suspend: random.chance(2) },
        15 => Act::DeletePod,
        16 => Act::DeleteJob { job: "batch".into() },
        17 => {
            if random.chance(2) {
                Act::Drain
            } else {
                Act::Uncordon
            }
        }
        18 => Act::StepClock { seconds: (random.next() % 20_000) as i64 - 10_000 },
        _ => Act::SetClock,
    }
}

fn jobs(random: &mut Random) -> String {
    let policy = if random.chance(2) { "Never" } else { "OnFailure" };
    let command = if random.chance(4) { "[\"work\", \"2\", \"1\"]" } else { "[\"flaky\", \"7\"]" };
    let batch = job("batch", policy, 1 + random.next() % 8, 1 + random.next() % 4, random.next() % 7, command);
    // Another content of the set under the same Job: it is taken or refused as a whole.
    let map = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{v: \"{}\"}}\n",
        random.next() % 3
    );
    format!("{batch}{map}")
}

//! The tutorial's manifests, as they lie below `examples/`.

use pinnace::manifest::Decoded;
use pinnace::model::Record;
use pinnace::model::cronjob::ConcurrencyPolicy;
use pinnace::model::daemonset::UpdateKind;
use pinnace::model::pod::{PullPolicy, RestartPolicy};
use serde_json::{Value, json};

use crate::decode_one;

fn example(name: &str) -> String {
    let path = format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[track_caller]
fn decode_example(name: &str) -> Decoded {
    let decoded = decode_one(&example(name));
    assert_eq!(decoded.warnings, Vec::<String>::new());
    assert_eq!(decoded.record.meta().namespace, "default");
    decoded
}

#[test]
fn every_file_is_here() {
    let folder = format!("{}/examples", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names.filter_map(|name| name.strip_suffix(".yaml").map(String::from)) {
        decode_example(&name);
    }
}

#[test]
fn ssd_monitor() {
    let decoded = decode_example("ssd-monitor-daemonset");
    assert_eq!(decoded.source["apiVersion"], "apps/v1beta2");
    let ds = decoded.record.as_daemon_set().unwrap();
    assert_eq!(ds.meta.name, "ssd-monitor");
    assert_eq!(ds.spec.template.spec.node_selector["disk"], "ssd");
    assert_eq!(ds.spec.template.spec.restart_policy, RestartPolicy::Always);
    assert_eq!(ds.spec.template.spec.containers[0].image_pull_policy, PullPolicy::Always);
    assert_eq!(ds.spec.update_strategy.kind, UpdateKind::RollingUpdate);
    assert_eq!(ds.spec.update_strategy.rolling_update.max_unavailable.as_ref().unwrap().on_one_node(), 1);
    assert_eq!(ds.spec.revision_history_limit, Some(10));
}

#[track_caller]
fn check_job(file: &str, name: &str, completions: u32, parallelism: u32) {
    let decoded = decode_example(file);
    let job = decoded.record.as_job().unwrap();
    assert_eq!((job.meta.name.as_str(), job.meta.labels["app"].as_str()), (name, "batch-job"));
    assert_eq!((job.spec.completions, job.spec.parallelism), (Some(completions), Some(parallelism)));
    assert_eq!((job.spec.backoff_limit, job.spec.suspend), (Some(6), false));
    assert_eq!(job.spec.template.spec.restart_policy, RestartPolicy::OnFailure);
    assert_eq!(job.spec.template.spec.containers[0].image, "luksa/batch-job");
    assert_eq!(job.spec.template.spec.termination_grace_period_seconds, Some(30));
}

#[test]
fn jobs() {
    check_job("batch-job", "batch-job", 1, 1);
    check_job("multi-completion-batch-job", "multi-completion-batch-job", 5, 1);
    check_job("multi-completion-parallel-batch-job", "multi-completion-batch-job", 5, 2);
}

#[test]
fn the_document_keeps_its_order_and_has_the_defaults_behind() {
    let decoded = decode_example("batch-job");
    let spec = decoded.record.as_job().unwrap().spec.document().clone();
    let expected = json!({
        "template": {
            "metadata": {"labels": {"app": "batch-job"}},
            "spec": {
                "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "main", "image": "luksa/batch-job", "imagePullPolicy": "Always",
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
                "schedulerName": "default-scheduler",
            },
        },
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
        "podReplacementPolicy": "TerminatingOrFailed",
    });
    assert_eq!(spec.to_string(), expected.to_string());
    assert_eq!(
        decoded.source["spec"],
        json!({"template": decoded.source["spec"]["template"]}),
        "the source is as sent"
    );
}

#[test]
fn every_fifteen_minutes() {
    let decoded = decode_example("cronjob");
    let cron = decoded.record.as_cron_job().unwrap();
    assert_eq!(cron.spec.schedule, "0,15,30,45 * * * *");
    assert_eq!(cron.spec.concurrency_policy, ConcurrencyPolicy::Allow);
    assert_eq!((cron.spec.successful_jobs_history_limit, cron.spec.failed_jobs_history_limit), (Some(3), Some(1)));
    assert_eq!(cron.spec.starting_deadline_seconds, None);
    let template = &cron.spec.job_template.spec;
    assert_eq!((&template["completions"], &template["backoffLimit"]), (&json!(1), &json!(6)));
    assert_eq!(template["template"]["metadata"]["labels"]["app"], "periodic-batch-job");
}

/// The tutorial's second CronJob has the field in the singular.
#[test]
fn the_misspelt_deadline_is_taken_with_a_warning() {
    let spec = "spec:\n  schedule: \"0,15,30,45 * * * *\"\n";
    let text = example("cronjob").replace(spec, &format!("{spec}  startingDeadlineSecond: 15\n"));
    let decoded = decode_one(&text);
    let Record::CronJob(cron) = &decoded.record else { panic!() };
    assert_eq!(cron.spec.starting_deadline_seconds, Some(15));
    let names: Vec<&String> = cron.spec.document().as_object().unwrap().keys().take(3).collect();
    assert_eq!(names, ["schedule", "startingDeadlineSeconds", "jobTemplate"]);
    assert_eq!(
        decoded.warnings,
        ["spec.startingDeadlineSecond: taken as spec.startingDeadlineSeconds, please correct the spelling"]
    );
    assert_eq!(decoded.source["spec"]["startingDeadlineSecond"], Value::from(15));
}

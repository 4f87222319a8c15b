//! `logs`: what containers have written, of one pod or of several at a time.

use serde_json::Value;
use tokio::sync::mpsc;

use crate::model::Kind;
use crate::model::sorted;

use super::args::LogsArgs;
use super::client::Stream;
use super::fail::Fail;
use super::follow::{self, Follow};
use super::json::{entries_at, int_at, list_at, text_at};
use super::target::{self, query};
use super::term::say;
use super::{Session, duration, watch};

/// One container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    pod: String,
    container: String,
}

/// Lines of several logs that wait to be printed.
const LINES_WAITING_MAX: usize = 1024;
/// Lines of each pod that a selector finds, when nobody says how many.
const TAIL_WITH_SELECTOR: i64 = 10;
/// How long a workload may take to have a pod.
const POD_WAIT: std::time::Duration = std::time::Duration::from_secs(20);

pub async fn run(args: &LogsArgs, s: &mut Session) -> Result<(), Fail> {
    let namespace = s.namespace(&args.at);
    let parameters = parameters(args)?;
    let pods = pods(args, &namespace, s).await?;
    let mut sources = Vec::new();
    for pod in &pods {
        sources.extend(sources_of(pod, args)?);
    }
    let path = |source: &Source| {
        let path = format!("{}/log", target::object(Kind::Pod, &namespace, &source.pod));
        query(&path, &[("container", &source.container)])
    };
    if args.follow && !args.previous {
        for source in &sources {
            await_start(source, &namespace, s).await?;
        }
    }
    let paths: Vec<(Source, String)> = sources.into_iter().map(|source| (source.clone(), path(&source))).collect();
    if args.follow {
        return follow_all(paths, parameters, args.prefix, s).await;
    }
    for (source, path) in &paths {
        match s.client.stream(&follow::with(path, &parameters), "*/*").await {
            Ok(stream) => print(stream, source, args.prefix, s).await?,
            // One container that has not started must not hide the others.
            Err(fail @ Fail::Refused(_)) if paths.len() > 1 => s.report(&fail),
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

/// The query of every log, apart from the container.
fn parameters(args: &LogsArgs) -> Result<Vec<(&'static str, String)>, Fail> {
    let mut out = Vec::new();
    for (flag, name) in [(args.follow, "follow"), (args.previous, "previous"), (args.timestamps, "timestamps")] {
        if flag {
            out.push((name, "true".to_string()));
        }
    }
    let default_tail = if args.selector.is_some() { TAIL_WITH_SELECTOR } else { -1 };
    match args.tail.unwrap_or(default_tail) {
        ..-1 => return Err(Fail::other("--tail must be greater than or equal to -1")),
        -1 => {}
        n => out.push(("tailLines", n.to_string())),
    }
    if let Some(since) = &args.since {
        let since = duration::parse(since).map_err(|why| Fail::other(format!("invalid --since: {why}")))?;
        if since.is_zero() {
            return Err(Fail::other("--since must be greater than 0"));
        }
        out.push(("sinceSeconds", since.as_secs_f64().ceil().to_string()));
    }
    if let Some(time) = &args.since_time {
        crate::model::Timestamp::parse(time).map_err(|why| Fail::other(format!("invalid --since-time: {why}")))?;
        out.push(("sinceTime", time.clone()));
    }
    if let Some(limit) = args.limit_bytes {
        out.push(("limitBytes", limit.to_string()));
    }
    Ok(out)
}

/// The pods whose logs are wanted: the one named, one of a workload's, or all that have the labels.
async fn pods(args: &LogsArgs, namespace: &str, s: &Session) -> Result<Vec<Value>, Fail> {
    let all = target::collection(Kind::Pod, Some(namespace));
    if let Some(selector) = &args.selector {
        let list = s.client.get(&query(&all, &[("labelSelector", selector)])).await?;
        let pods = list_at(&list, "/items").to_vec();
        if pods.is_empty() {
            say(&format!("No resources found in {namespace} namespace."));
        }
        return Ok(pods);
    }
    let target = args.target.as_deref().unwrap_or_default();
    let (kind, name) = if target.contains('/') { target::slashed(target)? } else { (Kind::Pod, target.to_string()) };
    match kind {
        Kind::Pod => match s.client.get(&target::object(kind, namespace, &name)).await {
            // kubectl has words of its own for this one.
            Err(fail) if fail.is_not_found() => {
                let told = format!("error from server (NotFound): pods {name:?} not found in namespace {namespace:?}");
                Err(Fail::other(told))
            }
            pod => Ok(vec![pod?]),
        },
        Kind::Job | Kind::DaemonSet => one_of(kind, &name, namespace, s).await.map(|pod| vec![pod]),
        Kind::CronJob => Err(Fail::other(format!(
            "a CronJob has no log of its own; those of its Jobs have: `pinnace get jobs`, then `pinnace logs job/{name}-…`"
        ))),
        other => Err(Fail::other(format!("cannot get the logs from a {other}: selector for {other} not implemented"))),
    }
}

/// One pod of a workload, the one that has most to say; waits for the first to be made.
async fn one_of(kind: Kind, name: &str, namespace: &str, s: &Session) -> Result<Value, Fail> {
    let object = s.client.get(&target::object(kind, namespace, name)).await?;
    let labels = entries_at(&object, "/spec/selector/matchLabels");
    let selector: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if selector.is_empty() {
        return Err(Fail::other(format!("{}/{name} has no selector to find its pods by", target::singular(kind))));
    }
    let path = target::collection(Kind::Pod, Some(namespace));
    let path = query(&path, &[("labelSelector", &selector.join(","))]);
    let late = || Fail::other(format!("{}/{name} has no pod", target::singular(kind)));
    let found = watch::until(&s.client, &path, |seen| {
        let mut pods: Vec<&Value> = seen.values().collect();
        sorted::by_key(&mut pods, |pod| rank(pod));
        Ok(pods.first().map(|pod| ((*pod).clone(), pods.len())))
    });
    let (pod, count) = watch::within(Some(POD_WAIT), late, found).await?;
    if count > 1 {
        say(&format!("Found {count} pods, using pod/{}", text_at(&pod, "/metadata/name")));
    }
    Ok(pod)
}

/// What comes first has most to say. Source: `kubectl/pkg/util/podutils`, `ByLogging`.
fn rank(pod: &Value) -> (bool, u8, bool, i64, String) {
    let phase = match text_at(pod, "/status/phase") {
        "Pending" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let ready = list_at(pod, "/status/conditions")
        .iter()
        .any(|c| text_at(c, "/type") == "Ready" && text_at(c, "/status") == "True");
    let restarts = list_at(pod, "/status/containerStatuses").iter().filter_map(|c| int_at(c, "/restartCount")).max();
    let created = text_at(pod, "/metadata/creationTimestamp").to_string();
    (text_at(pod, "/spec/nodeName").is_empty(), phase, !ready, -restarts.unwrap_or(0), created)
}

/// Waits a while for a container that is about to start: who follows a log wants to see it from the beginning.
async fn await_start(source: &Source, namespace: &str, s: &Session) -> Result<(), Fail> {
    let path = watch::only(&target::collection(Kind::Pod, Some(namespace)), &source.pod);
    let started = watch::until(&s.client, &path, |seen| {
        let starting = seen.values().any(|pod| is_starting(pod, &source.container));
        Ok((!starting).then_some(()))
    });
    // When it takes too long, the node says of the log why there is none.
    match tokio::time::timeout(POD_WAIT, started).await {
        Ok(done) => done,
        Err(_) => Ok(()),
    }
}

fn is_starting(pod: &Value, container: &str) -> bool {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let status = statuses.iter().flat_map(|at| list_at(pod, at)).find(|c| text_at(c, "/name") == container);
    let is_first = |status: &Value| int_at(status, "/restartCount").unwrap_or(0) == 0;
    match status.map(|status| (status, text_at(status, "/state/waiting/reason"))) {
        None => text_at(pod, "/status/phase") == "Pending",
        Some((status, "ContainerCreating" | "PodInitializing")) => is_first(status),
        Some(_) => false,
    }
}

/// The containers of a pod that are wanted.
fn sources_of(pod: &Value, args: &LogsArgs) -> Result<Vec<Source>, Fail> {
    let name = text_at(pod, "/metadata/name");
    let names = |pointer: &str| -> Vec<String> {
        list_at(pod, pointer).iter().map(|c| text_at(c, "/name").to_string()).collect()
    };
    let (init, main) = (names("/spec/initContainers"), names("/spec/containers"));
    let source = |container: &String| Source { pod: name.to_string(), container: container.clone() };
    if args.all_containers {
        return Ok(init.iter().chain(&main).map(source).collect());
    }
    if let Some(wanted) = args.container.as_ref().or(args.second.as_ref()) {
        if !init.iter().chain(&main).any(|c| c == wanted) {
            return Err(Fail::other(format!("container {wanted} is not valid for pod {name}")));
        }
        return Ok(vec![source(wanted)]);
    }
    let by_annotation = text_at(pod, "/metadata/annotations/kubectl.kubernetes.io~1default-container").to_string();
    if main.contains(&by_annotation) {
        return Ok(vec![source(&by_annotation)]);
    }
    if main.len() + init.len() > 1
        && let Some(first) = main.first()
    {
        let init = init.iter().map(|c| format!("{c} (init)"));
        let all: Vec<String> = main.iter().cloned().chain(init).collect();
        say(&format!("Defaulted container {first:?} out of: {}", all.join(", ")));
    }
    Ok(main.first().map(source).into_iter().collect())
}

async fn print(mut stream: Stream, source: &Source, prefix: bool, s: &mut Session) -> Result<(), Fail> {
    while let Some(line) = stream.line().await? {
        s.out.bytes(&prefixed(source, prefix, line))?;
    }
    Ok(())
}

fn prefixed(source: &Source, prefix: bool, line: Vec<u8>) -> Vec<u8> {
    if !prefix {
        return line;
    }
    let mut out = format!("[pod/{}/{}] ", source.pod, source.container).into_bytes();
    out.extend(line);
    out
}

/// Lines of all logs as they come, until the last log ends.
async fn follow_all(
    paths: Vec<(Source, String)>,
    parameters: Vec<(&'static str, String)>,
    prefix: bool,
    s: &mut Session,
) -> Result<(), Fail> {
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    for (source, path) in paths {
        let log = Follow::begin(s.client.clone(), path, parameters.clone());
        tokio::spawn(forward(log, source, prefix, sender.clone()));
    }
    drop(sender);
    while let Some(line) = lines.recv().await {
        match line {
            Ok(line) => s.out.bytes(&line)?,
            Err(fail) => s.report(&fail),
        }
    }
    Ok(())
}

async fn forward(
    log: impl Future<Output = Result<Follow, Fail>>,
    source: Source,
    prefix: bool,
    lines: mpsc::Sender<Result<Vec<u8>, Fail>>,
) {
    let mut log = match log.await {
        Ok(log) => log,
        Err(fail) => return drop(lines.send(Err(fail)).await),
    };
    loop {
        let next = match log.line().await {
            Ok(None) => return,
            Ok(Some(line)) => Ok(prefixed(&source, prefix, line)),
            Err(fail) => Err(fail),
        };
        let is_last = next.is_err();
        // Nobody listens any more when the reader of the output is gone.
        if lines.send(next).await.is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_starting_until_it_has_run_or_cannot() {
        let pod = |status: Value| json!({"status": {"phase": "Pending", "containerStatuses": [status]}});
        let waiting = |reason: &str, restarts: u32| {
            pod(json!({"name": "a", "restartCount": restarts, "state": {"waiting": {"reason": reason}}}))
        };
        assert!(is_starting(&waiting("ContainerCreating", 0), "a"));
        assert!(is_starting(&waiting("PodInitializing", 0), "a"));
        assert!(!is_starting(&waiting("ErrImageNeverPull", 0), "a"));
        assert!(!is_starting(&waiting("ContainerCreating", 1), "a"));
        assert!(!is_starting(&pod(json!({"name": "a", "state": {"running": {}}})), "a"));
        assert!(is_starting(&json!({"status": {"phase": "Pending"}}), "a"));
        assert!(!is_starting(&json!({"status": {"phase": "Failed"}}), "a"));
    }

    #[test]
    fn the_pod_with_most_to_say_comes_first() {
        let pod = |name: &str, phase: &str, ready: bool, restarts: u32, created: &str| {
            json!({"metadata": {"name": name, "creationTimestamp": created}, "spec": {"nodeName": "n"},
                "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}],
                    "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
        };
        let mut pods = [
            pod("pending", "Pending", false, 0, "2026-01-01T00:00:00Z"),
            pod("young", "Running", true, 0, "2026-01-01T00:00:09Z"),
            pod("old", "Running", true, 0, "2026-01-01T00:00:01Z"),
            pod("unready", "Running", false, 0, "2026-01-01T00:00:00Z"),
            pod("restarted", "Running", true, 3, "2026-01-01T00:00:05Z"),
        ];
        pods.sort_by_cached_key(rank);
        let names: Vec<&str> = pods.iter().map(|p| text_at(p, "/metadata/name")).collect();
        assert_eq!(names, ["restarted", "old", "young", "unready", "pending"]);
    }
}

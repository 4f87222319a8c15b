//! `pods/NAME/log`: which attempt a reader means, in the kubelet's words where there is none.

use std::time::Duration;

use hyper::header::HeaderValue;

use super::Handle;
use super::query::Query;
use super::read;
use super::reply::{self, Reply};
use super::route::Target;
use crate::model::{
    AttemptId, Cause, ContainerState, ContainerStatus, Failure, Kind, LogQuery, Pod, Reached, Reason, Timestamp,
};

pub fn read(handle: &Handle, target: &Target, name: &str, query: &Query) -> Result<Reply, Failure> {
    let record = read::find(&handle.state.borrow(), target, name)?;
    let pod = record.as_pod().ok_or_else(|| Failure::not_found(Kind::Pod, name))?;
    let query = log_query(pod, query, (handle.clock)().wall)?;
    let attempt = HeaderValue::from(query.attempt.number);
    let mut reply = reply::pieces(reply::TEXT, handle.logs.read(query));
    reply.headers_mut().insert(ATTEMPT, attempt);
    Ok(reply)
}

/// Which start of the container it is, for a reader that asks again when the connection broke: it names it (`attempt`), and
/// how far it has come (`afterTime`, `afterLines`). Kubernetes has nothing like it.
const ATTEMPT: &str = "pinnace-attempt";

fn reached(query: &Query) -> Result<Option<Reached>, Failure> {
    let lines = query.number("afterLines")?.unwrap_or(0);
    Ok(query.get("afterTime").map(|time| Reached { time: time.to_string(), lines }))
}

/// Source: `pkg/registry/core/pod/strategy.go`, `LogLocation`, and PodLogOptions' validation.
fn log_query(pod: &Pod, query: &Query, now: Timestamp) -> Result<LogQuery, Failure> {
    let container = container(pod, query.get("container").unwrap_or(""))?;
    let number = match query.number("attempt")? {
        Some(number) => number,
        None => attempt(pod, container, query.is("previous"))?,
    };
    let since_time = query.get("sinceTime").map(Timestamp::parse).transpose();
    let since_time = since_time.map_err(|e| Failure::new(Reason::BadRequest, format!("sinceTime: {e}")))?;
    let since_seconds = count(pod, query, "sinceSeconds", 1)?;
    if since_time.is_some() && since_seconds.is_some() {
        return Err(invalid(
            pod,
            Cause::forbidden("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be specified"),
        ));
    }
    Ok(LogQuery {
        attempt: AttemptId { pod: pod.meta.uid.clone(), container: container.to_string(), number },
        follow: query.is("follow"),
        tail: count(pod, query, "tailLines", 0)?,
        since: since_time.or(since_seconds.map(|s| now.minus(Duration::from_secs(s)))),
        timestamps: query.is("timestamps"),
        limit_bytes: count(pod, query, "limitBytes", 1)?,
        after: reached(query)?,
    })
}

fn container<'a>(pod: &'a Pod, wanted: &'a str) -> Result<&'a str, Failure> {
    let name = &pod.meta.name;
    let names = |of: &'a [crate::model::Container]| of.iter().map(|c| c.name.as_str()).collect::<Vec<&str>>();
    match (wanted, pod.spec.containers.as_slice()) {
        ("", [one]) => Ok(&one.name),
        ("", several) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                names(several).join(" ")
            );
            if !pod.spec.init_containers.is_empty() {
                message += &format!(" or one of the init containers: [{}]", names(&pod.spec.init_containers).join(" "));
            }
            Err(Failure::new(Reason::BadRequest, message))
        }
        (wanted, _) if pod.container(wanted).is_some() => Ok(wanted),
        (wanted, _) => Err(Failure::new(Reason::BadRequest, format!("container {wanted} is not valid for pod {name}"))),
    }
}

/// The attempt whose log is meant: the present one, the one before while the next has not started, or the previous.
/// Source: `pkg/kubelet/kubelet_pods.go`, `validateContainerLogStatus`.
fn attempt(pod: &Pod, container: &str, previous: bool) -> Result<u32, Failure> {
    let name = &pod.meta.name;
    let bad = |message: String| Failure::new(Reason::BadRequest, message);
    let status = pod.status_of(container).filter(|_| pod.status.started.is_some());
    let status = status.ok_or_else(|| bad(format!("container {container:?} in pod {name:?} is not available")))?;
    if previous {
        let message = || bad(format!("previous terminated container {container:?} in pod {name:?} not found"));
        return last_ended(status).ok_or_else(message);
    }
    match &status.state {
        ContainerState::Running { .. } | ContainerState::Ended(_) => Ok(status.restarts),
        ContainerState::Waiting { reason, .. } => last_ended(status).ok_or_else(|| bad(waits(container, name, reason))),
        ContainerState::Starting { .. } => {
            last_ended(status).ok_or_else(|| bad(waits(container, name, "ContainerCreating")))
        }
    }
}

/// The number of the attempt that `lastState` tells of.
fn last_ended(status: &ContainerStatus) -> Option<u32> {
    status.last.as_ref()?;
    match status.state {
        ContainerState::Waiting { .. } => Some(status.restarts),
        ContainerState::Starting { .. } | ContainerState::Running { .. } | ContainerState::Ended(_) => {
            status.restarts.checked_sub(1)
        }
    }
}

fn waits(container: &str, pod: &str, reason: &str) -> String {
    let why = match reason {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        other => other,
    };
    format!("container {container:?} in pod {pod:?} is waiting to start: {why}")
}

fn count(pod: &Pod, query: &Query, name: &str, least: i64) -> Result<Option<u64>, Failure> {
    let Some(number) = query.number::<i64>(name)? else { return Ok(None) };
    match u64::try_from(number) {
        Ok(count) if number >= least => Ok(Some(count)),
        _ => {
            let bound = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
            Err(invalid(pod, Cause::invalid(name, number, bound)))
        }
    }
}

fn invalid(pod: &Pod, cause: Cause) -> Failure {
    let message = format!("PodLogOptions {:?} is invalid: {}: {}", pod.meta.name, cause.field, cause.message);
    Failure { causes: vec![cause], ..Failure::new(Reason::Invalid, message) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::model::{BootId, Ended, Meta, Moment, Now, PodStatus, Spec};

    fn moment() -> Moment {
        let (wall, uptime) = (Timestamp::from_secs(1000), Duration::from_secs(10));
        Now { wall, wall_trusted: true, uptime, boot: BootId::new("b") }.moment()
    }

    fn pod(containers: &[&str]) -> Pod {
        let list: Vec<_> = containers.iter().map(|name| json!({ "name": name })).collect();
        let spec = Spec::new(json!({ "containers": list, "initContainers": [{ "name": "i" }] })).unwrap();
        let status = PodStatus { started: Some(moment()), ..PodStatus::new(&spec) };
        Pod { meta: Meta::named("default", "p"), spec, status }
    }

    fn ended() -> Ended {
        Ended {
            exit_code: 1,
            reason: "Error".into(),
            message: String::new(),
            started: Some(moment()),
            finished: moment(),
            excused: None,
        }
    }

    #[track_caller]
    fn check(pod: &Pod, query: &str, expected: Result<u32, &str>) {
        let found = log_query(pod, &Query::parse(query), Timestamp::from_secs(5000)).map(|q| q.attempt.number);
        assert_eq!(found.as_ref().map_err(|e| e.message.as_str()), expected.as_ref().map_err(|e| *e), "{query}");
    }

    #[test]
    fn a_container_must_be_one_of_the_pods() {
        let two = pod(&["a", "b"]);
        check(
            &two,
            "",
            Err(
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
        );
        check(&two, "container=z", Err("container z is not valid for pod p"));
        check(&two, "container=i", Err("container \"i\" in pod \"p\" is waiting to start: PodInitializing"));
    }

    #[test]
    fn the_attempt_is_the_one_that_the_kubelet_would_show() {
        let mut p = pod(&["a"]);
        p.status.started = None;
        check(&p, "", Err("container \"a\" in pod \"p\" is not available"));
        p.status.started = Some(moment());
        p.status.containers[0].state = ContainerState::Starting { since: moment() };
        check(&p, "", Err("container \"a\" in pod \"p\" is waiting to start: ContainerCreating"));
        p.status.containers[0].state = ContainerState::Running { started: moment(), pid: 1 };
        check(&p, "", Ok(0));
        check(&p, "previous=true", Err("previous terminated container \"a\" in pod \"p\" not found"));
        p.status.containers[0].last = Some(ended());
        p.status.containers[0].restarts = 3;
        check(&p, "", Ok(3));
        check(&p, "previous=true", Ok(2));
        p.status.containers[0].state = ContainerState::Starting { since: moment() };
        check(&p, "", Ok(2));
        // In back-off the attempt that ended is told of as the last one.
        p.status.containers[0].state =
            ContainerState::Waiting { reason: "CrashLoopBackOff".into(), message: String::new(), retry: None };
        check(&p, "", Ok(3));
        check(&p, "previous=1", Ok(3));
    }

    #[test]
    fn options_are_checked_and_carried() {
        let mut p = pod(&["a"]);
        p.status.containers[0].state = ContainerState::Running { started: moment(), pid: 1 };
        check(
            &p,
            "tailLines=-1",
            Err("PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"),
        );
        check(
            &p,
            "limitBytes=0",
            Err("PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"),
        );
        check(&p, "tailLines=x", Err("the query parameter tailLines=\"x\" must be a whole number in range"));
        assert!(
            log_query(&p, &Query::parse("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z"), Timestamp::EPOCH).is_err()
        );
        assert!(log_query(&p, &Query::parse("sinceTime=soon"), Timestamp::EPOCH).is_err());
        let q = log_query(
            &p,
            &Query::parse("sinceSeconds=60&tailLines=0&follow=true&timestamps=1&limitBytes=9"),
            Timestamp::from_secs(100),
        )
        .unwrap();
        assert_eq!((q.since, q.tail, q.limit_bytes), (Some(Timestamp::from_secs(40)), Some(0), Some(9)));
        assert!(q.follow && q.timestamps);
    }
}

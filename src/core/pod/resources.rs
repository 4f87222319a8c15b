//! Requests and limits as values for cgroup v2, as a kubelet maps them. Knows no file of a cgroup.
//!
//! Sources: `pkg/kubelet/cm/helpers_linux.go`, `pkg/kubelet/kuberuntime/kuberuntime_container_linux.go`,
//! `pkg/kubelet/qos/policy.go`, `pkg/api/v1/resource/helpers.go`.

use crate::model::node::Facts;
use crate::model::pod::{Qos, Resources};
use crate::model::{Container, Limits, PodSpec, Quantity, Settings};

const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
const QUOTA_PERIOD_US: u64 = 100_000;
const QUOTA_MIN_US: u64 = 1000;
const OOM_GUARANTEED: i32 = -997;
const OOM_BEST_EFFORT: i32 = 1000;

/// What one container may use. `pids` is a bound of the pod.
pub fn container(container: &Container) -> Limits {
    let of = |quantity: Option<&Quantity>, unit: fn(&Quantity) -> u64| quantity.map_or(0, unit);
    Limits {
        cpu_weight: Some(weight(of(request(&container.resources, "cpu"), milli))),
        cpu_quota_us: quota(of(limit(&container.resources, "cpu"), milli)),
        memory_max: some_positive(of(limit(&container.resources, "memory"), bytes)),
        pids_max: None,
    }
}

/// What the pod may use as a whole. CPU time and memory are bounded only when each container has a bound.
pub fn pod(spec: &PodSpec, settings: &Settings) -> Limits {
    let requested = effective(spec, |c| request(&c.resources, "cpu").map_or(0, milli));
    let cpu = |c: &Container| limit(&c.resources, "cpu").map_or(0, milli);
    let memory = |c: &Container| limit(&c.resources, "memory").map_or(0, bytes);
    let all_have = |amount: &dyn Fn(&Container) -> u64| all(spec).all(|c| amount(c) > 0);
    Limits {
        cpu_weight: Some(weight(requested)),
        cpu_quota_us: if all_have(&cpu) { quota(effective(spec, cpu)) } else { None },
        memory_max: if all_have(&memory) { some_positive(effective(spec, memory)) } else { None },
        pids_max: settings.pod_pids_max,
    }
}

/// How willingly the kernel kills a container's processes when memory is short: from -997 (last) to 1000 (first).
pub fn oom_score_adj(spec: &PodSpec, container: &Container, facts: &Facts) -> i32 {
    let requested = request(&container.resources, "memory").map_or(0, bytes);
    match spec.qos() {
        Qos::Guaranteed => OOM_GUARANTEED,
        Qos::BestEffort => OOM_BEST_EFFORT,
        Qos::Burstable => {
            let share = u128::from(requested) * 1000 / u128::from(facts.memory_bytes.max(1));
            let share = i32::try_from(share.min(1000)).expect("at most 1000");
            (OOM_BEST_EFFORT - share).clamp(OOM_BEST_EFFORT + OOM_GUARANTEED, OOM_BEST_EFFORT - 1)
        }
    }
}

/// Cgroup controllers that the pod's limits need and this host does not offer.
pub fn missing_controllers(spec: &PodSpec, facts: &Facts, settings: &Settings) -> Vec<&'static str> {
    let names = |resource: &str, maps: fn(&Resources) -> bool| {
        all(spec).any(|c| c.resources.limits.contains_key(resource) || maps(&c.resources))
    };
    let wanted = [
        ("cpu", names("cpu", |r| r.requests.contains_key("cpu"))),
        ("memory", names("memory", |_| false)),
        ("pids", settings.pod_pids_max.is_some()),
    ];
    let offered = |name: &str| facts.controllers.iter().any(|c| c == name);
    wanted.into_iter().filter(|(name, wants)| *wants && !offered(name)).map(|(name, _)| name).collect()
}

/// The request of a container; a limit without a request is the request as well (`core/v1/defaults.go`).
pub fn request<'r>(resources: &'r Resources, name: &str) -> Option<&'r Quantity> {
    resources.requests.get(name).or_else(|| resources.limits.get(name))
}

/// The limit of a container, if it has one.
pub fn limit<'r>(resources: &'r Resources, name: &str) -> Option<&'r Quantity> {
    resources.limits.get(name)
}

fn all(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().chain(&spec.containers)
}

/// App containers run together, init containers one by one before them: the pod needs the greater of the two.
fn effective(spec: &PodSpec, amount: impl Fn(&Container) -> u64) -> u64 {
    let together = spec.containers.iter().map(&amount).fold(0, u64::saturating_add);
    spec.init_containers.iter().map(&amount).fold(together, u64::max)
}

fn milli(quantity: &Quantity) -> u64 {
    u64::try_from(quantity.milli()).unwrap_or(0)
}

fn bytes(quantity: &Quantity) -> u64 {
    u64::try_from(quantity.value()).unwrap_or(0)
}

fn some_positive(amount: u64) -> Option<u64> {
    (amount > 0).then_some(amount)
}

/// `cpu.weight` of a request in millicores, by way of the shares of cgroup v1.
fn weight(milli: u64) -> u64 {
    let shares = (milli.saturating_mul(1024) / 1000).clamp(SHARES_MIN, SHARES_MAX);
    1 + (shares - SHARES_MIN) * 9999 / (SHARES_MAX - SHARES_MIN)
}

/// Microseconds of CPU in each 100,000 of a limit in millicores.
fn quota(milli: u64) -> Option<u64> {
    (milli > 0).then(|| (milli.saturating_mul(QUOTA_PERIOD_US) / 1000).max(QUOTA_MIN_US))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn weight_follows_the_kubelets_table() {
        for (milli, expected) in
            [(0, 1), (1, 1), (100, 4), (250, 10), (500, 20), (1000, 39), (2000, 79), (4000, 157), (u64::MAX, 10_000)]
        {
            assert_eq!(weight(milli), expected, "{milli}m");
        }
    }

    #[test]
    fn quota_has_a_least_value() {
        for (milli, expected) in
            [(0, None), (1, Some(1000)), (10, Some(1000)), (11, Some(1100)), (250, Some(25_000)), (2000, Some(200_000))]
        {
            assert_eq!(quota(milli), expected, "{milli}m");
        }
    }

    fn spec(init: Value, containers: Value) -> PodSpec {
        let named = |resources: &Value| {
            let list = resources.as_array().unwrap().iter();
            list.map(|r| json!({"name": "c", "resources": r})).collect::<Vec<_>>()
        };
        serde_json::from_value(json!({"initContainers": named(&init), "containers": named(&containers)})).unwrap()
    }

    fn limits(weight: u64, quota: Option<u64>, memory: Option<u64>) -> Limits {
        Limits { cpu_weight: Some(weight), cpu_quota_us: quota, memory_max: memory, pids_max: None }
    }

    #[test]
    fn a_container_gets_its_own_numbers() {
        let check = |resources: Value, expected: Limits| {
            let spec = spec(json!([]), json!([resources]));
            assert_eq!(container(&spec.containers[0]), expected, "{:?}", spec.containers[0].resources);
        };
        check(json!({}), limits(1, None, None));
        check(json!({"limits": {"cpu": "500m", "memory": "64Mi"}}), limits(20, Some(50_000), Some(64 << 20)));
        check(json!({"requests": {"cpu": "1"}, "limits": {"cpu": 2}}), limits(39, Some(200_000), None));
        check(json!({"requests": {"memory": "64Mi"}}), limits(1, None, None));
        check(json!({"limits": {"memory": "1"}}), limits(1, None, Some(1)));
        check(json!({"limits": {"cpu": "0", "memory": "0"}}), limits(1, None, None));
        check(json!({"limits": {"cpu": "-1", "memory": "-5"}}), limits(1, None, None));
        check(json!({"limits": {"cpu": "9999999999999P"}}), limits(10_000, Some(u64::MAX / 1000), None));
    }

    #[test]
    fn a_pod_is_bounded_when_each_container_is() {
        let check = |init: Value, containers: Value, expected: Limits| {
            assert_eq!(pod(&spec(init, containers), &Settings::default()), expected);
        };
        let bound = json!({"limits": {"cpu": "500m", "memory": "100"}});
        check(json!([]), json!([bound, bound]), limits(39, Some(100_000), Some(200)));
        check(json!([]), json!([bound, {}]), limits(20, None, None));
        check(json!([{}]), json!([bound]), limits(20, None, None));
        let big = json!({"limits": {"cpu": "4", "memory": "1000"}});
        check(json!([big]), json!([bound, bound]), limits(157, Some(400_000), Some(1000)));
        check(json!([]), json!([{"limits": {"memory": "7"}}]), limits(1, None, Some(7)));
        check(json!([]), json!([{}]), limits(1, None, None));
        let bounded = Settings { pod_pids_max: Some(64), ..Settings::default() };
        assert_eq!(pod(&spec(json!([]), json!([{}])), &bounded).pids_max, Some(64));
    }

    #[test]
    fn the_oom_score_follows_qos_and_share_of_memory() {
        let check = |resources: Value, memory_bytes: u64, expected: i32| {
            let spec = spec(json!([]), json!([resources]));
            let facts = Facts { memory_bytes, ..Facts::default() };
            assert_eq!(oom_score_adj(&spec, &spec.containers[0], &facts), expected);
        };
        check(json!({}), 1000, 1000);
        check(json!({"limits": {"cpu": "1", "memory": "10"}}), 1000, -997);
        check(json!({"requests": {"memory": "500"}}), 1000, 500);
        check(json!({"requests": {"memory": "1"}}), 1_000_000, 999);
        check(json!({"requests": {"memory": "999"}}), 1000, 3);
        check(json!({"requests": {"memory": "5000"}}), 1000, 3);
        check(json!({"requests": {"cpu": "1"}}), 1000, 999);
        check(json!({"requests": {"memory": "1"}}), 0, 3);
    }

    #[test]
    fn controllers_are_missed_only_by_pods_that_need_them() {
        let check = |resources: Value, controllers: &[&str], pids: Option<u64>, expected: &[&str]| {
            let controllers = controllers.iter().map(|c| (*c).to_string()).collect();
            let facts = Facts { controllers, ..Facts::default() };
            let settings = Settings { pod_pids_max: pids, ..Settings::default() };
            assert_eq!(missing_controllers(&spec(json!([]), json!([resources])), &facts, &settings), expected);
        };
        check(json!({}), &[], None, &[]);
        check(json!({}), &[], Some(9), &["pids"]);
        check(json!({"limits": {"cpu": "1", "memory": "1"}}), &[], None, &["cpu", "memory"]);
        check(json!({"limits": {"cpu": "1", "memory": "1"}}), &["cpu", "pids"], None, &["memory"]);
        check(json!({"requests": {"cpu": "1", "memory": "1"}}), &[], None, &["cpu"]);
    }
}

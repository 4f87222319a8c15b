//! What the API server adds to a pod and not to a template of one, so that a pod comes to the same by whichever way it is
//! made. (`pkg/apis/core/v1/defaults.go`, `SetDefaults_Pod`)

use serde_json::{Map, Value};

/// Adds what is missing to the `spec` of a pod whose other defaults are there, as a template has them.
pub fn complete(spec: &mut Map<String, Value>) {
    spec.entry("enableServiceLinks").or_insert(Value::Bool(true));
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        containers.for_each(requests_from_limits);
    }
}

/// A limit without a request is a request too.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let requests = resources.entry("requests").or_insert_with(|| Map::new().into());
    let Some(requests) = requests.as_object_mut() else { return };
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

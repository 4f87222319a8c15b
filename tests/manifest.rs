//! Manifests as users and machines send them: what is taken, with which defaults, and what is refused, in which words.

#[path = "manifest/bad.rs"]
mod bad;
#[path = "manifest/examples.rs"]
mod examples;
#[path = "manifest/fuzz.rs"]
mod fuzz;
#[path = "manifest/good.rs"]
mod good;
#[path = "manifest/invalid.rs"]
mod invalid;
#[path = "manifest/oracle.rs"]
mod oracle;
#[path = "manifest/patches.rs"]
mod patches;
#[path = "manifest/requests.rs"]
mod requests;
#[path = "manifest/volumes.rs"]
mod volumes;

use pinnace::manifest::{Decoded, decode_stream};

/// The objects of a manifest that is right.
#[track_caller]
fn decode(text: &str) -> Vec<Decoded> {
    decode_stream(text.as_bytes(), "default").unwrap_or_else(|failure| panic!("{failure}\n{text}"))
}

/// The only object of a manifest that is right.
#[track_caller]
fn decode_one(text: &str) -> Decoded {
    let mut all = decode(text);
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

/// A Job whose pod is `pod`, a YAML flow mapping; `spec` adds lines to its spec.
fn job(spec: &str, pod: &str) -> String {
    format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: x}}\nspec:\n{spec}  template:\n    spec: {pod}\n")
}

/// A pod that runs to completion with these fields of its only container.
fn pod(container: &str) -> String {
    format!("{{restartPolicy: Never, containers: [{{name: c, {container}}}]}}")
}

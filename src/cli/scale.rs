//! `scale`: how many pods a Job runs at a time.

use serde_json::json;

use super::args::ScaleArgs;
use super::fail::Fail;
use super::json::{int_at, text_at};
use super::target::{self, Object, Target, singular};
use super::{Session, files};
use crate::model::Kind;

pub async fn run(args: &ScaleArgs, s: &mut Session) -> Result<(), Fail> {
    for Object { kind, namespace, name } in objects(args, s)? {
        match scale(args, kind, &namespace, &name, s).await {
            Ok(()) => s.out.line(&format!("{}/{name} scaled", singular(kind)))?,
            Err(fail) if fail.is_final() => return Err(fail),
            Err(fail) => s.report(&fail),
        }
    }
    Ok(())
}

fn objects(args: &ScaleArgs, s: &mut Session) -> Result<Vec<Object>, Fail> {
    if !args.from.filename.is_empty() {
        return Ok(files::objects(&args.from, &args.at, s));
    }
    let Target::Named(named) = target::parse(&args.what)? else {
        return Err(Fail::other("resource(s) were provided, but no name was specified"));
    };
    let namespace = s.namespace(&args.at);
    Ok(named.into_iter().map(|(kind, name)| Object { kind, namespace: namespace.clone(), name }).collect())
}

async fn scale(args: &ScaleArgs, kind: Kind, namespace: &str, name: &str, s: &Session) -> Result<(), Fail> {
    if kind != Kind::Job {
        return Err(Fail::other(format!("cannot scale {}/{name}: only Jobs have a parallelism", singular(kind))));
    }
    let path = format!("{}/scale", target::object(kind, namespace, name));
    let mut patch = json!({"spec": {"replicas": args.replicas}});
    if let Some(expected) = args.current_replicas.filter(|n| *n >= 0) {
        let now = s.client.get(&path).await?;
        let actual = int_at(&now, "/spec/replicas").unwrap_or(0);
        if actual != expected {
            return Err(Fail::other(format!("Expected replicas to be {expected}, was {actual}")));
        }
        // What was checked must still hold when the change is made.
        patch["metadata"] = json!({"resourceVersion": text_at(&now, "/metadata/resourceVersion")});
    }
    s.client.patch(&path, &patch).await.map(drop)
}

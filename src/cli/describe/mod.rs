//! `describe`: all that is known of an object, with its events, in kubectl's layouts.
//! Source: `kubectl/pkg/describe/describe.go`.

mod container;
mod generic;
mod node;
mod page;
mod pod;
mod volume;
mod workload;

use serde_json::Value;

use crate::model::Kind;

use super::args::DescribeArgs;
use super::events::{in_order, interval};
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::target::{self, Target, query};
use super::{Session, image, term};
use page::Page;

pub async fn run(args: &DescribeArgs, s: &mut Session) -> Result<(), Fail> {
    let objects = match target::parse(&args.what)? {
        Target::Kinds { kinds, .. } => listed(args, &kinds, s).await?,
        Target::Named(_) if args.selector.is_some() => {
            return Err(Fail::other("name cannot be provided when a selector is specified"));
        }
        Target::Named(named) => found(args, &image::resolve(named, s).await?, s).await?,
    };
    if objects.is_empty() && !s.failed {
        match args.all_namespaces {
            true => term::say("No resources found"),
            false => term::say(&format!("No resources found in {} namespace.", s.namespace(&args.at))),
        }
    }
    for (i, (kind, object)) in objects.iter().enumerate() {
        let text = describe(*kind, object, args.show_events, s).await?;
        let gap = if i == 0 { "" } else { "\n\n" };
        s.out.text(&format!("{gap}{text}"))?;
    }
    Ok(())
}

type Objects = Vec<(Kind, Value)>;

async fn listed(args: &DescribeArgs, kinds: &[Kind], s: &Session) -> Result<Objects, Fail> {
    let namespace = s.namespace(&args.at);
    let mut objects = Objects::new();
    for kind in kinds {
        let path = target::collection(*kind, (!args.all_namespaces).then_some(namespace.as_str()));
        let selector: Vec<(&str, &str)> = args.selector.iter().map(|l| ("labelSelector", l.as_str())).collect();
        let list = s.client.get(&query(&path, &selector)).await?;
        objects.extend(list_at(&list, "/items").iter().map(|item| (*kind, item.clone())));
    }
    Ok(objects)
}

async fn found(args: &DescribeArgs, named: &[(Kind, String)], s: &mut Session) -> Result<Objects, Fail> {
    let namespace = s.namespace(&args.at);
    let mut objects = Objects::new();
    for (kind, name) in named {
        match s.client.get(&target::object(*kind, &namespace, name)).await {
            Ok(object) => objects.push((*kind, object)),
            Err(fail) if fail.is_not_found() => match beginning_with(*kind, name, &namespace, s).await? {
                matches if matches.is_empty() => s.report(&fail),
                matches => objects.extend(matches),
            },
            Err(fail @ Fail::Refused(_)) => s.report(&fail),
            Err(fail) => return Err(fail),
        }
    }
    Ok(objects)
}

/// A name that is none may be the beginning of some.
async fn beginning_with(kind: Kind, name: &str, namespace: &str, s: &Session) -> Result<Objects, Fail> {
    let list = s.client.get(&target::collection(kind, Some(namespace))).await?;
    let matches = list_at(&list, "/items").iter().filter(|item| text_at(item, "/metadata/name").starts_with(name));
    Ok(matches.map(|item| (kind, item.clone())).collect())
}

async fn describe(kind: Kind, object: &Value, show_events: bool, s: &Session) -> Result<String, Fail> {
    let mut page = Page::new();
    match kind {
        Kind::Pod => pod::describe(&mut page, object),
        Kind::Job => workload::job(&mut page, object),
        Kind::CronJob => workload::cron_job(&mut page, object),
        Kind::DaemonSet => workload::daemon_set(&mut page, object, &pods_of(object, s).await?),
        Kind::Node => node::describe(&mut page, object, &pods_on(s).await?, &figures(s).await),
        Kind::ConfigMap => generic::config_map(&mut page, object),
        Kind::Secret => generic::secret(&mut page, object),
        Kind::Namespace => generic::namespace(&mut page, object),
        Kind::ControllerRevision | Kind::Event | Kind::Image | Kind::Set | Kind::Ack => {
            generic::describe(&mut page, object);
        }
    }
    // These say nothing of what happened to them.
    let has_events = !matches!(kind, Kind::Namespace | Kind::Secret | Kind::Event);
    if show_events && has_events {
        events(&mut page, &events_of(kind, object, s).await?);
    }
    Ok(page.finish())
}

/// The pods that a DaemonSet owns.
async fn pods_of(object: &Value, s: &Session) -> Result<Vec<Value>, Fail> {
    let namespace = text_at(object, "/metadata/namespace");
    let list = s.client.get(&target::collection(Kind::Pod, Some(namespace))).await?;
    let uid = text_at(object, "/metadata/uid");
    let is_own = |pod: &&Value| list_at(pod, "/metadata/ownerReferences").iter().any(|o| text_at(o, "/uid") == uid);
    Ok(list_at(&list, "/items").iter().filter(is_own).cloned().collect())
}

/// The node's figures by their names, as below `/metrics`; none of a node that does not tell them.
async fn figures(s: &Session) -> node::Figures {
    let mut figures = node::Figures::new();
    let Ok(mut lines) = s.client.stream("/metrics", "text/plain").await else { return figures };
    while let Ok(Some(line)) = lines.line().await {
        let line = String::from_utf8_lossy(&line);
        if let Some((name, value)) = line.trim_end().split_once(' ')
            && let Ok(value) = value.parse()
        {
            figures.insert(name.to_string(), value);
        }
    }
    figures
}

async fn pods_on(s: &Session) -> Result<Vec<Value>, Fail> {
    let list = s.client.get(&target::collection(Kind::Pod, None)).await?;
    Ok(list_at(&list, "/items").to_vec())
}

/// The events about one object, the latest last. A node's are not bound to its uid, as in Kubernetes.
async fn events_of(kind: Kind, object: &Value, s: &Session) -> Result<Vec<Value>, Fail> {
    let text = |pointer| text_at(object, pointer);
    let (name, namespace, uid) = (text("/metadata/name"), text("/metadata/namespace"), text("/metadata/uid"));
    let mut selector = format!("involvedObject.kind={kind},involvedObject.name={name}");
    if kind != Kind::Node {
        selector.push_str(&format!(",involvedObject.uid={uid}"));
    }
    let path = target::collection(Kind::Event, Some(namespace).filter(|n| !n.is_empty()));
    let list = s.client.get(&query(&path, &[("fieldSelector", &selector)])).await?;
    let mut events = list_at(&list, "/items").to_vec();
    in_order(&mut events);
    Ok(events)
}

fn events(page: &mut Page, events: &[Value]) {
    if events.is_empty() {
        return page.line(0, "Events:\t<none>");
    }
    page.line(0, "Events:");
    page.line(1, "Type\tReason\tAge\tFrom\tMessage");
    page.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let source = [text_at(event, "/source/component"), text_at(event, "/reportingComponent")];
        let source = source.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
        let (kind, reason) = (text_at(event, "/type"), text_at(event, "/reason"));
        let message = text_at(event, "/message").trim();
        page.line(1, &format!("{kind}\t{reason}\t{}\t{source}\t{message}", interval(event)));
    }
}

/// A pod template as `rollout history --revision` shows it.
pub fn pod_template(template: &Value) -> String {
    let mut page = Page::new();
    pod::template(&mut page, template);
    page.finish()
}

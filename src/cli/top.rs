//! `top`: what pods and the node use. Source of its columns: kubectl's `pkg/metricsutil/metrics_printer.go`.

use serde_json::Value;

use super::Session;
use super::args::{Hunger, TopNode, TopPods};
use super::fail::Fail;
use super::json::{list_at, text_at};
use super::table::Rows;
use super::target::{escape, query};
use super::term::say;
use crate::model::Quantity;
use crate::model::sorted;

const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";

/// Thousandths of a core, rounded up so that what runs is not shown as nothing, and bytes.
#[derive(Clone, Copy, Default)]
struct Use {
    cpu: u64,
    memory: u64,
}

pub async fn pods(args: &TopPods, s: &mut Session) -> Result<(), Fail> {
    let namespace = s.namespace(&args.at);
    let all = if args.all_namespaces { String::new() } else { format!("/namespaces/{}", escape(&namespace)) };
    let items = match &args.name {
        Some(name) => {
            vec![s.client.get(&format!("{ROOT}/namespaces/{}/pods/{}", escape(&namespace), escape(name))).await?]
        }
        None => {
            let path = format!("{ROOT}{all}/pods");
            let path = args.selector.as_ref().map_or(path.clone(), |l| query(&path, &[("labelSelector", l)]));
            list_at(&s.client.get(&path).await?, "/items").to_vec()
        }
    };
    if items.is_empty() {
        match args.all_namespaces {
            true => say("No resources found"),
            false => say(&format!("No resources found in {namespace} namespace.")),
        }
        return Ok(());
    }
    let mut rows: Vec<(Vec<String>, Use)> = items.iter().flat_map(|item| pod_rows(item, args)).collect();
    match args.sort_by {
        Some(Hunger::Cpu) => sorted::by_key(&mut rows, |(_, used)| std::cmp::Reverse(used.cpu)),
        Some(Hunger::Memory) => sorted::by_key(&mut rows, |(_, used)| std::cmp::Reverse(used.memory)),
        None => sorted::by(&mut rows, |a, b| a.0.cmp(&b.0)),
    }
    let mut header = Vec::new();
    header.extend(args.all_namespaces.then_some("NAMESPACE"));
    header.extend(if args.containers { &["POD", "NAME"][..] } else { &["NAME"] });
    header.extend(["CPU(cores)", "MEMORY(bytes)"]);
    print(&header, args.no_headers, rows, s)
}

fn pod_rows(item: &Value, args: &TopPods) -> Vec<(Vec<String>, Use)> {
    let name = text_at(item, "/metadata/name").to_string();
    let mut front: Vec<String> =
        args.all_namespaces.then(|| text_at(item, "/metadata/namespace").to_string()).into_iter().collect();
    front.push(name);
    let containers = list_at(item, "/containers");
    if args.containers {
        let row = |c: &Value| ([front.clone(), vec![text_at(c, "/name").to_string()]].concat(), used(c));
        return containers.iter().map(row).collect();
    }
    let sum = containers
        .iter()
        .map(used)
        .fold(Use::default(), |sum, one| Use { cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory });
    vec![(front, sum)]
}

fn print(header: &[&str], no_headers: bool, rows: Vec<(Vec<String>, Use)>, s: &mut Session) -> Result<(), Fail> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    if !no_headers {
        lines.push(header.iter().map(|h| (*h).to_string()).collect());
    }
    lines.extend(
        rows.into_iter().map(|(front, used)| [front, vec![millicores(used.cpu), mebibytes(used.memory)]].concat()),
    );
    let text = Rows::new(false).print(&lines);
    s.out.text(&text)
}

pub async fn node(args: &TopNode, s: &mut Session) -> Result<(), Fail> {
    let list = s.client.get(&format!("{ROOT}/nodes")).await?;
    let nodes = s.client.get("/api/v1/nodes").await?;
    let items = list_at(&list, "/items");
    let wanted = |item: &&Value| args.name.as_ref().is_none_or(|name| text_at(item, "/metadata/name") == name);
    let mut lines: Vec<Vec<String>> = Vec::new();
    if !args.no_headers {
        lines.push(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"].map(str::to_string).to_vec());
    }
    let mut found = false;
    for item in items.iter().filter(wanted) {
        found = true;
        let name = text_at(item, "/metadata/name");
        let node = list_at(&nodes, "/items")
            .iter()
            .find(|n| text_at(n, "/metadata/name") == name)
            .cloned()
            .unwrap_or_default();
        let (used, all) = (used(item), amounts(&node["status"]["allocatable"]));
        lines.push(vec![
            name.to_string(),
            millicores(used.cpu),
            percent(used.cpu, all.cpu),
            mebibytes(used.memory),
            percent(used.memory, all.memory),
        ]);
    }
    if !found {
        let name = args.name.clone().unwrap_or_default();
        return Err(Fail::other(format!(
            "Error from server (NotFound): nodemetrics.metrics.k8s.io {name:?} not found"
        )));
    }
    let text = Rows::new(false).print(&lines);
    s.out.text(&text)
}

fn used(item: &Value) -> Use {
    amounts(&item["usage"])
}

fn amounts(of: &Value) -> Use {
    let amount = |name: &str| of[name].as_str().and_then(|text| Quantity::parse(text).ok());
    Use {
        cpu: amount("cpu").and_then(|q| u64::try_from(q.milli()).ok()).unwrap_or(0),
        memory: amount("memory").and_then(|q| u64::try_from(q.value()).ok()).unwrap_or(0),
    }
}

fn millicores(milli: u64) -> String {
    format!("{milli}m")
}

fn mebibytes(bytes: u64) -> String {
    format!("{}Mi", bytes >> 20)
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 { "<unknown>".into() } else { format!("{}%", u128::from(part) * 100 / u128::from(all)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_shown_as_kubectl_shows_them() {
        let used = amounts(&json!({ "cpu": "250000001n", "memory": "20480Ki" }));
        assert_eq!((millicores(used.cpu), mebibytes(used.memory)), ("251m".into(), "20Mi".into()));
        assert_eq!((percent(1, 4), percent(1, 0)), ("25%".into(), "<unknown>".into()));
        let none = amounts(&json!({ "cpu": "x" }));
        assert_eq!((none.cpu, none.memory), (0, 0));
    }
}

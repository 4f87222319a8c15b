//! `events`: what happened, the latest last; also the lines that `describe` ends with.

use serde_json::Value;

use super::args::EventsArgs;
use super::client::JSON;
use super::fail::Fail;
use super::json::{int_at, list_at, text_at};
use super::output::{Format, list_of};
use super::patience::Patience;
use super::table::Rows;
use super::target::{self, query};
use super::term::say;
use super::watch::Watch;
use super::{Session, duration};
use crate::model::Kind;
use crate::model::sorted;

pub async fn run(args: &EventsArgs, s: &mut Session) -> Result<(), Fail> {
    let format = Format::parse(args.output.as_deref())?;
    let namespace = s.namespace(&args.at);
    let path = target::collection(Kind::Event, (!args.all_namespaces).then_some(namespace.as_str()));
    let path = match &args.about {
        None => path,
        Some(about) => {
            let (kind, name) = target::slashed(about)?;
            query(&path, &[("fieldSelector", &format!("involvedObject.kind={kind},involvedObject.name={name}"))])
        }
    };
    let (client, mut patience) = (s.client.clone(), Patience::default());
    let list = patience.ask(|| client.get(&path)).await?;
    let mut events: Vec<Value> = list_at(&list, "/items").iter().filter(|e| is_wanted(args, e)).cloned().collect();
    in_order(&mut events);
    if events.is_empty() && !args.watch {
        match args.all_namespaces {
            true => say("No events found."),
            false => say(&format!("No events found in {namespace} namespace.")),
        }
        return Ok(());
    }
    let mut printer = Printer { args, format, rows: Rows::new(s.out.colour()), headed: args.no_headers };
    printer.print(events, s)?;
    if !args.watch {
        return Ok(());
    }
    let mut watch = Watch::after(&list, &client, &mut patience, &path, JSON);
    loop {
        let news = watch.next().await?.into_iter();
        // An event that goes is only old.
        let news = news.filter(|change| change.event != "DELETED" && is_wanted(args, &change.object));
        let mut events: Vec<Value> = news.map(|change| change.object).collect();
        in_order(&mut events);
        printer.print(events, s)?;
    }
}

fn is_wanted(args: &EventsArgs, event: &Value) -> bool {
    args.types.is_empty() || args.types.iter().any(|t| t.eq_ignore_ascii_case(text_at(event, "/type")))
}

/// What was printed so far decides whether there is a header, and how wide columns are.
struct Printer<'a> {
    args: &'a EventsArgs,
    format: Format,
    rows: Rows,
    headed: bool,
}

impl Printer<'_> {
    fn print(&mut self, events: Vec<Value>, s: &mut Session) -> Result<(), Fail> {
        if let Format::Table { .. } = self.format {
            let mut lines = Vec::new();
            if !events.is_empty() && !std::mem::replace(&mut self.headed, true) {
                lines.push(self.header());
            }
            lines.extend(events.iter().map(|event| self.row(event)));
            return s.out.text(&self.rows.print(&lines));
        }
        let watched = self.args.watch;
        let shown: Vec<Value> = if watched { events } else { vec![list_of(events)] };
        for value in shown {
            let text = self.format.show(&value)?;
            s.out.text(&text.unwrap_or_default())?;
        }
        Ok(())
    }

    fn header(&self) -> Vec<String> {
        let place = self.args.all_namespaces.then_some("NAMESPACE");
        place.into_iter().chain(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]).map(str::to_string).collect()
    }

    fn row(&self, event: &Value) -> Vec<String> {
        let object = format!("{}/{}", text_at(event, "/involvedObject/kind"), text_at(event, "/involvedObject/name"));
        let mut row = Vec::new();
        if self.args.all_namespaces {
            row.push(text_at(event, "/metadata/namespace").to_string());
        }
        row.extend([
            interval(event),
            text_at(event, "/type").to_string(),
            text_at(event, "/reason").to_string(),
            object,
            text_at(event, "/message").trim().to_string(),
        ]);
        row
    }
}

/// The latest last; within one second, in the order in which the node wrote them.
pub fn in_order(events: &mut [Value]) {
    let revision = |event: &Value| text_at(event, "/metadata/resourceVersion").parse::<u64>().unwrap_or(0);
    sorted::by_key(events, |event| (last_seen(event).to_string(), revision(event)));
}

fn last_seen(event: &Value) -> &str {
    [text_at(event, "/lastTimestamp"), text_at(event, "/eventTime")].into_iter().find(|t| !t.is_empty()).unwrap_or("")
}

/// `5s`, or `2m (x5 over 10m)` for what happened more than once.
pub fn interval(event: &Value) -> String {
    let first = [text_at(event, "/eventTime"), text_at(event, "/firstTimestamp")];
    let first = duration::age(first.into_iter().find(|t| !t.is_empty()).unwrap_or(""));
    match int_at(event, "/count") {
        Some(count) if count > 1 => {
            format!("{} (x{count} over {first})", duration::age(text_at(event, "/lastTimestamp")))
        }
        Some(_) | None => first,
    }
}

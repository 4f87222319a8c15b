//! `get`: objects in the node's own columns or in a format of the reader's choice, once or as they change.

use serde_json::{Value, json};

use crate::model::{Kind, Quantity, sorted};

use super::args::GetArgs;
use super::client::{JSON, TABLE};
use super::duration;
use super::fail::Fail;
use super::json::{entries_at, list_at, text_at};
use super::jsonpath::Template;
use super::output::{Format, list_of};
use super::patience::Patience;
use super::table::Rows;
use super::target::{self, Object, Target, singular};
use super::watch::{Change, Watch};
use super::{Session, files, image, term};

/// One request: all of a kind, or one by name.
#[derive(Debug, Clone)]
struct Ask {
    kind: Kind,
    namespace: String,
    name: Option<String>,
}

pub async fn run(args: &GetArgs, s: &mut Session) -> Result<(), Fail> {
    let format = Format::parse(args.output.as_deref())?;
    let (asks, prefixed) = asks(args, s).await?;
    match (args.watch || args.watch_only, format) {
        (true, format) => watch(args, &asks, prefixed, &format, s).await,
        (false, Format::Table { wide }) => tables(args, &asks, prefixed, wide, s).await,
        (false, format) => objects(args, &asks, &format, s).await,
    }
}

/// What to ask for, and whether names are shown with their kind because there are several.
async fn asks(args: &GetArgs, s: &mut Session) -> Result<(Vec<Ask>, bool), Fail> {
    let namespace = s.namespace(&args.at);
    let named = match &args.from {
        from if !from.filename.is_empty() => files::objects(from, &args.at, s),
        _ => match target::parse(&args.what)? {
            Target::Kinds { kinds, all } => {
                let several = all || kinds.len() > 1;
                let ask = |kind| Ask { kind, namespace: namespace.clone(), name: None };
                return Ok((kinds.into_iter().map(ask).collect(), several));
            }
            Target::Named(named) => {
                let named = image::resolve(named, s).await?;
                named.into_iter().map(|(kind, name)| Object { kind, namespace: namespace.clone(), name }).collect()
            }
        },
    };
    if args.selector.is_some() || args.field_selector.is_some() {
        return Err(Fail::other("name cannot be provided when a selector is specified"));
    }
    if args.all_namespaces {
        return Err(Fail::other("a resource cannot be retrieved by name across all namespaces"));
    }
    let several = named.iter().any(|object| object.kind != named[0].kind);
    let ask = |Object { kind, namespace, name }| Ask { kind, namespace, name: Some(name) };
    Ok((named.into_iter().map(ask).collect(), several))
}

/// The path of a request.
fn path(args: &GetArgs, ask: &Ask) -> String {
    match &ask.name {
        Some(name) => target::object(ask.kind, &ask.namespace, name),
        None => list_path(args, ask, &args.field_selector),
    }
}

fn list_path(args: &GetArgs, ask: &Ask, field_selector: &Option<String>) -> String {
    let path = target::collection(ask.kind, (!args.all_namespaces).then_some(ask.namespace.as_str()));
    let parameters = [("labelSelector", &args.selector), ("fieldSelector", field_selector)];
    let parameters: Vec<(&str, &str)> = parameters.iter().filter_map(|(k, v)| Some((*k, v.as_deref()?))).collect();
    target::query(&path, &parameters)
}

async fn tables(args: &GetArgs, asks: &[Ask], prefixed: bool, wide: bool, s: &mut Session) -> Result<(), Fail> {
    let mut found: Vec<(Kind, Value)> = Vec::new();
    let mut missing = false;
    for ask in asks {
        match s.client.get_as(&path(args, ask), TABLE).await {
            Ok(table) => found.push((ask.kind, sort_rows(args, ask, as_table(table), s).await?)),
            Err(fail) if fail.is_not_found() && args.ignore_not_found => missing = true,
            Err(fail @ Fail::Refused(_)) => {
                s.report(&fail);
                missing = true;
            }
            Err(fail) => return Err(fail),
        }
    }
    found.retain(|(_, table)| !rows_of(table).is_empty());
    if found.is_empty() && !missing && !s.failed {
        say_nothing_found(args, asks, s);
        return Ok(());
    }
    // Objects of one kind that were named one by one stand in one table.
    for (i, group) in found.chunk_by(|a, b| a.0 == b.0).enumerate() {
        if i > 0 {
            s.out.line("")?;
        }
        let text = View::new(args, group[0].0, prefixed, wide, s).print(&joined(group), None);
        s.out.text(&text)?;
    }
    Ok(())
}

/// One table of all rows, so that its columns are as wide as the widest of them.
fn joined(tables: &[(Kind, Value)]) -> Value {
    let mut table = tables[0].1.clone();
    table["rows"] = tables.iter().flat_map(|(_, table)| rows_of(table).iter().cloned()).collect();
    table
}

fn say_nothing_found(args: &GetArgs, asks: &[Ask], s: &Session) {
    if args.ignore_not_found {
        return;
    }
    if args.all_namespaces || asks.iter().all(|ask| !ask.kind.names().namespaced) {
        term::say("No resources found");
    } else {
        term::say(&format!("No resources found in {} namespace.", s.namespace(&args.at)));
    }
}

async fn objects(args: &GetArgs, asks: &[Ask], format: &Format, s: &mut Session) -> Result<(), Fail> {
    let mut items = Vec::new();
    for ask in asks {
        match s.client.get(&path(args, ask)).await {
            Ok(value) if ask.name.is_some() => items.push(value),
            Ok(list) => items.extend(list_items(ask.kind, list)),
            Err(fail) if fail.is_not_found() && args.ignore_not_found => {}
            Err(fail @ Fail::Refused(_)) => s.report(&fail),
            Err(fail) => return Err(fail),
        }
    }
    if let Some(path) = &args.sort_by {
        let keys = sort_keys(path, &items)?;
        let mut keyed: Vec<(SortKey, Value)> = keys.into_iter().zip(items).collect();
        sorted::by(&mut keyed, |a, b| a.0.cmp(&b.0));
        items = keyed.into_iter().map(|(_, item)| item).collect();
    }
    let single = asks.len() == 1 && asks[0].name.is_some();
    let value = match items.pop() {
        Some(item) if single => item,
        None if single || s.failed => return Ok(()),
        last => {
            items.extend(last);
            list_of(items)
        }
    };
    let text = format.show(&value)?;
    s.out.text(&text.unwrap_or_default())
}

/// The items of a list; each says its own kind, as kubectl's lists of several kinds need.
fn list_items(kind: Kind, mut list: Value) -> Vec<Value> {
    let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) else { return vec![list] };
    let mut items = std::mem::take(items);
    items.iter_mut().for_each(|item| say_kind(kind, item));
    items
}

fn say_kind(kind: Kind, object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.entry("apiVersion").or_insert_with(|| kind.api_version().into());
        object.entry("kind").or_insert_with(|| kind.names().kind.into());
    }
}

/// Puts a table's rows in the order that `--sort-by` asks for. A row has not all fields, so the objects are asked for.
async fn sort_rows(args: &GetArgs, ask: &Ask, mut table: Value, s: &Session) -> Result<Value, Fail> {
    let Some(path) = &args.sort_by else { return Ok(table) };
    if ask.name.is_some() {
        Template::parse_relaxed(path).map_err(Fail::other)?;
        return Ok(table);
    }
    let list = s.client.get(&self::path(args, ask)).await?;
    let items = list_at(&list, "/items");
    let keys = sort_keys(path, items)?;
    let mut order: Vec<(SortKey, (&str, &str))> = keys.into_iter().zip(items.iter().map(identity)).collect();
    sorted::by(&mut order, |a, b| a.0.cmp(&b.0));
    let place = |row: &Value| {
        let id = identity(&row["object"]);
        order.iter().position(|(_, other)| *other == id).unwrap_or(usize::MAX)
    };
    if let Some(rows) = table.get_mut("rows").and_then(Value::as_array_mut) {
        sorted::by_key(rows, place);
    }
    Ok(table)
}

fn identity(object: &Value) -> (&str, &str) {
    (text_at(object, "/metadata/namespace"), text_at(object, "/metadata/name"))
}

/// What each of these is ordered by. A field that none of them has is most likely misspelt.
/// Source: `kubectl/pkg/cmd/get/sorter.go`.
fn sort_keys(path: &str, items: &[Value]) -> Result<Vec<SortKey>, Fail> {
    let template = Template::parse_relaxed(path).map_err(Fail::other)?;
    let keys: Vec<SortKey> = items.iter().map(|item| SortKey::of(&template, item)).collect();
    if !items.is_empty() && keys.iter().all(|key| *key == SortKey::Missing) {
        return Err(Fail::other(format!("couldn't find any field with path {path:?} in the list of objects")));
    }
    Ok(keys)
}

/// What objects are ordered by: nothing first, then amounts, then texts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SortKey {
    Missing,
    Amount(Quantity),
    Text(String),
}

impl SortKey {
    fn of(path: &Template, item: &Value) -> SortKey {
        let found = path.find(item).ok().and_then(|found| found.into_iter().next());
        let text = match found {
            None | Some(Value::Null) => return SortKey::Missing,
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        Quantity::parse(&text).map_or(SortKey::Text(text), SortKey::Amount)
    }
}

/// How one kind's rows are shown: which cells, and what is added to them.
struct View<'a> {
    args: &'a GetArgs,
    kind: Kind,
    prefixed: bool,
    wide: bool,
    rows: Rows,
    /// Which cells of a row are shown; none before the first table with columns came.
    cells: Option<Vec<usize>>,
    /// Which cell has the age.
    age: Option<usize>,
}

impl<'a> View<'a> {
    fn new(args: &'a GetArgs, kind: Kind, prefixed: bool, wide: bool, s: &Session) -> View<'a> {
        View { args, kind, prefixed, wide, rows: Rows::new(s.out.colour()), cells: None, age: None }
    }

    /// A table's lines; the header only before the first. `event` is what a watch says of them.
    fn print(&mut self, table: &Value, event: Option<&str>) -> String {
        let mut lines = Vec::new();
        if self.cells.is_none() {
            let header = self.header(table);
            self.rows.set_headers(&header);
            if !self.args.no_headers {
                lines.push(header);
            }
        }
        lines.extend(rows_of(table).iter().map(|row| self.row(row, event)));
        self.rows.print(&lines)
    }

    fn header(&mut self, table: &Value) -> Vec<String> {
        let columns = list_at(table, "/columnDefinitions");
        let shown = |column: &Value| self.wide || column["priority"].as_i64().unwrap_or(0) == 0;
        let cells: Vec<usize> = (0..columns.len()).filter(|i| shown(&columns[*i])).collect();
        let mut header = Vec::new();
        if self.args.output_watch_events {
            header.push("EVENT".to_string());
        }
        if self.args.all_namespaces && self.kind.names().namespaced {
            header.push("NAMESPACE".to_string());
        }
        header.extend(cells.iter().map(|i| text_at(&columns[*i], "/name").to_ascii_uppercase()));
        header.extend(self.args.label_columns.iter().map(|key| label_header(key)));
        if self.args.show_labels {
            header.push("LABELS".to_string());
        }
        self.cells = Some(cells);
        self.age = columns.iter().position(|column| text_at(column, "/name") == "Age");
        header
    }

    fn row(&self, row: &Value, event: Option<&str>) -> Vec<String> {
        let cells = list_at(row, "/cells");
        let object = &row["object"];
        let mut line = Vec::new();
        if self.args.output_watch_events {
            line.push(event.unwrap_or("ADDED").to_string());
        }
        if self.args.all_namespaces && self.kind.names().namespaced {
            line.push(text_at(object, "/metadata/namespace").to_string());
        }
        for (n, i) in self.cells.iter().flatten().enumerate() {
            let cell = match event {
                // What went while nobody watched comes as it was seen last.
                Some("DELETED") if self.age == Some(*i) => {
                    duration::age(text_at(object, "/metadata/creationTimestamp"))
                }
                _ => cells.get(*i).map(super::json::plain).unwrap_or_default(),
            };
            let prefix = if self.prefixed && n == 0 { format!("{}/", singular(self.kind)) } else { String::new() };
            line.push(format!("{prefix}{cell}"));
        }
        let label = |key: &str| object["metadata"]["labels"][key].as_str().unwrap_or_default().to_string();
        line.extend(self.args.label_columns.iter().map(|key| label(key)));
        if self.args.show_labels {
            line.push(labels_text(object));
        }
        line
    }
}

/// The part of a label's key behind its last slash, as kubectl heads the column.
fn label_header(key: &str) -> String {
    key.rsplit('/').next().unwrap_or(key).to_ascii_uppercase()
}

fn labels_text(object: &Value) -> String {
    let labels = entries_at(object, "/metadata/labels");
    if labels.is_empty() {
        return "<none>".into();
    }
    labels
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(",")
}

/// An answer as a table. A server that has no columns for a kind sends objects; they get a name and an age.
fn as_table(answer: Value) -> Value {
    if text_at(&answer, "/kind") == "Table" {
        return answer;
    }
    let row = |object: &Value| {
        let age = duration::age(text_at(object, "/metadata/creationTimestamp"));
        json!({"cells": [text_at(object, "/metadata/name"), age], "object": object})
    };
    let rows: Vec<Value> = super::output::items(&answer).into_iter().map(row).collect();
    json!({"columnDefinitions": [{"name": "Name"}, {"name": "Age"}], "rows": rows, "metadata": answer["metadata"]})
}

fn rows_of(table: &Value) -> &[Value] {
    list_at(table, "/rows")
}

async fn watch(args: &GetArgs, asks: &[Ask], prefixed: bool, format: &Format, s: &mut Session) -> Result<(), Fail> {
    let [ask] = asks else {
        return Err(Fail::other("watch is only supported on individual resources and resource collections"));
    };
    let by_name = ask.name.as_ref().map(|name| format!("metadata.name={name}"));
    let path = list_path(args, ask, &by_name.clone().or_else(|| args.field_selector.clone()));
    let (wide, accept) = match format {
        Format::Table { wide } => (*wide, TABLE),
        Format::Yaml | Format::Json | Format::Name | Format::JsonPath(..) | Format::Columns(_) => (false, JSON),
    };
    let (client, mut patience) = (s.client.clone(), Patience::default());
    let list = patience.ask(|| client.get_as(&path, accept)).await?;
    let is_empty = rows_of(&list).is_empty() && list_at(&list, "/items").is_empty();
    if by_name.is_some() && is_empty {
        // Says why it is not there.
        s.client.get(&self::path(args, ask)).await?;
    }
    let mut watch = Watch::after(&list, &client, &mut patience, &path, accept);
    let mut shown = Shown { view: View::new(args, ask.kind, prefixed, wide, s), format, is_first: true };
    if !args.watch_only && !is_empty {
        shown.list(list, s)?;
    }
    loop {
        for Change { event, object } in watch.next().await? {
            shown.next(object, &event, s)?;
        }
    }
}

/// What a watch has shown so far.
struct Shown<'a> {
    view: View<'a>,
    format: &'a Format,
    is_first: bool,
}

impl Shown<'_> {
    /// What is there at the beginning: the rows as one table, so that its columns fit them all.
    fn list(&mut self, list: Value, s: &mut Session) -> Result<(), Fail> {
        match self.format {
            Format::Table { .. } => self.next(list, "ADDED", s),
            Format::Yaml | Format::Json | Format::Name | Format::JsonPath(..) | Format::Columns(_) => {
                list_items(self.view.kind, list).into_iter().try_for_each(|item| self.next(item, "ADDED", s))
            }
        }
    }

    fn next(&mut self, mut object: Value, event: &str, s: &mut Session) -> Result<(), Fail> {
        let first = std::mem::replace(&mut self.is_first, false);
        let text = match self.format {
            Format::Table { .. } => self.view.print(&as_table(object), Some(event)),
            Format::Yaml | Format::Json | Format::Name | Format::JsonPath(..) | Format::Columns(_) => {
                say_kind(self.view.kind, &mut object);
                let separator = if *self.format == Format::Yaml && !first { "---\n" } else { "" };
                let text = if first { self.format.show(&object)? } else { self.format.show_next(&object)? };
                format!("{separator}{}", text.unwrap_or_default())
            }
        };
        s.out.text(&text)
    }
}

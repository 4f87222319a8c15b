//! `wait`: until objects have a condition or a field's value, exist, or are gone.

use std::time::Duration;

use serde_json::Value;

use crate::model::Kind;

use super::args::WaitArgs;
use super::fail::Fail;
use super::json::{int_at, list_at, plain, text_at};
use super::jsonpath::Template;
use super::patience::Patience;
use super::target::{self, Target, singular};
use super::term::Progress;
use super::{Session, duration, image, watch};

/// What is waited for.
#[derive(Debug, Clone, PartialEq)]
enum Goal {
    /// A condition's type and status; both in any case of letters.
    Condition {
        kind: String,
        status: String,
    },
    /// A field that is there, or has this value.
    Path {
        template: Template,
        value: Option<String>,
    },
    Create,
    Delete,
}

/// One object to wait for.
#[derive(Debug)]
struct Subject {
    kind: Kind,
    namespace: String,
    name: String,
}

/// What kubectl waits when asked to wait for ever.
const A_WEEK: Duration = Duration::from_secs(168 * 3600);

pub async fn run(args: &WaitArgs, s: &mut Session) -> Result<(), Fail> {
    let goal = Goal::parse(&args.until)?;
    let limit = match duration::parse_signed(&args.timeout) {
        Ok((true, _)) => A_WEEK,
        Ok((false, limit)) => limit,
        Err(why) => return Err(Fail::other(format!("invalid --timeout: {why}"))),
    };
    let end = tokio::time::Instant::now() + limit;
    let subjects = subjects(args, s).await?;
    if subjects.is_empty() {
        return if goal == Goal::Delete { Ok(()) } else { Err(Fail::other("no matching resources found")) };
    }
    let mut patience = Patience::default();
    for subject in &subjects {
        // Also with no time left each object is looked at once.
        let left = end.saturating_duration_since(tokio::time::Instant::now()).max(GLANCE);
        let late = || match limit.is_zero() {
            true => Fail::other(format!("condition not met for {}/{}", subject.kind.names().plural, subject.name)),
            false => watch::timed_out(subject.kind, &subject.name),
        };
        match watch::within(Some(left), late, wait_for(subject, &goal, &mut patience, s)).await {
            Ok(true) => s.out.line(&format!("{}/{} condition met", singular(subject.kind), subject.name))?,
            Ok(false) => {}
            Err(fail) if fail.is_final() => return Err(fail),
            Err(fail) => s.report(&fail),
        }
    }
    Ok(())
}

/// Enough to ask the node once.
const GLANCE: Duration = Duration::from_millis(500);

async fn subjects(args: &WaitArgs, s: &Session) -> Result<Vec<Subject>, Fail> {
    let namespace = s.namespace(&args.at);
    match target::parse(&args.what)? {
        Target::Named(named) => {
            let named = image::resolve(named, s).await?;
            Ok(named.into_iter().map(|(kind, name)| Subject { kind, namespace: namespace.clone(), name }).collect())
        }
        Target::Kinds { .. } if !args.all && args.selector.is_none() => {
            Err(Fail::other("resource(s) were provided, but no name was specified"))
        }
        Target::Kinds { kinds, .. } => {
            let mut subjects = Vec::new();
            for kind in kinds {
                let path = target::collection(kind, (!args.all_namespaces).then_some(namespace.as_str()));
                let parameters: Vec<(&str, &str)> =
                    args.selector.iter().map(|l| ("labelSelector", l.as_str())).collect();
                let list = s.client.get(&target::query(&path, &parameters)).await?;
                subjects.extend(list_at(&list, "/items").iter().map(|item| Subject {
                    kind,
                    namespace: text_at(item, "/metadata/namespace").to_string(),
                    name: text_at(item, "/metadata/name").to_string(),
                }));
            }
            Ok(subjects)
        }
    }
}

/// True when it came to be; false where there was nothing to wait for.
async fn wait_for(subject: &Subject, goal: &Goal, patience: &mut Patience, s: &Session) -> Result<bool, Fail> {
    let object = target::object(subject.kind, &subject.namespace, &subject.name);
    if *goal != Goal::Create {
        match patience.ask(|| s.client.find(&object)).await? {
            None if *goal == Goal::Delete => return Ok(false),
            // Asks again only to have the node's own words.
            None => drop(patience.ask(|| s.client.get(&object)).await?),
            Some(_) => {}
        }
    }
    let _progress = Progress::start(format!("waiting for {}/{}: {goal}", singular(subject.kind), subject.name));
    let path = watch::only(&target::collection(subject.kind, Some(&subject.namespace)), &subject.name);
    let met = watch::until_with(patience, &s.client, &path, |seen| match (seen.values().next(), goal) {
        (None, Goal::Delete) | (Some(_), Goal::Create) => Ok(Some(true)),
        (Some(_), Goal::Delete) | (None, Goal::Create) => Ok(None),
        (Some(object), goal) => Ok(goal.is_met(object)?.then_some(true)),
        (None, Goal::Condition { .. } | Goal::Path { .. }) => Ok(Some(false)),
    })
    .await?;
    if !met {
        // It was deleted while we waited; the node says so.
        patience.ask(|| s.client.get(&object)).await?;
    }
    Ok(met)
}

impl Goal {
    /// Source: `kubectl/pkg/cmd/wait/wait.go`, `conditionFuncFor`.
    fn parse(text: &str) -> Result<Goal, Fail> {
        match text.to_ascii_lowercase().as_str() {
            "delete" => return Ok(Goal::Delete),
            "create" => return Ok(Goal::Create),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
            if !kind.is_empty() && !status.is_empty() {
                return Ok(Goal::Condition { kind: kind.into(), status: status.into() });
            }
        }
        if let Some(path) = text.strip_prefix("jsonpath=") {
            return Goal::parse_path(path);
        }
        Err(Fail::other(format!("unrecognized condition: {text:?}")))
    }

    /// `{.status.phase}=Running`, or a path alone. An `=` within the braces belongs to the path.
    fn parse_path(text: &str) -> Result<Goal, Fail> {
        let end = text.rfind('}').map_or(0, |at| at + 1);
        let (path, value) = match text[end..].split_once('=') {
            Some((rest, value)) => (format!("{}{rest}", &text[..end]), Some(value.to_string())),
            None => (text.to_string(), None),
        };
        if value.as_deref() == Some("") {
            return Err(Fail::other("jsonpath wait value must be non-empty"));
        }
        let template = Template::parse_relaxed(&path).map_err(Fail::other)?;
        Ok(Goal::Path { template, value })
    }

    fn is_met(&self, object: &Value) -> Result<bool, Fail> {
        match self {
            Goal::Create => Ok(true),
            Goal::Delete => Ok(false),
            Goal::Condition { kind, status } => Ok(has_condition(object, kind, status)),
            Goal::Path { template, value } => {
                // An index that is not there yet may come to be.
                let found = template.find(object).unwrap_or_default();
                match (found.as_slice(), value) {
                    ([], _) => Ok(false),
                    ([_], None) => Ok(true),
                    ([Value::Object(_) | Value::Array(_)], Some(_)) => {
                        Err(Fail::other("jsonpath leads to a nested object or list which is not supported"))
                    }
                    ([one], Some(value)) => Ok(plain(one) == *value),
                    (_, _) => Err(Fail::other("given jsonpath expression matches more than one value")),
                }
            }
        }
    }
}

/// A condition that was observed of an older generation says nothing of this one.
fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let Some(condition) =
        list_at(object, "/status/conditions").iter().find(|c| text_at(c, "/type").eq_ignore_ascii_case(kind))
    else {
        return false;
    };
    let observed = int_at(condition, "/observedGeneration").or_else(|| int_at(object, "/status/observedGeneration"));
    let is_old = observed.zip(int_at(object, "/metadata/generation")).is_some_and(|(seen, now)| seen < now);
    !is_old && text_at(condition, "/status").eq_ignore_ascii_case(status)
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::Condition { kind, status } => write!(f, "condition {kind}={status}"),
            Goal::Path { value: Some(value), .. } => write!(f, "a field to be {value}"),
            Goal::Path { value: None, .. } => f.write_str("a field"),
            Goal::Create => f.write_str("to exist"),
            Goal::Delete => f.write_str("to be gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(goal: &str, object: &Value, expected: bool) {
        assert_eq!(Goal::parse(goal).unwrap().is_met(object).unwrap(), expected, "{goal}");
    }

    #[test]
    fn goals_are_met_as_in_kubectl() {
        let job = json!({
            "metadata": {"generation": 2, "name": "x"},
            "status": {"observedGeneration": 2, "succeeded": 3, "conditions": [
                {"type": "Complete", "status": "True"}, {"type": "Failed", "status": "False"}]},
        });
        check("condition=complete", &job, true);
        check("condition=Complete=true", &job, true);
        check("condition=Failed", &job, false);
        check("condition=failed=False", &job, true);
        check("condition=Suspended", &job, false);
        check("jsonpath={.status.succeeded}=3", &job, true);
        check("jsonpath=.status.succeeded=3", &job, true);
        check("jsonpath={.status.succeeded}=4", &job, false);
        check("jsonpath={.status.succeeded}", &job, true);
        check("jsonpath={.status.nope}", &job, false);
        check(r#"jsonpath={.status.conditions[?(@.type=="Failed")].status}=False"#, &job, true);
        check("jsonpath={.status.conditions[7].type}", &job, false);
        let old = json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2,
            "conditions": [{"type": "Complete", "status": "True"}]}});
        check("condition=Complete", &old, false);
    }

    #[test]
    fn what_cannot_be_waited_for_is_refused() {
        for text in [
            "",
            "complete",
            "condition=",
            "condition==x",
            "condition=a=",
            "jsonpath=",
            "jsonpath={.a",
            "jsonpath={.a}=",
            "jsonpath={.a[}=1",
        ] {
            assert!(Goal::parse(text).is_err(), "{text}");
        }
        let many = Goal::parse("jsonpath={.a[*]}=1").unwrap().is_met(&json!({"a": [1, 2]}));
        assert!(many.unwrap_err().to_string().contains("more than one value"));
        let nested = Goal::parse("jsonpath={.a}=1").unwrap().is_met(&json!({"a": {}}));
        assert!(nested.is_err());
    }
}

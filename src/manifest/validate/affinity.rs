//! Where a pod may run: node affinity and tolerations; and the taints that those tolerate.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::Cause;

use super::{At, names};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn tolerations(wrong: &mut Vec<Cause>, tolerations: &At<'_>) {
    for toleration in tolerations.items() {
        let (key, operator, value) = (toleration.get("key"), toleration.get("operator"), toleration.get("value"));
        if let Some(text) = key.filled() {
            key.all(wrong, names::qualified(text));
        } else if operator.text() != Some("Exists") {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            wrong.push(operator.invalid_as(&Value::from(operator.text().unwrap_or_default()), detail));
        }
        let effect = toleration.get("effect");
        if !toleration.get("tolerationSeconds").is_absent() && effect.text() != Some("NoExecute") {
            let shown = Value::from(effect.text().unwrap_or_default());
            wrong.push(effect.invalid_as(&shown, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        match operator.text().unwrap_or_default() {
            "" | "Equal" => value.all(wrong, names::label_value(value.text().unwrap_or_default())),
            "Exists" if value.filled().is_some() => {
                wrong.push(operator.invalid_as(value.value, "value must be empty when `operator` is 'Exists'"));
            }
            _ => operator.one_of(wrong, &["Equal", "Exists"]),
        }
        if effect.filled().is_some() {
            effect.one_of(wrong, &EFFECTS);
        }
    }
}

pub(super) fn node(wrong: &mut Vec<Cause>, affinity: &At<'_>) {
    let required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution");
    let terms = required.get("nodeSelectorTerms");
    if !required.is_absent() && terms.count() == 0 {
        wrong.push(terms.required("must have at least one node selector term"));
    }
    terms.items().for_each(|one| term(wrong, &one));
    for preferred in affinity.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        let weight = preferred.get("weight");
        if !(1..=100).contains(&weight.int().unwrap_or(0)) {
            wrong.push(weight.invalid_as(&Value::from(weight.int().unwrap_or(0)), "must be in the range 1-100"));
        }
        term(wrong, &preferred.get("preference"));
    }
}

fn term(wrong: &mut Vec<Cause>, term: &At<'_>) {
    for line in term.get("matchExpressions").items() {
        let key = line.get("key");
        key.all(wrong, names::qualified(key.text().unwrap_or_default()));
        expression(wrong, &line);
    }
    for line in term.get("matchFields").items() {
        let (key, operator, values) = (line.get("key"), line.get("operator"), line.get("values"));
        if key.text() != Some("metadata.name") {
            wrong.push(key.invalid_as(&Value::from(key.text().unwrap_or_default()), "not a valid field selector key"));
        }
        if !matches!(operator.text(), Some("In" | "NotIn")) {
            let shown = Value::from(operator.text().unwrap_or_default());
            wrong.push(operator.invalid_as(&shown, "not a valid selector operator"));
        } else if values.count() != 1 {
            wrong.push(
                values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
            );
        }
    }
}

fn expression(wrong: &mut Vec<Cause>, line: &At<'_>) {
    let (operator, values) = (line.get("operator"), line.get("values"));
    match (operator.text().unwrap_or_default(), values.count()) {
        ("In" | "NotIn", 0) => wrong.push(values.required("must be specified when `operator` is 'In' or 'NotIn'")),
        ("Exists" | "DoesNotExist", 1..) => {
            wrong.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        ("Gt" | "Lt", 0 | 2..) => {
            wrong.push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (other, _) => wrong.push(operator.invalid_as(&Value::from(other), "not a valid selector operator")),
    }
}

/// `spec.taints` of a node.
pub(super) fn taints(wrong: &mut Vec<Cause>, taints: &At<'_>) {
    let mut seen = BTreeSet::new();
    for taint in taints.items() {
        let (key, value, effect) = (taint.get("key"), taint.get("value"), taint.get("effect"));
        key.all(wrong, names::qualified(key.text().unwrap_or_default()));
        value.all(wrong, names::label_value(value.text().unwrap_or_default()));
        match effect.filled() {
            Some(_) => effect.one_of(wrong, &EFFECTS),
            None => wrong.push(effect.required("")),
        }
        if !seen.insert((key.text(), effect.text())) {
            wrong.push(taint.duplicate(taint.value));
        }
    }
}

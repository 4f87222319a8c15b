//! Our tables against Kubernetes' own types: every field we name exists there with that type, and every field that is
//! there is in our tables.

use k8s_openapi::api::{apps, batch, core};
use pinnace::manifest::schema::{self, Field, Schema, Shape, Standing};
use pinnace::model::Kind;
use schemars::JsonSchema;
use serde_json::Value;

/// Ours, in types that are otherwise Kubernetes'.
const OWN: [&str; 1] = ["NodeSpec.drained"];
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

struct Oracle {
    root: Value,
    wrong: Vec<String>,
    compared: usize,
}

#[track_caller]
fn check<T: JsonSchema>(kind: Kind) {
    let root = serde_json::to_value(schemars::schema_for!(T)).unwrap();
    let mut oracle = Oracle { root: root.clone(), wrong: Vec::new(), compared: 0 };
    oracle.compare(schema::of(kind).unwrap(), &root);
    assert!(oracle.wrong.is_empty(), "{kind}:\n{}", oracle.wrong.join("\n"));
    assert!(oracle.compared > 3, "{kind}: only {} fields were compared", oracle.compared);
}

impl Oracle {
    fn compare(&mut self, ours: &Schema, theirs: &Value) {
        let Some(properties) = theirs["properties"].as_object() else {
            return self.wrong.push(format!("{}: no properties in {theirs}", ours.go));
        };
        for name in properties.keys().filter(|name| ours.field(name).is_none()) {
            self.wrong.push(format!("{}.{name} is missing in our table", ours.go));
        }
        for (index, field) in ours.fields.iter().enumerate() {
            if ours.fields[..index].iter().any(|earlier| earlier.name == field.name) {
                self.wrong.push(format!("{}.{} is in our table twice", ours.go, field.name));
            }
            match properties.get(field.name).cloned() {
                Some(their) => self.field(ours, field, &their),
                None if OWN.contains(&format!("{}.{}", ours.go, field.name).as_str()) => {}
                None => self.wrong.push(format!("{}.{} does not exist in Kubernetes", ours.go, field.name)),
            }
        }
    }

    fn field(&mut self, owner: &Schema, field: &Field, their: &Value) {
        self.compared += 1;
        let path = format!("{}.{}", owner.go, field.name);
        let looked_into = !matches!(field.standing, Standing::Refused | Standing::Never | Standing::Dropped);
        assert!(looked_into != matches!(field.shape, Shape::Any), "{path}: only what is not looked into has any shape");
        self.shape(&path, &field.shape, their);
    }

    fn shape(&mut self, path: &str, ours: &Shape, their: &Value) {
        let reference = their["$ref"].as_str().map(|r| r.trim_start_matches("#/$defs/").to_string());
        let (kind, format) = (their["type"].as_str().unwrap_or_default(), their["format"].as_str().unwrap_or_default());
        let fits = match ours {
            Shape::Any => true,
            Shape::Text => kind == "string" && format.is_empty(),
            Shape::Bool => kind == "boolean",
            Shape::Int32 => kind == "integer" && format == "int32",
            Shape::Int64 => kind == "integer" && format == "int64",
            Shape::Bytes => kind == "string" && format == "byte",
            Shape::IntOrText => reference.as_deref() == Some(INT_OR_STRING),
            Shape::Amount => reference.as_deref() == Some(QUANTITY),
            Shape::List(of) => {
                self.shape(path, of, &their["items"]);
                kind == "array"
            }
            Shape::Map(of) => {
                self.shape(path, of, &their["additionalProperties"]);
                kind == "object"
            }
            Shape::Object(schema) => {
                let name = reference.clone().unwrap_or_default();
                let target = self.root["$defs"][&name].clone();
                self.compare(schema, &target);
                name.ends_with(&format!(".{}", schema.go))
            }
        };
        if !fits {
            self.wrong.push(format!("{path}: {ours:?} here, {their} there"));
        }
    }
}

#[test]
fn the_tables_are_kubernetes_types_and_complete() {
    check::<core::v1::Pod>(Kind::Pod);
    check::<batch::v1::Job>(Kind::Job);
    check::<batch::v1::CronJob>(Kind::CronJob);
    check::<apps::v1::DaemonSet>(Kind::DaemonSet);
    check::<core::v1::ConfigMap>(Kind::ConfigMap);
    check::<core::v1::Secret>(Kind::Secret);
    check::<core::v1::Node>(Kind::Node);
    check::<core::v1::Namespace>(Kind::Namespace);
}

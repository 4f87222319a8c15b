//! kubectl's dialect of JSONPath: text with `{expressions}` in it. Source: `client-go/util/jsonpath`.

mod eval;
mod parse;

use serde_json::Value;

pub use parse::ParseError;

/// A template that was read and can be filled in any number of times.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<Node>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// Text outside of braces, or quoted within.
    Text(String),
    /// One `{…}`: what its parts find, one after another.
    Path(Vec<Step>),
    /// `{range PATH}…{end}`.
    Range { over: Vec<Step>, body: Vec<Node> },
}

/// One step from values to values.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `.name`, `['name']`; an empty one stays where it is.
    Field(String),
    /// `.*`, `[*]`.
    All,
    /// `..`: the value and all that is below it.
    Deep,
    /// `$`.
    Root,
    /// `[2]`, `[1:3]`, `[-1:]`, `[0:5:2]`.
    Slice(Slice),
    /// `[0,2]`, `['a','b']`.
    Union(Vec<Vec<Step>>),
    /// `[?(@.a == "b")]`.
    Filter { left: Vec<Step>, op: Op, right: Vec<Step> },
    /// A constant: quoted text, a number, true or false.
    Constant(Value),
}

/// An index has only `start`, and must exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    step: Option<i64>,
    is_index: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Exists,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
}

impl Template {
    /// # Errors
    /// Where the text is no template, in kubectl's words.
    pub fn parse(text: &str) -> Result<Template, ParseError> {
        Ok(Template { nodes: parse::template(text)? })
    }

    /// As `parse`, of one expression that may come without braces or without its first dot: `x.y`, `.x.y`, `{x.y}`.
    /// Source: `kubectl/pkg/cmd/get/customcolumn.go`, `RelaxedJSONPathExpression`.
    ///
    /// # Errors
    /// As `parse`.
    pub fn parse_relaxed(text: &str) -> Result<Template, ParseError> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        if inner.contains(['{', '}']) || inner.is_empty() {
            return Err(format!(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}': {text:?}"
            ));
        }
        let dot = if inner.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Template::parse(&format!("{{{dot}{inner}}}"))
    }

    /// The text with everything filled in. A field that is missing gives nothing.
    ///
    /// # Errors
    /// An index beyond its list, or a comparison of things that cannot be compared.
    pub fn render(&self, value: &Value) -> Result<String, String> {
        eval::render(&self.nodes, value)
    }

    /// What all the expressions find, in order.
    ///
    /// # Errors
    /// As `render`.
    pub fn find(&self, value: &Value) -> Result<Vec<Value>, String> {
        eval::find(&self.nodes, value)
    }
}

#[cfg(test)]
mod tests;

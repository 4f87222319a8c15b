//! Reads a template into nodes. Knows no values.

use serde_json::Value;

use super::{Node, Op, Slice, Step};

pub type ParseError = String;

/// How deep filters may stand within filters and ranges within ranges; nobody needs more, and the stack is finite.
const DEPTH_MAX: usize = 16;

/// Where the reader is in the text.
struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

/// What stood between two braces.
enum Action {
    Range(Vec<Step>),
    End,
    Path(Vec<Step>),
}

/// # Errors
/// Where the text is no template.
pub fn template(text: &str) -> Result<Vec<Node>, ParseError> {
    let mut reader = Reader { rest: text, depth: 0 };
    // A range is open while its body is being read; the first entry is the template itself.
    let mut open: Vec<(Vec<Step>, Vec<Node>)> = vec![(Vec::new(), Vec::new())];
    while !reader.rest.is_empty() {
        let node = match reader.action_or_text()? {
            Ok(Action::Range(_)) if open.len() > DEPTH_MAX => return Err("ranges are nested too deep".into()),
            Ok(Action::Range(over)) => {
                open.push((over, Vec::new()));
                continue;
            }
            Ok(Action::End) => match open.pop() {
                Some((over, body)) if !open.is_empty() => Node::Range { over, body },
                Some(_) | None => return Err("not in range, nothing to end".into()),
            },
            Ok(Action::Path(steps)) => Node::Path(steps),
            Err(text) => Node::Text(text),
        };
        if let Some((_, nodes)) = open.last_mut() {
            nodes.push(node);
        }
    }
    // As in kubectl, a range that is still open ends with the template.
    while let Some((over, body)) = open.pop() {
        match open.last_mut() {
            Some((_, nodes)) => nodes.push(Node::Range { over, body }),
            None => return Ok(body),
        }
    }
    Ok(Vec::new())
}

impl Reader<'_> {
    /// The next piece; text comes as the inner error.
    fn action_or_text(&mut self) -> Result<Result<Action, String>, ParseError> {
        if !self.eat("{") {
            let end = self.rest.find('{').unwrap_or(self.rest.len());
            return Ok(Err(self.take(end).to_string()));
        }
        self.spaces();
        let word = self.word();
        if word == "range" {
            self.take("range".len());
            return Ok(Ok(Action::Range(self.steps_to_brace()?)));
        }
        if word == "end" {
            self.take("end".len());
            self.spaces();
            return if self.eat("}") { Ok(Ok(Action::End)) } else { Err("unclosed action".into()) };
        }
        Ok(Ok(Action::Path(self.steps_to_brace()?)))
    }

    fn steps_to_brace(&mut self) -> Result<Vec<Step>, ParseError> {
        let steps = self.steps(&['}'])?;
        if self.eat("}") { Ok(steps) } else { Err("unclosed action".into()) }
    }

    /// Steps up to one of the stops (which is left), or to the end of the text.
    fn steps(&mut self, stops: &[char]) -> Result<Vec<Step>, ParseError> {
        let mut steps = Vec::new();
        loop {
            self.spaces();
            match self.peek() {
                None => return Ok(steps),
                Some(c) if stops.contains(&c) => return Ok(steps),
                Some(c) => self.step(c, &mut steps)?,
            }
        }
    }

    fn step(&mut self, c: char, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        match c {
            '@' => {
                self.take(1);
            }
            '$' => {
                self.take(1);
                steps.push(Step::Root);
            }
            '.' if self.eat("..") => {
                steps.push(Step::Deep);
                self.field_after_dot(steps);
            }
            '.' => {
                self.take(1);
                self.field_after_dot(steps);
            }
            '*' => {
                self.take(1);
                steps.push(Step::All);
            }
            '[' => self.bracket(steps)?,
            '"' | '\'' => steps.push(Step::Constant(Value::String(self.quoted()?))),
            '+' | '-' | '0'..='9' => steps.push(Step::Constant(self.number()?)),
            c if c.is_alphabetic() || c == '_' => self.identifier(steps)?,
            c => return Err(format!("unrecognized character in action: {c:?}")),
        }
        Ok(())
    }

    /// A bare word is true or false; in a filter's operand kubectl takes nothing else either.
    fn identifier(&mut self, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        let word = self.word();
        self.take(word.len());
        match word.as_str() {
            "true" => steps.push(Step::Constant(Value::Bool(true))),
            "false" => steps.push(Step::Constant(Value::Bool(false))),
            other => return Err(format!("unrecognized identifier {other}")),
        }
        Ok(())
    }

    /// The name behind a dot, where a backslash takes the next character's meaning away.
    fn field_after_dot(&mut self, steps: &mut Vec<Step>) {
        if self.eat("*") {
            steps.push(Step::All);
            return;
        }
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c == '\\' {
                self.take(1);
                let Some(escaped) = self.peek() else { break };
                name.push(escaped);
                self.take(escaped.len_utf8());
            } else if c.is_whitespace()
                || matches!(c, '.' | '[' | ']' | '}' | ')' | '(' | ',' | '=' | '!' | '<' | '>' | '@' | '$' | '|')
            {
                break;
            } else {
                name.push(c);
                self.take(c.len_utf8());
            }
        }
        if !name.is_empty() {
            steps.push(Step::Field(name));
        }
    }

    fn bracket(&mut self, steps: &mut Vec<Step>) -> Result<(), ParseError> {
        self.take(1);
        self.spaces();
        let mut choices = if self.eat("?(") { vec![vec![self.filter()?]] } else { self.choices()? };
        self.spaces();
        if !self.eat("]") {
            return Err("unterminated array".into());
        }
        match choices.len() {
            1 => steps.append(&mut choices[0]),
            _ => steps.push(Step::Union(choices)),
        }
        Ok(())
    }

    /// What stands in brackets, apart from a filter: one choice, or several with commas between.
    fn choices(&mut self) -> Result<Vec<Vec<Step>>, ParseError> {
        let mut choices = vec![self.choice()?];
        self.spaces();
        while self.eat(",") {
            choices.push(self.choice()?);
            self.spaces();
        }
        Ok(choices)
    }

    fn choice(&mut self) -> Result<Vec<Step>, ParseError> {
        self.spaces();
        match self.peek() {
            Some('*') => {
                self.take(1);
                Ok(vec![Step::All])
            }
            Some(quote @ ('"' | '\'')) => self.quoted_path(quote),
            Some('-' | '+' | ':' | '0'..='9') => Ok(vec![Step::Slice(self.slice()?)]),
            Some(_) => {
                let end = self.rest.find(']').unwrap_or(self.rest.len());
                Err(format!("invalid array index {}", self.take(end)))
            }
            None => Err("unterminated array".into()),
        }
    }

    /// What is quoted in brackets is a path without its first dot: `['metadata.name']`, `['a\.b']`.
    fn quoted_path(&mut self, quote: char) -> Result<Vec<Step>, ParseError> {
        self.take(1);
        let end = self.rest.find(quote).ok_or("unterminated quoted string")?;
        let path = self.take(end);
        self.take(1);
        let mut steps = Vec::new();
        let mut inner = Reader { rest: path, depth: self.depth };
        inner.field_after_dot(&mut steps);
        while inner.eat(".") {
            inner.field_after_dot(&mut steps);
        }
        match inner.rest {
            "" => Ok(steps),
            rest => Err(format!("invalid array index {rest}")),
        }
    }

    fn slice(&mut self) -> Result<Slice, ParseError> {
        let end = self.rest.find(|c: char| !matches!(c, '-' | '+' | ':' | '0'..='9' | ' ')).unwrap_or(self.rest.len());
        let text = self.take(end).trim();
        let bad = || format!("invalid array index {text}");
        let mut bounds = [None; 3];
        let parts: Vec<&str> = text.split(':').map(str::trim).collect();
        if parts.len() > 3 {
            return Err(bad());
        }
        for (bound, part) in bounds.iter_mut().zip(&parts) {
            *bound = if part.is_empty() { None } else { Some(part.parse().map_err(|_| bad())?) };
        }
        Ok(Slice { start: bounds[0], end: bounds[1], step: bounds[2], is_index: parts.len() == 1 })
    }

    fn filter(&mut self) -> Result<Step, ParseError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("filters are nested too deep".into());
        }
        let left = self.steps(&[')', ']', '=', '!', '<', '>'])?;
        let op = self.operator()?;
        let right = if op == Op::Exists { Vec::new() } else { self.steps(&[')', ']'])? };
        if !self.eat(")") {
            return Err("unterminated filter".into());
        }
        if left.is_empty() && right.is_empty() && op != Op::Exists {
            return Err("empty filter".into());
        }
        self.depth -= 1;
        Ok(Step::Filter { left, op, right })
    }

    fn operator(&mut self) -> Result<Op, ParseError> {
        const OPERATORS: [(&str, Op); 7] = [
            ("==", Op::Equal),
            ("!=", Op::NotEqual),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("<", Op::Less),
            (">", Op::Greater),
            ("=", Op::Equal),
        ];
        if matches!(self.peek(), Some(')' | ']') | None) {
            return Ok(Op::Exists);
        }
        let found = OPERATORS.into_iter().find(|(text, _)| self.eat(text));
        found.map(|(_, op)| op).ok_or_else(|| "unrecognized operator in filter".into())
    }

    /// Quoted text; a backslash makes a quote plain, and \n, \t and \\ what they are in Go.
    fn quoted(&mut self) -> Result<String, ParseError> {
        let quote = self.peek().ok_or("unterminated quoted string")?;
        self.take(quote.len_utf8());
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.take(c.len_utf8());
            match c {
                c if c == quote => return Ok(text),
                '\\' => {
                    let escaped = self.peek().ok_or("unterminated quoted string")?;
                    self.take(escaped.len_utf8());
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                }
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".into())
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let end =
            self.rest.find(|c: char| !matches!(c, '-' | '+' | '.' | '0'..='9' | 'e' | 'E')).unwrap_or(self.rest.len());
        let text = self.take(end);
        let text = text.strip_prefix('+').unwrap_or(text);
        let integer = text.parse::<i64>().ok().map(Value::from);
        integer
            .or_else(|| text.parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from))
            .ok_or_else(|| format!("cannot parse number {text}"))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn word(&self) -> String {
        self.rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

impl<'t> Reader<'t> {
    /// The next `bytes` bytes, which must end between two characters.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

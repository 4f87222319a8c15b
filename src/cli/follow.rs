//! A log that is followed also while the node is restarted: after the last line that was had it goes on, with none twice
//! and none left out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

use super::client::{Client, Stream};
use super::fail::Fail;
use super::patience::Patience;
use super::target::query;

/// The answer's word for which start of the container it tells of; a later question names it.
const ATTEMPT: &str = "pinnace-attempt";

/// One container's log, as it grows.
pub struct Follow {
    client: Client,
    path: String,
    parameters: Vec<(&'static str, String)>,
    /// Lines are to begin with their time. They are asked for with it in any case: it is the place to go on from.
    timestamps: bool,
    /// A bound in bytes is the node's to count, and then it cannot go on.
    may_go_on: bool,
    stream: Stream,
    attempt: Option<String>,
    last: Option<Last>,
    /// Where it goes on that has had no line, though the lines wanted were those from its own beginning on.
    since: Option<Timestamp>,
    patience: Patience,
}

/// How far it has come: lines can be of the same time.
struct Last {
    time: Vec<u8>,
    lines: u64,
}

impl Follow {
    /// `path` names the container; `parameters` are those of the question.
    ///
    /// # Errors
    /// The node's refusal.
    pub async fn begin(
        client: Client,
        path: String,
        mut parameters: Vec<(&'static str, String)>,
    ) -> Result<Follow, Fail> {
        let has = |name: &str| parameters.iter().any(|(key, _)| *key == name);
        let (timestamps, may_go_on) = (has("timestamps"), !has("limitBytes"));
        if may_go_on && !timestamps {
            parameters.push(("timestamps", "true".into()));
        }
        let since = beginning(&parameters, now());
        let stream = client.stream(&with(&path, &parameters), "*/*").await?;
        let attempt = stream.header(ATTEMPT).map(String::from);
        let patience = Patience::with_a_node();
        Ok(Follow { client, path, parameters, timestamps, may_go_on, stream, attempt, last: None, since, patience })
    }

    /// The next line. `Ok(None)` at the end of the log.
    ///
    /// # Errors
    /// The node does not come back, or refuses.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, Fail> {
        loop {
            match self.stream.line().await {
                Ok(Some(line)) if self.may_go_on => return Ok(Some(self.note(line))),
                Err(fail) if self.may_go_on && fail.may_pass() => self.go_on(fail).await?,
                other => return other,
            }
        }
    }

    /// Remembers where it is, and gives the line as it was asked for.
    fn note(&mut self, mut line: Vec<u8>) -> Vec<u8> {
        let Some(end) = line.iter().position(|b| *b == b' ') else { return line };
        let time = &line[..end];
        match &mut self.last {
            Some(last) if last.time == time => last.lines += 1,
            last => *last = Some(Last { time: time.to_vec(), lines: 1 }),
        }
        if !self.timestamps {
            line.drain(..=end);
        }
        line
    }

    async fn go_on(&mut self, broken: Fail) -> Result<(), Fail> {
        self.patience.bear(broken).await?;
        let mut parameters = self.parameters.clone();
        if let Some(attempt) = &self.attempt {
            parameters.push(("attempt", attempt.clone()));
        }
        // Where it began is not where it goes on.
        if self.last.is_some() || self.since.is_some() {
            parameters.retain(|(key, _)| !["tailLines", "sinceSeconds", "sinceTime"].contains(key));
        }
        if let (None, Some(since)) = (&self.last, self.since) {
            parameters.push(("sinceTime", since.to_string()));
        }
        if let Some(last) = &self.last {
            parameters.push(("afterTime", String::from_utf8_lossy(&last.time).into_owned()));
            parameters.push(("afterLines", last.lines.to_string()));
        }
        let path = with(&self.path, &parameters);
        let client = &self.client;
        self.stream = self.patience.ask(|| client.stream(&path, "*/*")).await?;
        Ok(())
    }
}

/// The time from which on lines are wanted, where the question tells it by the time at which it is asked.
fn beginning(parameters: &[(&'static str, String)], now: Timestamp) -> Option<Timestamp> {
    let number = |name| parameters.iter().find(|(key, _)| *key == name)?.1.parse::<u64>().ok();
    let seconds = number("sinceSeconds").or(number("tailLines").filter(|lines| *lines == 0))?;
    Some(now.minus(Duration::from_secs(seconds)))
}

fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub fn with(path: &str, parameters: &[(&'static str, String)]) -> String {
    parameters.iter().fold(path.to_string(), |path, (key, value)| query(&path, &[(key, value)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_from_now_on_are_those_after_the_first_question() {
        let now = Timestamp::from_secs(1000);
        let check = |name, value: &str, expected: Option<i64>| {
            let found = beginning(&[("follow", "true".into()), (name, value.into())], now);
            assert_eq!(found, expected.map(Timestamp::from_secs), "{name}={value}");
        };
        check("tailLines", "0", Some(1000));
        check("tailLines", "10", None);
        check("sinceSeconds", "60", Some(940));
        check("sinceTime", "2026-01-01T00:00:00Z", None);
    }
}

//! What a verb that waits does while the node is being restarted or updated, which is ordinary: it asks again, for a while.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fail::Fail;
use super::term::say;

/// So long nobody may answer.
const GONE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Borne is only the absence of a node that has answered before: where none runs, a person hears of it at once.
#[derive(Debug, Default)]
pub struct Patience {
    has_answered: bool,
    gone_since: Option<Instant>,
}

impl Patience {
    /// With a node that has answered just now.
    pub fn with_a_node() -> Patience {
        Patience { has_answered: true, gone_since: None }
    }

    /// Asks until there is an answer. Only for what may be asked twice.
    ///
    /// # Errors
    /// The node's refusal, or that it is gone for good.
    pub async fn ask<T, F>(&mut self, ask: impl Fn() -> F) -> Result<T, Fail>
    where
        F: Future<Output = Result<T, Fail>>,
    {
        loop {
            match ask().await {
                Err(fail) if fail.may_pass() => self.bear(fail).await?,
                answer => {
                    *self = Patience::with_a_node();
                    return answer;
                }
            }
        }
    }

    /// Waits a little where the node may come back.
    ///
    /// # Errors
    /// This very failure, when it will not pass or has been borne long enough.
    pub async fn bear(&mut self, fail: Fail) -> Result<(), Fail> {
        let is_news = self.gone_since.is_none();
        if !self.bears(&fail, Instant::now()) {
            return Err(fail);
        }
        if is_news && std::io::stderr().is_terminal() {
            // A line of progress may stand there.
            say(&format!("\r\x1b[Kthe node does not answer; it is asked again for up to {GONE_MAX:?}"));
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn bears(&mut self, fail: &Fail, now: Instant) -> bool {
        // Whose connection broke was there.
        self.has_answered |= matches!(fail, Fail::Broken(_));
        let may_come_back = self.has_answered && fail.may_pass();
        may_come_back && now - *self.gone_since.get_or_insert(now) < GONE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_node_that_was_there_is_waited_for_and_no_other() {
        let gone = Fail::Unreachable { socket: "s".into(), why: io::ErrorKind::NotFound.into() };
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!Patience::default().bears(&gone, now), "nobody has ever answered");
        assert!(Patience::default().bears(&Fail::Broken("x".into()), now), "one was there just now");
        let mut patience = Patience::with_a_node();
        assert!(patience.bears(&gone, now) && patience.bears(&gone, now + GONE_MAX - second));
        assert!(!patience.bears(&gone, now + GONE_MAX), "it does not come back");
        for (fail, passes) in [
            (Fail::Broken("x".into()), true),
            (Fail::other("no"), false),
            (Fail::Unreachable { socket: "s".into(), why: io::ErrorKind::PermissionDenied.into() }, false),
        ] {
            assert_eq!(Patience::with_a_node().bears(&fail, now), passes, "{fail}");
        }
    }
}

//! Which part of the fleet's topics has a message that is too large to be read: over MQTT 3.1.1 it ends each session, before
//! its topic is known. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So long must a session hold to tell that the message is gone.
const HOLDS_FOR: Duration = Duration::from_secs(60);

/// Filters below which messages may not be heard, for whoever asks the link.
#[derive(Debug, Default)]
pub struct Unheard {
    filters: Vec<String>,
    /// When the present session came up.
    session: Option<Instant>,
}

impl Unheard {
    pub fn at(&self, now: Instant) -> &[String] {
        let holds = self.session.is_some_and(|since| now - since >= HOLDS_FOR);
        if holds { &[] } else { &self.filters }
    }

    pub fn connected(&mut self, now: Instant) {
        self.session = Some(now);
    }

    /// The session has ended; `suspects` where a message that is too large has ended it.
    pub fn ended(&mut self, now: Instant, suspects: Option<&[String]>) {
        let before = self.at(now).to_vec();
        self.filters = suspects.map_or(before, <[String]>::to_vec);
        self.session = None;
    }

    /// A message came.
    pub fn heard(&mut self, topic: &str) {
        let place = topic.rsplit_once('/').map_or("", |(place, _)| place);
        self.filters.retain(|filter| filter.strip_suffix("/+") != Some(place));
    }
}

/// Filters in the order in which a session subscribes them, and what sessions so far say of them.
#[derive(Debug, Default)]
pub struct Suspects {
    filters: Vec<String>,
    /// Of these the broker has answered for so many in this session.
    granted: usize,
    /// Those that each session that was ended in this way had been granted.
    suspects: Vec<String>,
}

impl Suspects {
    pub fn connected(&mut self, filters: &[String]) {
        self.filters = filters.to_vec();
        self.granted = 0;
    }

    pub fn granted(&mut self) {
        self.granted += 1;
    }

    /// After `blame`.
    pub fn places(&self) -> &[String] {
        &self.suspects
    }

    /// The session was ended by a message of more than `bytes_max`: what a person can do about it. A broker sends what is
    /// below a filter only after it has answered for it.
    pub fn blame(&mut self, bytes_max: usize) -> String {
        let heard = &self.filters[..self.granted.min(self.filters.len())];
        self.suspects.retain(|filter| heard.contains(filter));
        if self.suspects.is_empty() {
            self.suspects = heard.to_vec();
        }
        let places = self.suspects.join(" or ");
        let first = self.suspects.first().map(String::as_str).unwrap_or("TOPIC");
        format!(
            "a retained message below {places} is larger than the {bytes_max} bytes that this node reads, and ends each session: \
             others there may not be heard. Find it (mosquitto_sub -F '%t %l' -t '{first}'), and publish a smaller one in its \
             place or take it away (mosquitto_pub -r -n -t ITS_TOPIC); or raise mqtt.set_bytes_max"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_unheard_until_it_is_heard_or_a_session_holds() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let places = ["f/d/all/+".to_string(), "f/d/node/n/+".to_string()];
        let mut unheard = Unheard::default();
        unheard.connected(start);
        unheard.ended(start + second, Some(&places));
        assert_eq!(unheard.at(start + second), places);
        unheard.connected(start + second);
        unheard.heard("f/d/all/x");
        unheard.heard("f/d/node/x");
        assert_eq!(unheard.at(start + 2 * second), &places[1..]);
        unheard.ended(start + 3 * second, None);
        assert_eq!(unheard.at(start + 3 * second), &places[1..], "the network broke, no more is known");
        unheard.connected(start + 4 * second);
        assert!(unheard.at(start + 4 * second + HOLDS_FOR).is_empty());
        unheard.ended(start + 5 * second + HOLDS_FOR, None);
        assert!(unheard.at(start + 5 * second + HOLDS_FOR).is_empty());
    }

    #[test]
    fn the_sessions_together_tell_the_place() {
        let mut suspects = Suspects::default();
        let mut session = |filters: &[&str], granted: usize, expected: &str| {
            suspects.connected(&filters.iter().map(|f| (*f).to_string()).collect::<Vec<_>>());
            (0..granted).for_each(|_| suspects.granted());
            let told = suspects.blame(100);
            assert!(told.contains(&format!("below {expected} is larger than the 100 bytes")), "{told}");
        };
        session(&["a", "b", "c"], 3, "a or b or c");
        session(&["b", "c", "a"], 3, "a or b or c");
        session(&["c", "a", "b"], 2, "a or c");
        session(&["a", "b", "c"], 1, "a");
        session(&["b", "c", "a"], 3, "a");
        // That one was taken away, and there is another.
        session(&["c", "a", "b"], 1, "c");
        session(&["a"], 9, "a");
    }
}

//! Two clocks. Schedules read the wall clock, which may be wrong or be set; delays count in boot time, which only goes
//! forward and includes suspend (`CLOCK_BOOTTIME`). A `Moment` remembers both, so that an age can be told after a
//! reboot as well.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BootId;

/// Wall clock time in milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// What the clocks say at one step. The core is told the time; it never reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    /// False while the wall clock is known to be wrong: no RTC, 1970, earlier than a time the store has seen.
    pub wall_trusted: bool,
    /// Time since the kernel started, suspend included.
    pub uptime: Duration,
    pub boot: BootId,
}

/// One instant on both clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub wall: Timestamp,
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub up_ms: u64,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub wall_trusted: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp(0);

    pub fn from_millis(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    pub const fn from_secs(s: i64) -> Timestamp {
        Timestamp(s.saturating_mul(1000))
    }

    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn plus(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    pub fn minus(self, d: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Kubernetes' form, whole seconds: `2026-01-01T00:15:00Z`.
    pub fn rfc3339(self) -> String {
        self.to_jiff(true).to_string()
    }

    /// Kubernetes' MicroTime form: `2026-01-01T00:15:00.000000Z`.
    pub fn rfc3339_micro(self) -> String {
        format!("{:.6}", self.to_jiff(false))
    }

    /// Accepts any RFC 3339 instant; fractions below a millisecond are cut.
    pub fn parse(text: &str) -> Result<Timestamp, String> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| {
            format!("{text:?} is not an RFC 3339 time, such as 2026-01-31T09:30:00Z, before the year 9999 ends")
        })?;
        Ok(Timestamp(parsed.as_millisecond()))
    }

    fn to_jiff(self, whole_seconds: bool) -> jiff::Timestamp {
        // jiff's range is the years -9999 to 9999; a wilder clock is shown as the nearest end.
        let ms = self.0.clamp(jiff::Timestamp::MIN.as_millisecond() + 1, jiff::Timestamp::MAX.as_millisecond() - 1000);
        let ms = if whole_seconds { ms.div_euclid(1000) * 1000 } else { ms };
        jiff::Timestamp::from_millisecond(ms).expect("clamped to jiff's range above")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.to_jiff(false))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Timestamp::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Now {
    pub fn moment(&self) -> Moment {
        Moment {
            wall: self.wall,
            boot: self.boot.clone(),
            up_ms: u64::try_from(self.uptime.as_millis()).unwrap_or(u64::MAX),
            wall_trusted: self.wall_trusted,
        }
    }

    /// How long ago `then` was. Within one boot this is exact whatever happened to the wall clock. Across a boot it is
    /// the wall clocks' difference where both may be trusted, and never less than the time since this boot.
    pub fn since(&self, then: &Moment) -> Duration {
        if then.boot == self.boot {
            return self.uptime.saturating_sub(Duration::from_millis(then.up_ms));
        }
        if self.wall_trusted && then.wall_trusted { self.wall.since(then.wall).max(self.uptime) } else { self.uptime }
    }

    /// Puts moments in their order, as well as it can be told: exact within this boot, which is later than every other;
    /// by the wall clock among those before it.
    pub fn order(&self, then: &Moment) -> impl Ord + Copy + use<> {
        let this_boot = then.boot == self.boot;
        (this_boot, if this_boot { Timestamp::EPOCH } else { then.wall }, then.up_ms)
    }

    /// The uptime at which `delay` after `then` has passed; now at the latest when it has already.
    pub fn uptime_when(&self, then: &Moment, delay: Duration) -> Duration {
        self.uptime + delay.saturating_sub(self.since(then))
    }
}

impl Moment {
    /// This moment moved by `d`; used for deadlines that are stored.
    pub fn plus(&self, d: Duration) -> Moment {
        let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Moment { wall: self.wall.plus(d), up_ms: self.up_ms.saturating_add(ms), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall_s: i64, up_s: u64, boot: &str, trusted: bool) -> Now {
        Now {
            wall: Timestamp::from_secs(wall_s),
            wall_trusted: trusted,
            uptime: Duration::from_secs(up_s),
            boot: BootId::new(boot),
        }
    }

    #[test]
    fn an_age_ignores_the_wall_clock_within_a_boot_and_uses_it_across_boots() {
        let then = now(1000, 50, "a", true).moment();
        assert_eq!(now(9_999_999, 60, "a", true).since(&then), Duration::from_secs(10));
        assert_eq!(now(0, 60, "a", true).since(&then), Duration::from_secs(10));
        assert_eq!(now(1100, 20, "b", true).since(&then), Duration::from_secs(100));
        assert_eq!(now(5, 20, "b", false).since(&then), Duration::from_secs(20));
    }

    #[test]
    fn a_timestamp_reads_what_it_writes() {
        let t = Timestamp::parse("2026-01-01T00:15:00.123456Z").unwrap();
        assert_eq!(t.rfc3339(), "2026-01-01T00:15:00Z");
        assert_eq!(t.rfc3339_micro(), "2026-01-01T00:15:00.123000Z");
        let text = serde_json::to_string(&t).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), t);
        for wild in [i64::MIN, i64::MAX] {
            Timestamp::from_millis(wild).rfc3339();
        }
    }
}

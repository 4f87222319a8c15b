//! The only reader of the clocks: wall clock, time since boot, which boot it is, and the notice that the wall clock was
//! set. Knows nothing that is due.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{self, TimerFd, TimerFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use crate::model::{BootId, Now, Timestamp, Wake};

/// This program did not exist before 2026-01-01: a clock that shows less was never set.
const EARLIEST: Timestamp = Timestamp::from_secs(1_767_225_600);

/// Where the init system has its own age from. One that finds a clock that shows less sets it to that. Source: systemd(1),
/// "/usr/lib/clock-epoch"; without that file it takes the time of its build, which packages give to its program too.
const INIT_FILES: [&str; 2] = ["/usr/lib/clock-epoch", "/usr/lib/systemd/systemd"];

/// It does so this long after power-on at the latest.
const INIT_LATEST_MS: i64 = 120_000;

/// Reads the clocks of one boot.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: BootId,
    /// What a clock that was never set may be put to when the machine starts.
    init_ages: Vec<Timestamp>,
}

impl Clock {
    /// # Errors
    /// `/proc` is not mounted.
    pub fn open() -> io::Result<Clock> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot = fs::read_to_string(path);
        let boot = boot.map_err(|e| io::Error::new(e.kind(), format!("read {path}: {e}; is /proc mounted?")))?;
        let init_ages = INIT_FILES.iter().filter_map(|file| Some(timestamp(fs::metadata(file).ok()?.modified().ok()?)));
        Ok(Clock { boot: BootId::new(boot.trim()), init_ages: init_ages.collect() })
    }

    /// `floor` is the latest wall time that is known to have been: a clock that shows less is not to be trusted.
    pub fn now(&self, floor: Option<Timestamp>) -> Now {
        let (wall, uptime) = (timestamp(SystemTime::now()), uptime());
        let wall_trusted =
            is_trusted(wall, floor) && !self.init_ages.iter().any(|age| is_from_init(wall, uptime, *age));
        Now { wall, wall_trusted, uptime, boot: self.boot.clone() }
    }
}

fn is_trusted(wall: Timestamp, floor: Option<Timestamp>) -> bool {
    wall >= EARLIEST && floor.is_none_or(|floor| wall >= floor)
}

/// The clock runs on from where the init system put it: so it shows that the machine started just before its init was
/// built.
fn is_from_init(wall: Timestamp, uptime: Duration, init_age: Timestamp) -> bool {
    let started = wall.as_millis().saturating_sub(millis(uptime));
    // The file's time has no fractions of a second.
    (-1000..=INIT_LATEST_MS).contains(&init_age.as_millis().saturating_sub(started))
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since_epoch.map_or_else(|before| -millis(before.duration()), millis))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn uptime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("this clock exists since Linux 2.6.39").into()
}

/// Why an alarm rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rang {
    /// One of the two deadlines has come.
    Due,
    /// The wall clock has jumped: what is due on it must be found anew.
    ClockSet,
}

/// One deadline on each clock, kept by the kernel: nothing wakes up in between.
#[derive(Debug)]
pub struct Alarm {
    uptime: AsyncFd<Timer>,
    wall: AsyncFd<Timer>,
    /// The kernel told of a jump while the alarm was being set.
    clock_set: AtomicBool,
}

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// To be called inside tokio. Tells of jumps of the wall clock from the first `set` on.
    pub fn new() -> io::Result<Alarm> {
        Ok(Alarm {
            uptime: timer(timerfd::ClockId::CLOCK_BOOTTIME)?,
            wall: timer(timerfd::ClockId::CLOCK_REALTIME)?,
            clock_set: AtomicBool::new(false),
        })
    }

    /// Replaces both deadlines. One that has passed already rings at once.
    pub fn set(&self, wake: Wake) -> io::Result<()> {
        let absolute = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        let uptime = &self.uptime.get_ref().0;
        match wake.uptime {
            Some(deadline) => uptime.set(Expiration::OneShot(in_range(deadline)), absolute)?,
            None => uptime.unset()?,
        }
        // Only a timer that runs is told of jumps.
        let deadline = wake.wall.map_or(FAR, |deadline| deadline.since(Timestamp::EPOCH));
        let deadline = Expiration::OneShot(in_range(deadline));
        match self.wall.get_ref().0.set(deadline, absolute | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET) {
            // It is set all the same; that the clock has jumped is told once only, so it must be kept.
            Err(Errno::ECANCELED) => self.clock_set.store(true, Ordering::Relaxed),
            result => result?,
        }
        Ok(())
    }

    /// Waits for a deadline or a jump of the wall clock. Dropping the future loses neither.
    pub async fn rang(&self) -> io::Result<Rang> {
        if self.clock_set.swap(false, Ordering::Relaxed) {
            return Ok(Rang::ClockSet);
        }
        tokio::select! {
            rang = ring(&self.uptime) => rang,
            rang = ring(&self.wall) => rang,
        }
    }
}

/// The year 2200: the deadline of an alarm without one.
const FAR: Duration = Duration::from_secs(7_258_118_400);

fn timer(clock: timerfd::ClockId) -> io::Result<AsyncFd<Timer>> {
    let timer = Timer(TimerFd::new(clock, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?);
    // SAFETY: the descriptor is open and inside `Timer`, which neither replaces nor closes it while it lives.
    Ok(unsafe { AsyncFd::register(timer) }?)
}

/// To the kernel, zero is no deadline, and what it cannot count in nanoseconds is an error.
fn in_range(deadline: Duration) -> TimeSpec {
    TimeSpec::from_duration(deadline.clamp(Duration::from_nanos(1), FAR))
}

async fn ring(timer: &AsyncFd<Timer>) -> io::Result<Rang> {
    loop {
        let mut ready = timer.readable().await?;
        match nix::unistd::read(timer.get_ref().0.as_fd(), &mut [0; 8]) {
            Ok(_) => return Ok(Rang::Due),
            Err(Errno::ECANCELED) => return Ok(Rang::ClockSet),
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    #[test]
    fn a_clock_is_trusted_from_this_programs_birth_and_from_the_floor_on() {
        let check = |wall: &str, floor: Option<&str>, expected| {
            let parse = |text| Timestamp::parse(text).unwrap();
            assert_eq!(is_trusted(parse(wall), floor.map(parse)), expected, "{wall} {floor:?}");
        };
        check("1970-01-01T00:00:05Z", None, false);
        check("2025-12-31T23:59:59.999Z", None, false);
        check("2026-01-01T00:00:00Z", None, true);
        check("2027-01-01T00:00:00Z", Some("2027-01-01T00:00:00Z"), true);
        check("2026-12-31T23:59:59Z", Some("2027-01-01T00:00:00Z"), false);
        check("2025-01-01T00:00:00Z", Some("2020-01-01T00:00:00Z"), false);
    }

    #[test]
    fn a_clock_that_only_the_init_system_has_set_is_told_apart() {
        let check = |wall: &str, uptime_s, expected| {
            let (wall, init) = (Timestamp::parse(wall).unwrap(), Timestamp::parse("2026-04-27T19:48:55Z").unwrap());
            assert_eq!(is_from_init(wall, Duration::from_secs(uptime_s), init), expected, "{wall:?} {uptime_s}");
        };
        check("2026-04-27T19:48:55Z", 2, true);
        check("2026-04-27T19:49:16Z", 22, true);
        check("2026-06-27T19:48:57Z", 61 * 86_400 + 3, true);
        check("2026-04-27T19:48:55.900Z", 0, true);
        // Set by a person or by NTP.
        check("2026-04-27T20:49:16Z", 22, false);
        check("2026-04-27T19:48:55Z", 3600, false);
        check("2027-03-01T10:00:00Z", 22, false);
        check("1970-01-01T00:00:02Z", 2, false);
    }

    #[test]
    fn now_goes_forward_within_one_boot() {
        let clock = Clock::open().unwrap();
        let (a, b) = (clock.now(None), clock.now(None));
        assert!(a.uptime <= b.uptime && a.boot == b.boot && !a.boot.as_str().is_empty());
        assert!(!clock.now(Some(a.wall.plus(Duration::from_secs(3600)))).wall_trusted);
    }

    #[test]
    fn an_alarm_rings_on_either_clock_also_for_what_has_passed() {
        let now = Clock::open().unwrap().now(None);
        let soon = Duration::from_millis(5);
        for wake in [
            Wake { uptime: Some(now.uptime + soon), wall: None },
            Wake { uptime: None, wall: Some(now.wall.plus(soon)) },
            Wake { uptime: Some(Duration::ZERO), wall: None },
            Wake { uptime: Some(Duration::MAX), wall: Some(Timestamp::from_secs(-1)) },
            Wake { uptime: Some(now.uptime), wall: Some(Timestamp::from_millis(i64::MAX)) },
        ] {
            runtime().block_on(async {
                let alarm = Alarm::new().unwrap();
                alarm.set(wake).unwrap();
                assert_eq!(alarm.rang().await.unwrap(), Rang::Due, "{wake:?}");
            });
        }
    }

    #[test]
    fn an_alarm_that_is_set_anew_forgets_the_old_deadlines() {
        runtime().block_on(async {
            let alarm = Alarm::new().unwrap();
            alarm.set(Wake { uptime: Some(Duration::ZERO), wall: Some(Timestamp::EPOCH) }).unwrap();
            alarm.set(Wake::default()).unwrap();
            let quiet = tokio::select! {
                biased;
                _ = alarm.rang() => false,
                () = std::future::ready(()) => true,
            };
            assert!(quiet);
        });
    }
}

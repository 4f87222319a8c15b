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

/// Reads the clocks of one boot.
#[derive(Debug, Clone)]
pub struct Clock {
    boot: BootId,
}

impl Clock {
    /// # Errors
    /// `/proc` is not mounted.
    pub fn open() -> io::Result<Clock> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot = fs::read_to_string(path);
        let boot = boot.map_err(|e| io::Error::new(e.kind(), format!("read {path}: {e}; is /proc mounted?")))?;
        Ok(Clock { boot: BootId::new(boot.trim()) })
    }

    /// `floor` is the latest wall time that is known to have been: a clock that shows less is not to be trusted.
    pub fn now(&self, floor: Option<Timestamp>) -> Now {
        let wall = wall();
        Now { wall, wall_trusted: is_trusted(wall, floor), uptime: uptime(), boot: self.boot.clone() }
    }
}

fn is_trusted(wall: Timestamp, floor: Option<Timestamp>) -> bool {
    wall >= EARLIEST && floor.is_none_or(|floor| wall >= floor)
}

fn wall() -> Timestamp {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since_epoch.map_or_else(|before| -ms(before.duration()), ms))
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

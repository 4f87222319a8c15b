//! What goes wrong, and when: a blow falls at one operation of the store or at one effect. Knows nothing of what the
//! daemon is doing then.

use std::fmt;
use std::str::FromStr;

use crate::crash_backend::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KilledAtStore,
    KilledAtEffect,
    KilledBetweenTurns,
    PowerCutAtStore,
    PowerCutAtEffect,
    PowerCutBetweenTurns,
    /// One operation of the store fails, and the daemon dies of it.
    IoError,
    /// There is no room for anything new, for a while.
    DiskFull,
    /// A second death before the daemon had caught up after the first.
    DiedWhileRecovering,
    ClockStepped,
    ClockLost,
    BrokerWiped,
}

impl Fault {
    pub const ALL: [Fault; 12] = [
        Fault::KilledAtStore,
        Fault::KilledAtEffect,
        Fault::KilledBetweenTurns,
        Fault::PowerCutAtStore,
        Fault::PowerCutAtEffect,
        Fault::PowerCutBetweenTurns,
        Fault::IoError,
        Fault::DiskFull,
        Fault::DiedWhileRecovering,
        Fault::ClockStepped,
        Fault::ClockLost,
        Fault::BrokerWiped,
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Kill,
    PowerCut,
    IoError,
    DiskFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The nth operation of the store's file: a write, a change of length, a sync.
    Store(u64),
    /// After so many effects.
    Effect(u64),
}

/// One fault that is to come, counted from the moment at which it is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blow {
    pub how: How,
    pub at: At,
}

impl Blow {
    /// The next one, if one is to come.
    pub fn draw(random: &mut Random) -> Option<Blow> {
        let death = if random.chance(2) { How::PowerCut } else { How::Kill };
        let (how, at) = match random.next() % 8 {
            0 | 1 => (death, At::Store(1 + random.next() % 40)),
            2 | 3 => (death, At::Effect(random.next() % 12)),
            4 => (How::IoError, At::Store(1 + random.next() % 40)),
            5 => (How::DiskFull, At::Store(1 + random.next() % 10)),
            _ => return None,
        };
        Some(Blow { how, at })
    }

    pub fn fault(self) -> Fault {
        match (self.how, self.at) {
            (How::Kill, At::Store(_)) => Fault::KilledAtStore,
            (How::Kill, At::Effect(_)) => Fault::KilledAtEffect,
            (How::PowerCut, At::Store(_)) => Fault::PowerCutAtStore,
            (How::PowerCut, At::Effect(_)) => Fault::PowerCutAtEffect,
            (How::IoError, _) => Fault::IoError,
            (How::DiskFull, _) => Fault::DiskFull,
        }
    }
}

impl fmt::Display for Blow {
    /// `kill@store:17`, as `from_str` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Kill => "kill",
            How::PowerCut => "cut",
            How::IoError => "error",
            How::DiskFull => "full",
        };
        match self.at {
            At::Store(n) => write!(f, "{how}@store:{n}"),
            At::Effect(n) => write!(f, "{how}@effect:{n}"),
        }
    }
}

impl FromStr for Blow {
    type Err = String;

    fn from_str(text: &str) -> Result<Blow, String> {
        let bad = || format!("{text:?} is no HOW@PLACE:N, as in kill@store:17");
        let (how, at) = text.split_once('@').ok_or_else(bad)?;
        let (place, n) = at.split_once(':').ok_or_else(bad)?;
        let n = n.parse().map_err(|_| bad())?;
        let how = match how {
            "kill" => How::Kill,
            "cut" => How::PowerCut,
            "error" => How::IoError,
            "full" => How::DiskFull,
            _ => return Err(bad()),
        };
        match place {
            "store" => Ok(Blow { how, at: At::Store(n) }),
            "effect" => Ok(Blow { how, at: At::Effect(n) }),
            _ => Err(bad()),
        }
    }
}

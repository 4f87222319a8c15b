//! Every crash point of the short scripts: a blow at each operation of the store and at each effect, and then, for pairs, a
//! second one at each step of the recovery. Nothing is left to chance but what a cut keeps of unsynced writes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use crate::bugs::Bug;
use crate::faults::{At, Blow, How};
use crate::script::{Script, scripts};
use crate::world::World;

/// The second blow of a pair falls within these operations and effects of the next start: opening, repair, the first turn.
const RECOVERY_OPS: u64 = 24;
const RECOVERY_EFFECTS: u64 = 4;

/// One run: a script, the seed of what a cut keeps, and what falls when.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    script: &'static str,
    seed: u64,
    blows: Vec<Blow>,
}

impl Point {
    pub fn run(&self, bug: Option<Bug>, log: bool) -> World {
        let mut world = World::new(self.seed, bug, log);
        world.blows.extend(self.blows.iter().copied());
        world.play(script(self.script));
        world
    }
}

fn script(name: &str) -> Script {
    scripts().into_iter().find(|script| script.name == name).unwrap_or_else(|| panic!("there is no script {name}"))
}

/// Each script as it goes when nothing goes wrong.
pub fn peaceful() -> Vec<Point> {
    scripts().into_iter().map(|script| Point { script: script.name, seed: 1, blows: Vec::new() }).collect()
}

/// Points with one blow: every `stride`th of them.
pub fn singles(seed: u64, stride: usize) -> Vec<Point> {
    let all = scripts().into_iter().flat_map(|script| {
        let blows = blows_within(&script, seed);
        blows.into_iter().map(move |blow| Point { script: script.name, seed, blows: vec![blow] })
    });
    all.step_by(stride).collect()
}

/// Points with a second blow during the recovery from the first: every `stride`th of them.
pub fn pairs(seed: u64, stride: usize) -> Vec<Point> {
    let second = |n: u64| {
        let at = if n < RECOVERY_OPS { At::Store(n + 1) } else { At::Effect(n - RECOVERY_OPS) };
        [Blow { how: How::Kill, at }, Blow { how: How::PowerCut, at }]
    };
    let seconds: Vec<Blow> = (0..RECOVERY_OPS + RECOVERY_EFFECTS).flat_map(second).collect();
    let firsts = singles(seed, 1).into_iter().filter(|point| point.blows[0].how != How::DiskFull);
    let all = firsts.flat_map(|first| {
        let both = seconds.iter().map(|second| vec![first.blows[0], *second]);
        both.map(|blows| Point { blows, ..first.clone() }).collect::<Vec<_>>()
    });
    all.step_by(stride).collect()
}

/// All that can befall a script: it is played once in peace to see how long it is.
fn blows_within(script: &Script, seed: u64) -> Vec<Blow> {
    let point = Point { script: script.name, seed, blows: Vec::new() };
    let played = catch_unwind(AssertUnwindSafe(|| point.run(None, false)));
    let Ok(World { before_peace: (ops, effects), .. }) = played else {
        panic!("{}", crate::how_to_replay(&format!("PINNACE_SIM_POINT='{point}'")))
    };
    let at_store = (1..=ops).flat_map(|n| {
        [How::Kill, How::PowerCut, How::IoError, How::DiskFull].map(|how| Blow { how, at: At::Store(n) })
    });
    let at_effect = (0..effects).flat_map(|n| [How::Kill, How::PowerCut].map(|how| Blow { how, at: At::Effect(n) }));
    at_store.chain(at_effect).collect()
}

impl fmt::Display for Point {
    /// `cron 7 kill@store:17 cut@store:3`, as `from_str` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.script, self.seed)?;
        self.blows.iter().try_for_each(|blow| write!(f, " {blow}"))
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        let mut words = text.split_whitespace();
        let name = words.next().ok_or("no script is named")?;
        let script =
            scripts().into_iter().find(|script| script.name == name).ok_or(format!("no script {name:?}"))?.name;
        let seed = words.next().and_then(|word| word.parse().ok()).ok_or("no seed is given")?;
        let blows = words.map(Blow::from_str).collect::<Result<_, _>>()?;
        Ok(Point { script, seed, blows })
    }
}

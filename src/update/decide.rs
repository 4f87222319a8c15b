//! Which program runs this node, and whether one on trial has proved itself. Pure: what is there and the time are given.

use std::time::Duration;

use crate::model::Timestamp;
use crate::model::update::{Installed, Last, Outcome, Program, Trial, Versions, Which};

/// A trial that ended without confirming itself is started once more: a power cut is not its fault. Then it is given up.
pub const STARTS_MAX: u32 = 2;
/// All that is asked of a trial must hold together for so long, or a quarter of its time where that is less.
const SETTLE: Duration = Duration::from_secs(10);

/// What a start comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub run: Which,
    /// To be on disk before it runs; none: nothing changes.
    pub write: Option<Versions>,
    /// Where that cannot be written: a start that is not counted must not be made.
    pub otherwise: Which,
}

/// The installed program was started. `is_installed_same`: it is the one from which the versions were made.
pub fn start(versions: &Versions, is_installed_same: bool, at: Timestamp) -> Start {
    if !is_installed_same {
        return Start { run: Which::Installed, write: None, otherwise: Which::Installed };
    }
    let in_force = versions.in_force.which.clone();
    match &versions.trial {
        None => Start { run: in_force.clone(), write: None, otherwise: in_force },
        Some(trial) if trial.starts >= STARTS_MAX => {
            let why = format!("it was started {} times and did not come up", trial.starts);
            Start { run: in_force.clone(), write: Some(give_up(versions, &why, at)), otherwise: in_force }
        }
        Some(trial) => {
            let counted = Trial { starts: trial.starts + 1, ..trial.clone() };
            let write = Versions { trial: Some(counted), ..versions.clone() };
            Start { run: trial.program.which.clone(), write: Some(write), otherwise: in_force }
        }
    }
}

/// A program that was chosen cannot be executed; the next one to choose is another.
pub fn cannot_run(versions: &Versions, which: &Which, why: &str, at: Timestamp) -> Versions {
    if versions.trial.as_ref().is_some_and(|trial| trial.program.which == *which) {
        return give_up(versions, why, at);
    }
    let installed = Program { which: Which::Installed, version: versions.installed.version.clone() };
    let now = versions.before.clone().filter(|before| before.which != *which).unwrap_or(installed);
    let last = ended(versions.in_force.clone(), now.clone(), Outcome::Returned(why.to_string()), at);
    Versions { in_force: now, before: None, trial: None, last: Some(last), ..versions.clone() }
}

/// # Errors
/// Another one is on trial.
pub fn may_begin(versions: Option<&Versions>) -> Result<(), String> {
    match versions.and_then(|versions| versions.trial.as_ref()) {
        None => Ok(()),
        Some(trial) => Err(format!(
            "pinnace {} is on trial already; wait until it has confirmed itself, or return with pinnace update --undo",
            trial.program
        )),
    }
}

/// A trial is to begin. `versions`: as they are, if there were any.
///
/// # Errors
/// As `may_begin`.
pub fn begin(versions: Option<&Versions>, installed: Installed, trial: Trial) -> Result<Versions, String> {
    may_begin(versions)?;
    // Versions of before a package came are none any more.
    let same = versions.filter(|versions| versions.installed.sha256 == installed.sha256);
    let base = same.cloned().unwrap_or_else(|| Versions {
        in_force: Program { which: Which::Installed, version: installed.version.clone() },
        installed: installed.clone(),
        before: None,
        trial: None,
        last: None,
    });
    Ok(Versions { installed, trial: Some(trial), ..base })
}

/// The program on trial has proved itself.
pub fn confirm(versions: &Versions, at: Timestamp) -> Versions {
    let Some(trial) = &versions.trial else { return versions.clone() };
    let tried = trial.program.clone();
    let last = ended(tried.clone(), tried.clone(), Outcome::Confirmed, at);
    Versions {
        before: Some(versions.in_force.clone()),
        in_force: tried,
        trial: None,
        last: Some(last),
        installed: versions.installed.clone(),
    }
}

/// The program on trial is to run no more.
pub fn give_up(versions: &Versions, why: &str, at: Timestamp) -> Versions {
    let Some(trial) = &versions.trial else { return versions.clone() };
    let outcome = Outcome::Returned(why.to_string());
    let last = ended(trial.program.clone(), versions.in_force.clone(), outcome, at);
    Versions { trial: None, last: Some(last), ..versions.clone() }
}

fn ended(tried: Program, now: Program, outcome: Outcome, at: Timestamp) -> Last {
    Last { tried, now, outcome, at, told: false }
}

/// What `--undo` goes back to, where nothing is on trial.
///
/// # Errors
/// There was no other version.
pub fn before(versions: Option<&Versions>) -> Result<Program, String> {
    let before = versions.and_then(|versions| versions.before.clone());
    before.ok_or_else(|| {
        "there is no version before the one in force: nothing was updated, or a package came since".into()
    })
}

/// Directories of versions that must stay.
pub fn kept(versions: &Versions) -> Vec<&str> {
    let programs = [Some(&versions.in_force), versions.before.as_ref(), versions.trial.as_ref().map(|t| &t.program)];
    programs.into_iter().flatten().filter_map(|program| program.which.directory()).collect()
}

/// What the daemon on trial has seen of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Its own API has answered it.
    pub answers: bool,
    pub linked: bool,
    /// Since when all that is asked holds, as an age of the daemon.
    pub well_since: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again at this age of the daemon, or when something has changed.
    Wait(Duration),
    Confirm,
    GiveUp(String),
}

/// Looks at a trial whose store is open and whose pods are adopted, at an age of its daemon.
pub fn judge(trial: &Trial, health: &mut Health, age: Duration) -> Verdict {
    let within = Duration::from_secs(trial.within_s);
    let missing = if !health.answers {
        Some("its API did not answer")
    } else if trial.needs_broker && !health.linked {
        Some("it has no session with the broker, and there was one before")
    } else {
        None
    };
    match missing {
        Some(what) => {
            health.well_since = None;
            if age >= within {
                Verdict::GiveUp(format!("{what}, {} s after its start", within.as_secs()))
            } else {
                Verdict::Wait(within)
            }
        }
        None => {
            let ripe = *health.well_since.get_or_insert(age) + SETTLE.min(within / 4);
            if age >= ripe { Verdict::Confirm } else { Verdict::Wait(ripe) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::update::Mark;

    const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn version(digit: &str) -> Program {
        Program { which: Which::Version(digit.repeat(64)), version: format!("0.{digit}.0") }
    }

    fn installed() -> Program {
        Program { which: Which::Installed, version: "0.1.0".into() }
    }

    fn stamp() -> Installed {
        Installed { version: "0.1.0".into(), sha256: "0".repeat(64), mark: Mark { size: 1, inode: 2, modified: 3 } }
    }

    fn trial(program: Program) -> Trial {
        Trial { program, starts: 0, within_s: 300, needs_broker: true, begun: AT }
    }

    fn on_trial() -> Versions {
        begin(None, stamp(), trial(version("2"))).unwrap()
    }

    #[track_caller]
    fn returned(versions: &Versions, tried: &Program, why: &str) {
        let last = versions.last.as_ref().unwrap();
        let Outcome::Returned(said) = &last.outcome else { panic!("{last:?}") };
        assert!(said.contains(why) && last.tried == *tried && last.now == versions.in_force && !last.told, "{last:?}");
        assert_eq!(versions.trial, None);
    }

    #[test]
    fn each_start_of_a_trial_is_counted_and_the_third_is_not_made() {
        let mut versions = on_trial();
        for number in 1..=STARTS_MAX {
            let start = start(&versions, true, AT);
            assert_eq!((&start.run, &start.otherwise), (&version("2").which, &Which::Installed));
            versions = start.write.unwrap();
            assert_eq!(versions.trial.as_ref().unwrap().starts, number);
        }
        let start = start(&versions, true, AT);
        assert_eq!(start.run, Which::Installed);
        returned(&start.write.unwrap(), &version("2"), "started 2 times");
    }

    #[test]
    fn what_is_in_force_runs_and_nothing_is_written_for_it() {
        let versions = confirm(&on_trial(), AT);
        assert_eq!((&versions.in_force, &versions.before, &versions.trial), (&version("2"), &Some(installed()), &None));
        assert_eq!(versions.last.as_ref().unwrap().outcome, Outcome::Confirmed);
        let expected = Start { run: version("2").which, write: None, otherwise: version("2").which };
        assert_eq!(start(&versions, true, AT), expected);
    }

    #[test]
    fn a_package_wins_over_what_is_in_force_and_over_a_trial() {
        for versions in [confirm(&on_trial(), AT), on_trial()] {
            let start = start(&versions, false, AT);
            assert_eq!((start.run, start.write), (Which::Installed, None));
        }
    }

    #[test]
    fn what_cannot_be_executed_gives_way_to_what_was_before_and_last_to_the_installed_one() {
        let why = "exec format error";
        let given_up = cannot_run(&on_trial(), &version("2").which, why, AT);
        returned(&given_up, &version("2"), why);
        assert_eq!(given_up.in_force, installed());

        let second = begin(Some(&confirm(&on_trial(), AT)), stamp(), trial(version("3"))).unwrap();
        let second = confirm(&second, AT);
        let back = cannot_run(&second, &version("3").which, why, AT);
        returned(&back, &version("3"), why);
        assert_eq!(back.in_force, version("2"));
        let back = cannot_run(&back, &version("2").which, why, AT);
        assert_eq!((&back.in_force, start(&back, true, AT).run), (&installed(), Which::Installed));
    }

    #[test]
    fn one_trial_at_a_time_and_the_one_in_force_stays_beside_it() {
        let versions = on_trial();
        assert!(begin(Some(&versions), stamp(), trial(version("3"))).unwrap_err().contains("on trial already"));
        let second = begin(Some(&confirm(&versions, AT)), stamp(), trial(version("3"))).unwrap();
        assert_eq!(second.in_force, version("2"));
        assert_eq!(kept(&second), ["2222222222222222", "3333333333333333"]);
        let back = give_up(&second, "why", AT);
        returned(&back, &version("3"), "why");
        assert_eq!((&back.in_force, kept(&back)), (&version("2"), vec!["2222222222222222"]));
    }

    #[test]
    fn undo_goes_to_what_was_in_force_before_and_back_again() {
        assert!(before(None).is_err() && before(Some(&on_trial())).is_err());
        let versions = confirm(&on_trial(), AT);
        let undone = begin(Some(&versions), stamp(), trial(before(Some(&versions)).unwrap())).unwrap();
        assert_eq!(start(&undone, true, AT).run, Which::Installed);
        let undone = confirm(&undone, AT);
        assert_eq!((&undone.in_force, before(Some(&undone)).unwrap()), (&installed(), version("2")));
    }

    /// `seen`: age in seconds, whether the API answered, whether there is a session.
    #[track_caller]
    fn check(needs_broker: bool, seen: &[(u64, bool, bool)], expected: &Verdict) {
        let trial = Trial { needs_broker, ..trial(version("2")) };
        let mut health = Health::default();
        let mut verdict = Verdict::Wait(Duration::ZERO);
        for (age, answers, linked) in seen {
            (health.answers, health.linked) = (*answers, *linked);
            verdict = judge(&trial, &mut health, Duration::from_secs(*age));
        }
        match (&verdict, expected) {
            (Verdict::GiveUp(why), Verdict::GiveUp(part)) => assert!(why.contains(part), "{why}"),
            _ => assert_eq!(verdict, *expected, "{seen:?}"),
        }
    }

    #[test]
    fn a_trial_confirms_itself_when_all_has_held_for_a_while() {
        let wait = |age| Verdict::Wait(Duration::from_secs(age));
        check(true, &[(1, false, false)], &wait(300));
        check(true, &[(1, true, false)], &wait(300));
        check(true, &[(1, true, true)], &wait(11));
        check(true, &[(1, true, true), (11, true, true)], &Verdict::Confirm);
        check(true, &[(1, true, true), (10, true, true)], &wait(11));
        // A session that was lost in between begins the wait anew.
        check(true, &[(1, true, true), (5, true, false), (6, true, true), (11, true, true)], &wait(16));
        check(true, &[(299, true, true), (300, true, true)], &wait(309));
        check(true, &[(300, true, false)], &Verdict::GiveUp("no session with the broker".into()));
        check(true, &[(300, false, true)], &Verdict::GiveUp("its API did not answer, 300 s".into()));
    }

    #[test]
    fn without_a_session_before_none_is_asked_for() {
        check(false, &[(1, true, false), (11, true, false)], &Verdict::Confirm);
        check(false, &[(300, false, false)], &Verdict::GiveUp("its API".into()));
    }

    #[test]
    fn a_short_time_is_waited_for_in_part() {
        let trial = Trial { within_s: 8, ..trial(version("2")) };
        let mut health = Health { answers: true, linked: true, well_since: None };
        assert_eq!(judge(&trial, &mut health, Duration::from_secs(1)), Verdict::Wait(Duration::from_secs(3)));
    }
}

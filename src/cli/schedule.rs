//! `pinnace schedule`: prints when a schedule fires, with the very code that fires CronJobs. Asks no node.

use std::io::{self, Write};

use crate::model::{Schedule, Timestamp};

/// Print the next firing times of a CronJob's schedule, in UTC.
#[derive(Debug, Clone, clap::Args)]
pub struct ScheduleArgs {
    /// Five cron fields, a macro like @daily, or @every DURATION
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub expr: String,
    /// Time zone of the fields, by its name in the IANA database [default: UTC]
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Print times after this one (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// How many times to print
    #[arg(short = 'n', value_name = "N", default_value_t = 5)]
    pub count: u32,
}

/// One time a line, strictly later than `--from`; `never` and an end where none follows within five years. Returns the
/// exit code: 1 for an expression, zone or time that is refused, with Kubernetes' own text on `err`.
pub fn run(args: &ScheduleArgs, now: Timestamp, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let printed = match times(args, now) {
        Ok((schedule, from)) => match print(&schedule, from, args.count, out) {
            // The reader has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed.map_err(|e| format!("cannot write to standard output: {e}")),
        },
        Err(refusal) => Err(refusal),
    };
    match printed {
        Ok(()) => 0,
        Err(why) => {
            // Where standard error is gone as well there is nobody left to tell.
            let _ = writeln!(err, "error: {why}");
            1
        }
    }
}

fn times(args: &ScheduleArgs, now: Timestamp) -> Result<(Schedule, Timestamp), String> {
    let schedule = Schedule::parse(&args.expr, args.time_zone.as_deref())?;
    let from = args.from.as_deref().map_or(Ok(now), time)?;
    Ok((schedule, from))
}

/// A time of those years for which schedules are searched.
fn time(text: &str) -> Result<Timestamp, String> {
    let time = Timestamp::parse(text).ok().filter(|time| Schedule::KNOWN.contains(time));
    time.ok_or_else(|| {
        format!("--from: {text:?} must be an RFC 3339 time of the years 1970 to 2100, such as 2026-01-31T09:30:00Z")
    })
}

fn print(schedule: &Schedule, from: Timestamp, count: u32, out: &mut dyn Write) -> io::Result<()> {
    let mut after = from;
    for _ in 0..count {
        let Some(next) = schedule.next(after) else { return writeln!(out, "never") };
        writeln!(out, "{next}")?;
        after = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ScheduleArgs,
    }

    #[track_caller]
    fn check(line: &[&str], code: i32, expected_out: &str, expected_err: &str) {
        let Line { args } = Line::try_parse_from([&["schedule"], line].concat()).unwrap();
        let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&args, now, &mut out, &mut err), code);
        assert_eq!(String::from_utf8(out).unwrap(), expected_out);
        assert_eq!(String::from_utf8(err).unwrap(), expected_err);
    }

    #[test]
    fn times_are_printed_one_a_line() {
        let five = "2026-01-01T00:15:00Z\n2026-01-01T00:30:00Z\n2026-01-01T00:45:00Z\n2026-01-01T01:00:00Z\n2026-01-01T01:15:00Z\n";
        check(&["0,15,30,45 * * * *"], 0, five, "");
        check(&["0 9 * * *", "--time-zone", "Asia/Tokyo", "-n", "1"], 0, "2026-01-02T00:00:00Z\n", "");
        check(&["@hourly", "--from", "2026-02-01T01:00:00+01:00", "-n1"], 0, "2026-02-01T01:00:00Z\n", "");
        check(&["0 0 30 2 *"], 0, "never\n", "");
        check(&["0 0 29 2 *", "--from", "2092-03-01T00:00:00Z"], 0, "2096-02-29T00:00:00Z\nnever\n", "");
        check(&["@daily", "-n", "0"], 0, "", "");
    }

    #[test]
    fn what_is_refused_is_told_in_kubernetes_words() {
        check(&["60 * * * *"], 1, "", "error: end of range (60) above maximum (59): 60\n");
        check(&["-1 * * * *"], 1, "", "error: failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax\n");
        check(&["@daily", "--time-zone", "Mars/Phobos"], 1, "", "error: unknown time zone Mars/Phobos\n");
        check(&["@daily", "--time-zone", ""], 1, "", "error: timeZone must be nil or non-empty string\n");
        check(&["x", "--time-zone", "Mars/Phobos"], 1, "", "error: expected exactly 5 fields, found 1: [x]\n");
    }

    #[test]
    fn a_time_that_cannot_be_read_is_named() {
        let Line { args } = Line::try_parse_from(["schedule", "@daily", "--from", "yesterday"]).unwrap();
        let mut err = Vec::new();
        assert_eq!(run(&args, Timestamp::EPOCH, &mut Vec::new(), &mut err), 1);
        let err = String::from_utf8(err).unwrap();
        assert!(err.starts_with("error: --from: \"yesterday\" must be an RFC 3339 time"), "{err}");
    }
}

//! What is wrong with a command line, in kubectl's words. Source of most of them: `spf13/pflag` and `spf13/cobra`, which
//! kubectl reads its command line with.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error};

use super::{Cli, absent};

/// All that is to be said, without an end of the last line. `words` is the command line, the program's name first.
pub fn told(e: &Error, words: impl IntoIterator<Item = OsString>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let meant = Meant::by(&words, texts(e, ContextKind::InvalidSubcommand));
    let word = first(&texts(e, ContextKind::InvalidSubcommand));
    if let Some(refusal) = absent::refusal(&meant.path, word) {
        return refusal;
    }
    let why = why(e, &meant, &words);
    let similar: Vec<&str> = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .flat_map(|kind| texts(e, kind))
        .collect();
    let did_you_mean = match similar.as_slice() {
        [] => String::new(),
        some => format!("\nDid you mean this?\n\t{}\n\n", some.join("\n\t")),
    };
    format!("error: {why}\n{did_you_mean}See '{} --help' for usage.", meant.path)
}

fn why(e: &Error, meant: &Meant, words: &[String]) -> String {
    let args = texts(e, ContextKind::InvalidArg);
    let (arg, value) = (first(&args), first(&texts(e, ContextKind::InvalidValue)));
    match e.kind() {
        ErrorKind::InvalidSubcommand => {
            format!("unknown command {:?} for {:?}", first(&texts(e, ContextKind::InvalidSubcommand)), meant.path)
        }
        ErrorKind::UnknownArgument => match short(arg) {
            Some(letter) => format!("unknown shorthand flag: '{letter}' in {}", cluster(words, letter).unwrap_or(arg)),
            None if arg.starts_with("--") => format!("unknown flag: {arg}"),
            None => format!("unexpected argument {arg:?}"),
        },
        ErrorKind::InvalidValue if value.is_empty() && arg.starts_with('-') => {
            format!("flag needs an argument: {}", meant.typed(bare(arg), words))
        }
        ErrorKind::InvalidValue => {
            let valid: Vec<String> = texts(e, ContextKind::ValidValue).iter().map(|v| format!("{v:?}")).collect();
            format!("invalid argument {value:?} for {}: must be {}", meant.named(arg), one_of(&valid))
        }
        ErrorKind::ValueValidation => {
            format!("invalid argument {value:?} for {}: {}", meant.named(arg), parser_says(e, value))
        }
        ErrorKind::ArgumentConflict => match bare(first(&texts(e, ContextKind::PriorArg))) {
            prior if prior == bare(arg) => format!("cannot set {prior} twice"),
            prior => format!("cannot set {} and {prior} at the same time", bare(arg)),
        },
        ErrorKind::MissingRequiredArgument => missing(&args, meant),
        // What this program's flags cannot lead to, in clap's own words without the frame.
        _ => e.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_string(),
    }
}

/// The command that a command line means, as far as it can be told.
struct Meant {
    path: String,
    command: Command,
}

impl Meant {
    /// Words up to `wrong` lead from command to command; others are flags and their values.
    fn by(words: &[String], wrong: Vec<&str>) -> Meant {
        let mut meant = Meant { path: "pinnace".to_string(), command: Cli::command() };
        for word in words.iter().skip(1).take_while(|word| !wrong.contains(&word.as_str())) {
            if let Some(next) = meant.command.find_subcommand(word).cloned() {
                meant = Meant { path: format!("{} {}", meant.path, next.get_name()), command: next };
            }
        }
        meant
    }

    fn flag(&self, long: &str) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| arg.get_long().is_some_and(|name| long == format!("--{name}")))
    }

    /// `"-l, --selector" flag`, or what stands in a place of its own.
    fn named(&self, arg: &str) -> String {
        let long = bare(arg);
        match self.flag(long).and_then(Arg::get_short) {
            Some(letter) => format!("\"-{letter}, {long}\" flag"),
            None if long.starts_with('-') => format!("{long:?} flag"),
            None => long.to_string(),
        }
    }

    /// A flag as it was typed: `--selector`, or `'l' in -l`.
    fn typed(&self, long: &str, words: &[String]) -> String {
        let was_long = words.iter().any(|word| word.split('=').next() == Some(long));
        let letter = self.flag(long).and_then(Arg::get_short).filter(|_| !was_long);
        let typed = letter.and_then(|letter| Some(format!("'{letter}' in {}", cluster(words, letter)?)));
        typed.unwrap_or_else(|| long.to_string())
    }
}

fn missing(args: &[&str], meant: &Meant) -> String {
    let (flags, places): (Vec<&str>, Vec<&str>) =
        args.iter().map(|arg| bare(arg)).partition(|arg| arg.starts_with('-'));
    let flags: Vec<String> = flags.iter().map(|flag| format!("{:?}", flag.trim_start_matches('-'))).collect();
    let verb = meant.path.split_once(' ').map_or("", |(_, verb)| verb);
    let mut all = Vec::new();
    if !flags.is_empty() {
        all.push(format!("required flag(s) {} not set", flags.join(", ")));
    }
    let help = |place: &str| meant.command.get_positionals().find(|arg| bare(&arg.to_string()) == place)?.get_help();
    all.extend(places.iter().map(|place| {
        let form = help(place).map(|help| format!(": {help}")).unwrap_or_default();
        format!("{place} is a required argument for the {verb} command{form}")
    }));
    all.join("; ")
}

/// What the parser has against a value; Go's words for a number that is none, as pflag has them.
fn parser_says(e: &Error, value: &str) -> String {
    let Some(source) = e.source() else { return "invalid value".into() };
    match source.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        None => source.to_string(),
        Some(IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => {
            format!("strconv.ParseInt: parsing {value:?}: value out of range")
        }
        Some(_) => format!("strconv.ParseInt: parsing {value:?}: invalid syntax"),
    }
}

/// `--selector` of clap's `--selector <SELECTOR>` or `--watch[=<BOOL>]`, and `WHAT` of `[WHAT]...`.
fn bare(arg: &str) -> &str {
    match arg.starts_with('-') {
        true => arg.split([' ', '[', '=']).next().unwrap_or(arg),
        false => arg.trim_matches(['[', ']', '<', '>', '.']),
    }
}

/// The letter of a flag such as `-l`.
fn short(arg: &str) -> Option<char> {
    arg.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.chars().next()
}

/// The first word of short flags that has this one.
fn cluster(words: &[String], letter: char) -> Option<&str> {
    words.iter().map(String::as_str).find(|word| short(word).is_some() && word.contains(letter))
}

fn one_of(values: &[String]) -> String {
    match values {
        [init @ .., last] if !init.is_empty() => format!("{} or {last}", init.join(", ")),
        _ => values.concat(),
    }
}

fn first<'e>(texts: &[&'e str]) -> &'e str {
    texts.first().copied().unwrap_or_default()
}

/// What clap knows of an error; none where it knows nothing of that kind.
fn texts(e: &Error, kind: ContextKind) -> Vec<&str> {
    match e.get(kind) {
        Some(ContextValue::String(text)) => vec![text],
        Some(ContextValue::Strings(texts)) => texts.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words = || format!("pinnace {line}").split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let e = Cli::read(words()).map(|_| ()).unwrap_err();
        assert_eq!(told(&e, words()), expected, "{line}");
    }

    #[track_caller]
    fn check_get(line: &str, expected: &str) {
        check(line, &format!("error: {expected}\nSee 'pinnace get --help' for usage."));
    }

    #[test]
    fn unknown_flags_and_commands() {
        check_get("get --nope", "unknown flag: --nope");
        check_get("--nope get", "unknown flag: --nope");
        check_get("get pods -AZ", "unknown shorthand flag: 'Z' in -AZ");
        check("--nope", "error: unknown flag: --nope\nSee 'pinnace --help' for usage.");
        check_get("get pods --selectr=x", "unknown flag: --selectr\n\nDid you mean this?\n\t--selector\n");
        check("foo get", "error: unknown command \"foo\" for \"pinnace\"\nSee 'pinnace --help' for usage.");
        check("help foo", "error: unknown command \"foo\" for \"pinnace\"\nSee 'pinnace --help' for usage.");
        check(
            "lgos",
            "error: unknown command \"lgos\" for \"pinnace\"\n\nDid you mean this?\n\tlogs\n\nSee 'pinnace --help' for usage.",
        );
        check(
            "-n lab rollout foo",
            "error: unknown command \"foo\" for \"pinnace rollout\"\nSee 'pinnace rollout --help' for usage.",
        );
        check("logs x y z", "error: unexpected argument \"z\"\nSee 'pinnace logs --help' for usage.");
        check("node --nope", "error: unknown flag: --nope\nSee 'pinnace node --help' for usage.");
    }

    #[test]
    fn what_only_kubectl_does_is_refused_by_name() {
        let check = |line: &str, name: &str, way: &str| {
            check(line, format!("error: {name:?} is not supported by pinnace{way}").as_str());
        };
        let change = "\n`pinnace get KIND NAME -o yaml >FILE`, change FILE, `pinnace apply -f FILE`";
        check("edit job x", "edit", change);
        check("-n lab set image ds/x main=y", "set", change);
        check("help patch", "patch", change);
        check("cp a b", "cp", "\na hostPath volume shares files between the host and a pod");
        check("-n lab rollout pause ds/x", "rollout pause", "");
        check("rollout resume ds/x", "rollout resume", "");
        check("create secret tls x --cert=y", "create secret tls", "\nwrite a manifest: `pinnace apply -f FILE`");
        let way = "\na container's processes are the host's: `ps` shows them, `nsenter` enters their namespaces";
        check("exec -it x -- sh", "exec", way);
    }

    #[test]
    fn arguments_that_are_missing() {
        check_get("get --selector", "flag needs an argument: --selector");
        check_get("get -l", "flag needs an argument: 'l' in -l");
        check_get("get pods -Ao", "flag needs an argument: 'o' in -Ao");
        check_get("get pods --socket", "flag needs an argument: --socket");
        check_get("get", "WHAT is a required argument for the get command: KIND[,KIND…] [NAME…], KIND/NAME …, or all");
        let see = "See 'pinnace completion --help' for usage.";
        check("completion", &format!("error: SHELL is a required argument for the completion command\n{see}"));
        let see = "See 'pinnace wait --help' for usage.";
        let place = "WHAT is a required argument for the wait command: KIND NAME … or KIND/NAME …";
        check("wait", &format!("error: required flag(s) \"for\" not set; {place}\n{see}"));
    }

    #[test]
    fn values_that_cannot_be() {
        let bool = "strconv.ParseBool: parsing \"maybe\": invalid syntax";
        check_get("get x --watch=maybe", &format!("invalid argument \"maybe\" for \"-w, --watch\" flag: {bool}"));
        let (see, for_grace) =
            ("See 'pinnace delete --help' for usage.", "for \"--grace-period\" flag: strconv.ParseInt:");
        for (value, why) in [("abc", "invalid syntax"), ("99999999999999999999", "value out of range")] {
            let expected = format!("error: invalid argument {value:?} {for_grace} parsing {value:?}: {why}\n{see}");
            check(&format!("delete job x --grace-period={value}"), &expected);
        }
        let expected =
            "error: invalid argument \"foo\" for \"--dry-run\" flag: must be \"none\", \"client\" or \"server\"";
        check("delete job x --dry-run=foo", &format!("{expected}\n{see}"));
        let expected = "error: invalid argument \"bsh\" for SHELL: must be \"bash\", \"zsh\" or \"fish\"";
        let see = "\n\nDid you mean this?\n\tbash\n\nSee 'pinnace completion --help' for usage.";
        check("completion bsh", &format!("{expected}{see}"));
    }

    #[test]
    fn arguments_that_cannot_be_together() {
        check_get("get pods -f x", "cannot set WHAT and --filename at the same time");
        check_get("get pods -o yaml -o json", "cannot set --output twice");
        let see = "See 'pinnace logs --help' for usage.";
        let expected = "error: cannot set --since and --since-time at the same time";
        check("logs x --since=5s --since-time=x", &format!("{expected}\n{see}"));
    }

    #[test]
    fn what_has_no_words_here_keeps_claps() {
        let e = Cli::command().error(ErrorKind::TooFewValues, "two are needed");
        let expected = "error: two are needed\nSee 'pinnace get --help' for usage.";
        assert_eq!(told(&e, ["pinnace", "get"].map(OsString::from)), expected);
    }
}

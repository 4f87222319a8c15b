//! The signal that asks a container to end, as an image names it.

/// SIGTERM; what an image that says nothing, or nothing that is a signal, gets.
pub const DEFAULT: i32 = 15;
/// First and last real-time signal that a C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// By number, from 1. Source: signal(7), x86 and ARM.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`. Source: OCI image specification, `config.StopSignal`.
pub fn number(text: &str) -> i32 {
    parse(text).filter(|signal| (1..=RTMAX).contains(signal)).unwrap_or(DEFAULT)
}

fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |offset: &str, sign: char| {
        let offset = offset.strip_prefix(sign)?.parse::<u8>().ok();
        offset.map(i32::from).filter(|offset| *offset <= RTMAX - RTMIN)
    };
    match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(RTMIN),
        (Some(offset), _) => Some(RTMIN + real_time(offset, '+')?),
        (None, Some("")) => Some(RTMAX),
        (None, Some(offset)) => Some(RTMAX - real_time(offset, '-')?),
        (None, None) => {
            let position = NAMES.iter().position(|known| *known == name)?;
            i32::try_from(position + 1).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn signals_are_read_in_each_spelling_and_nonsense_is_sigterm() {
        let check = |text: &str, expected| assert_eq!(number(text), expected, "{text:?}");
        for quit in ["SIGQUIT", "QUIT", "sigquit", "quit", "3"] {
            check(quit, 3);
        }
        check("SIGSYS", 31);
        check("SIGRTMIN", 34);
        check("RTMIN+3", 37);
        check("SIGRTMAX-1", 63);
        check("SIGRTMAX", 64);
        check("64", 64);
        for nonsense in
            ["", "0", "-1", "65", "999999999999", "SIG", "SIGSIGTERM", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN+é"]
        {
            check(nonsense, 15);
        }
    }
}

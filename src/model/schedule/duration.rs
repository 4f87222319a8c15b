//! Go's durations (`1h30m`, `1.5s`, `-5m`) with the error texts of its `time.ParseDuration`, for `@every`.

/// Nanoseconds of each unit. The micro sign exists twice in Unicode.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The most nanoseconds, on the negative side; the positive side ends one before.
const NS_MAX: u64 = 1 << 63;

/// Nanoseconds of a duration.
///
/// # Errors
/// Go's own text.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after_number) = Number::take(rest).ok_or_else(invalid)?;
        let unit_end = after_number.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after_number.len());
        let (unit, after_unit) = after_number.split_at(unit_end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        let part = number.times(*unit_ns).ok_or_else(invalid)?;
        total = total.checked_add(part).filter(|sum| *sum <= NS_MAX).ok_or_else(invalid)?;
        rest = after_unit;
    }
    match i64::try_from(total) {
        Ok(ns) => Ok(if negative { -ns } else { ns }),
        Err(_) if negative => Ok(i64::MIN),
        Err(_) => Err(invalid()),
    }
}

/// `12`, `12.5`, `.5` or `12.`; the fraction is `fraction / scale`.
struct Number {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Number {
    /// The number at the beginning of a text and what follows it.
    fn take(text: &str) -> Option<(Number, &str)> {
        let (digits, rest) = take_digits(text);
        let whole = if digits.is_empty() { 0 } else { digits.parse().ok().filter(|whole| *whole <= NS_MAX)? };
        let number = Number { whole, fraction: 0, scale: 1.0 };
        let Some(rest) = rest.strip_prefix('.') else {
            return (!digits.is_empty()).then_some((number, rest));
        };
        let (decimals, rest) = take_digits(rest);
        let has_digits = !digits.is_empty() || !decimals.is_empty();
        has_digits.then(|| (number.with_decimals(decimals), rest))
    }

    /// Decimals beyond what 63 bits hold do not count.
    fn with_decimals(mut self, decimals: &str) -> Number {
        for digit in decimals.bytes().map(|b| u64::from(b - b'0')) {
            let longer = self.fraction.checked_mul(10).and_then(|f| f.checked_add(digit));
            let Some(longer) = longer.filter(|f| *f <= NS_MAX) else { break };
            self.fraction = longer;
            self.scale *= 10.0;
        }
        self
    }

    fn times(&self, unit_ns: u64) -> Option<u64> {
        // In floating point as Go does it, so that the same nanosecond comes out.
        let fraction_ns = (self.fraction as f64 * (unit_ns as f64 / self.scale)) as u64;
        let whole_ns = self.whole.checked_mul(unit_ns)?;
        whole_ns.checked_add(fraction_ns).filter(|ns| *ns <= NS_MAX)
    }
}

fn take_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Quotes as Go's package `time` does: every byte beyond printable ASCII as hexadecimal.
fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='\u{7f}' => quoted.push(c),
            _ => {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|b| quoted.push_str(&format!("\\x{b:02x}")));
            }
        }
    }
    quoted.push('"');
    quoted
}

//! The five fields of a cron line, read into sets of numbers: robfig/cron v3's grammar with its error texts, which are
//! what Kubernetes prints. Knows no dates.

/// The sets of one cron line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub minute: Set,
    pub hour: Set,
    /// Day of the month.
    pub dom: Set,
    pub month: Set,
    /// Day of the week, 0 is Sunday.
    pub dow: Set,
}

/// The numbers of one field. It may be empty: `,` is a valid field that never matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set {
    bits: u64,
    /// An item of it is `*` or `?` with no step beyond 1. It decides whether the two day fields are both to match.
    pub star: bool,
}

/// What a field may hold.
struct Bounds {
    min: u64,
    max: u64,
    /// Names in place of numbers; the first stands for `min`.
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOUR: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DOM: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTH: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const DOW: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Fields {
    pub(super) fn parse(line: &str) -> Result<Fields, String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [minute, hour, dom, month, dow] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        Ok(Fields {
            minute: Set::parse(minute, &MINUTE)?,
            hour: Set::parse(hour, &HOUR)?,
            dom: Set::parse(dom, &DOM)?,
            month: Set::parse(month, &MONTH)?,
            dow: Set::parse(dow, &DOW)?,
        })
    }
}

impl Set {
    /// The numbers in it, rising.
    pub(super) fn numbers(self) -> impl Iterator<Item = u64> {
        (0..u64::from(u64::BITS)).filter(move |n| self.bits & (1 << n) != 0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Empty items are skipped, so `1,,2` is fine.
    fn parse(field: &str, bounds: &Bounds) -> Result<Set, String> {
        let items = field.split(',').filter(|item| !item.is_empty());
        items.map(|item| Set::item(item, bounds)).try_fold(Set::default(), |all, item| Ok(all.union(item?)))
    }

    fn union(self, other: Set) -> Set {
        Set { bits: self.bits | other.bits, star: self.star || other.star }
    }

    /// `*`, `?`, `N` or `N-M`, each with an optional `/step`; `N/step` runs to the end. The order of the checks decides
    /// which error is told.
    fn item(item: &str, bounds: &Bounds) -> Result<Set, String> {
        let mut parts = item.split('/');
        let range = parts.next().unwrap_or_default();
        let (step, more_slashes) = (parts.next(), parts.next().is_some());

        let mut ends = range.split('-');
        let low = ends.next().unwrap_or_default();
        let star = low == "*" || low == "?";
        // What follows the hyphen after a star is not looked at.
        let (start, mut end) = if star { (bounds.min, bounds.max) } else { bounds.range(low, ends, item)? };

        let step = match step {
            _ if more_slashes => return Err(format!("too many slashes: {item}")),
            None => 1,
            Some(step) => {
                let step = whole_number(step)?;
                if !range.contains('-') {
                    end = bounds.max;
                }
                step
            }
        };
        bounds.check(start, end, item)?;
        if step == 0 {
            return Err(format!("step of range should be a positive number: {item}"));
        }
        let bits = (start..=end).filter(|n| (n - start) % step == 0).fold(0, |bits, n| bits | 1 << n);
        Ok(Set { bits, star: star && step == 1 })
    }
}

impl Bounds {
    fn range<'a>(&self, low: &str, mut rest: impl Iterator<Item = &'a str>, item: &str) -> Result<(u64, u64), String> {
        let start = self.number(low)?;
        match (rest.next(), rest.next()) {
            (None, _) => Ok((start, start)),
            (Some(high), None) => Ok((start, self.number(high)?)),
            (Some(_), Some(_)) => Err(format!("too many hyphens: {item}")),
        }
    }

    fn check(&self, start: u64, end: u64, item: &str) -> Result<(), String> {
        let Bounds { min, max, .. } = self;
        if start < *min {
            return Err(format!("beginning of range ({start}) below minimum ({min}): {item}"));
        }
        if end > *max {
            return Err(format!("end of range ({end}) above maximum ({max}): {item}"));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {item}"));
        }
        Ok(())
    }

    /// A number, or one of this field's names in any case.
    fn number(&self, text: &str) -> Result<u64, String> {
        // Letter by letter, as Go lowers them: a letter that becomes two in Rust is one there.
        let lower: String = text.chars().filter_map(|c| c.to_lowercase().next()).collect();
        match self.names.iter().zip(self.min..).find(|(name, _)| **name == lower) {
            Some((_, number)) => Ok(number),
            None => whole_number(text),
        }
    }
}

/// Go's `strconv.Atoi`, without negative numbers: decimal digits with an optional sign.
fn whole_number(text: &str) -> Result<u64, String> {
    let refuse = |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {}: {why}", quote(text));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("invalid syntax"));
    }
    let number: i64 = text.parse().map_err(|_| refuse("value out of range"))?;
    u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

/// Go's `strconv.Quote`.
fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c if c.is_ascii() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// The standard library's own notion, which follows the same tables as Go's. It escapes combining marks too, but only
/// at the beginning of a text; the quotation mark is dealt with before.
fn is_printable(c: char) -> bool {
    let text = format!("a{c}");
    c == '\'' || text.escape_debug().eq(text.chars())
}

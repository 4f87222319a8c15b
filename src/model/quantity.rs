//! Kubernetes' resource quantities: `500m`, `1.5`, `64Mi`, `1e3`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An exact amount, kept with the text it was written as. Compared by amount.
/// Source: `apimachinery/pkg/api/resource/quantity.go`.
#[derive(Debug, Clone, Eq)]
pub struct Quantity {
    nano: i128,
    text: String,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// # Errors
    /// Kubernetes' own text for what is no quantity.
    pub fn parse(text: &str) -> Result<Quantity, String> {
        let bad = || {
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_string()
        };
        let digits_end = text
            .char_indices()
            .find(|(i, c)| !(c.is_ascii_digit() || *c == '.' || (*i == 0 && matches!(c, '+' | '-'))))
            .map_or(text.len(), |(i, _)| i);
        let (number, suffix) = text.split_at(digits_end);
        let (factor, divisor) = scale(suffix).ok_or_else(bad)?;
        let negative = number.starts_with('-');
        let number = number.trim_start_matches(['+', '-']);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() > 18 {
            return Err(bad());
        }
        let digits: i128 = format!("{whole}{}", &fraction[..fraction.len().min(9)]).parse().map_err(|_| bad())?;
        let shift = 10i128.pow(u32::try_from(fraction.len().min(9)).expect("at most 9"));
        let scaled = digits.checked_mul(factor).and_then(|n| n.checked_mul(NANO)).ok_or_else(bad)?;
        // What is finer than a nano unit is rounded up, as Kubernetes does.
        let nano = ceil_div(scaled, shift * divisor);
        Ok(Quantity { nano: if negative { -nano } else { nano }, text: text.to_string() })
    }

    /// Whole units, rounded up (`Value()`): bytes of a memory amount.
    pub fn value(&self) -> i64 {
        i64::try_from(ceil_div(self.nano, NANO)).unwrap_or(i64::MAX)
    }

    /// Thousandths, rounded up (`MilliValue()`): millicores of a CPU amount.
    pub fn milli(&self) -> i64 {
        i64::try_from(ceil_div(self.nano, NANO / 1000)).unwrap_or(i64::MAX)
    }

    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// True when it is a whole number of thousandths; Kubernetes refuses finer CPU amounts.
    pub fn is_milli_precise(&self) -> bool {
        self.nano % (NANO / 1000) == 0
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn ceil_div(a: i128, b: i128) -> i128 {
    a.div_euclid(b) + i128::from(a.rem_euclid(b) != 0)
}

/// The factor and divisor of a suffix.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |power: u32| Some((10i128.pow(power), 1));
    let binary = |power: u32| Some((1i128 << (10 * power), 1));
    match suffix {
        "" => decimal(0),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        other => {
            let power: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            match power {
                0..=18 => decimal(u32::try_from(power).ok()?),
                -9..=-1 => Some((1, 10i128.pow(u32::try_from(-power).ok()?))),
                _ => None,
            }
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// A string or a number, as Kubernetes takes `cpu: 0.5`.
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Quantity, D::Error> {
        use serde::de::Error;
        let text = match serde_json::Value::deserialize(d)? {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            other => return Err(D::Error::custom(format!("a quantity must be a string or a number, is {other}"))),
        };
        Quantity::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, milli: i64, value: i64) {
        let q = Quantity::parse(text).unwrap();
        assert_eq!((q.milli(), q.value()), (milli, value), "{text}");
    }

    #[test]
    fn quantities_read_as_in_kubernetes() {
        check("500m", 500, 1);
        check("0.5", 500, 1);
        check("1", 1000, 1);
        check(".5", 500, 1);
        check("5.", 5000, 5);
        check("64Mi", 67_108_864_000, 67_108_864);
        check("1.5Gi", 1_610_612_736_000, 1_610_612_736);
        check("1e3", 1_000_000, 1000);
        check("1E3", 1_000_000, 1000);
        check("1n", 1, 1);
        check("-1", -1000, -1);
        check("100k", 100_000_000, 100_000);
        for bad in ["", "m", "1.2.3", "1KiB", "1 ", "abc", "--1", "1e99", "99999999999999999999", "é"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_is_taken_and_the_text_is_kept() {
        assert_eq!(serde_json::from_str::<Quantity>("0.5").unwrap().milli(), 500);
        assert_eq!(serde_json::to_string(&Quantity::parse("0.50").unwrap()).unwrap(), "\"0.50\"");
    }
}

//! Figures and their spread over rounds.

/// One figure of each round.
#[derive(Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// One row of a table: least, median and greatest.
    pub fn print(&self, name: &str, unit: &str) {
        println!(
            "  {name:<46} {:>9} {:>9} {:>9}  {unit}",
            short(self.at(0.0)),
            short(self.median()),
            short(self.at(1.0))
        );
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Figures {
        Figures(figures.into_iter().collect())
    }
}

pub fn print_head(rounds: usize) {
    println!("  {:<46} {:>9} {:>9} {:>9}  of {rounds} rounds", "", "min", "median", "max");
}

/// A single figure, beside the target where there is one.
pub fn print_one(name: &str, value: f64, unit: &str, target: &str) {
    println!("  {name:<46} {:>9}  {unit}{}{target}", short(value), if target.is_empty() { "" } else { "; target: " });
}

/// Three digits that count.
fn short(x: f64) -> String {
    match x {
        x if x >= 100.0 || x == 0.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

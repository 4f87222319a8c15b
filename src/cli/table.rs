//! Text in columns, as Go's tabwriter lays it out for kubectl, and a node's tables.

use super::term::{self, Colour};

/// Aligns tab-separated cells as Go's `text/tabwriter` does: a column is as wide as its widest cell in the lines that
/// follow one another without a gap, plus `padding`; what stands behind a line's last tab is no cell.
pub fn elastic(text: &str, padding: usize) -> String {
    let lines: Vec<Vec<&str>> =
        text.split_inclusive('\n').map(|l| l.trim_end_matches('\n').split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    for row in 0..lines.len() {
        for column in 0..widths[row].len() {
            if widths[row][column] == 0 {
                fit_block(&lines, &mut widths, row, column, padding);
            }
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (i, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(i) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
    if !text.ends_with('\n') {
        out.pop();
    }
    out
}

/// Gives one column its width in all the lines, from `first` on, that have a cell there.
fn fit_block(lines: &[Vec<&str>], widths: &mut [Vec<usize>], first: usize, column: usize, padding: usize) {
    let last = (first..lines.len()).find(|row| widths[*row].len() <= column).unwrap_or(lines.len());
    let widest = lines[first..last].iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    for row in &mut widths[first..last] {
        row[column] = widest + padding;
    }
}

/// Spaces between the columns of `get`, and the least width of one. Source: `cli-runtime/pkg/printers/tabwriter.go`.
const PADDING: usize = 3;
const WIDTH_MIN: usize = 6;

/// Rows of a table that come one after another. A column never becomes narrower, so that a watch stays readable.
pub struct Rows {
    widths: Vec<usize>,
    colour: bool,
    /// Which column tells how the object is.
    status: Option<usize>,
}

impl Rows {
    pub fn new(colour: bool) -> Rows {
        Rows { widths: Vec::new(), colour, status: None }
    }

    /// Says which columns there are, where a status can be painted.
    pub fn set_headers(&mut self, headers: &[String]) {
        self.status = headers.iter().position(|h| h == "STATUS");
    }

    /// The lines of some rows. A cell shows its first line only.
    pub fn print(&mut self, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| first_line(cell)).collect()).collect();
        for row in &rows {
            self.widths.resize(self.widths.len().max(row.len()), WIDTH_MIN);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + PADDING);
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String]) -> String {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let painted = if self.colour && self.status == Some(i) { paint_status(cell) } else { None };
            line.push_str(painted.as_deref().unwrap_or(cell));
            if i + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', self.widths[i] - cell.chars().count()));
            }
        }
        line.push('\n');
        line
    }
}

/// kubectl cuts a cell at its first line's end and says so.
fn first_line(cell: &str) -> String {
    match cell.find(['\n', '\r', '\x0c']) {
        Some(at) => format!("{}...", &cell[..at]),
        None => cell.to_string(),
    }
}

/// Green for what is well, yellow for what is under way, red for what needs a person; nothing for a word we do not know.
fn paint_status(cell: &str) -> Option<String> {
    let colour = match cell.split([',', ':']).next().unwrap_or(cell) {
        "Running" | "Completed" | "Complete" | "Succeeded" | "Ready" | "Active" => Colour::Green,
        "Pending" | "ContainerCreating" | "PodInitializing" | "Init" | "Terminating" | "Suspended" | "NotReady"
        | "SuccessCriteriaMet" | "Unknown" => Colour::Yellow,
        "Failed"
        | "FailureTarget"
        | "Error"
        | "CrashLoopBackOff"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "ErrImagePull"
        | "CreateContainerConfigError"
        | "OOMKilled"
        | "Evicted"
        | "StartError"
        | "DeadlineExceeded"
        | "ExitCode"
        | "Signal" => Colour::Red,
        _ => return None,
    };
    Some(term::paint(cell, colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(elastic(text, 2), expected);
    }

    #[test]
    fn columns_stretch_over_neighbouring_lines_only() {
        check("Name:\tx\nNamespace:\tdefault\n", "Name:       x\nNamespace:  default\n");
        check("a\tb\nbreak\nlong\tb\n", "a  b\nbreak\nlong  b\n");
        check("a\tb\tc\naaa\tb\nx\tyyyy\tz\n", "a    b  c\naaa  b\nx    yyyy  z\n");
        check("a\t\tb\n", "a    b\n");
        check("a\t", "a  ");
        check("é\tb\naa\tb\n", "é   b\naa  b\n");
        check("", "");
        check("\n\t\n", "\n  \n");
    }

    fn row(cells: &str) -> Vec<String> {
        cells.split('|').map(str::to_string).collect()
    }

    #[test]
    fn rows_keep_the_widths_of_those_before_them() {
        let mut rows = Rows::new(false);
        assert_eq!(rows.print(&[row("NAME|AGE"), row("worker|5s")]), "NAME     AGE\nworker   5s\n");
        assert_eq!(rows.print(&[row("a|6s")]), "a        6s\n");
        assert_eq!(rows.print(&[row("much-longer|6s")]), "much-longer   6s\n");
        assert_eq!(rows.print(&[row("a|b\nc|d")]), "a             b...   d\n");
    }

    #[test]
    fn colour_leaves_the_columns_where_they_are() {
        let mut rows = Rows::new(true);
        rows.set_headers(&row("NAME|STATUS|AGE"));
        let text = rows.print(&[row("a|Running|1s"), row("b|Odd|1s")]);
        assert_eq!(text, "a     \x1b[32mRunning\x1b[0m   1s\nb     Odd       1s\n");
    }
}

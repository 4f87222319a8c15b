//! Reads the logs that shims write: all of it or its end, while it grows or when it is long over. Holds a bounded piece
//! in memory, whatever the log is. Writes nothing.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::sys::inotify::AddWatchFlags;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::model::{BootId, LogQuery, Reached, Timestamp};

use super::claim;
use super::paths::{Dirs, log_name, parse_log_name};
use super::watch::Watch;

const PIECE_BYTES: usize = 64 * 1024;
/// No record is longer; what has no line feed for so long is no record.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Enough for the time, the stream and the tag of a record.
const HEADER_BYTES: usize = 64;

/// The logs of this node's containers.
#[derive(Debug, Clone)]
pub struct Logs {
    dirs: Dirs,
    boot: BootId,
}

impl Logs {
    pub fn new(dirs: Dirs, boot: BootId) -> Logs {
        Logs { dirs, boot }
    }

    /// Sends what the query asks for, piece by piece, as bytes that the container wrote. With `follow` it goes on until
    /// the attempt is over and all of its output was sent. Ends early, without an error, when nobody receives.
    pub async fn read(&self, query: LogQuery, out: mpsc::Sender<Bytes>) -> io::Result<()> {
        let directory = self.dirs.logs(&query.attempt);
        let growth = if query.follow { self.watch(&query, &directory)? } else { None };
        let mut cursor = spawn_blocking(move || Cursor::open(directory, &query)).await??;
        let mut over = growth.is_none();
        loop {
            let (next, piece) = spawn_blocking(move || {
                let piece = cursor.next();
                (cursor, piece)
            })
            .await?;
            cursor = next;
            let piece = piece?;
            if !piece.is_empty() {
                if out.send(piece.into()).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            let Some(growth) = growth.as_ref().filter(|_| !over && !cursor.form.is_full()) else { return Ok(()) };
            tokio::select! {
                ended = growth.next() => over = ended?,
                () = out.closed() => return Ok(()),
            }
        }
    }

    /// None: the attempt is over, and its log does not grow any more.
    fn watch(&self, query: &LogQuery, directory: &Path) -> io::Result<Option<Growth>> {
        let claim = self.dirs.claim(&query.attempt, &self.boot);
        // Watched before it is looked whether there is anything to watch: so its end cannot be missed.
        let watch = Watch::new()?;
        let Ok(claim_watch) = watch.add(&claim, AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_ATTRIB) else {
            return Ok(None);
        };
        if !claim::is_held(&claim)? || self.dirs.record(&query.attempt).exists() {
            return Ok(None);
        }
        // The shim makes it with the first output.
        fs::create_dir_all(directory)?;
        watch.add(directory, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE)?;
        Ok(Some(Growth { watch, claim: claim_watch }))
    }
}

/// Tells that there may be more to read.
struct Growth {
    watch: Watch,
    claim: nix::sys::inotify::WatchDescriptor,
}

impl Growth {
    /// True: the shim is gone, and all of the output is in the file.
    async fn next(&self) -> io::Result<bool> {
        Ok(self.watch.next().await?.iter().any(|event| event.wd == self.claim))
    }
}

/// A place in an attempt's log.
struct Cursor {
    directory: PathBuf,
    attempt: u32,
    /// Of the file that is open, or the one to open next.
    sequence: u32,
    file: Option<File>,
    /// The begin of a record that is not whole yet.
    raw: Vec<u8>,
    form: Form,
}

impl Cursor {
    fn open(directory: PathBuf, query: &LogQuery) -> io::Result<Cursor> {
        let attempt = query.attempt.number;
        let mut form = Form::new(query);
        let (sequence, offset) = match &query.after {
            None => begin(&directory, attempt, query.tail)?,
            Some(reached) => {
                let group = group_of(&directory, attempt, &reached.time)?;
                // A line that began before it is one that the reader has.
                (form.in_line, form.skipped) = (group.in_line, group.in_line);
                (group.sequence, group.offset)
            }
        };
        let mut cursor = Cursor { directory, attempt, sequence, file: None, raw: Vec::new(), form };
        if offset > 0 && cursor.open_file()? {
            cursor.file.as_mut().map(|file| file.seek(SeekFrom::Start(offset))).transpose()?;
        }
        Ok(cursor)
    }

    /// Some output; empty when there is no more at present.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut output = Vec::new();
        while output.is_empty() && !self.form.is_full() && self.read_piece()? {
            let whole = self.raw.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            for record in self.raw[..whole].split_inclusive(|b| *b == b'\n') {
                self.form.write(&record[..record.len() - 1], &mut output);
            }
            self.raw.drain(..whole);
            if self.raw.len() > RECORD_BYTES_MAX {
                self.raw.clear();
            }
        }
        Ok(output)
    }

    /// Reads on, in the next file where this one is at its end for good. False: there is no more at present.
    fn read_piece(&mut self) -> io::Result<bool> {
        loop {
            // Looked for before this file is read to its end: what comes after the last byte is in the next file.
            let next = sequences(&self.directory, self.attempt)?.into_iter().find(|s| *s > self.sequence);
            if self.open_file()? {
                let before = self.raw.len();
                let file = self.file.as_mut().expect("it was opened in the line above");
                file.take(PIECE_BYTES as u64).read_to_end(&mut self.raw)?;
                if self.raw.len() > before {
                    return Ok(true);
                }
            }
            let Some(next) = next else { return Ok(false) };
            self.raw.clear();
            self.file = None;
            self.sequence = next;
        }
    }

    /// False: the file is not there, not yet or no more.
    fn open_file(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = match File::open(self.directory.join(log_name(self.attempt, self.sequence))) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                file => Some(file?),
            };
        }
        Ok(self.file.is_some())
    }
}

/// The files of an attempt's log that are there, oldest first.
fn sequences(directory: &Path, attempt: u32) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.flatten().filter_map(|entry| parse_log_name(entry.file_name().to_str()?));
    let mut found: Vec<u32> = names.filter(|(number, _)| *number == attempt).map(|(_, sequence)| sequence).collect();
    found.sort_unstable();
    Ok(found)
}

/// The file and the offset at which the wanted lines begin.
fn begin(directory: &Path, attempt: u32, tail: Option<u64>) -> io::Result<(u32, u64)> {
    let files = sequences(directory, attempt)?;
    let first = files.first().copied().unwrap_or(0);
    let Some(wanted) = tail else { return Ok((first, 0)) };
    let (mut lines, mut is_last_record) = (0, true);
    for sequence in files.into_iter().rev() {
        let file = match File::open(directory.join(log_name(attempt, sequence))) {
            // It was rotated away meanwhile, and all before it were too.
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            file => file?,
        };
        let ends_line = |header: &[u8]| parse_record(header).is_some_and(|r| !r.partial);
        let found = last_record(&file, |header| {
            // The end of a line is passed; a line that the container has not ended yet counts as well.
            if std::mem::take(&mut is_last_record) || ends_line(header) {
                lines += 1;
            }
            lines > wanted
        })?;
        if let Some(offset) = found {
            return Ok((sequence, offset));
        }
    }
    Ok((first, 0))
}

/// Where the records of one time begin.
struct Group {
    sequence: u32,
    offset: u64,
    /// The record before them does not end its line.
    in_line: bool,
}

/// The last records of this very time; where there are none any more, all that is there.
fn group_of(directory: &Path, attempt: u32, time: &str) -> io::Result<Group> {
    let files = sequences(directory, attempt)?;
    let mut group = Group { sequence: files.first().copied().unwrap_or(0), offset: 0, in_line: false };
    let mut is_found = false;
    for sequence in files.into_iter().rev() {
        let file = match File::open(directory.join(log_name(attempt, sequence))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            file => file?,
        };
        let found = last_record(&file, |header| match parse_record(header) {
            Some(record) if record.time == time => {
                is_found = true;
                false
            }
            Some(record) if is_found => {
                group.in_line = record.partial;
                true
            }
            Some(_) | None => false,
        })?;
        if let Some(offset) = found {
            return Ok(Group { sequence, offset, ..group });
        }
    }
    Ok(group)
}

/// Goes through a file's records from the last to the first, by the first bytes of each, until `is_it`; gives the offset
/// after that record.
fn last_record(file: &File, mut is_it: impl FnMut(&[u8]) -> bool) -> io::Result<Option<u64>> {
    let len = file.metadata()?.len();
    let (mut high, mut end) = (len, None);
    let mut block = vec![0; PIECE_BYTES + HEADER_BYTES];
    while high > 0 {
        let low = high.saturating_sub(PIECE_BYTES as u64);
        let size = (high - low) as usize;
        let with_header = (len - low).min((size + HEADER_BYTES) as u64) as usize;
        file.read_exact_at(&mut block[..with_header], low)?;
        for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
            if let Some(end) = end
                && is_it(&block[at + 1..with_header])
            {
                return Ok(Some(end));
            }
            end = Some(low + at as u64 + 1);
        }
        if low == 0 && end.is_some() && is_it(&block[..with_header]) {
            return Ok(end);
        }
        high = low;
    }
    Ok(None)
}

/// How records become output.
struct Form {
    since: Option<Timestamp>,
    timestamps: bool,
    /// Bytes that may still be sent.
    left: u64,
    /// The last record's line goes on in the next one.
    in_line: bool,
    /// This line is older than asked for.
    skipped: bool,
    /// What the reader has: of this time so many lines.
    had: Option<Reached>,
}

struct Record<'a> {
    time: &'a str,
    partial: bool,
    text: &'a [u8],
}

impl Form {
    fn new(query: &LogQuery) -> Form {
        let left = query.limit_bytes.unwrap_or(u64::MAX);
        let had = query.after.clone();
        Form { since: query.since, timestamps: query.timestamps, left, in_line: false, skipped: false, had }
    }

    fn is_full(&self) -> bool {
        self.left == 0
    }

    fn write(&mut self, record: &[u8], output: &mut Vec<u8>) {
        let Some(record) = parse_record(record) else { return };
        let begins = !std::mem::replace(&mut self.in_line, record.partial);
        if begins {
            let is_old = self.since.is_some_and(|since| Timestamp::parse(record.time).is_ok_and(|t| t < since));
            self.skipped = is_old || self.is_had(record.time);
        }
        if self.skipped {
            return;
        }
        if begins && self.timestamps {
            self.put(record.time.as_bytes(), output);
            self.put(b" ", output);
        }
        self.put(record.text, output);
        if !record.partial {
            self.put(b"\n", output);
        }
    }

    fn is_had(&mut self, time: &str) -> bool {
        let Some(had) = self.had.as_mut().filter(|had| had.lines > 0 && had.time == time) else { return false };
        had.lines -= 1;
        true
    }

    fn put(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        let len = self.left.min(bytes.len() as u64);
        output.extend_from_slice(&bytes[..len as usize]);
        self.left -= len;
    }
}

/// `TIME STREAM TAG TEXT`; what is no record is left out of the output.
fn parse_record(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = line.splitn(4, |b| *b == b' ');
    let (time, stream, tag, text) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let partial = match tag {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    let known = stream == b"stdout" || stream == b"stderr";
    std::str::from_utf8(time).ok().filter(|_| known).map(|time| Record { time, partial, text })
}

/// Removes the logs of attempts that nobody can ask for any more: all but the present and the previous one
/// (`logs --previous`).
pub fn prune(directory: &Path, present: u32) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(parse_log_name).map(|(number, _)| number);
        if number.is_some_and(|number| number < present.saturating_sub(1)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttemptId, Uid};

    fn query() -> LogQuery {
        let attempt = AttemptId { pod: Uid::new("u"), container: "c".into(), number: 2 };
        LogQuery { attempt, follow: false, tail: None, since: None, timestamps: false, limit_bytes: None, after: None }
    }

    /// Files by sequence, each a list of `SECOND TAG TEXT`.
    fn log(files: &[(u32, &[&str])]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (sequence, records) in files {
            let record = |r: &&str| {
                let (second, rest) = r.split_once(' ').unwrap();
                format!("2026-01-01T00:00:0{second}.000000000Z stdout {rest}\n")
            };
            let text: String = records.iter().map(record).collect();
            fs::write(temp.path().join(log_name(2, *sequence)), text).unwrap();
        }
        temp
    }

    fn read(temp: &tempfile::TempDir, query: &LogQuery) -> String {
        let mut cursor = Cursor::open(temp.path().into(), query).unwrap();
        let mut all = Vec::new();
        loop {
            let piece = cursor.next().unwrap();
            if piece.is_empty() {
                return String::from_utf8_lossy(&all).into_owned();
            }
            all.extend(piece);
        }
    }

    fn sample() -> tempfile::TempDir {
        log(&[(3, &["1 F a", "2 F b"]), (4, &["3 P c", "4 F d", "5 F "]), (10, &["6 F e", "7 P f"])])
    }

    #[test]
    fn lines_come_in_order_across_files_and_parts_are_joined() {
        assert_eq!(read(&sample(), &query()), "a\nb\ncd\n\ne\nf");
        assert_eq!(read(&log(&[]), &query()), "");
    }

    #[test]
    fn the_tail_counts_lines_and_not_records() {
        let check = |tail, expected| assert_eq!(read(&sample(), &LogQuery { tail: Some(tail), ..query() }), expected);
        check(0, "");
        check(1, "f");
        check(2, "e\nf");
        check(3, "\ne\nf");
        check(4, "cd\n\ne\nf");
        check(5, "b\ncd\n\ne\nf");
        check(6, "a\nb\ncd\n\ne\nf");
        check(u64::MAX, "a\nb\ncd\n\ne\nf");
    }

    #[test]
    fn the_tail_of_a_log_of_many_blocks_is_found() {
        let lines: Vec<String> = (0..9000).map(|n| format!("1 F {n:0>width$}", width = n % 97 + 5)).collect();
        let records: Vec<&str> = lines.iter().map(String::as_str).collect();
        let temp = log(&[(0, &records)]);
        let all = read(&temp, &query());
        for tail in [0, 1, 500, 2000, 8999, 9000] {
            let found = read(&temp, &LogQuery { tail: Some(tail), ..query() });
            assert!(all.ends_with(&found));
            assert_eq!(found.lines().count() as u64, tail);
        }
    }

    #[test]
    fn times_choose_and_show() {
        let since = Some(Timestamp::parse("2026-01-01T00:00:04Z").unwrap());
        assert_eq!(read(&sample(), &LogQuery { since, ..query() }), "\ne\nf", "a line is as old as its begin");
        let shown = read(&sample(), &LogQuery { timestamps: true, tail: Some(4), ..query() });
        let expected = "2026-01-01T00:00:03.000000000Z cd\n2026-01-01T00:00:05.000000000Z \n";
        assert!(shown.starts_with(expected), "{shown}");
    }

    /// Wherever a reader broke off, it gets the rest.
    #[test]
    fn a_reader_goes_on_after_the_lines_that_it_has() {
        let files: &[(u32, &[&str])] = &[
            (3, &["1 F a", "2 P b", "3 F c", "3 F d"]),
            (4, &["3 F e", "3 P f", "4 F g"]),
            (5, &["0 F the clock was set", "0 F h", "5 F i"]),
        ];
        let temp = log(files);
        let all = read(&temp, &LogQuery { timestamps: true, ..query() });
        let lines: Vec<&str> = all.split_inclusive('\n').collect();
        for had in 1..=lines.len() {
            let time = lines[had - 1].split_once(' ').unwrap().0.to_string();
            let same = lines[..had].iter().rev().take_while(|line| line.starts_with(&time)).count();
            let after = Some(Reached { time, lines: same as u64 });
            let rest = read(&temp, &LogQuery { timestamps: true, after, tail: Some(1), ..query() });
            let expected = lines[had..].concat();
            assert_eq!(rest, expected, "after {had} lines");
        }
        let after = Some(Reached { time: "2025-01-01T00:00:00Z".into(), lines: 2 });
        assert_eq!(read(&temp, &LogQuery { timestamps: true, after, ..query() }), all, "it was rotated away");
    }

    #[test]
    fn no_more_bytes_than_asked_for() {
        for limit in 0..12 {
            let expected = &"a\nb\ncd\n\ne\nf"[..limit.min(11)];
            assert_eq!(read(&sample(), &LogQuery { limit_bytes: Some(limit as u64), ..query() }), expected);
        }
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let temp = sample();
        let path = temp.path().join(log_name(2, 11));
        fs::write(&path, b"\n\0\0\nx\nT stdout X y\n2026 stdout F \xff\xfe\n2026 stdout F torn").unwrap();
        assert_eq!(read(&temp, &query()), "a\nb\ncd\n\ne\nf\u{fffd}\u{fffd}\n");
        let mut cursor = Cursor::open(temp.path().into(), &LogQuery { tail: Some(1), ..query() }).unwrap();
        assert_eq!(cursor.next().unwrap(), b"f");
        assert_eq!(cursor.next().unwrap(), b"\xff\xfe\n", "bytes as they were written");
    }

    #[test]
    fn the_present_and_the_previous_log_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["0.0.log", "0.1.log", "1.0.log", "2.0.log", "3.0.log", "other"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        prune(temp.path(), 3).unwrap();
        let mut left: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["2.0.log", "3.0.log", "other"]);
        prune(&temp.path().join("gone"), 9).unwrap();
    }
}

//! The exit record: the evidence of how an attempt ended. Durable before anything else is told of the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::model::{Exit, HowEnded};

use super::paths::{self, Dirs};

/// A record is a line; only a reason why nothing started has no bound of its own.
const REASON_BYTES_MAX: usize = 4096;
const RECORD_BYTES_MAX: u64 = 64 * 1024;

/// Writes the record of an end; when this returns, a power cut does not take it any more.
///
/// # Errors
/// The disk is full, broken or read-only: there is no record then, or one that `read` does not take for one.
pub fn write(dirs: &Dirs, exit: &Exit) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(dirs.record(&exit.attempt))?;
    file.write_all(&line(exit))?;
    file.sync_data()?;
    File::open(dirs.records())?.sync_all()
}

/// One line of JSON. The line feed says that it is whole: what a power cut leaves of a record is shorter, or has zeros in
/// it, which JSON has not.
pub fn line(exit: &Exit) -> Vec<u8> {
    let mut exit = exit.clone();
    if let HowEnded::NotStarted(reason) = &mut exit.how {
        cut(reason);
    }
    let mut line = serde_json::to_vec(&exit).expect("an exit has neither maps with odd keys nor numbers JSON lacks");
    line.push(b'\n');
    line
}

fn cut(reason: &mut String) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
}

/// The record in this file. None: there is no file, or it is torn, or it is about another attempt than its name says;
/// that counts as no record.
pub fn read(path: &Path) -> io::Result<Option<Exit>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // Room for what a record has as a rule, so that one read takes it.
    let mut bytes = Vec::with_capacity(1024);
    file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    Ok(parse(&bytes).filter(|exit| paths::record_name(&exit.attempt) == name))
}

fn parse(bytes: &[u8]) -> Option<Exit> {
    serde_json::from_slice(bytes.strip_suffix(b"\n")?).ok()
}

/// What is not there is forgotten already.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attempt::Stamp;
    use crate::model::{AttemptId, BootId, Timestamp, Uid};

    fn exit(how: HowEnded) -> Exit {
        let stamp = Stamp { wall: Timestamp::from_secs(5), boot: BootId::new("b"), up_ms: 7 };
        let attempt = AttemptId { pod: Uid::new("u"), container: "c".into(), number: 3 };
        Exit { attempt, how, oom_killed: true, told_from_outside: false, started: Some(stamp.clone()), finished: stamp }
    }

    fn dirs() -> (tempfile::TempDir, Dirs) {
        let temp = tempfile::tempdir().unwrap();
        let dirs = Dirs { data: temp.path().into(), run: temp.path().into() };
        fs::create_dir(dirs.records()).unwrap();
        (temp, dirs)
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let (_temp, dirs) = dirs();
        for how in [HowEnded::Code(3), HowEnded::Signal(9), HowEnded::NotStarted("é\n\"".into())] {
            let exit = exit(how);
            write(&dirs, &exit).unwrap();
            assert_eq!(read(&dirs.record(&exit.attempt)).unwrap(), Some(exit));
        }
    }

    #[test]
    fn every_torn_record_counts_as_none() {
        let (_temp, dirs) = dirs();
        let exit = exit(HowEnded::Code(0));
        let (path, whole) = (dirs.record(&exit.attempt), line(&exit));
        assert_eq!(read(&path).unwrap(), None);
        for len in 0..whole.len() {
            let mut zeroed = whole.clone();
            zeroed[len..].fill(0);
            for torn in [&whole[..len], &zeroed] {
                fs::write(&path, torn).unwrap();
                assert_eq!(read(&path).unwrap(), None, "{len} bytes");
            }
        }
        fs::rename(&path, dirs.records().join("u_other_3")).unwrap();
        fs::write(dirs.records().join("u_other_3"), &whole).unwrap();
        assert_eq!(read(&dirs.records().join("u_other_3")).unwrap(), None, "another attempt's");
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let line = line(&exit(HowEnded::NotStarted("é".repeat(REASON_BYTES_MAX))));
        let HowEnded::NotStarted(reason) = parse(&line).unwrap().how else { panic!() };
        assert_eq!(reason.len(), REASON_BYTES_MAX);
    }
}

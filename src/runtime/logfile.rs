//! Writes a container's log: the kubelet's line format (CRI), rotated by size and count. Starts nothing, reads no log.
//!
//! Each line is `TIME STREAM F TEXT`; what does not fit into a buffer, or ends without a line feed, is `P`: the text
//! goes on in the next line of that stream. Files are numbered upwards and never renamed, so that a reader that follows
//! cannot lose its place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::unistd::read;

use super::paths::log_name;
use super::sys::Pages;

/// One line's share of a record, as in containerd half of it; a longer line is cut into parts.
const STREAM_BYTES: usize = 8 * 1024;
/// Time, stream and tag.
const PREFIX_BYTES_MAX: usize = 64;
const OUT_BYTES: usize = STREAM_BYTES + PREFIX_BYTES_MAX;

/// Where to, and how much of it is kept.
pub struct Place {
    pub directory: PathBuf,
    pub attempt: u32,
    pub bytes_max: u64,
    pub files_max: u32,
}

pub struct LogFile {
    place: Place,
    sequence: u32,
    /// None until the first record: a container that writes nothing costs the disk nothing.
    file: Option<File>,
    /// Bytes of whole records in the file.
    size: u64,
    out: Pages,
    filled: usize,
    /// Bytes of output that found no room on the disk.
    lost: u64,
}

/// One output of the container, on its way to the log.
pub struct Stream {
    name: &'static str,
    pipe: Option<OwnedFd>,
    buffer: Pages,
    filled: usize,
}

/// What a look at a stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    More,
    /// Nothing there at present.
    Dry,
    /// Every writer has closed it.
    Ended,
}

impl LogFile {
    /// The log of an attempt, of which nothing is on the disk yet.
    pub fn new(place: Place) -> io::Result<LogFile> {
        Ok(LogFile { place, sequence: 0, file: None, size: 0, out: Pages::new(OUT_BYTES)?, filled: 0, lost: 0 })
    }

    fn record(&mut self, time: &str, stream: &str, tag: char, text: &[u8]) {
        if self.filled + PREFIX_BYTES_MAX + text.len() + 1 > OUT_BYTES {
            self.flush();
        }
        let mut room = &mut self.out[self.filled..];
        let before = room.len();
        let written = write!(room, "{time} {stream} {tag} ")
            .and_then(|()| room.write_all(text))
            .and_then(|()| room.write_all(b"\n"));
        written.expect("a record is no longer than the buffer, which was emptied for it");
        self.filled += before - room.len();
    }

    /// Puts what waits into the file, or into the next one where this one is full.
    pub fn flush(&mut self) {
        if self.filled == 0 {
            return;
        }
        if self.size >= self.place.bytes_max {
            self.rotate();
        }
        match self.write() {
            Ok(()) => self.size += self.filled as u64,
            Err(_) => {
                // The container must not wait for a full disk. No half record is left, so that the next one is whole.
                self.lost += self.filled as u64;
                let _ = self.file.as_ref().map(|file| file.set_len(self.size));
            }
        }
        self.filled = 0;
    }

    fn write(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            fs::create_dir_all(&self.place.directory)?;
            self.file = Some(open(&self.place, 0)?);
        }
        let file = self.file.as_mut().expect("it was opened in the lines above");
        file.write_all(&self.out[..self.filled])
    }

    /// On failure the present file grows on, and it is tried again after the next record.
    fn rotate(&mut self) {
        let Ok(file) = open(&self.place, self.sequence + 1) else { return };
        self.sequence += 1;
        self.file = Some(file);
        self.size = 0;
        if let Some(old) = self.sequence.checked_sub(self.place.files_max.max(1)) {
            let _ = fs::remove_file(self.place.directory.join(log_name(self.place.attempt, old)));
        }
    }

    /// Says in the log itself what is missing from it, once there is room again.
    fn confess(&mut self, time: &str) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.record(
                time,
                "stderr",
                'F',
                format!("[pinnace: no room on the disk for {lost} bytes of log]").as_bytes(),
            );
        }
    }
}

/// Appending, so that a write after `set_len` begins at the new end.
fn open(place: &Place, sequence: u32) -> io::Result<File> {
    let path = place.directory.join(log_name(place.attempt, sequence));
    OpenOptions::new().append(true).create(true).open(path)
}

impl Stream {
    /// `pipe` must not block.
    pub fn new(name: &'static str, pipe: OwnedFd) -> io::Result<Stream> {
        Ok(Stream { name, pipe: Some(pipe), buffer: Pages::new(STREAM_BYTES)?, filled: 0 })
    }

    /// What to wait on; none when the stream has ended.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(|pipe| pipe.as_fd())
    }

    /// Carries one buffer's worth to the log. The file has it when this returns, but for the begin of a line.
    pub fn carry(&mut self, log: &mut LogFile) -> Flow {
        let Some(pipe) = &self.pipe else { return Flow::Ended };
        match read(pipe, &mut self.buffer[self.filled..]) {
            Ok(0) => self.end(log),
            Ok(len) => {
                self.filled += len;
                self.write_lines(log);
                Flow::More
            }
            Err(Errno::EINTR) => Flow::More,
            Err(Errno::EAGAIN) => Flow::Dry,
            Err(_) => self.end(log),
        }
    }

    /// Carries all that is there. Writers may be left that are no processes of the container; they are not waited for.
    pub fn drain(&mut self, log: &mut LogFile) {
        while self.carry(log) == Flow::More {}
        self.end(log);
    }

    fn end(&mut self, log: &mut LogFile) -> Flow {
        self.pipe = None;
        if self.filled > 0 {
            log.record(&now_text(), self.name, 'P', &self.buffer[..self.filled]);
            self.filled = 0;
            log.flush();
        }
        Flow::Ended
    }

    fn write_lines(&mut self, log: &mut LogFile) {
        let time = now_text();
        log.confess(&time);
        let mut rest = &self.buffer[..self.filled];
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            log.record(&time, self.name, 'F', &rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.len() == STREAM_BYTES {
            log.record(&time, self.name, 'P', rest);
            rest = &[];
        }
        let kept = rest.len();
        self.buffer.copy_within(self.filled - kept..self.filled, 0);
        self.filled = kept;
        log.flush();
    }
}

/// `2026-01-01T00:15:00.123456789Z`.
fn now_text() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now());
    format!("{:.9}", now.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    fn place(temp: &tempfile::TempDir, bytes_max: u64, files_max: u32) -> Place {
        Place { directory: temp.path().join("c"), attempt: 4, bytes_max, files_max }
    }

    /// What a container writes in these pieces, as `STREAM TAG TEXT` of each record and by file.
    fn written(pieces: &[&[u8]], bytes_max: u64, files_max: u32) -> Vec<(u32, String)> {
        let temp = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(place(&temp, bytes_max, files_max)).unwrap();
        let (reader, writer) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
        let mut stream = Stream::new("stdout", reader).unwrap();
        for piece in pieces {
            nix::unistd::write(&writer, piece).unwrap();
            while stream.carry(&mut log) == Flow::More {}
        }
        drop(writer);
        stream.drain(&mut log);
        let mut found = Vec::new();
        for sequence in 0..=log.sequence {
            let Ok(bytes) = fs::read(temp.path().join("c").join(log_name(4, sequence))) else { continue };
            for line in String::from_utf8_lossy(&bytes).lines() {
                let (time, rest) = line.split_once(' ').unwrap();
                crate::model::Timestamp::parse(time).unwrap();
                assert_eq!(time.len(), "2026-01-01T00:15:00.123456789Z".len());
                found.push((sequence, rest.to_string()));
            }
        }
        found
    }

    fn texts(pieces: &[&[u8]]) -> Vec<String> {
        written(pieces, u64::MAX, 1).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn lines_are_whole_however_they_came() {
        assert_eq!(texts(&[b"a\nb\n"]), ["stdout F a", "stdout F b"]);
        assert_eq!(texts(&[b"a", b"b\n\nc", b"\n"]), ["stdout F ab", "stdout F ", "stdout F c"]);
        assert_eq!(texts(&[]), [""; 0]);
        assert_eq!(texts(&[b"no end"]), ["stdout P no end"]);
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let long = vec![b'x'; STREAM_BYTES * 2 + 5];
        let found = texts(&[&long, b"\nnext\n"]);
        let sizes: Vec<usize> = found.iter().map(|text| text.len() - "stdout P ".len()).collect();
        assert_eq!(sizes, [STREAM_BYTES, STREAM_BYTES, 5, 4]);
        assert!(found[1].starts_with("stdout P") && found[2].starts_with("stdout F"));
        let exact = vec![b'x'; STREAM_BYTES];
        assert_eq!(texts(&[&exact, b"\n"]).last().unwrap(), "stdout F ");
    }

    #[test]
    fn a_full_file_is_followed_by_the_next_and_the_oldest_goes() {
        let found = written(&[b"1\n", b"2\n", b"3\n", b"4\n"], 1, 2);
        assert_eq!(found, [(2, "stdout F 3".to_string()), (3, "stdout F 4".to_string())]);
        let found = written(&[b"1\n", b"2\n", b"3\n"], 60, 5);
        assert_eq!(found.iter().map(|(file, _)| *file).collect::<Vec<_>>(), [0, 0, 1]);
    }

    #[test]
    fn nothing_is_made_before_the_first_record_and_a_directory_that_cannot_be_is_tried_again() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("c");
        let mut log = LogFile::new(place(&temp, u64::MAX, 1)).unwrap();
        log.flush();
        assert!(!directory.exists());
        fs::write(&directory, "in the way").unwrap();
        log.record("T", "stdout", 'F', b"gone");
        log.flush();
        fs::remove_file(&directory).unwrap();
        log.confess("T");
        log.flush();
        let text = fs::read_to_string(directory.join("4.0.log")).unwrap();
        assert_eq!(text, "T stderr F [pinnace: no room on the disk for 16 bytes of log]\n");
    }

    #[test]
    fn output_that_finds_no_room_is_told_in_the_log() {
        let temp = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(place(&temp, u64::MAX, 1)).unwrap();
        log.file = Some(OpenOptions::new().write(true).open("/dev/full").unwrap());
        log.record("T", "stdout", 'F', b"gone");
        log.flush();
        log.file = None;
        log.confess("T");
        log.flush();
        let text = fs::read_to_string(temp.path().join("c/4.0.log")).unwrap();
        assert_eq!(text, "T stderr F [pinnace: no room on the disk for 16 bytes of log]\n");
    }
}

//! Archives to the node and from it, and names that it fetches; with a bar on a terminal while that takes long.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::model::Kind;
use crate::model::image::{normal_reference, short_id, size_text};

use super::super::args::{ImageExport, ImageImport, ImagePull};
use super::super::client::{Stream, escape};
use super::super::fail::{Fail, Status};
use super::super::json::text_at;
use super::super::term::Bar;
use super::super::{Session, target};
use super::show::{find, shown};
use super::{check_env, flag_words};

const PIECE_BYTES: usize = 256 * 1024;
/// Pieces read ahead of the connection.
pub const PIECES_MAX: usize = 4;
pub const STDIN: &str = "-";

pub async fn import(args: &ImageImport, s: &mut Session) -> Result<(), Fail> {
    check_env(&args.env)?;
    let path = format!("/apis/pinnace.dev/v1/import?{}", query(args)?);
    let archive = open(&args.from)?;
    let bar = Bar::start(format!("importing {}", args.from.display()));
    let stream = s.client.upload(&path, archive).await?;
    follow(stream, bar, "imported", s).await
}

fn query(args: &ImageImport) -> Result<String, Fail> {
    let list = |words: Vec<String>| if words.is_empty() { String::new() } else { json!(words).to_string() };
    let pairs = [
        ("reference", args.name.clone().unwrap_or_default()),
        ("entrypoint", list(flag_words("--entrypoint", &args.entrypoint)?)),
        ("cmd", list(flag_words("--cmd", &args.cmd)?)),
        ("env", list(args.env.clone())),
        ("workdir", args.workdir.clone()),
        ("user", args.user.clone()),
    ];
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    Ok(given.map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&"))
}

/// The archive as it is read, on a thread of its own.
fn open(from: &Path) -> Result<mpsc::Receiver<io::Result<Bytes>>, Fail> {
    let shown = from.display();
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    if from.as_os_str() == STDIN {
        spawn_blocking(move || send(io::stdin(), &sender));
        return Ok(receiver);
    }
    let file = File::open(from).map_err(|e| Fail::other(format!("open {shown}: {e}")))?;
    let about = file.metadata().map_err(|e| Fail::other(format!("look at {shown}: {e}")))?;
    if !about.is_dir() {
        spawn_blocking(move || send(file, &sender));
        return Ok(receiver);
    }
    if !from.join("oci-layout").is_file() {
        return Err(Fail::other(format!(
            "{shown} is a directory without an OCI layout; import an archive of it (`tar -C {shown} -c . | pinnace image \
             import - --name NAME`), or use it as it is with `pinnace image add NAME {shown}`"
        )));
    }
    let directory = from.to_path_buf();
    spawn_blocking(move || pack(&directory, sender));
    Ok(receiver)
}

pub fn send(mut from: impl Read, to: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let read = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(len) => {
                piece.truncate(len);
                Ok(piece.into())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let is_over = read.is_err();
        if to.blocking_send(read).is_err() || is_over {
            return;
        }
    }
}

/// A layout's directory as an archive.
fn pack(directory: &Path, to: mpsc::Sender<io::Result<Bytes>>) {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(PIECE_BYTES, Pieces(&to)));
    archive.follow_symlinks(true);
    let packed = archive.append_dir_all(".", directory).and_then(|()| archive.into_inner()).and_then(|mut w| w.flush());
    if let Err(e) = packed {
        let _ = to.blocking_send(Err(e));
    }
}

struct Pieces<'a>(&'a mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the node does not read on");
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub async fn pull(args: &ImagePull, s: &mut Session) -> Result<(), Fail> {
    let credentials = match &args.docker_config {
        None => Vec::new(),
        Some(path) => {
            std::fs::read(path).map_err(|e| Fail::other(format!("--docker-config {}: {e}", path.display())))?
        }
    };
    let (sender, body) = mpsc::channel(1);
    let _ = sender.send(Ok(credentials.into())).await;
    drop(sender);
    let path = format!("/apis/pinnace.dev/v1/pull?reference={}", escape(&args.name));
    let bar = Bar::start(format!("pulling {}", normal_reference(&args.name)));
    let stream = s.client.upload(&path, body).await?;
    follow(stream, bar, "pulled", s).await
}

/// Shows how it goes until it is done: a line for each image, or why there is none.
async fn follow(mut stream: Stream, bar: Bar, done: &str, s: &mut Session) -> Result<(), Fail> {
    let mut parts = Parts::default();
    let mut images = 0;
    while let Some(line) = stream.line().await? {
        let news: Value = serde_json::from_slice(&line)
            .map_err(|e| Fail::other(format!("the node told of the image in no JSON: {e}")))?;
        if let Some(progress) = news.get("progress") {
            parts.hear(progress);
            bar.set(parts.part(), parts.text());
        } else if let Some(image) = news.get("image") {
            bar.clear();
            images += 1;
            let size = image.pointer("/status/sizeBytes").and_then(Value::as_u64).unwrap_or_default();
            let id = short_id(text_at(image, "/status/id"));
            s.out.line(&format!("image {} {done} ({id}, {})", shown(image), size_text(size)))?;
        } else if let Some(status) = news.get("status") {
            return Err(Fail::Refused(Box::new(Status::from_value(500, status))));
        }
    }
    if images == 0 {
        return Err(Fail::other("the node ended the work without a word; see its log"));
    }
    Ok(())
}

/// What is done of each part, as far as it was told.
#[derive(Default)]
pub struct Parts {
    parts: BTreeMap<String, (u64, Option<u64>)>,
    last: String,
}

impl Parts {
    pub fn hear(&mut self, progress: &Value) {
        self.last = text_at(progress, "/what").to_string();
        let number = |name: &str| progress.get(name).and_then(Value::as_u64);
        self.parts.insert(self.last.clone(), (number("done").unwrap_or_default(), number("total")));
    }

    /// How much of what is known to come is done, from 0 to 1; none while nothing is known.
    pub fn part(&self) -> Option<f64> {
        let (done, total) = self.sums();
        (total > 0).then(|| done as f64 / total as f64)
    }

    pub fn text(&self) -> String {
        let (done, total) = self.sums();
        match total {
            0 => format!("{}, {}", self.last, size_text(self.parts.values().map(|(done, _)| done).sum())),
            total => format!("{} of {}, {}", size_text(done), size_text(total), self.last),
        }
    }

    /// Of the parts whose length is known.
    fn sums(&self) -> (u64, u64) {
        let known = self.parts.values().filter_map(|(done, total)| Some((*done, (*total)?)));
        known.fold((0, 0), |(a, b), (done, total)| (a + done.min(total), b + total))
    }
}

pub async fn export(args: &ImageExport, s: &mut Session) -> Result<(), Fail> {
    let image = find(&args.name, s).await?;
    let path = format!("{}/export", target::object(Kind::Image, "", text_at(&image, "/metadata/name")));
    let mut stream = s.client.stream(&path, "application/x-tar").await?;
    let bar = Bar::start(format!("exporting {}", shown(&image)));
    let mut written = 0;
    if args.to.as_os_str() == STDIN {
        while let Some(piece) = stream.piece().await? {
            s.out.bytes(&piece)?;
        }
        return Ok(());
    }
    // Under its own name only when it is whole.
    let partial = args.to.with_extension("partial");
    let failed = |e: io::Error| Fail::other(format!("write {}: {e}", args.to.display()));
    let mut file = File::create(&partial).map_err(failed)?;
    let copied = async {
        while let Some(piece) = stream.piece().await? {
            file.write_all(&piece).map_err(failed)?;
            written += piece.len() as u64;
            bar.set(None, size_text(written));
        }
        file.sync_all().map_err(failed)?;
        std::fs::rename(&partial, &args.to).map_err(failed)
    };
    let copied = copied.await;
    if copied.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    drop(bar);
    copied?;
    s.out.line(&format!("image {} exported to {} ({})", shown(&image), args.to.display(), size_text(written)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_as_far_as_their_length_is_known() {
        let mut parts = Parts::default();
        parts.hear(&json!({"what": "reading", "done": 5000}));
        assert_eq!((parts.part(), parts.text()), (None, "reading, 5.00kB".to_string()));
        parts.hear(&json!({"what": "layer a", "done": 1000, "total": 4000}));
        parts.hear(&json!({"what": "layer b", "done": 2000, "total": 4000}));
        assert_eq!((parts.part(), parts.text()), (Some(0.375), "3.00kB of 8.00kB, layer b".to_string()));
        parts.hear(&json!({"what": "layer a", "done": 9000, "total": 4000}));
        assert_eq!(parts.part(), Some(0.75), "more than all is all");
    }
}

//! Opening a store, whatever the file has become. A file that cannot be read is never deleted: it is moved aside, the last
//! good copy takes its place, and when there is none the node starts empty and takes its sets from the broker again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::Reserve;
use super::load::{load, read_meta, write_meta};
use super::{CACHE_BYTES, FILE, FORMAT, GOOD_COPY, Loaded, Store};

/// A copy, or nothing, may be older than what was shown by any number of revisions; nobody commits so many meanwhile.
const LOST_REVISIONS: u64 = 1_000_000;
/// A file larger than this that is mostly free is made smaller at a start.
const COMPACT_BYTES_MIN: u64 = 8 << 20;

#[derive(Debug)]
pub enum OpenError {
    /// Another process has the directory.
    Locked(PathBuf),
    /// Written by a release after this one.
    Newer { file: PathBuf, format: u64 },
    /// The host refused: permissions, a read-only or full disk, a failing medium.
    Io { tried: &'static str, path: PathBuf, cause: io::Error },
    /// Not a store any more. Given only for a backend of the caller's; a file is moved aside instead.
    Damaged(String),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Locked(dir) => write!(
                f,
                "cannot open the store in {}: another pinnace node is using it; stop that one or give --data-dir",
                dir.display()
            ),
            OpenError::Newer { file, format } => write!(
                f,
                "cannot open the store {}: it has format {format}, this release knows {FORMAT}; install the newer release again",
                file.display()
            ),
            OpenError::Io { tried, path, cause } => {
                write!(f, "cannot {tried} {}: {cause}; {}", path.display(), advice(cause))
            }
            OpenError::Damaged(what) => write!(f, "cannot open the store: {what}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    /// Whether it is for the medium to become better, and not for a person to correct what they typed.
    pub fn is_of_the_medium(&self) -> bool {
        match self {
            OpenError::Io { cause, .. } => is_of_the_medium(cause),
            OpenError::Locked(_) | OpenError::Newer { .. } | OpenError::Damaged(_) => false,
        }
    }
}

fn is_of_the_medium(cause: &io::Error) -> bool {
    use libc::{EBADMSG, EDQUOT, EIO, ENODEV, ENOSPC, ENXIO, EROFS, ESHUTDOWN, EUCLEAN};
    // Read-only, full, failing, gone; and what ext4 calls its own damage.
    let of_the_medium = [EROFS, ENOSPC, EDQUOT, EIO, ENXIO, ENODEV, ESHUTDOWN, EUCLEAN, EBADMSG];
    cause.raw_os_error().is_some_and(|code| of_the_medium.contains(&code))
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space on that disk",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable or give --data-dir",
        io::ErrorKind::PermissionDenied => "run as the owner of that directory or give --data-dir",
        _ if is_of_the_medium(cause) => "check that disk (dmesg)",
        _ => "give a writable directory with --data-dir",
    }
}

/// Where the parts of one store lie.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) dir: PathBuf,
    pub(super) file: PathBuf,
    pub(super) good: PathBuf,
    /// Opens the database in a file; a test gives one whose medium fails.
    pub(super) database: fn(&Path) -> Result<Database, DatabaseError>,
}

impl Places {
    pub(super) fn of(dir: &Path) -> Places {
        let database = |file: &Path| builder().create(file);
        Places { dir: dir.to_path_buf(), file: dir.join(FILE), good: dir.join(GOOD_COPY), database }
    }
}

impl Store {
    /// Opens the store of a data directory, which is made (mode 0700) where it does not exist, and reads all of it.
    /// The whole file is verified, so that a flipped bit is met here and not while the node runs.
    ///
    /// # Errors
    /// Another node has it, a newer release wrote it, or the host refuses. Damage is no error: see `Loaded::note`.
    pub fn open(dir: &Path) -> Result<(Store, Loaded), OpenError> {
        let places = Places::of(dir);
        let io = |tried, path: &Path| {
            let path = path.to_path_buf();
            move |cause| OpenError::Io { tried, path, cause }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io("make the data directory", dir))?;
        let lock = lock(dir, Access::Alone)?;
        let (mut store, loaded) = open_or_recover(&places)?;
        store._lock = Some(lock);
        store.reserve = Some(Reserve::of(dir));
        store.keep_reserve();
        if store.shortage().is_some() {
            store.prove_room().map_err(|e| sort_out(&places.file, e).into_error())?;
        } else if let Err(e) = store.keep_good_copy(&places) {
            tracing::warn!("cannot keep a good copy of the store in {}: {e}; the node goes on without", dir.display());
        }
        Ok((store, loaded))
    }

    /// Whether a node has its store in this directory; also where the host cannot tell.
    pub fn may_be_in(dir: &Path) -> bool {
        let places = Places::of(dir);
        [places.file, places.good].iter().any(|file| file.try_exists().unwrap_or(true))
    }

    /// Opens a store over any storage; a simulation gives one that loses power.
    ///
    /// # Errors
    /// As `open`, and `OpenError::Damaged`, since nothing can be moved aside here.
    pub fn with_backend(backend: impl StorageBackend) -> Result<(Store, Loaded), OpenError> {
        let place = PathBuf::from("(memory)");
        let db = builder().create_with_backend(backend).map_err(|e| sort_out(&place, e).into_error())?;
        load(db, &place).map_err(Trouble::into_error)
    }

    /// Copies the verified file, once for each revision at which a start found it.
    fn keep_good_copy(&self, places: &Places) -> Result<(), String> {
        let revision = self.durable_revision;
        let db = self.db().map_err(|e| e.to_string())?;
        let copied = read_meta(db, &places.file, "copied").map_err(|trouble| trouble.into_error().to_string())?;
        if copied == Some(revision) && places.good.exists() {
            return Ok(());
        }
        copy_durably(&places.file, &places.good).map_err(|e| e.to_string())?;
        write_meta(db, "copied", revision).map_err(|e| e.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Alone,
    Reading,
}

/// Locks the directory itself, so that no file of ours can be swapped under the lock.
pub(super) fn lock(dir: &Path, access: Access) -> Result<File, OpenError> {
    let io = |tried| move |cause| OpenError::Io { tried, path: dir.to_path_buf(), cause };
    let file = File::open(dir).map_err(io("open the data directory"))?;
    let got = if access == Access::Alone { file.try_lock() } else { file.try_lock_shared() };
    match got {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_path_buf())),
        Err(TryLockError::Error(cause)) => Err(io("lock the data directory")(cause)),
    }
}

/// Why a database did not open: damage can be moved aside, the rest is for a person.
pub(super) enum Trouble {
    Damage(String),
    Refusal(OpenError),
}

impl Trouble {
    pub(super) fn into_error(self) -> OpenError {
        match self {
            Trouble::Damage(what) => OpenError::Damaged(what),
            Trouble::Refusal(error) => error,
        }
    }
}

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Without the check redb trusts a file that was closed cleanly, and may panic when somebody wrote into it since.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

pub(super) fn open_or_recover(places: &Places) -> Result<(Store, Loaded), OpenError> {
    if !exists(&places.file)? {
        return if exists(&places.good)? { recover(places, "the store is missing") } else { create(places) };
    }
    match open_file(places) {
        Ok(opened) => Ok(opened),
        Err(Trouble::Refusal(error)) => Err(error),
        Err(Trouble::Damage(what)) => {
            let aside = move_aside(&places.file)?;
            recover(places, &format!("the store could not be read ({what}) and was moved to {}", aside.display()))
        }
    }
}

/// A disk that does not answer is no store that is missing.
fn exists(file: &Path) -> Result<bool, OpenError> {
    file.try_exists().map_err(|cause| OpenError::Io { tried: "look for the store", path: file.to_path_buf(), cause })
}

/// The last good copy, else an empty store.
fn recover(places: &Places, why: &str) -> Result<(Store, Loaded), OpenError> {
    let (opened, what) = match from_good_copy(places) {
        Ok(Some(opened)) => (opened, "the good copy of an earlier start is used; work since then may run again"),
        Ok(None) => {
            (create(places)?, "there is no good copy; the node starts empty and takes its sets from the broker")
        }
        Err(Trouble::Refusal(error)) => return Err(error),
        Err(Trouble::Damage(_)) => {
            move_aside(&places.file)?;
            move_aside(&places.good)?;
            (create(places)?, "its good copy is damaged too; the node starts empty and takes its sets from the broker")
        }
    };
    let (mut store, mut loaded) = opened;
    loaded.revision += LOST_REVISIONS;
    store.revision = loaded.revision;
    store.durable_revision = loaded.revision;
    let own_note = loaded.note.take().map(|note| format!("; {note}")).unwrap_or_default();
    loaded.note = Some(format!("{why}; {what}{own_note}"));
    Ok((store, loaded))
}

fn from_good_copy(places: &Places) -> Result<Option<(Store, Loaded)>, Trouble> {
    if !exists(&places.good).map_err(Trouble::Refusal)? {
        return Ok(None);
    }
    copy_durably(&places.good, &places.file).map_err(refusal("copy the good store to", &places.file))?;
    open_file(places).map(Some)
}

/// A new file appears under its name only when it is whole, so that a power cut never leaves half a store.
fn create(places: &Places) -> Result<(Store, Loaded), OpenError> {
    let new = places.dir.join(format!("{FILE}.new"));
    let io = |tried| move |cause| OpenError::Io { tried, path: places.file.clone(), cause };
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("replace a half-made store beside")(e)),
        _ => {}
    }
    // Secrets are in it: for its owner alone, whatever the mode of the directory.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io("make the store"))?;
    let opened = open_redb(&new, places.database).map_err(Trouble::into_error)?;
    fs::rename(&new, &places.file).map_err(io("make the store"))?;
    sync_dir(&places.dir).map_err(io("make the store"))?;
    Ok(opened)
}

fn open_file(places: &Places) -> Result<(Store, Loaded), Trouble> {
    let file = &places.file;
    match fs::metadata(file) {
        Ok(meta) if meta.len() == 0 => return Err(Trouble::Damage("it is empty".into())),
        Ok(_) => refuse_newer_redb(file)?,
        Err(e) => return Err(refusal("read the store", file)(e)),
    }
    open_redb(file, places.database)
}

fn open_redb(
    file: &Path,
    database: impl Fn(&Path) -> Result<Database, DatabaseError>,
) -> Result<(Store, Loaded), Trouble> {
    let open = || database(file).map_err(|e| sort_out(file, e));
    let mut db = open()?;
    if let Err(e) = compact(&mut db, file) {
        tracing::warn!("cannot make {} smaller: {e}; it keeps its size", file.display());
        // A failure costs space and nothing else; but after an error of the medium redb answers nothing more.
        drop(db);
        db = open()?;
    }
    load(db, file)
}

/// redb calls a newer file of its own damaged; it is told apart by the version bytes of its two commit slots.
fn refuse_newer_redb(file: &Path) -> Result<(), Trouble> {
    const SLOTS: [usize; 2] = [64, 192];
    const KNOWN: u8 = 3;
    let mut head = [0u8; 320];
    let read = File::open(file).and_then(|mut opened| opened.read_exact(&mut head));
    match read {
        Ok(()) => {}
        // Too short for any redb file: redb says so in its own words.
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        Err(cause) => return Err(refusal("read the store", file)(cause)),
    }
    let version = head[SLOTS[0]];
    let newer = head.starts_with(b"redb") && version == head[SLOTS[1]] && version > KNOWN;
    if newer {
        let error = OpenError::Newer { file: file.to_path_buf(), format: u64::from(version) };
        return Err(Trouble::Refusal(error));
    }
    Ok(())
}

fn refusal(tried: &'static str, path: &Path) -> impl Fn(io::Error) -> Trouble {
    move |cause| Trouble::Refusal(OpenError::Io { tried, path: path.to_path_buf(), cause })
}

/// Tells damage from what the host refuses. Damage is what says of the bytes that they are wrong, and nothing else: a file
/// that could not be read just now may have all of a node's work in it, and an older copy must not take its place.
pub(super) fn sort_out(file: &Path, error: impl Into<redb::Error>) -> Trouble {
    use redb::Error as E;
    match error.into() {
        E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Trouble::Refusal(OpenError::Locked(file.to_path_buf())),
        E::Io(cause) if means_damage(&cause) => Trouble::Damage(cause.to_string()),
        E::Io(cause) if is_full(&cause) => refusal("write to the store", file)(cause),
        E::Io(cause) => refusal("read the store", file)(cause),
        // Of an operation before this one, which did not tell its own.
        E::PreviousIo => refusal("read the store", file)(io::Error::from_raw_os_error(libc::EIO)),
        damage @ (E::Corrupted(_)
        | E::UpgradeRequired(_)
        | E::ValueTooLarge(_)
        | E::TableTypeMismatch { .. }
        | E::TypeDefinitionChanged { .. }
        | E::TableIsMultimap(_)
        | E::TableIsNotMultimap(_)
        | E::TableDoesNotExist(_)) => Trouble::Damage(damage.to_string()),
        other => refusal("read the store", file)(io::Error::other(other)),
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Not redb's magic number, or fewer bytes than it says.
fn means_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

/// Gives free pages back to the file system.
fn compact(db: &mut Database, file: &Path) -> Result<(), redb::Error> {
    let bytes = fs::metadata(file).map_or(0, |meta| meta.len());
    if bytes < COMPACT_BYTES_MIN {
        return Ok(());
    }
    let stats = db.begin_write()?.stats()?;
    if stats.stored_bytes() + stats.metadata_bytes() < bytes / 2 {
        db.compact()?;
    }
    Ok(())
}

/// Renames a file to the first free `….damaged-<n>`; none is ever overwritten.
fn move_aside(file: &Path) -> Result<PathBuf, OpenError> {
    let name = |n: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let free = (1..).map(name).find(|path| !path.exists()).expect("a directory has fewer files than there are numbers");
    let io = |cause| OpenError::Io { tried: "move aside the damaged store", path: file.to_path_buf(), cause };
    fs::rename(file, &free).map_err(io)?;
    Ok(free)
}

/// A copy that is there whole or not at all. The kernel shares the blocks where the file system can.
fn copy_durably(from: &Path, to: &Path) -> io::Result<()> {
    let mut name = to.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let done = fs::copy(from, &new)
        .and_then(|_| File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, to))
        .and_then(|()| sync_dir(to.parent().unwrap_or(Path::new("/"))));
    if done.is_err() {
        // Half a copy on a full disk takes the space that the store needs; that it may fail too changes nothing.
        let _ = fs::remove_file(&new);
    }
    done
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

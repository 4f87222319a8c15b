//! inotify for tokio: told of changes in directories without asking for them. Knows no meaning of any file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

pub struct Watch(AsyncFd<Descriptor>);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    pub fn new() -> io::Result<Watch> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        // SAFETY: the descriptor is open and inside `Descriptor`, which neither replaces nor closes it while it lives.
        Ok(Watch(unsafe { AsyncFd::register(Descriptor(inotify)) }?))
    }

    pub fn add(&self, path: &Path, changes: AddWatchFlags) -> io::Result<WatchDescriptor> {
        let added = self.0.get_ref().0.add_watch(path, changes);
        added.map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("watch {}: {}", path.display(), e.desc())))
    }

    /// The next changes; at least one. Dropping the future loses none.
    pub async fn next(&self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().0.read_events() {
                Ok(events) => return Ok(events),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

//! Connections: bounded in number, in the time a request may take to arrive, and in what one may hold. A client that
//! hangs or sends garbage costs the others nothing.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::call;
use super::{Handle, reply};
use crate::model::{Failure, Reason};

/// So many connections are served at once; further ones are told so and closed.
pub const CONNECTIONS_MAX: usize = 128;
/// So many are accepted, those that are only refused among them; one beyond is closed without a word.
const ACCEPTED_MAX: usize = CONNECTIONS_MAX + 16;
/// Who is to be refused must ask within this time.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The head of a request must be here after this time; also how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What is being answered when the daemon ends may take so long.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Where the process has no file descriptor left, accepting is tried again after this time.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whose members may use a node of root, as far as the host has such a group; packages make it.
const GROUP: &str = "pinnace";

/// Makes the socket, mode 0660, for the group `pinnace` where the host has one and the daemon may give it away. One that a
/// dead daemon left is removed.
///
/// # Errors
/// `AddrInUse` when a daemon listens on it; whatever the file system refuses.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let message = format!("another daemon listens on {}; stop it or choose another --run-dir", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    give_to_group(path);
    Ok(listener)
}

/// Nothing is lost where this fails: the socket stays with root, or with the user whose node it is.
fn give_to_group(path: &Path) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    if let Ok(Some(group)) = nix::unistd::Group::from_name(GROUP)
        && let Err(e) = std::os::unix::fs::chown(path, None, Some(group.gid.as_raw()))
    {
        tracing::warn!("cannot give {} to the group {GROUP}: {e}; only root can use it", path.display());
    }
}

/// Serves until `stop` turns true (or its sender is gone); then streams end, and what is being answered is finished.
/// Must run inside a `LocalSet`.
pub async fn serve(listener: UnixListener, handle: Handle, stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match connections.len() {
                    0..CONNECTIONS_MAX => drop(connections.spawn_local(connection(stream, handle.clone(), stop.clone()))),
                    CONNECTIONS_MAX..ACCEPTED_MAX => drop(connections.spawn_local(refuse(stream, too_many()))),
                    _ => drop(stream),
                },
                Err(e) => {
                    tracing::warn!("cannot accept a connection to the API: {e}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    drop(listener);
    let all_done = async { while connections.join_next().await.is_some() {} };
    // What is still open then is cut when the set is dropped.
    let _ = tokio::time::timeout(STOP_TIMEOUT, all_done).await;
}

/// Answers every request with this failure for as long as it is polled. Must run inside a `LocalSet`.
pub async fn refuse_all(listener: &UnixListener, why: &Failure) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < ACCEPTED_MAX => {
                    drop(connections.spawn_local(refuse(stream, why.clone())));
                }
                Ok((stream, _)) => drop(stream),
                Err(e) => {
                    tracing::warn!("cannot accept a connection to the API: {e}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: UnixStream, handle: Handle, mut stop: watch::Receiver<bool>) {
    let stopping = stop.clone();
    let service = service_fn(move |request| {
        let (handle, stopping) = (handle.clone(), stopping.clone());
        async move { Ok::<_, Infallible>(call::answer(&handle, request, stopping).await) }
    });
    let mut serving = pin!(builder().serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = serving.as_mut() => result,
        _ = stop.wait_for(|stop| *stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(e) = result {
        tracing::debug!("a connection to the API ended: {e}");
    }
}

/// Hears one request out, so that its client reads the answer and not a broken pipe, and says why it is not served.
async fn refuse(stream: UnixStream, why: Failure) {
    let service = service_fn(|_| async { Ok::<_, Infallible>(reply::failure(&why)) });
    let refusing = builder().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Who does not even ask in this time is not answered.
    let _ = tokio::time::timeout(REFUSE_TIMEOUT, refusing).await;
}

fn too_many() -> Failure {
    let why = format!("the node serves {CONNECTIONS_MAX} connections at once; close one and try again");
    Failure::new(Reason::TooManyRequests, why)
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    builder
}

//! Tells systemd how the daemon does, where systemd asked for it (`sd_notify(3)`, `Type=notify`).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The first turn is done: pods are adopted and the API answers.
pub fn ready() {
    send("READY=1\nSTATUS=running");
}

pub fn stopping() {
    send("STOPPING=1");
}

pub fn status(text: &str) {
    send(&format!("STATUS={text}"));
}

fn send(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let path = path.to_string_lossy().into_owned();
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(e) = sent {
        tracing::warn!("cannot tell systemd {message:?} at {path}: {e}");
    }
}

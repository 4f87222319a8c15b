//! `/metrics` on a loopback port, for a Prometheus on this machine. Serves nothing else, and nothing that is secret.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Bytes of a request, which has nothing to say but its path.
const REQUEST_BYTES_MAX: usize = 8 << 10;
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// Served at once; others wait.
const CONNECTIONS_MAX: usize = 8;
/// Where the process has no file descriptor left, accepting is tried again after this time.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// # Errors
/// The port is taken, or the address is none of this machine.
pub fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    let open = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    open().map_err(|e| format!("cannot serve metrics at {address}: {e}; see metrics_address"))
}

/// Serves until it is dropped. Must run inside a `LocalSet`.
pub async fn serve(listener: TcpListener, metrics: Rc<dyn Fn() -> String>) {
    let room = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::task::spawn_local(async move {
                    // Who does not ask or read in time is not served.
                    let _ = tokio::time::timeout(REQUEST_WAIT, answer(stream, &*metrics)).await;
                    drop(permit);
                });
            }
            Err(e) => {
                tracing::warn!("cannot accept a connection to {:?}: {e}", listener.local_addr());
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: &dyn Fn() -> String) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let len = stream.read(&mut piece).await?;
        if len == 0 || request.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend(&piece[..len]);
    }
    let (status, body) = reply(&request, metrics);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn reply(request: &[u8], metrics: &dyn Fn() -> String) -> (&'static str, String) {
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    match (words.next(), words.next().map(|path| path.split('?').next().unwrap_or_default())) {
        (Some("GET"), Some("/metrics")) => ("200 OK", metrics()),
        (Some("GET"), _) => ("404 Not Found", "only /metrics is served here\n".into()),
        _ => ("405 Method Not Allowed", "only GET is served here\n".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metrics_are_served() {
        let check = |request: &str, status: &str| {
            assert!(reply(request.as_bytes(), &|| "x 1\n".into()).0.starts_with(status), "{request}");
        };
        check("GET /metrics HTTP/1.1\r\n", "200");
        check("GET /metrics?a=b HTTP/1.1\r\n", "200");
        check("GET / HTTP/1.1\r\n", "404");
        check("GET /api/v1/secrets HTTP/1.1\r\n", "404");
        check("POST /metrics HTTP/1.1\r\n", "405");
        check("\r\n", "405");
        check("", "405");
    }
}

//! A real mosquitto for one test: on a free loopback port, with its own directory, ended with the test.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Mosquitto {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    pub fn start() -> Mosquitto {
        Mosquitto::start_with(free_port(), "allow_anonymous true\n")
    }

    /// On a given port, with further lines of configuration.
    pub fn start_with(port: u16, lines: &str) -> Mosquitto {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("mosquitto.conf");
        // Started by root it would become another user and could not read the directory.
        let text = format!("user root\nlog_dest stderr\nlistener {port} 127.0.0.1\n{lines}");
        fs::write(&config, text).unwrap();
        let mut child = Command::new(program())
            .arg("-c")
            .arg(&config)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("mosquitto is needed for this test: apt-get install mosquitto mosquitto-clients");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(" running") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "mosquitto ended at its start");
        }
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Mosquitto { child, port, dir }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// A directory that goes with the broker.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    /// As power loss: no good-bye, and nothing is kept.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What a person types: `mosquitto_pub -r -s -q 1 -t TOPIC`, and `-n` in the place of `-s` for no content.
    pub fn publish_retained(&self, topic: &str, payload: &[u8]) {
        let port = self.port.to_string();
        let content = if payload.is_empty() { "-n" } else { "-s" };
        let mut child = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-r", content, "-q", "1", "-t", topic])
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto_pub is needed for this test: apt-get install mosquitto-clients");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(payload).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian keeps daemons out of an ordinary user's path.
fn program() -> &'static str {
    if std::path::Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" }
}

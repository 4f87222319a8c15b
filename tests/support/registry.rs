//! A real registry (Debian's docker-registry) for one test: on a free loopback port, with its own directory, ended with it.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::mosquitto::free_port;

/// `NAME:PASSWORD` of the one user of a locked registry.
pub const LOGIN: &str = "tester:geheim";
/// `htpasswd -nbB tester geheim`
const HTPASSWD: &str = "tester:$2y$05$strDuLDJrv4ybBWc7DrAzOs8DVHx/b81BHwR2oR0V76JqRRVGD15S\n";
const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(20);

pub struct Registry {
    child: Child,
    port: u16,
    locked: bool,
    dir: tempfile::TempDir,
}

impl Registry {
    /// `locked`: it asks for the login [`LOGIN`].
    pub fn start(locked: bool) -> Registry {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: x}}\n",
            dir.path().join("data").display()
        );
        if locked {
            let file = dir.path().join("htpasswd");
            fs::write(&file, HTPASSWD).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display());
        }
        let path = dir.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let child =
            Command::new("docker-registry").arg("serve").arg(&path).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.expect("docker-registry is needed for this test: apt-get install docker-registry");
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the registry does not listen");
            std::thread::sleep(PACE);
        }
        Registry { child, port, locked, dir }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts a docker archive there under that name.
    pub fn push(&self, archive: &Path, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
        if self.locked {
            skopeo.args(["--dest-creds", LOGIN]);
        }
        skopeo.arg(format!("docker-archive:{}", archive.display())).arg(format!("docker://{}/{name}", self.host()));
        let pushed = skopeo.env("TMPDIR", self.dir.path()).output();
        let pushed = pushed.expect("skopeo is needed for this test: apt-get install skopeo");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

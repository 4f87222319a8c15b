//! Debian's `docker-registry` on loopback, filled by skopeo: what two programs that are not ours make of an image.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pinnace::model::RegistryHost;
use serde_json::{Value, json};

use super::fake::{INDEX_TYPE, MANIFEST_TYPE, Picture, architecture};
use super::node::{Node, holds};

const FILES: [(&str, usize); 3] = [("a", 10), ("b", 200_000), ("c", 3)];
/// `htpasswd -nbB tester geheim`
const HTPASSWD: &str = "tester:$2y$05$strDuLDJrv4ybBWc7DrAzOs8DVHx/b81BHwR2oR0V76JqRRVGD15S\n";

struct Registry {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[derive(Default, Clone, Copy)]
struct Wants {
    tls: bool,
    login: bool,
}

impl Registry {
    fn start(wants: Wants) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut http = json!({"addr": address});
        if wants.tls {
            certificates(dir.path());
            http["tls"] = json!({"certificate": dir.path().join("server.pem"), "key": dir.path().join("server.key")});
        }
        let mut config = json!({
            "version": "0.1", "log": {"level": "info"}, "http": http,
            "storage": {"filesystem": {"rootdirectory": dir.path().join("data")}},
        });
        if wants.login {
            fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": dir.path().join("htpasswd")}});
        }
        // JSON is YAML.
        let file = dir.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed for this test: apt-get install docker-registry skopeo");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "docker-registry ended at its start");
        }
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Registry { child, address, dir }
    }

    /// What a person types after a build.
    fn push(&self, layout: &Path, name: &str, options: &[&str]) {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(options)
            .arg(format!("oci:{}", layout.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo is needed for this test: apt-get install skopeo");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

fn openssl(dir: &Path, line: &str) {
    let output = Command::new("openssl").current_dir(dir).args(line.split(' ')).output().expect("openssl is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of its own, and a certificate for 127.0.0.1.
fn certificates(dir: &Path) {
    fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority"));
    openssl(dir, &format!("req {key} -keyout server.key -out server.csr -subj /CN=127.0.0.1"));
    openssl(
        dir,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile ext",
    );
}

/// An OCI layout of the pictures; more than one go into an index by their architectures.
fn layout(dir: &Path, pictures: &[(&str, &Picture)]) -> PathBuf {
    let root = dir.join("layout");
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    let put = |digest: &str, bytes: &[u8]| fs::write(root.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
    let mut entries = Vec::new();
    for (architecture, picture) in pictures {
        picture.blobs.iter().for_each(|(digest, bytes)| put(digest, bytes));
        put(&picture.digest(), &picture.manifest);
        entries.push(json!({"mediaType": MANIFEST_TYPE, "digest": picture.digest(), "size": picture.manifest.len(),
            "platform": {"os": "linux", "architecture": architecture}}));
    }
    if pictures.len() > 1 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).to_string().into_bytes();
        let digest = super::fake::digest(&index);
        put(&digest, &index);
        entries = vec![json!({"mediaType": INDEX_TYPE, "digest": digest, "size": index.len()})];
    }
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    let top: Value = json!({"schemaVersion": 2, "manifests": entries});
    fs::write(root.join("index.json"), top.to_string()).unwrap();
    root
}

#[test]
fn what_skopeo_pushes_comes_back_in_every_form() {
    let Some(node) = Node::new() else { return };
    let registry = Registry::start(Wants::default());
    let picture = Picture::new(&FILES);
    let layout = layout(registry.dir.path(), &[(architecture(), &picture)]);
    let forms: [(&str, &[&str]); 4] = [
        ("a/plain:v1", &[]),
        ("a/gzip:v1", &["--dest-compress-format", "gzip", "--dest-compress"]),
        ("a/zstd:v1", &["--dest-compress-format", "zstd", "--dest-compress"]),
        ("a/docker:v1", &["--format", "v2s2"]),
    ];
    for (name, options) in forms {
        registry.push(&layout, name, options);
        let stored = node.pull(&registry.name(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        holds(&node, &stored, &FILES);
        assert!(node.is_same(&registry.name(name), &stored.spec.digest).unwrap(), "{name}");
        let pinned = format!("{}@{}", registry.name("a/x").replace("a/x", &name[..name.len() - 3]), stored.spec.digest);
        assert_eq!(node.pull(&pinned).unwrap().spec.layers, stored.spec.layers);
        drop(stored);
        node.store.sweep(&[]);
    }
    node.refused(&registry.name("a/plain:v2"), "manifest unknown");
    node.refused(&registry.name("nobody/nothing"), "manifest unknown");
}

#[test]
fn a_list_is_resolved_for_this_machine() {
    let Some(node) = Node::new() else { return };
    let registry = Registry::start(Wants::default());
    let (here, there) = (Picture::new(&FILES), Picture::of(&[("there", 5)], "s390x"));
    let root = layout(registry.dir.path(), &[("s390x", &there), (architecture(), &here)]);
    registry.push(&root, "multi", &["--all"]);
    let stored = node.pull(&registry.name("multi")).unwrap();
    holds(&node, &stored, &FILES);
    assert!(node.is_same(&registry.name("multi"), &stored.spec.digest).unwrap());
}

#[test]
fn certificates_are_checked_unless_the_settings_say_otherwise() {
    let Some(mut node) = Node::new() else { return };
    let registry = Registry::start(Wants { tls: true, login: false });
    let picture = Picture::new(&FILES);
    registry.push(&layout(registry.dir.path(), &[(architecture(), &picture)]), "tls", &[]);
    // Not even by plain HTTP, although this is the machine itself.
    node.unreachable(&registry.name("tls"), "certificate is not trusted");
    let mut set = |setting: RegistryHost| {
        node.config.hosts.insert(registry.address.clone(), setting);
        let stored = node.pull(&registry.name("tls")).unwrap();
        holds(&node, &stored, &FILES);
        drop(stored);
        node.store.sweep(&[]);
    };
    set(RegistryHost { ca_file: Some(registry.dir.path().join("ca.pem")), ..RegistryHost::default() });
    set(RegistryHost { insecure: true, ..RegistryHost::default() });
    // Another authority than the one that signed.
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let setting = RegistryHost { ca_file: Some(other.path().join("ca.pem")), ..RegistryHost::default() };
    node.config.hosts.insert(registry.address.clone(), setting);
    node.unreachable(&registry.name("tls"), "certificate is not trusted");
}

#[test]
fn a_login_by_password_is_asked_for_and_taken() {
    let Some(node) = Node::new() else { return };
    let registry = Registry::start(Wants { tls: false, login: true });
    let picture = Picture::new(&FILES);
    let root = layout(registry.dir.path(), &[(architecture(), &picture)]);
    registry.push(&root, "closed/a", &["--dest-creds", "tester:geheim"]);
    node.refused(&registry.name("closed/a"), "pull access denied");
    let login = |password: &str| {
        json!({"auths": {&registry.address: {"username": "tester", "password": password}}}).to_string()
    };
    assert!(node.pull_with(&registry.name("closed/a"), &[&login("falsch")]).is_err());
    let stored = node.pull_with(&registry.name("closed/a"), &[&login("geheim")]).unwrap();
    holds(&node, &stored, &FILES);
}

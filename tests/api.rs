//! The API over a real Unix socket, with a loop that only stores what it is asked to: what a client sees of reads, changes,
//! watches and errors, and that a client which hangs or sends garbage costs the others nothing.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pinnace::api::{self, Answer, Asked, Feed, Handle, ImageKeeper, ImageNews, LogReader, UpdateKeeper, UpdateNews};
use pinnace::model::image::{Disk, ImageSpec, ImportWish, Layer, Pull, object_name};
use pinnace::model::pod::ContainerState;
use pinnace::model::update::{Program, UpdateStatus, UpdateWish, Which};
use pinnace::model::usage::{Sample, Usage};
use pinnace::model::{
    Ask, BootId, Deleting, Event, EventType, Failure, Image, Key, Kind, LogQuery, Meta, Node, NodeSpec, Now, ObjectRef,
    Propagation, Reason, Record, Settings, State, Timestamp, Uid, Write,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// A test that hangs has failed; nothing here is measured.
const PATIENCE: Duration = Duration::from_secs(60);

// ---- the world -------------------------------------------------------------------------------------------------------

/// A daemon with nothing behind its API.
#[derive(Clone)]
struct World {
    socket: PathBuf,
    state: Rc<RefCell<State>>,
    feed: Rc<Feed>,
    /// What the loop was asked, oldest first; true: a dry run.
    asked: Rc<RefCell<Vec<(Ask, bool)>>>,
    /// So many replacements find that somebody else was faster.
    rivals: Rc<Cell<u32>>,
    stop: watch::Sender<bool>,
}

struct Logs;

impl LogReader for Logs {
    fn read(&self, query: LogQuery) -> mpsc::Receiver<Bytes> {
        let (out, receiver) = mpsc::channel(4);
        out.try_send(format!("attempt {}\n", query.attempt).into()).unwrap();
        out.try_send(format!("follow {} tail {:?}\n", query.follow, query.tail).into()).unwrap();
        receiver
    }
}

/// Keeps what it is sent for an image as it is; has no room for one that is called so.
struct Keeper;

impl ImageKeeper for Keeper {
    fn import(&self, wish: ImportWish, mut archive: mpsc::Receiver<io::Result<Bytes>>) -> mpsc::Receiver<ImageNews> {
        let (out, receiver) = mpsc::channel(8);
        tokio::task::spawn_local(async move {
            let mut done = 0;
            while let Some(piece) = archive.recv().await {
                done += piece.unwrap().len() as u64;
            }
            for done in [0, done / 2, done] {
                let total = Some(done).filter(|done| *done > 0);
                out.send(ImageNews::At { what: "archive".into(), done, total }).await.ok();
            }
            let reference = wish.reference.unwrap_or_default();
            let news = match reference.as_str() {
                "huge" => ImageNews::Failed(Failure::new(Reason::RequestEntityTooLarge, "no room")),
                _ => {
                    let layers = vec![Layer { diff_id: "ab".into(), size: done }];
                    let image = ImageSpec {
                        reference,
                        layers,
                        entrypoint: wish.entrypoint,
                        id: "sha256:1".into(),
                        ..Default::default()
                    };
                    ImageNews::Stored { image: Box::new(image), disk: Disk::default(), pin: Box::new(()) }
                }
            };
            out.send(news).await.ok();
        });
        receiver
    }

    fn pull(&self, pull: Pull) -> mpsc::Receiver<ImageNews> {
        let (out, receiver) = mpsc::channel(1);
        let text = format!("{} with {:?}", pull.reference, pull.credentials);
        out.try_send(ImageNews::Failed(Failure::new(Reason::NotFound, text))).ok();
        receiver
    }

    fn export(&self, image: &ImageSpec) -> mpsc::Receiver<io::Result<Bytes>> {
        let (out, receiver) = mpsc::channel(2);
        out.try_send(Ok(format!("archive of {}", image.reference).into())).unwrap();
        if image.reference == "broken" {
            out.try_send(Err(io::Error::other("disk"))).unwrap();
        }
        receiver
    }
}

fn program(version: &str) -> Program {
    Program { which: Which::Installed, version: version.into() }
}

/// Tries whatever it is sent; has another one under way when it is to go back.
impl UpdateKeeper for Keeper {
    fn status(&self) -> Result<UpdateStatus, Failure> {
        Ok(UpdateStatus { running: program("0.1.0"), versions: None })
    }

    fn update(&self, wish: UpdateWish, mut body: mpsc::Receiver<io::Result<Bytes>>) -> mpsc::Receiver<UpdateNews> {
        let (out, receiver) = mpsc::channel(8);
        tokio::task::spawn_local(async move {
            let mut done = 0;
            while let Some(piece) = body.recv().await {
                done += piece.unwrap().len() as u64;
            }
            let sha256 = format!("{:?} {done} {}", wish.url, wish.within.as_secs());
            out.send(UpdateNews::At { what: "copying".into(), done, total: wish.size }).await.ok();
            out.send(UpdateNews::Checked { program: program("0.2.0"), sha256, signed_by: None }).await.ok();
            out.send(UpdateNews::Switching { from: program("0.1.0"), to: program("0.2.0") }).await.ok();
        });
        receiver
    }

    fn undo(&self, _: Duration) -> mpsc::Receiver<UpdateNews> {
        let (out, receiver) = mpsc::channel(1);
        out.try_send(UpdateNews::Failed(Failure::new(Reason::Conflict, "another update is under way"))).ok();
        receiver
    }
}

fn now() -> Now {
    let (wall, uptime) = (Timestamp::from_secs(1_767_225_600), Duration::from_secs(600));
    Now { wall, wall_trusted: true, uptime, boot: BootId::new("boot-1") }
}

fn node() -> Record {
    let mut node = Node { meta: Meta::named("", "gateway-7"), spec: NodeSpec::default(), status: Default::default() };
    node.meta.uid = Uid::new("uid-node");
    node.meta.revision = 1;
    node.status.facts.internal_ip = "10.0.0.7".into();
    node.into()
}

/// Runs a test beside a server and its loop, all on one thread as in the daemon.
/// A look at a machine on which the pod `p` uses a quarter of a core and the host one core; each look is two seconds later.
fn usage(looks: &Cell<u64>) -> Usage {
    let n = looks.replace(looks.get() + 1);
    let of = |cores_percent: u64| Sample { cpu_us: n * 2_000_000 * cores_percent / 100, memory: 64 << 20 };
    Usage {
        at: Duration::from_secs(2 * n),
        host: of(100),
        containers: [((Uid::derive(&["p"]), "main".to_string()), of(25))].into(),
    }
}

fn run(test: impl AsyncFnOnce(World)) {
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopping) = watch::channel(false);
    let world = World {
        socket: dir.path().join("pinnace.sock"),
        state: Rc::new(RefCell::new(State::new(1, [node()], Settings::default()))),
        feed: Rc::new(Feed::new(1)),
        asked: Rc::default(),
        rivals: Rc::default(),
        stop,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let everything = async {
        let (asks, receiver) = mpsc::channel(8);
        let handle = Handle {
            state: world.state.clone(),
            asks,
            feed: world.feed.clone(),
            logs: Rc::new(Logs),
            images: Rc::new(Keeper),
            updates: Rc::new(Keeper),
            clock: Rc::new(now),
            metrics: Rc::new(|| "pinnace_pods 0\n".to_string()),
            usage: Rc::new({
                let looks = Cell::new(0);
                move || usage(&looks)
            }),
            trace: Rc::new(|| mpsc::channel(1).1),
            kept: api::Kept { format: 7, data_dir: "/data".into() },
        };
        let listener = api::bind(&world.socket).unwrap();
        tokio::task::spawn_local(world.clone().be_the_loop(receiver));
        let serving = tokio::task::spawn_local(api::serve(listener, handle, stopping));
        test(world.clone()).await;
        world.stop.send_replace(true);
        serving.await.unwrap();
    };
    let patient = async { tokio::time::timeout(PATIENCE, everything).await.expect("the test hangs") };
    LocalSet::new().block_on(&runtime, patient);
}

impl World {
    async fn be_the_loop(self, mut asks: mpsc::Receiver<Asked>) {
        while let Some((ask, dry_run, reply)) = asks.recv().await {
            self.asked.borrow_mut().push((ask.clone(), dry_run));
            // A caller that has gone does not mind.
            let _ = reply.send(self.carry_out(ask, dry_run));
        }
    }

    fn carry_out(&self, ask: Ask, dry_run: bool) -> Answer {
        let warnings = if dry_run { vec!["a \"dry\" run".to_string()] } else { Vec::new() };
        let result = match ask {
            Ask::Create(record) => self.create(*record, dry_run),
            Ask::Replace { record, if_revision } => self.replace(*record, if_revision, dry_run),
            Ask::Delete { key, grace_s, .. } => self.delete(&key, grace_s, dry_run),
            Ask::Keep { image, .. } => {
                let meta = Meta::named("", &object_name(&image.reference));
                self.create(Image { meta, spec: *image, used: None }.into(), dry_run)
            }
            Ask::Prune | Ask::Drain => Ok(self.get(Kind::Node, "", "gateway-7")),
        };
        (result, warnings)
    }

    fn create(&self, mut record: Record, dry_run: bool) -> Result<Arc<Record>, Failure> {
        let key = record.key();
        if self.state.borrow().get(&key).is_some() {
            return Err(Failure::already_exists(key.kind, &key.name));
        }
        let meta = record.meta_mut();
        meta.uid = Uid::derive(&[&key.name]);
        meta.created = now().wall;
        meta.generation = 1;
        Ok(self.put(record, dry_run))
    }

    fn replace(&self, mut record: Record, if_revision: Option<u64>, dry_run: bool) -> Result<Arc<Record>, Failure> {
        let key = record.key();
        if self.rivals.get() > 0 {
            self.rivals.set(self.rivals.get() - 1);
            self.put((*self.get(key.kind, &key.namespace, &key.name)).clone(), false);
        }
        let stored = self.get(key.kind, &key.namespace, &key.name);
        if if_revision.is_some_and(|revision| revision != stored.meta().revision) {
            return Err(Failure::conflict(key.kind, &key.name));
        }
        record.meta_mut().uid = stored.meta().uid.clone();
        record.meta_mut().created = stored.meta().created;
        Ok(self.put(record, dry_run))
    }

    /// Pods end in their own time; everything else is gone at once.
    fn delete(&self, key: &Key, grace_s: Option<u32>, dry_run: bool) -> Result<Arc<Record>, Failure> {
        let found = self.state.borrow().get(key).cloned();
        let found = found.ok_or_else(|| Failure::not_found(key.kind, &key.name))?;
        if dry_run {
            return Ok(found);
        }
        if key.kind == Kind::Pod && grace_s != Some(0) {
            let mut ending = (*found).clone();
            let deleting = Deleting { since: now().moment(), grace_s: grace_s.unwrap_or(30), foreground: false };
            ending.meta_mut().deleting = Some(deleting);
            return Ok(self.put(ending, false));
        }
        self.write(Write::Delete(key.clone()));
        Ok(found)
    }

    fn put(&self, mut record: Record, dry_run: bool) -> Arc<Record> {
        record.meta_mut().revision = self.state.borrow().revision + 1;
        let record = Arc::new(record);
        if !dry_run {
            self.write(Write::Put(record.clone()));
        }
        record
    }

    fn write(&self, write: Write) {
        let writes = [write];
        self.feed.push(&self.state.borrow(), &writes);
        self.state.borrow_mut().apply(&writes);
    }

    fn get(&self, kind: Kind, namespace: &str, name: &str) -> Arc<Record> {
        self.state.borrow().get(&Key::new(kind, namespace, name)).unwrap().clone()
    }

    fn last_ask(&self) -> Ask {
        self.asked.borrow().last().unwrap().0.clone()
    }

    // ---- the client --------------------------------------------------------------------------------------------------

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "pinnace");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (u16, Value) {
        let response = self.send(method, path, headers, body).await;
        let code = response.status().as_u16();
        assert_eq!(response.headers()["content-type"], "application/json", "{method} {path}");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap())
    }

    async fn read(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, &[], "").await
    }

    async fn text(&self, path: &str) -> (u16, String) {
        let response = self.send("GET", path, &[], "").await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn post(&self, path: &str, object: &Value) -> (u16, Value) {
        self.call("POST", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn patch(&self, path: &str, kind: &str, patch: Value) -> (u16, Value) {
        let content_type = format!("application/{kind}+json");
        self.call("PATCH", path, &[("content-type", &content_type)], patch.to_string()).await
    }

    /// A failure has the code that it says it has.
    #[track_caller]
    fn check_failure((code, status): (u16, Value), expected_code: u16, reason: &str, message: &str) {
        let found = (code, status["reason"].as_str().unwrap(), status["message"].as_str().unwrap());
        assert_eq!(found, (expected_code, reason, message));
        assert_eq!(
            (&status["kind"], &status["status"], &status["code"]),
            (&json!("Status"), &json!("Failure"), &json!(code))
        );
    }
}

/// The events of a watch, one by one.
struct Events {
    body: Incoming,
    rest: Vec<u8>,
}

impl Events {
    async fn watch(world: &World, path: &str, headers: &[(&str, &str)]) -> Events {
        let response = world.send("GET", path, headers, "").await;
        assert_eq!(response.status(), 200, "{path}");
        Events { body: response.into_body(), rest: Vec::new() }
    }

    /// None at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                return Some((event["type"].as_str().unwrap().to_string(), event["object"].clone()));
            }
            let frame = self.body.frame().await?.unwrap();
            self.rest.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    async fn expect(&mut self, kind: &str, name: &str) -> Value {
        let (found, object) = self.next().await.expect("the watch ended");
        assert_eq!((found.as_str(), object["metadata"]["name"].as_str()), (kind, Some(name)), "{object}");
        object
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": app } },
        "spec": { "containers": [
            { "name": "a", "image": "host", "command": ["true"], "env": [{ "name": "X", "value": "1" }] },
            { "name": "b", "image": "host", "command": ["true"] },
        ] },
    })
}

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "template": { "spec": {
            "restartPolicy": "OnFailure", "containers": [{ "name": "main", "image": "host", "command": ["true"] }] } } },
    })
}

fn map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "k": value } })
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

// ---- reads -----------------------------------------------------------------------------------------------------------

#[test]
fn objects_are_made_read_and_listed() {
    run(async |world| {
        let (code, made) = world.post(PODS, &pod("p1", "x")).await;
        assert_eq!((code, &made["metadata"]["namespace"]), (201, &json!("default")), "{made}");
        assert_eq!(made["metadata"]["resourceVersion"], "2");
        world.post(PODS, &pod("p2", "y")).await;
        world.post("/api/v1/namespaces/other/pods", &pod("p3", "x")).await;
        let (code, one) = world.read(&format!("{PODS}/p1")).await;
        assert_eq!((code, &one["kind"], &one["spec"]["restartPolicy"]), (200, &json!("Pod"), &json!("Always")));
        let (_, list) = world.read(PODS).await;
        assert_eq!((&list["kind"], &list["metadata"]["resourceVersion"]), (&json!("PodList"), &json!("4")));
        assert_eq!(names(&list), ["p1", "p2"]);
        for (query, expected) in [
            ("", vec!["p1", "p2", "p3"]),
            ("?labelSelector=app%3Dx", vec!["p1", "p3"]),
            ("?labelSelector=app+notin+(x)", vec!["p2"]),
            ("?fieldSelector=metadata.namespace%3Dother", vec!["p3"]),
            ("?fieldSelector=status.phase%3DPending,metadata.name!%3Dp1&limit=500", vec!["p2", "p3"]),
            ("?fieldSelector=spec.nodeName%3Dgateway-7", vec![]),
        ] {
            assert_eq!(names(&world.read(&format!("/api/v1/pods{query}")).await.1), expected, "{query}");
        }
        let (_, status) = world.read(&format!("{PODS}/p1/status")).await;
        assert_eq!(status, one);
    });
}

#[test]
fn tables_are_served_to_who_asks_for_them() {
    run(async |world| {
        world.post(PODS, &pod("p1", "x")).await;
        let (_, table) = world.call("GET", PODS, &[("accept", TABLE)], "").await;
        assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
        assert_eq!(
            table["rows"][0]["cells"],
            json!(["p1", "0/2", "Pending", "0", "0s", "<none>", "<none>", "<none>", "<none>"])
        );
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(table["rows"][0]["object"]["metadata"]["labels"], json!({ "app": "x" }));
        let (_, one) = world.call("GET", &format!("{PODS}/p1?includeObject=Object"), &[("accept", TABLE)], "").await;
        assert_eq!(one["rows"][0]["object"]["kind"], "Pod");
        let (_, none) = world.call("GET", &format!("{PODS}?includeObject=None"), &[("accept", TABLE)], "").await;
        assert_eq!(none["rows"][0].get("object"), None);
        let refused = world.call("GET", PODS, &[("accept", "text/html")], "").await;
        assert_eq!((refused.0, &refused.1["reason"]), (406, &json!("NotAcceptable")));
    });
}

#[test]
fn older_versions_are_served_under_their_own_name() {
    run(async |world| {
        let set = json!({
            "apiVersion": "apps/v1beta2", "kind": "DaemonSet", "metadata": { "name": "d" },
            "spec": { "selector": { "matchLabels": { "app": "m" } }, "template": {
                "metadata": { "labels": { "app": "m" } }, "spec": { "containers": [{ "name": "main", "image": "luksa/ssd-monitor" }] } } },
        });
        let (code, made) = world.post("/apis/apps/v1beta2/namespaces/default/daemonsets", &set).await;
        assert_eq!((code, &made["apiVersion"]), (201, &json!("apps/v1beta2")), "{made}");
        for version in ["apps/v1", "extensions/v1beta1"] {
            let (_, list) = world.read(&format!("/apis/{version}/daemonsets")).await;
            assert_eq!((&list["apiVersion"], &list["items"][0]["apiVersion"]), (&json!(version), &json!(version)));
        }
    });
}

#[test]
fn what_is_used_is_told_in_the_shape_that_kubectl_top_reads() {
    run(async |world| {
        let (_, groups) = world.read("/apis").await;
        let group =
            groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "metrics.k8s.io").unwrap().clone();
        assert_eq!(group["versions"][0]["groupVersion"], "metrics.k8s.io/v1beta1");
        assert_eq!(world.read("/apis/metrics.k8s.io").await.1["kind"], "APIGroup");
        let (_, resources) = world.read("/apis/metrics.k8s.io/v1beta1").await;
        assert_eq!(resources["resources"][1]["kind"], "PodMetrics");
        let (_, nodes) = world.read("/apis/metrics.k8s.io/v1beta1/nodes").await;
        let usage = json!({"cpu": "1000000000n", "memory": "65536Ki"});
        assert_eq!((&nodes["kind"], &nodes["items"][0]["usage"]), (&json!("NodeMetricsList"), &usage));
        assert_eq!(nodes["items"][0]["window"], "2.000s");
        // A pod that is not there is not found; one without containers is in no list.
        assert_eq!(world.read("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/nope").await.0, 404);
        let (code, pods) = world.read("/apis/metrics.k8s.io/v1beta1/pods").await;
        assert_eq!((code, &pods["kind"], &pods["items"]), (200, &json!("PodMetricsList"), &json!([])));
        assert_eq!(world.read("/apis/metrics.k8s.io/v1beta1/jobs").await.0, 404);
        assert_eq!(world.send("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes", &[], "").await.status(), 405);
        assert_eq!(world.read("/apis/metrics.k8s.io/v1beta1/pods?labelSelector=!!").await.0, 400);
    });
}

#[test]
fn discovery_is_told_in_both_forms() {
    run(async |world| {
        let (_, core) = world.read("/api").await;
        assert_eq!(core["versions"], json!(["v1"]));
        let (_, resources) = world.read("/apis/batch/v1").await;
        let told: Vec<&str> =
            resources["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(told, ["cronjobs", "cronjobs/status", "jobs", "jobs/scale", "jobs/status"]);
        let (_, groups) = world.read("/apis").await;
        assert_eq!(groups["groups"][0]["preferredVersion"]["groupVersion"], "apps/v1");
        assert_eq!(world.read("/apis/batch").await.1["kind"], "APIGroup");
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let response = world.send("GET", "/apis", &[("accept", aggregated)], "").await;
        assert_eq!(response.headers()["content-type"], aggregated);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let all: Value = serde_json::from_slice(&bytes).unwrap();
        let jobs = &all["items"][1]["versions"][0]["resources"][1];
        assert_eq!(
            (&jobs["resource"], &jobs["categories"], &jobs["scope"]),
            (&json!("jobs"), &json!(["all"]), &json!("Namespaced"))
        );
        let (_, version) = world.read("/version").await;
        assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.32.0+pinnace-"));
        let go = [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm", "arm"), ("riscv64", "riscv64")];
        let here = go.iter().find(|(rust, _)| *rust == std::env::consts::ARCH).unwrap();
        assert_eq!(version["platform"], format!("linux/{}", here.1));
    });
}

#[test]
fn the_daemon_tells_how_it_is_and_all_that_it_keeps() {
    run(async |world| {
        world.post(MAPS, &map("m", "1")).await;
        for page in ["/healthz", "/livez", "/readyz"] {
            assert_eq!(world.text(page).await, (200, "ok".into()));
        }
        assert_eq!(world.text("/metrics").await.1, "pinnace_pods 0\n");
        let (_, dump) = world.text("/apis/pinnace.dev/v1/dump").await;
        let lines: Vec<Value> = dump.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[0]), (3, &json!({"format": 7, "revision": 2, "data_dir": "/data"})));
        let records: Vec<Record> = lines[1..].iter().map(|l| serde_json::from_value(l.clone()).unwrap()).collect();
        assert_eq!(records[1], *world.get(Kind::ConfigMap, "default", "m"));
        *world.state.borrow_mut() = State::default();
        assert_eq!(world.text("/readyz").await.0, 503);
    });
}

#[test]
fn logs_are_streamed_from_the_attempt_that_is_meant() {
    run(async |world| {
        world.post(PODS, &pod("p", "x")).await;
        let log = format!("{PODS}/p/log");
        World::check_failure(
            world.read(&log).await,
            400,
            "BadRequest",
            "a container name must be specified for pod p, choose one of: [a b]",
        );
        let mut running = world.get(Kind::Pod, "default", "p").as_pod().unwrap().clone();
        running.status.started = Some(now().moment());
        World::put(&world, running.clone().into(), false);
        World::check_failure(
            world.read(&format!("{log}?container=a")).await,
            400,
            "BadRequest",
            "container \"a\" in pod \"p\" is waiting to start: ContainerCreating",
        );
        running.status.containers[0].state = ContainerState::Running { started: now().moment(), pid: 7 };
        running.status.containers[0].restarts = 2;
        let uid = running.meta.uid.clone();
        world.put(running.into(), false);
        let (code, text) = world.text(&format!("{log}?container=a&follow=true&tailLines=3")).await;
        assert_eq!((code, text), (200, format!("attempt {uid}/a/2\nfollow true tail Some(3)\n")));
        World::check_failure(world.read(&format!("{PODS}/q/log")).await, 404, "NotFound", "pods \"q\" not found");
    });
}

// ---- changes ---------------------------------------------------------------------------------------------------------

#[test]
fn a_body_may_be_yaml_and_must_be_for_its_path() {
    run(async |world| {
        let yaml = "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: from-yaml\ndata:\n  k: v\n";
        let (code, made) = world.call("POST", MAPS, &[("content-type", "application/yaml; charset=utf-8")], yaml).await;
        assert_eq!((code, &made["data"]), (201, &json!({ "k": "v" })), "{made}");
        let two = format!("{yaml}---\n{yaml}");
        assert_eq!(world.call("POST", MAPS, &[("content-type", "application/yaml")], two).await.0, 400);
        assert_eq!(world.post(MAPS, &pod("p", "x")).await.0, 400);
        let elsewhere =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m", "namespace": "other" } });
        World::check_failure(
            world.post(MAPS, &elsewhere).await,
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        );
        World::check_failure(
            world.post(MAPS, &map("from-yaml", "2")).await,
            409,
            "AlreadyExists",
            "configmaps \"from-yaml\" already exists",
        );
    });
}

#[test]
fn a_dry_run_changes_nothing_and_warnings_travel_as_headers() {
    run(async |world| {
        let mut odd = map("m", "1");
        odd["dataa"] = json!({});
        let response = world.send("POST", &format!("{MAPS}?dryRun=All"), &[], odd.to_string()).await;
        assert_eq!(response.status(), 201);
        let warnings: Vec<&str> = response.headers().get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("299 - \"unknown field \\\"dataa\\\""), "{warnings:?}");
        assert_eq!(warnings[1], "299 - \"a \\\"dry\\\" run\"");
        assert_eq!(world.read(&format!("{MAPS}/m")).await.0, 404);
        let strict = world.post(&format!("{MAPS}?fieldValidation=Strict"), &odd).await;
        assert_eq!((strict.0, &strict.1["reason"]), (400, &json!("BadRequest")));
        let quiet = world.send("POST", &format!("{MAPS}?fieldValidation=Ignore"), &[], odd.to_string()).await;
        assert_eq!((quiet.status().as_u16(), quiet.headers().get("warning")), (201, None));
        assert_eq!(world.post(&format!("{MAPS}?fieldValidation=Maybe"), &odd).await.0, 400);
        assert_eq!(world.post(&format!("{MAPS}?dryRun=Some"), &map("n", "1")).await.0, 400);
    });
}

#[test]
fn a_replacement_is_for_the_revision_and_the_object_that_it_names() {
    run(async |world| {
        let (_, made) = world.post(MAPS, &map("m", "1")).await;
        let path = format!("{MAPS}/m");
        let put = async |object: &Value| world.call("PUT", &path, &[], object.to_string()).await;
        let mut new = made.clone();
        new["data"]["k"] = "2".into();
        let (code, replaced) = put(&new).await;
        assert_eq!(
            (code, &replaced["data"]["k"], &replaced["metadata"]["resourceVersion"]),
            (200, &json!("2"), &json!("3"))
        );
        World::check_failure(
            put(&new).await,
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to the latest version and try again",
        );
        assert_eq!(put(&map("m", "3")).await.0, 200, "one without a revision replaces whatever is there");
        World::check_failure(
            put(&map("other", "3")).await,
            400,
            "BadRequest",
            "the name of the object (other) does not match the name on the URL (m)",
        );
        let mut stranger = map("m", "4");
        stranger["metadata"]["uid"] = "gone".into();
        assert_eq!(put(&stranger).await.1["reason"], "Conflict");
        World::check_failure(
            world.call("PUT", &format!("{MAPS}/none"), &[], map("none", "1").to_string()).await,
            404,
            "NotFound",
            "configmaps \"none\" not found",
        );
    });
}

#[test]
fn patches_of_three_kinds() {
    run(async |world| {
        world.post(PODS, &pod("p", "x")).await;
        let path = format!("{PODS}/p");
        let (code, merged) =
            world.patch(&path, "merge-patch", json!({ "metadata": { "labels": { "app": null, "new": "1" } } })).await;
        assert_eq!((code, &merged["metadata"]["labels"]), (200, &json!({ "new": "1" })), "{merged}");
        let strategic = json!({ "spec": { "containers": [{ "name": "b", "image": "busybox" }] } });
        let (_, merged) = world.patch(&path, "strategic-merge-patch", strategic).await;
        assert_eq!(
            (&merged["spec"]["containers"][0]["name"], &merged["spec"]["containers"][1]["image"]),
            (&json!("a"), &json!("busybox"))
        );
        let operations = json!([{ "op": "replace", "path": "/spec/containers/0/env/0/value", "value": "2" }]);
        let (_, patched) = world.patch(&path, "json-patch", operations).await;
        assert_eq!(patched["spec"]["containers"][0]["env"][0]["value"], "2");
        assert_eq!(
            world.patch(&path, "json-patch", json!([{ "op": "test", "path": "/kind", "value": "Job" }])).await.0,
            422
        );
        assert_eq!(world.patch(&path, "apply-patch", json!({})).await.1["reason"], "UnsupportedMediaType");
        for garbage in [json!("x"), json!([]), json!(null), json!({ "metadata": null }), json!({ "spec": 7 })] {
            let (code, status) = world.patch(&path, "merge-patch", garbage.clone()).await;
            assert!((400..500).contains(&code), "{garbage}: {status}");
        }
        assert_eq!(world.patch(&format!("{PODS}/none"), "merge-patch", json!({})).await.0, 404);
    });
}

#[test]
fn a_patch_goes_on_where_somebody_else_was_faster_unless_it_names_a_revision() {
    run(async |world| {
        world.post(MAPS, &map("m", "1")).await;
        let path = format!("{MAPS}/m");
        world.rivals.set(3);
        let (code, patched) = world.patch(&path, "merge-patch", json!({ "data": { "k": "2" } })).await;
        assert_eq!((code, &patched["data"]["k"], world.rivals.get()), (200, &json!("2"), 0));
        world.rivals.set(100);
        assert_eq!(world.patch(&path, "merge-patch", json!({ "data": { "k": "3" } })).await.0, 409);
        assert_eq!(world.rivals.get(), 95, "five tries");
        world.rivals.set(0);
        let old = json!({ "metadata": { "resourceVersion": "2" }, "data": { "k": "4" } });
        assert_eq!(world.patch(&path, "merge-patch", old).await.1["reason"], "Conflict");
    });
}

#[test]
fn what_the_api_adds_does_not_come_back_as_a_change() {
    run(async |world| {
        world.post(PODS, &pod("p", "x")).await;
        let mut running = world.get(Kind::Pod, "default", "p").as_pod().unwrap().clone();
        running.status.started = Some(now().moment());
        world.put(running.clone().into(), false);
        let path = format!("{PODS}/p");
        let (_, shown) = world.patch(&path, "merge-patch", json!({ "metadata": { "labels": { "l": "1" } } })).await;
        let Ask::Replace { record, .. } = world.last_ask() else { panic!("no replacement was asked for") };
        assert_eq!(record.as_pod().unwrap().spec, running.spec, "{shown}");
        // An owner that waits for what it owns has a finalizer that nobody set.
        world.post(JOBS, &job("j")).await;
        let mut ending = (*world.get(Kind::Job, "default", "j")).clone();
        ending.meta_mut().deleting = Some(Deleting { since: now().moment(), grace_s: 0, foreground: true });
        world.put(ending, false);
        let (code, status) =
            world.patch(&format!("{JOBS}/j"), "merge-patch", json!({ "spec": { "suspend": true } })).await;
        assert_eq!(code, 200, "{status}");
        // A node stays drained while it stays cordoned.
        let mut node = world.get(Kind::Node, "", "gateway-7").as_node().unwrap().clone();
        (node.spec.unschedulable, node.spec.drained) = (true, true);
        world.put(node.into(), false);
        let drained = async |patch: Value| {
            let (code, status) = world.patch("/api/v1/nodes/gateway-7", "strategic-merge-patch", patch).await;
            assert_eq!(code, 200, "{status}");
            let Ask::Replace { record, .. } = world.last_ask() else { panic!("no replacement was asked for") };
            record.as_node().unwrap().spec.drained
        };
        assert!(drained(json!({ "metadata": { "labels": { "disk": "ssd" } } })).await);
        assert!(!drained(json!({ "spec": { "unschedulable": null } })).await);
    });
}

#[test]
fn deletes_carry_their_options() {
    run(async |world| {
        let (_, made) = world.post(JOBS, &job("j")).await;
        let path = format!("{JOBS}/j");
        let delete = async |query: &str, body: Value| {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let reply = world.call("DELETE", &format!("{path}{query}"), &[], body).await;
            world.post(JOBS, &job("j")).await;
            reply
        };
        let last_delete = || {
            let asked = world.asked.borrow();
            let found = asked.iter().rev().find_map(|(ask, dry_run)| match ask {
                Ask::Delete { grace_s, propagation, if_uid, .. } => {
                    Some((*grace_s, *propagation, if_uid.clone(), *dry_run))
                }
                _ => None,
            });
            found.unwrap()
        };
        let (code, status) = delete("", json!(null)).await;
        assert_eq!((code, &status["status"], &status["details"]["kind"]), (200, &json!("Success"), &json!("jobs")));
        assert_eq!(last_delete(), (None, Propagation::Orphan, None, false), "a Job without a word leaves its pods");
        delete("", json!({ "propagationPolicy": "Background", "gracePeriodSeconds": 5 })).await;
        assert_eq!(last_delete(), (Some(5), Propagation::Background, None, false));
        delete("?propagationPolicy=Foreground&gracePeriodSeconds=0&dryRun=All", json!(null)).await;
        assert_eq!(last_delete(), (Some(0), Propagation::Foreground, None, true));
        delete("", json!({ "orphanDependents": false, "dryRun": ["All"] })).await;
        assert_eq!(last_delete(), (None, Propagation::Background, None, true));
        let uid = made["metadata"]["uid"].clone();
        delete("", json!({ "preconditions": { "uid": uid } })).await;
        assert_eq!(last_delete().2.unwrap().as_str(), uid);
        for (query, body, code) in [
            ("", json!({ "preconditions": { "uid": "other" } }), 409),
            ("", json!({ "preconditions": { "resourceVersion": "1" } }), 409),
            ("", json!({ "propagationPolicy": "Sideways" }), 422),
            ("", json!({ "gracePeriodSeconds": -1 }), 422),
            ("", json!({ "gracePeriodSeconds": "soon" }), 422),
            ("?gracePeriodSeconds=x", json!(null), 400),
        ] {
            assert_eq!(delete(query, body.clone()).await.0, code, "{query} {body}");
        }
        assert_eq!(world.call("DELETE", &format!("{JOBS}/none"), &[], "").await.0, 404);
    });
}

#[test]
fn a_pod_that_is_ending_is_shown_and_one_that_is_gone_is_not() {
    run(async |world| {
        world.post(PODS, &pod("p", "x")).await;
        let path = format!("{PODS}/p");
        let (_, ending) = world.call("DELETE", &path, &[], "").await;
        assert_eq!((&ending["kind"], &ending["metadata"]["deletionGracePeriodSeconds"]), (&json!("Pod"), &json!(30)));
        let (_, gone) = world.call("DELETE", &path, &[], r#"{"gracePeriodSeconds":0}"#).await;
        assert_eq!(gone["status"], "Success");
        world.post(PODS, &pod("p", "x")).await;
        let eviction =
            json!({ "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": { "gracePeriodSeconds": 1 } });
        assert_eq!(world.post(&format!("{path}/eviction"), &eviction).await.0, 201);
        let key = Key::new(Kind::Pod, "default", "p");
        let expected = Ask::Delete { key, grace_s: Some(1), propagation: Propagation::Background, if_uid: None };
        assert_eq!(world.last_ask(), expected);
    });
}

#[test]
fn many_are_deleted_by_a_selector_in_one_namespace() {
    run(async |world| {
        for (name, app) in [("p1", "x"), ("p2", "y"), ("p3", "x")] {
            world.post(PODS, &pod(name, app)).await;
        }
        world.post("/api/v1/namespaces/other/pods", &pod("p4", "x")).await;
        let options = r#"{"gracePeriodSeconds":0}"#;
        let (code, list) = world.call("DELETE", &format!("{PODS}?labelSelector=app%3Dx"), &[], options).await;
        assert_eq!((code, names(&list)), (200, vec!["p1", "p3"]));
        assert_eq!(names(&world.read("/api/v1/pods").await.1), ["p2", "p4"]);
        assert_eq!(world.call("DELETE", "/api/v1/pods", &[], options).await.0, 405, "never over all namespaces");
    });
}

#[test]
fn a_job_is_scaled_by_its_parallelism() {
    run(async |world| {
        world.post(JOBS, &job("j")).await;
        let path = format!("{JOBS}/j/scale");
        let (_, scale) = world.read(&path).await;
        assert_eq!((&scale["apiVersion"], &scale["spec"]["replicas"]), (&json!("autoscaling/v1"), &json!(1)));
        let (code, scale) = world.patch(&path, "merge-patch", json!({ "spec": { "replicas": 3 } })).await;
        assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(3)), "{scale}");
        assert_eq!(world.read(&format!("{JOBS}/j")).await.1["spec"]["parallelism"], 3);
        world.rivals.set(1);
        assert_eq!(world.patch(&path, "merge-patch", json!({ "spec": { "replicas": 4 } })).await.0, 200);
        let mut old = scale.clone();
        old["spec"]["replicas"] = 9.into();
        assert_eq!(world.call("PUT", &path, &[], old.to_string()).await.0, 409);
        old["metadata"]["resourceVersion"] = Value::Null;
        assert_eq!(world.call("PUT", &path, &[], old.to_string()).await.1["spec"]["replicas"], 9);
        assert_eq!(world.patch(&path, "merge-patch", json!({ "spec": { "replicas": -1 } })).await.0, 422);
        for garbage in [json!("x"), json!({ "metadata": "x" }), json!({ "metadata": null, "spec": [] })] {
            let (code, status) = world.patch(&path, "merge-patch", garbage.clone()).await;
            assert!(code == 200 || code == 422, "{garbage}: {status}");
        }
        assert_eq!(world.post("/apis/pinnace.dev/v1/drain", &json!({})).await.0, 200);
        assert_eq!(world.last_ask(), Ask::Drain);
    });
}

// ---- images ----------------------------------------------------------------------------------------------------------

const PINNACE: &str = "/apis/pinnace.dev/v1";

/// The lines of an answer.
async fn lines(world: &World, path: &str, body: &'static str) -> Vec<Value> {
    let response = world.send("POST", path, &[], body).await;
    assert_eq!(response.status().as_u16(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson", "{path}");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
}

#[test]
fn an_archive_becomes_an_image_and_an_archive_again() {
    run(async |world| {
        let path = format!("{PINNACE}/import?reference=acme%2Ftool&entrypoint=%5B%22%2Fbin%2Ftool%22%5D");
        let told = lines(&world, &path, "0123456789").await;
        assert_eq!(told.last().unwrap()["image"]["spec"]["entrypoint"], json!(["/bin/tool"]), "{told:?}");
        assert_eq!(told.last().unwrap()["image"]["status"]["sizeBytes"], 10);
        let first = json!({"progress": {"what": "archive", "done": 0, "total": null}});
        let last = json!({"progress": {"what": "archive", "done": 10, "total": 10}});
        assert!(told.contains(&first) && told.contains(&last), "{told:?}");
        let image = format!("{PINNACE}/images/{}", object_name("acme/tool"));
        assert_eq!(world.read(&image).await.1["spec"]["reference"], "acme/tool");
        assert_eq!(world.text(&format!("{image}/export")).await, (200, "archive of acme/tool".to_string()));
    });
}

#[test]
fn a_version_is_brought_and_the_answer_tells_how_it_goes() {
    run(async |world| {
        let status = world.read(&format!("{PINNACE}/update")).await.1;
        assert_eq!(status, json!({"running": {"which": "installed", "version": "0.1.0"}}));
        let told = lines(&world, &format!("{PINNACE}/update?size=10&within_s=9"), "0123456789").await;
        assert_eq!(told[0], json!({"progress": {"what": "copying", "done": 10, "total": 10}}));
        assert_eq!(told[1]["checked"]["sha256"], "None 10 9", "{told:?}");
        assert_eq!(told[2]["switching"]["to"]["version"], "0.2.0");
        let told = lines(&world, &format!("{PINNACE}/update?from=http%3A%2F%2Fa%2Fb"), "").await;
        assert_eq!(told[1]["checked"]["sha256"], "Some(\"http://a/b\") 0 300", "{told:?}");
        let told = lines(&world, &format!("{PINNACE}/update/undo"), "").await;
        assert_eq!((told[0]["status"]["code"].as_u64(), told.len()), (Some(409), 1));
        for (method, path, code) in [
            ("POST", "update?sha256=x", 400),
            ("POST", "update/undo?within_s=0", 400),
            ("GET", "update/undo", 405),
            ("PUT", "update", 405),
        ] {
            assert_eq!(world.call(method, &format!("{PINNACE}/{path}"), &[], "").await.0, code, "{method} {path}");
        }
    });
}

#[test]
fn what_goes_wrong_with_an_image_is_a_status() {
    run(async |world| {
        let told = lines(&world, &format!("{PINNACE}/import?reference=huge"), "x").await;
        assert_eq!(told.last().unwrap()["status"]["message"], "no room");
        let told = lines(&world, &format!("{PINNACE}/pull?reference=a%2Fb"), "{\"auths\":{}}").await;
        assert_eq!(told[0]["status"]["message"], "a/b with [\"{\\\"auths\\\":{}}\"]");
        for (method, path, code) in [
            ("POST", "import?entrypoint=x", 400),
            ("POST", "pull", 400),
            ("GET", "import", 405),
            ("GET", "prune", 405),
            ("GET", "images/none/export", 404),
        ] {
            assert_eq!(world.call(method, &format!("{PINNACE}/{path}"), &[], "").await.0, code, "{method} {path}");
        }
        assert_eq!(world.call("POST", &format!("{PINNACE}/prune"), &[], "").await.0, 200);
        assert_eq!(world.last_ask(), Ask::Prune);
        lines(&world, &format!("{PINNACE}/import?reference=broken"), "x").await;
        let path = format!("{PINNACE}/images/{}/export", object_name("broken"));
        let mut socket = UnixStream::connect(&world.socket).await.unwrap();
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        // The last chunk, of length 0, is what makes a body whole.
        assert!(!answer.ends_with(b"0\r\n\r\n"), "an archive that breaks off must not look whole");
        let directory =
            json!({"apiVersion": "pinnace.dev/v1", "kind": "Image", "spec": {"reference": "d", "directory": "/srv"}});
        assert_eq!(world.post(&format!("{PINNACE}/images"), &directory).await.0, 201);
        assert_eq!(world.read(&format!("{PINNACE}/images/{}/export", object_name("d"))).await.0, 400);
    });
}

// ---- watches ---------------------------------------------------------------------------------------------------------

#[test]
fn events_are_listed_by_their_times() {
    run(async |world| {
        for (name, last_s) in [("b", 30), ("z", 10), ("c", 20), ("a", 20)] {
            world.put(event(name, Timestamp::from_secs(last_s)), false);
        }
        let (_, list) = world.call("GET", "/api/v1/namespaces/default/events", &[], "").await;
        let names: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|e| e["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["z", "c", "a", "b"], "within a second as they were written");
    });
}

fn event(name: &str, last: Timestamp) -> Record {
    let about = ObjectRef {
        kind: Kind::Pod,
        namespace: "default".into(),
        name: "p".into(),
        uid: Uid::new("u"),
        field_path: String::new(),
    };
    Record::from(Event {
        meta: Meta::named("default", name),
        about,
        kind: EventType::Normal,
        reason: "Started".into(),
        message: String::new(),
        source: "kubelet".into(),
        count: 1,
        first: last,
        last,
    })
}

#[test]
fn a_watch_tells_every_change_after_its_revision() {
    run(async |world| {
        let (_, made) = world.post(MAPS, &map("m", "1")).await;
        let from = made["metadata"]["resourceVersion"].as_str().unwrap();
        let mut events = Events::watch(&world, &format!("{MAPS}?watch=true&resourceVersion={from}"), &[]).await;
        world.post(MAPS, &map("n", "1")).await;
        world.patch(&format!("{MAPS}/m"), "merge-patch", json!({ "data": { "k": "2" } })).await;
        world.post("/api/v1/namespaces/other/configmaps", &map("elsewhere", "1")).await;
        world.call("DELETE", &format!("{MAPS}/n"), &[], "").await;
        events.expect("ADDED", "n").await;
        assert_eq!(events.expect("MODIFIED", "m").await["data"]["k"], "2");
        let gone = events.expect("DELETED", "n").await;
        assert_eq!(gone["metadata"]["resourceVersion"], "6", "the revision of the deletion, to go on from");
        // The same again from the ring, long after it happened.
        let mut late = Events::watch(&world, &format!("{MAPS}?watch=1&resourceVersion={from}"), &[]).await;
        late.expect("ADDED", "n").await;
        late.expect("MODIFIED", "m").await;
        late.expect("DELETED", "n").await;
    });
}

#[test]
fn a_watch_without_a_revision_tells_first_what_is_there() {
    run(async |world| {
        world.post(MAPS, &map("a", "1")).await;
        world.post(MAPS, &map("b", "1")).await;
        for query in ["", "&resourceVersion=0"] {
            let mut events = Events::watch(&world, &format!("{MAPS}?watch=true{query}"), &[]).await;
            events.expect("ADDED", "a").await;
            events.expect("ADDED", "b").await;
        }
        let mut one = Events::watch(&world, &format!("{MAPS}/b?watch=true"), &[]).await;
        one.expect("ADDED", "b").await;
        world.patch(&format!("{MAPS}/a"), "merge-patch", json!({ "data": { "k": "2" } })).await;
        world.call("DELETE", &format!("{MAPS}/b"), &[], "").await;
        one.expect("DELETED", "b").await;
    });
}

#[test]
fn an_object_that_leaves_a_selector_is_deleted_for_its_watch() {
    run(async |world| {
        world.post(PODS, &pod("p", "x")).await;
        let path = format!("{PODS}/p");
        let mut events =
            Events::watch(&world, &format!("{PODS}?watch=true&resourceVersion=2&labelSelector=app%3Dy"), &[]).await;
        let relabel = async |app: &str| {
            world.patch(&path, "merge-patch", json!({ "metadata": { "labels": { "app": app } } })).await
        };
        relabel("y").await;
        relabel("z").await;
        relabel("y").await;
        events.expect("ADDED", "p").await;
        let left = events.expect("DELETED", "p").await;
        assert_eq!(left["metadata"]["labels"]["app"], "y", "as it was when it still fitted");
        events.expect("ADDED", "p").await;
    });
}

#[test]
fn a_watch_of_tables_names_its_columns_once() {
    run(async |world| {
        world.post(PODS, &pod("p1", "x")).await;
        let mut events = Events::watch(&world, &format!("{PODS}?watch=true"), &[("accept", TABLE)]).await;
        let (_, first) = events.next().await.unwrap();
        world.post(PODS, &pod("p2", "x")).await;
        let (kind, second) = events.next().await.unwrap();
        assert_eq!(
            (kind.as_str(), &second["kind"], &second["rows"][0]["cells"][0]),
            ("ADDED", &json!("Table"), &json!("p2"))
        );
        let columns = |table: &Value| table["columnDefinitions"].as_array().unwrap().len();
        assert_eq!((columns(&first), columns(&second)), (9, 0));
    });
}

#[test]
fn a_watch_from_what_is_forgotten_is_expired() {
    run(async |world| {
        for i in 0..=api::CHANGES_MAX {
            world.post(MAPS, &map(&format!("m{i}"), "1")).await;
        }
        for revision in ["1", "999999"] {
            let mut events = Events::watch(&world, &format!("{MAPS}?watch=true&resourceVersion={revision}"), &[]).await;
            let (kind, status) = events.next().await.unwrap();
            assert_eq!((kind.as_str(), &status["code"], &status["reason"]), ("ERROR", &json!(410), &json!("Expired")));
            assert!(events.next().await.is_none(), "the stream ends after it");
        }
        assert_eq!(world.read(&format!("{MAPS}?watch=true&resourceVersion=x")).await.0, 400);
        assert_eq!(world.read(&format!("{MAPS}?continue=abc")).await.0, 410);
    });
}

#[test]
fn a_watch_that_does_not_read_is_told_that_it_fell_behind() {
    run(async |world| {
        // Large enough that the socket's buffers and the watch's own are full long before the ring comes round.
        let large = "x".repeat(64 * 1024);
        world.post(MAPS, &map("m", &large)).await;
        let mut events = Events::watch(&world, &format!("{MAPS}?watch=true&resourceVersion=2"), &[]).await;
        let stored = world.get(Kind::ConfigMap, "default", "m");
        for _ in 0..api::CHANGES_MAX + 100 {
            world.put((*stored).clone(), false);
            tokio::task::yield_now().await;
        }
        let mut seen = 0;
        let last = loop {
            let (kind, object) = events.next().await.unwrap();
            if kind != "MODIFIED" {
                break (kind, object["code"].clone());
            }
            seen += 1;
        };
        assert_eq!(last, ("ERROR".to_string(), json!(410)), "after {seen} events");
        assert!(events.next().await.is_none());
    });
}

#[test]
fn a_watch_ends_at_its_time_and_when_the_daemon_does() {
    run(async |world| {
        let path = format!("{MAPS}?watch=true&resourceVersion=1&allowWatchBookmarks=true");
        let mut timed = Events::watch(&world, &format!("{path}&timeoutSeconds=1"), &[]).await;
        let (kind, bookmark) = timed.next().await.unwrap();
        assert_eq!((kind.as_str(), &bookmark["kind"]), ("BOOKMARK", &json!("ConfigMap")));
        assert_eq!(bookmark["metadata"]["resourceVersion"], "1");
        assert!(timed.next().await.is_none());
        let mut open = Events::watch(&world, &format!("{MAPS}?watch=true&resourceVersion=1"), &[]).await;
        world.stop.send_replace(true);
        assert!(open.next().await.is_none());
    });
}

// ---- bad clients -----------------------------------------------------------------------------------------------------

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    run(async |world| {
        let not_found = "the server could not find the requested resource";
        World::check_failure(world.read("/nothing").await, 404, "NotFound", "404 page not found");
        World::check_failure(world.read("/apis/apps/v1/deployments").await, 404, "NotFound", not_found);
        World::check_failure(world.read(&format!("{JOBS}/x")).await, 404, "NotFound", "jobs.batch \"x\" not found");
        let wrong = "the server does not allow this method on the requested resource";
        for (method, path) in [
            ("POST", "/api/v1/pods"),
            ("POST", "/version"),
            ("PUT", PODS),
            ("PATCH", "/apis/batch/v1/namespaces/default/jobs/x/status"),
            ("DELETE", "/api/v1/nodes/gateway-7"),
            ("POST", "/apis/pinnace.dev/v1/sets"),
            ("PUT", "/api/v1/namespaces/default/events/e"),
            ("GET", "/apis/pinnace.dev/v1/drain"),
            ("BREW", PODS),
        ] {
            World::check_failure(world.call(method, path, &[], "").await, 405, "MethodNotAllowed", wrong);
        }
        for query in [
            "labelSelector=a%3D%3D%3Db",
            "fieldSelector=spec.colour%3Dred",
            "watch=1&timeoutSeconds=x",
            "watch=1&resourceVersion=-1",
        ] {
            assert_eq!(world.read(&format!("{PODS}?{query}")).await.0, 400, "{query}");
        }
    });
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_the_reason() {
    run(async |world| {
        let json_type = ("content-type", "application/json");
        for (content_type, body, code) in [
            (json_type, "{".to_string(), 400),
            (json_type, String::new(), 400),
            (json_type, "[]".into(), 400),
            (json_type, "\"x\"".into(), 400),
            (json_type, "\u{0}\u{1}".into(), 400),
            (json_type, "[".repeat(10_000), 400),
            (json_type, json!({ "kind": 7, "apiVersion": [], "metadata": 3 }).to_string(), 400),
            (json_type, " ".repeat(2 * 1024 * 1024), 413),
            (("content-type", "application/yaml"), "a: [".into(), 400),
            (("content-type", "application/yaml"), "[".repeat(10_000), 400),
            (("content-type", "application/vnd.kubernetes.protobuf"), "k8s\u{0}".into(), 415),
        ] {
            let shown: String = body.chars().take(20).collect();
            let (found, status) = world.call("POST", PODS, &[content_type], body).await;
            assert_eq!((found, &status["kind"]), (code, &json!("Status")), "{shown:?}: {status}");
        }
        assert!(world.asked.borrow().is_empty(), "nothing of it came to the loop");
    });
}

#[test]
fn a_client_that_hangs_or_sends_garbage_costs_the_others_nothing() {
    run(async |world| {
        let connect = async || UnixStream::connect(&world.socket).await.unwrap();
        let mut half_head = connect().await;
        half_head.write_all(b"GET /api/v1/pods HTT").await.unwrap();
        let mut half_body = connect().await;
        half_body
            .write_all(b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            .await
            .unwrap();
        let silent = connect().await;
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET\r\n\r\n",
            b"\r\n\r\n\r\n",
            &[0xff; 4096],
            b"GET / HTTP/9.9\r\n\r\n",
        ] {
            let mut stream = connect().await;
            stream.write_all(garbage).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // It is answered with an error or closed; either way it ends.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        }
        let long = format!("/api/v1/pods?labelSelector={}", "x".repeat(100 * 1024));
        let mut stream = connect().await;
        let _ = stream.write_all(format!("GET {long} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(world.read("/api/v1/pods").await.0, 200);
        drop((half_head, half_body, silent));
        assert_eq!(world.read("/api/v1/pods").await.0, 200);
    });
}

#[test]
fn a_connection_too_many_is_told_so_and_the_next_is_served_when_one_leaves() {
    run(async |world| {
        let mut open = Vec::new();
        for _ in 0..128 {
            open.push(Events::watch(&world, &format!("{MAPS}?watch=true"), &[]).await);
        }
        let (code, status) = world.read("/api/v1/pods").await;
        assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")));
        drop(open);
        // The server learns of it when it is its turn.
        while world.text("/healthz").await.0 != 200 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_second_daemon_does_not_take_the_socket_and_a_dead_one_does_not_keep_it() {
    use std::os::unix::fs::PermissionsExt;
    run(async |world| {
        let error = api::bind(&world.socket).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        let mode = std::fs::metadata(&world.socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let left = world.socket.with_file_name("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        assert!(left.exists());
        api::bind(&left).unwrap();
        assert_eq!(world.read("/version").await.0, 200);
    });
}

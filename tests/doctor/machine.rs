//! A machine made of values. A sound one is a gateway with systemd, a clock, a card and a broker; tests break it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pinnace::config::{Config, Flags};
use pinnace::doctor::{Answer, Check, Host, Space, Stat, Subject, examine};
use pinnace::link::{Probe, Probed, Session, Validity};
use pinnace::model::{BootId, Broker, Mqtt, Now, Timestamp};
use pinnace::runtime::probe::{Feature, Support};
use serde_json::{Value, json};

pub struct Machine {
    pub config: Config,
    pub settings: Result<PathBuf, String>,
    pub session: bool,
    pub files: BTreeMap<String, String>,
    pub stats: BTreeMap<String, Stat>,
    pub read_only_paths: Vec<PathBuf>,
    pub space: Option<Space>,
    pub user: u32,
    /// Of the data directory.
    pub owner: u32,
    pub now: Option<Now>,
    pub synchronised: Option<bool>,
    pub kernel: BTreeMap<Feature, Support>,
    /// Microseconds each; none: the medium fails.
    pub flushes: Option<Vec<u64>>,
    pub answers: BTreeMap<String, (u16, String)>,
    /// Why the socket cannot be had.
    pub refusal: Option<io::ErrorKind>,
    /// The node's record.
    pub node: Value,
    pub probed: Probed,
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub const BOOT: &str = "b0b0";

impl Machine {
    pub fn sound() -> Machine {
        let flags = Flags {
            data_dir: Some("/var/lib/pinnace".into()),
            run_dir: Some("/run/pinnace".into()),
            name: Some("gw-7".into()),
            ..Flags::default()
        };
        let mut config = Config::load(Some(Path::new("/dev/null")), flags, |_| None).unwrap();
        config.mqtt = Some(Mqtt::new(Broker::parse("mqtt://broker").unwrap(), "gw-7"));
        let stat =
            |mode, is_dir| Stat { user: 0, mode, is_dir, is_socket: false, modified: at("2026-06-01T00:00:00Z") };
        let mut machine = Machine {
            config,
            settings: Ok("/etc/pinnace/config.yaml".into()),
            session: true,
            files: BTreeMap::new(),
            stats: BTreeMap::new(),
            read_only_paths: Vec::new(),
            space: Some(Space {
                bytes: 16 << 30,
                bytes_free: 9 << 30,
                inodes: 1_000_000,
                inodes_free: 900_000,
                read_only: false,
            }),
            user: 0,
            owner: 0,
            now: None,
            synchronised: Some(true),
            kernel: BTreeMap::new(),
            flushes: Some(vec![3_000; 32]),
            answers: BTreeMap::new(),
            refusal: None,
            node: json!({
                "record": "Node",
                "spec": {"unschedulable": false, "taints": []},
                "status": {"boot": BOOT, "time_floor": "2026-06-01T00:00:00Z", "facts": {"shortcomings": []}},
            }),
            probed: sound_broker(),
        };
        for (file, text) in [
            (
                "/proc/self/mountinfo",
                "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
                 25 22 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            ),
            ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n"),
            ("/proc/cmdline", "root=/dev/mmcblk0p2 rw\n"),
            ("/proc/filesystems", "nodev\tproc\n\text4\nnodev\toverlay\n"),
            ("/proc/sys/user/max_user_namespaces", "30000\n"),
            ("/proc/77/oom_score_adj", "-900\n"),
            ("/proc/77/status", "Name:\tpinnace\nUid:\t0\t0\t0\t0\n"),
            ("/proc/77/limits", "Max open files            65536                65536                files     \n"),
        ] {
            machine.file(file, text);
        }
        for path in ["/", "/sys/fs/cgroup", "/var/lib", "/usr/share/zoneinfo/tzdata.zi", "/proc/self/ns/user"] {
            machine.stats.insert(path.into(), stat(0o755, true));
        }
        machine.stats.insert("/var/lib/pinnace".into(), stat(0o700, true));
        machine.stats.insert("/run/pinnace/pinnace.sock".into(), stat(0o660, false));
        machine.set_clock("2026-11-24T18:00:00Z", true);
        machine.file("/sys/class/rtc/rtc0/since_epoch", &format!("{}\n", at("2026-11-24T18:00:01Z").as_secs()));
        machine.answer("/readyz", 200, "ok");
        machine.answer(
            "/metrics",
            200,
            "pinnace_link_connected 1\npinnace_link_sessions_total 1\npinnace_uptime_seconds 86400\npinnace_sets_rejected 0\n",
        );
        machine
    }

    pub fn examine(&self) -> Vec<Check> {
        let subject = Subject {
            config: self.config.clone(),
            settings: self.settings.clone(),
            running: None,
            session: self.session,
        };
        examine(self, &subject)
    }

    pub fn file(&mut self, path: &str, text: &str) {
        self.files.insert(path.into(), text.into());
    }

    pub fn there(&mut self, path: &str) {
        let any = self.stats["/"];
        self.stats.insert(path.into(), any);
    }

    pub fn stat(&mut self, path: &str) -> &mut Stat {
        self.stats.get_mut(path).unwrap()
    }

    pub fn answer(&mut self, path: &str, code: u16, body: &str) {
        self.answers.insert(path.into(), (code, body.into()));
    }

    pub fn lacks(&mut self, feature: Feature, support: Support) {
        self.kernel.insert(feature, support);
    }

    pub fn metric(&mut self, name: &str, value: u64) {
        let lines = self.answers["/metrics"].1.lines();
        let kept: String = lines.filter(|l| !l.starts_with(&format!("{name} "))).map(|l| format!("{l}\n")).collect();
        self.answer("/metrics", 200, &format!("{kept}{name} {value}\n"));
    }

    /// No daemon runs.
    pub fn stop(&mut self) {
        self.refusal = Some(io::ErrorKind::NotFound);
    }

    pub fn set_clock(&mut self, wall: &str, wall_trusted: bool) {
        let (wall, boot) = (at(wall), BootId::new(BOOT));
        self.now = Some(Now { wall, wall_trusted, uptime: Duration::from_secs(86_400), boot });
    }

    /// A further file system.
    pub fn mount(&mut self, point: &str, kind: &str) {
        let mounts = &self.files["/proc/self/mountinfo"];
        let mounts = format!("{mounts}90 22 0:9 / {point} rw - {kind} what rw\n");
        self.file("/proc/self/mountinfo", &mounts);
    }

    pub fn mqtt(&mut self) -> &mut Mqtt {
        self.config.mqtt.as_mut().unwrap()
    }

    pub fn found(&mut self) -> &mut Session {
        self.probed.session.as_mut().unwrap().as_mut().unwrap()
    }
}

/// A broker on which all is well.
fn sound_broker() -> Probed {
    let granted = |filter: &str| (filter.to_string(), None);
    Probed {
        resolved: Some(Ok(vec!["192.0.2.1:1883".parse().unwrap()])),
        tcp: Some(Ok(Duration::from_millis(4))),
        tls: None,
        session: Some(Ok(Session {
            version: "5",
            client_id: "gw-7-doctor".into(),
            filters: vec![granted("pn/default/d/all/+"), granted("pn/default/d/node/gw-7/+")],
            published: Some(Ok(())),
            live: Some(json!({"s": "online", "boot": BOOT, "c": 1001})),
        })),
    }
}

pub fn holds(from: &str, until: &str) -> Validity {
    Validity { not_before: at(from), not_after: at(until) }
}

impl Host for Machine {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.files.get(path.to_str().unwrap());
        text.cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let mut stat = *self.stats.get(path.to_str().unwrap()).ok_or(io::ErrorKind::NotFound)?;
        if path == self.config.data_dir && self.owner != 0 {
            stat.user = self.owner;
        }
        Ok(stat)
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        self.space.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn may_write(&self, path: &Path) -> bool {
        !self.read_only_paths.iter().any(|below| path.starts_with(below))
    }

    fn user(&self) -> u32 {
        self.user
    }

    fn now(&self) -> Option<Now> {
        self.now.clone()
    }

    fn clock_is_synchronised(&self) -> Option<bool> {
        self.synchronised
    }

    fn kernel(&self, feature: Feature) -> Support {
        self.kernel.get(&feature).copied().unwrap_or(Support::Yes)
    }

    fn flush(&self, _: &Path, times: usize) -> io::Result<Vec<Duration>> {
        let flushes = self.flushes.as_ref().ok_or_else(|| io::Error::from_raw_os_error(5))?;
        assert_eq!(flushes.len(), times);
        Ok(flushes.iter().map(|us| Duration::from_micros(*us)).collect())
    }

    fn ask(&self, _: &Path, path: &str) -> io::Result<Answer> {
        if let Some(refusal) = self.refusal {
            return Err(refusal.into());
        }
        if path == "/apis/pinnace.dev/v1/dump" {
            return Ok(Answer { code: 200, body: format!("{{\"revision\":1}}\n{}\n", self.node), pid: 77 });
        }
        let (code, body) = self.answers.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Answer { code, body, pid: 77 })
    }

    fn stored(&self, _: &Path) -> Result<String, String> {
        Ok(self.node.to_string())
    }

    fn broker(&self, _: &Probe) -> Probed {
        self.probed.clone()
    }
}

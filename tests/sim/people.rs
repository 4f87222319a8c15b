//! Carries out an act of the script: messages to the broker, requests to the daemon while it lives, a hand at the clock.

use std::sync::Arc;

use pinnace::model::{
    Ask, AskId, ConfigMap, CronJobSpec, JobSpec, Key, Kind, LinkSeen, Propagation, Record, Seen, SetKey, Spec,
    Timestamp,
};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::script::{Act, STEADY};
use crate::world::World;

impl World {
    pub fn publish(&mut self, set: &SetKey, text: &str) {
        let seen = self.broker.publish(set, text);
        self.see([seen]);
    }

    pub fn act(&mut self, act: Act) {
        self.say(&format!("{act:?}"));
        match act {
            Act::Publish { set, text } => self.publish(&set, &text),
            Act::Reconnect => {
                let all = self.broker.connect();
                self.see([Seen::Link(LinkSeen::Lost), Seen::Link(LinkSeen::Connected)]);
                self.see(all);
            }
            Act::WipeBroker => {
                self.broker.wipe();
                self.fired.insert(Fault::BrokerWiped);
            }
            Act::Scale { job, parallelism } => self.change_job(job, "parallelism", parallelism.into()),
            Act::Suspend { job, suspend } => self.change_job(job, "suspend", suspend.into()),
            Act::SuspendCron { suspend } => self.suspend_cron(suspend),
            Act::DeletePod => {
                let key = self.last(Kind::Pod, |record| !record.meta().name.starts_with(STEADY)).map(|r| r.key());
                key.into_iter().for_each(|key| self.delete(key));
            }
            Act::DeleteJob { job } => self.delete(Key::new(Kind::Job, "default", job)),
            Act::DeleteSet => self.delete(Key::new(Kind::DaemonSet, "default", "agent")),
            Act::ChangeMap { value } => self.change_map(value),
            Act::Drain => self.ask(Ask::Drain),
            Act::Uncordon => self.uncordon(),
            Act::StepClock { seconds } => {
                self.fired.insert(Fault::ClockStepped);
                self.kernel.wall = Timestamp::from_millis(self.kernel.wall.as_millis() + seconds * 1000);
                self.clock_was_set = true;
                self.turn();
            }
            Act::CutPower => self.cut_power(),
            Act::SetClock => {
                self.kernel.clock_is_set = true;
                // Later than all that was shown, so that the floor lets it pass.
                let floor = self.daemon.as_ref().and_then(|d| d.state.node().and_then(|n| n.status.time_floor));
                let now = Timestamp::from_secs(1_790_000_000).plus(self.kernel.lived);
                self.kernel.wall = self.kernel.wall.max(now).max(floor.unwrap_or(now));
                self.clock_was_set = true;
                self.turn();
            }
        }
    }

    fn see(&mut self, seen: impl IntoIterator<Item = Seen>) {
        if let Some(daemon) = &mut self.daemon {
            daemon.inbox.extend(seen);
        }
    }

    fn ask(&mut self, ask: Ask) {
        self.asks += 1;
        self.see([Seen::Asked { id: AskId(self.asks), ask, dry_run: false }]);
    }

    fn delete(&mut self, key: Key) {
        self.ask(Ask::Delete { key, grace_s: None, propagation: Propagation::Background, if_uid: None });
    }

    fn replace(&mut self, record: impl Into<Record>) {
        self.ask(Ask::Replace { record: Box::new(record.into()), if_revision: None });
    }

    fn last(&self, kind: Kind, is: impl Fn(&Record) -> bool) -> Option<Arc<Record>> {
        self.daemon.as_ref()?.state.of_kind(kind).filter(|record| is(record)).last().cloned()
    }

    fn named(&self, kind: Kind, name: &str) -> Option<Arc<Record>> {
        self.last(kind, |record| record.meta().name == name)
    }

    fn change_job(&mut self, name: &str, field: &str, value: Value) {
        let Some(mut job) = self.named(Kind::Job, name).and_then(|record| record.as_job().cloned()) else { return };
        let mut document = job.spec.document().clone();
        document[field] = value;
        job.spec = Spec::<JobSpec>::new(document).expect("a valid spec");
        self.replace(job);
    }

    fn suspend_cron(&mut self, suspend: bool) {
        let Some(found) = self.named(Kind::CronJob, "tick") else { return };
        let mut cron = found.as_cron_job().expect("a CronJob").clone();
        let mut document = cron.spec.document().clone();
        document["suspend"] = suspend.into();
        cron.spec = Spec::<CronJobSpec>::new(document).expect("a valid spec");
        self.replace(cron);
    }

    /// A person's hand on objects of sets.
    fn change_map(&mut self, value: u64) {
        for found in ["shared", "conf"].iter().filter_map(|name| self.named(Kind::ConfigMap, name)).collect::<Vec<_>>()
        {
            let map = found.as_config_map().expect("a ConfigMap").clone();
            let spec = Spec::new(json!({"data": {"v": format!("by hand {value}")}})).expect("a valid map");
            self.replace(ConfigMap { spec, ..map });
        }
    }

    fn uncordon(&mut self) {
        let Some(mut node) = self.daemon.as_ref().and_then(|daemon| daemon.state.node().cloned()) else { return };
        node.spec.unschedulable = false;
        self.replace(node);
    }
}

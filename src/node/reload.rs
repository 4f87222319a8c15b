//! SIGHUP: the settings are read again, what can be changed while pods run is changed, and the rest is named in the log.

use super::room::Room;
use super::{Daemon, Stop, logging, start};
use crate::config::Config;
use crate::link::{self, Before, LinkSettings, Up};
use crate::model::{Configured, LinkSeen, Mqtt, Seen};

/// Reads the settings anew, in the way in which they were read at the start.
pub type Reread = Box<dyn Fn() -> Result<Config, String>>;

impl Daemon {
    /// # Errors
    /// As `turn`. Settings that cannot be used are no error: those in force stay.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        let new = match (self.reread)() {
            Ok(new) => new,
            Err(why) => {
                tracing::error!("the settings stay as they are, for the new ones cannot be used: {why}");
                return Ok(());
            }
        };
        let (config, waiting) = self.config.renewed(new);
        for key in waiting {
            tracing::warn!(setting = key, "the setting {key} has changed; it is taken when the node is started again");
        }
        match start::bounds_of_images(&config) {
            Ok(bounds) => self.images.set_bounds(bounds),
            Err(why) => tracing::error!("the bounds of the image store stay as they are: {why}"),
        }
        self.updates.set_keys(&config.update_keys);
        logging::set_level(config.log_level);
        self.stop = match self.stop {
            Stop::LeavesPods | Stop::EndsPods if config.stop_pods => Stop::EndsPods,
            Stop::LeavesPods | Stop::EndsPods => Stop::LeavesPods,
            Stop::Ending | Stop::Now => self.stop,
        };
        // No record has them: they are what the core is told beside the state.
        self.state.borrow_mut().settings = config.settings.clone();
        let relink = config.mqtt != self.config.mqtt || config.groups != self.config.groups;
        self.config = config;
        let mut seen = vec![Seen::Configured(Configured {
            labels: self.config.labels.clone(),
            groups: self.config.groups.clone(),
        })];
        if relink {
            self.unlink().await;
            // The new session brings what is still meant for this node.
            self.room = Room::default();
            self.counters.connected_as_seen(&Seen::Link(LinkSeen::Lost));
            seen.push(Seen::Link(LinkSeen::Lost));
        }
        self.turn(seen)?;
        if relink && let Some(mqtt) = self.config.mqtt.clone() {
            self.link_to(mqtt);
        }
        self.inbox.report_soon();
        tracing::info!("the settings were read again");
        Ok(())
    }

    /// Begins the session with the broker. The first turn must be over: it numbers the connections of this life.
    pub(super) fn link_to(&mut self, mqtt: Mqtt) {
        let connections = self.state.borrow().node().map_or(0, |node| node.status.connections);
        let settings = LinkSettings {
            mqtt,
            fleet: self.config.fleet.clone(),
            node: self.config.name.clone(),
            groups: self.config.groups.clone(),
            boot: self.now().boot,
            before: Before { connections: self.linked_before.connections.max(connections), ..self.linked_before },
            decode: link::manifests(),
        };
        self.link = Some(link::start(settings, self.link_in.clone()));
    }

    /// Says good-bye to the broker. Two sessions at once would have one client id, so the loop waits for the end; it is
    /// bounded, and pods do not wait for it.
    pub(super) async fn unlink(&mut self) {
        let Some(link) = self.link.take() else { return };
        link.send(Up::Stop);
        if let Some(before) = link.ended().await {
            self.linked_before = before;
        }
    }
}

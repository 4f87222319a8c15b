//! Somebody else on the broker: publishes, and hears what a test waits for.

use std::time::Duration;

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;

/// A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Peer {
    client: Client,
    heard: mpsc::UnboundedReceiver<Heard>,
    acks: mpsc::UnboundedReceiver<()>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub topic: String,
    pub retained: bool,
    pub payload: Vec<u8>,
}

impl Heard {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|e| panic!("{self:?}: {e}"))
    }
}

impl Peer {
    /// Connected and subscribed.
    pub async fn connect(port: u16, name: &str, filter: &str) -> Peer {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(64 << 20, 64 << 20).set_keep_alive(Duration::from_secs(60));
        let (client, mut connection) = Client::new(options, 100);
        let (tell, heard) = mpsc::unbounded_channel();
        let (tell_ack, acks) = mpsc::unbounded_channel();
        let (tell_ready, mut ready) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let sent = match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => tell_ready.send(()).is_ok(),
                    Ok(Event::Incoming(Packet::PubAck(_))) => tell_ack.send(()).is_ok(),
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        let heard = Heard { topic: p.topic, retained: p.retain, payload: p.payload.to_vec() };
                        tell.send(heard).is_ok()
                    }
                    Ok(_) => true,
                    Err(_) => false,
                };
                if !sent {
                    return;
                }
            }
        });
        client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        within(ready.recv()).await.expect("the broker takes the subscription");
        Peer { client, heard, acks }
    }

    /// Returns when the broker has it.
    pub async fn publish(&mut self, topic: &str, retain: bool, payload: impl Into<Vec<u8>>) {
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload.into()).unwrap();
        within(self.acks.recv()).await.expect("the broker takes the message");
    }

    /// The next message that fits; others are passed over.
    pub async fn hear(&mut self, fits: impl Fn(&Heard) -> bool) -> Heard {
        loop {
            let heard = within(self.heard.recv()).await.expect("the connection holds");
            if fits(&heard) {
                return heard;
            }
        }
    }
}

/// A bound on failure, no measure.
#[track_caller]
pub fn within<F: std::future::Future>(future: F) -> impl std::future::Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let result = tokio::time::timeout(PATIENCE, future).await;
        result.unwrap_or_else(|_| panic!("nothing came within {PATIENCE:?}, waited for at {caller}"))
    }
}

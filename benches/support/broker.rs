//! A broker on loopback: mosquitto where it is installed, else rumqttd in this process; and somebody who publishes.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

#[path = "../../tests/support/mosquitto.rs"]
#[allow(dead_code)]
mod mosquitto;
#[path = "../../tests/support/rumqttd.rs"]
mod rumqttd;

pub struct Broker {
    port: u16,
    pub name: &'static str,
    _mosquitto: Option<mosquitto::Mosquitto>,
}

impl Broker {
    pub fn start() -> Broker {
        let paths = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        if paths.split(':').any(|directory| Path::new(directory).join("mosquitto").exists()) {
            let mosquitto = mosquitto::Mosquitto::start();
            return Broker { port: mosquitto.port(), name: "mosquitto", _mosquitto: Some(mosquitto) };
        }
        let port = mosquitto::free_port();
        rumqttd::start(None, Some(port));
        Broker { port, name: "rumqttd", _mosquitto: None }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// Publishes, and hears what it has subscribed.
pub struct Peer {
    client: Client,
    heard: mpsc::Receiver<Vec<u8>>,
}

impl Peer {
    pub fn connect(broker: &Broker, filter: &str) -> Peer {
        let mut options = MqttOptions::new(format!("bench-{}", std::process::id()), "127.0.0.1", broker.port);
        options.set_keep_alive(Duration::from_secs(60));
        let (client, mut connection) = Client::new(options, 16);
        let (tell, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let told = match event {
                    Ok(Event::Incoming(Packet::SubAck(_))) => tell.send(Vec::new()),
                    Ok(Event::Incoming(Packet::Publish(message))) => tell.send(message.payload.to_vec()),
                    Ok(_) => Ok(()),
                    Err(_) => return,
                };
                if told.is_err() {
                    return;
                }
            }
        });
        client.subscribe(filter, QoS::AtLeastOnce).expect("the connection's queue has room");
        let peer = Peer { client, heard };
        peer.hear();
        peer
    }

    pub fn publish(&self, topic: &str, retain: bool, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).expect("the connection's queue has room");
    }

    pub fn hear(&self) -> Vec<u8> {
        self.heard.recv_timeout(Duration::from_secs(60)).expect("the broker passes it on")
    }

    /// From a publish to its arrival back here.
    pub fn round_trip(&self, topic: &str, payload: &[u8]) -> Duration {
        let begun = Instant::now();
        self.publish(topic, false, payload);
        self.hear();
        begun.elapsed()
    }
}

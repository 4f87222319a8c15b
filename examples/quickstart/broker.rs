//! An MQTT broker in this process: rumqttd, which is a dependency of examples and tests alone.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{Client, Event, Incoming, MqttOptions};
use serde_json::json;

/// The topic below which sets for every node of the fleet `demo` are.
pub const SETS: &str = "pn/demo/d/all";

pub struct Broker {
    port: u16,
}

impl Broker {
    pub fn start() -> Result<Broker, String> {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|e| format!("no free port on loopback: {e}"))?.port();
        let listener = json!({
            "name": "v5", "listen": format!("127.0.0.1:{port}"), "tls": null, "next_connection_delay_ms": 1,
            "connections": {
                "connection_timeout_ms": 10_000, "max_payload_size": 1_048_576, "max_inflight_count": 100, "auth": null,
                "dynamic_filters": true
            }
        });
        let config = json!({
            "id": 0,
            "router": {
                "max_connections": 16, "max_outgoing_packet_count": 200, "max_segment_size": 10_485_760,
                "max_segment_count": 10, "custom_segment": null, "initialized_filters": null
            },
            "v5": {"1": listener}
        });
        let config = serde_json::from_value(config).map_err(|e| format!("the broker's configuration: {e}"))?;
        std::thread::spawn(move || {
            if let Err(e) = rumqttd::Broker::new(config).start() {
                eprintln!("quickstart: the broker stopped: {e}");
            }
        });
        let broker = Broker { port };
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    fn wait_until_it_listens(&self) -> Result<(), String> {
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(format!("the broker does not listen on 127.0.0.1:{}", self.port))
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Publishes a retained message and waits until the broker has it.
    pub fn publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), String> {
        let mut options = MqttOptions::new(format!("quickstart-{}", topic.replace('/', "-")), "127.0.0.1", self.port);
        options.set_outgoing_inflight_upper_limit(16);
        let (client, mut connection) = Client::new(options, 10);
        client
            .publish(topic, QoS::AtLeastOnce, true, payload)
            .map_err(|e| format!("cannot publish to {topic}: {e}"))?;
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(Incoming::PubAck(_))) => return Ok(()),
                Ok(_) => {}
                Err(e) => return Err(format!("cannot publish to {topic}: {e}")),
            }
        }
        Err(format!("the broker did not take the message for {topic}"))
    }
}

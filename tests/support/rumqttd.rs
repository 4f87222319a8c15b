//! A broker inside the test process. It cannot be ended before the process is; each test takes a port of its own.

use std::net::TcpStream;

use serde_json::{Value, json};

/// Starts a broker that speaks MQTT 3.1.1 on the first port and MQTT 5 on the second, where they are given.
pub fn start(v3: Option<u16>, v5: Option<u16>) {
    let config = json!({
        "id": 0,
        "router": {
            "max_connections": 100,
            "max_outgoing_packet_count": 200,
            "max_segment_size": 104_857_600,
            "max_segment_count": 10,
        },
        "v4": v3.map(|port| json!({"1": listener(port)})),
        "v5": v5.map(|port| json!({"1": listener(port)})),
    });
    let config: rumqttd::Config = serde_json::from_value(config).unwrap();
    std::thread::spawn(move || rumqttd::Broker::new(config).start().unwrap());
    for port in [v3, v5].into_iter().flatten() {
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
    }
}

fn listener(port: u16) -> Value {
    json!({
        "name": format!("on-{port}"),
        "listen": format!("127.0.0.1:{port}"),
        "next_connection_delay_ms": 1,
        "connections": {
            "connection_timeout_ms": 60_000,
            "max_payload_size": 20_000_000,
            "max_inflight_count": 100,
        },
    })
}

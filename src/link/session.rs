//! One connection to a broker, in either version of MQTT. A task of its own pumps the library's event loop, which must not
//! be interrupted while it connects; what it hears comes through a short queue, and requests go in without waiting.
//!
//! The library is held to five rules, each of which was found the hard way: manual acknowledgements; a bound on packets of
//! our own; few publications in flight, or it reserves 14 MB; a new event loop for each connection, because it drops or
//! repeats what was queued in an old one; `try_…` calls only, because its queue is bounded and may be full.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes as v5bytes;
use rumqttc::v5::mqttbytes::v5 as v5packets;
use rumqttc::{AsyncClient, TlsConfiguration, Transport, v5};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::model::Mqtt;

use super::backoff::Dialect;
use super::tls;

/// Requests that wait for the event loop: acknowledgements of what the broker may send unasked, and a few of our own.
const REQUESTS_MAX: usize = 64;
/// What was heard and not yet looked at.
const HEARD_MAX: usize = 4;
/// We publish one at a time; the library wants a little more.
const IN_FLIGHT_MAX: u16 = 8;
/// Messages that the broker may send before it gets an acknowledgement (MQTT 5 only).
const RECEIVE_MAX: u16 = 16;
/// From the first packet to the broker's answer; a slow mobile network with TLS takes seconds.
const CONNECT_WAIT: Duration = Duration::from_secs(30);

/// How to connect this time.
pub struct Connect<'a> {
    pub mqtt: &'a Mqtt,
    pub dialect: Dialect,
    /// Bytes of one packet that are read; more end the connection.
    pub packet_bytes_max: usize,
    /// What the broker publishes when the session breaks off, and where.
    pub will: Option<(String, Value)>,
}

pub struct Session {
    client: Client,
    heard: mpsc::Receiver<Heard>,
    pump: JoinHandle<()>,
}

enum Client {
    V5(v5::AsyncClient),
    V3(AsyncClient),
}

/// What came from the broker.
#[derive(Debug)]
pub enum Heard {
    /// The broker let us in. `packet_bytes_max`: what it takes, where it says so.
    Connected {
        packet_bytes_max: Option<usize>,
    },
    Message(Box<Incoming>),
    /// The answer to a subscription; the reason where one of its filters was refused.
    Subscribed {
        refusal: Option<String>,
    },
    /// The answer to a publication; the reason where it was refused.
    Answered {
        refusal: Option<String>,
    },
    /// The last thing that is heard.
    Ended(Ended),
}

#[derive(Debug)]
pub struct Incoming {
    /// Empty where it was no UTF-8.
    pub topic: String,
    pub payload: Bytes,
    pub receipt: Receipt,
}

/// Names a message to the broker, for its acknowledgement in the same session.
#[derive(Debug, Clone)]
pub enum Receipt {
    V5(v5packets::Publish),
    V3(rumqttc::Publish),
}

#[derive(Debug)]
pub struct Ended {
    pub why: Why,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No connection was let in, and the answer was not one of this version of MQTT.
    Refused,
    /// A packet was larger than `packet_bytes_max`.
    TooLarge,
    Lost,
}

impl Session {
    /// Begins to connect; the outcome is heard.
    ///
    /// # Errors
    /// A file that the settings name cannot be used.
    pub fn begin(connect: &Connect) -> Result<Session, String> {
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let transport = if connect.mqtt.broker.tls {
            Transport::tls_with_config(TlsConfiguration::Rustls(tls::client(connect.mqtt)?))
        } else {
            Transport::Tcp
        };
        let login = login(connect.mqtt)?;
        let (client, pump) = match connect.dialect {
            Dialect::V5 => {
                let (client, events) = v5::AsyncClient::new(v5_options(connect, transport, login), REQUESTS_MAX);
                (Client::V5(client), tokio::task::spawn_local(pump_v5(events, tell)))
            }
            Dialect::V3 => {
                let (client, events) = AsyncClient::new(v3_options(connect, transport, login), REQUESTS_MAX);
                (Client::V3(client), tokio::task::spawn_local(pump_v3(events, tell)))
            }
        };
        Ok(Session { client, heard, pump })
    }

    /// Waits for what comes next. May be interrupted. After `Heard::Ended` there is nothing more.
    pub async fn next(&mut self) -> Heard {
        let gone = || Heard::Ended(Ended { why: Why::Lost, text: "the session is over".into() });
        self.heard.recv().await.unwrap_or_else(gone)
    }

    /// Subscribes at least-once. False: the queue is full; the session is of no use.
    pub fn subscribe(&self, filters: &[String]) -> bool {
        // One SUBSCRIBE a filter: some brokers bound the filters of one packet, and a refused one spoils no other.
        filters.iter().all(|filter| match &self.client {
            Client::V5(client) => client.try_subscribe(filter, v5bytes::QoS::AtLeastOnce).is_ok(),
            Client::V3(client) => client.try_subscribe(filter, rumqttc::QoS::AtLeastOnce).is_ok(),
        })
    }

    /// False: the queue is full.
    pub fn publish(&self, topic: &str, retain: bool, body: Bytes) -> bool {
        match &self.client {
            Client::V5(client) => client.try_publish(topic, v5bytes::QoS::AtLeastOnce, retain, body).is_ok(),
            Client::V3(client) => client.try_publish(topic, rumqttc::QoS::AtLeastOnce, retain, body).is_ok(),
        }
    }

    /// False: the queue is full, try again when something was heard. A receipt of another session is ignored.
    pub fn acknowledge(&self, receipt: &Receipt) -> bool {
        match (&self.client, receipt) {
            (Client::V5(client), Receipt::V5(publish)) => client.try_ack(publish).is_ok(),
            (Client::V3(client), Receipt::V3(publish)) => client.try_ack(publish).is_ok(),
            (Client::V5(_), Receipt::V3(_)) | (Client::V3(_), Receipt::V5(_)) => true,
        }
    }

    /// Says good-bye, so that the broker does not publish the will.
    pub fn disconnect(&self) {
        // A queue that is full belongs to a broker that does not listen.
        let _ = match &self.client {
            Client::V5(client) => client.try_disconnect(),
            Client::V3(client) => {
                client.try_disconnect().map_err(|_| v5::ClientError::TryRequest(v5::Request::Disconnect))
            }
        };
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// User and password.
fn login(mqtt: &Mqtt) -> Result<Option<(String, String)>, String> {
    let Some(user) = &mqtt.username else { return Ok(None) };
    let Some(file) = &mqtt.password_file else { return Ok(Some((user.clone(), String::new()))) };
    let text = fs::read_to_string(file).map_err(|e| format!("mqtt.password_file {}: {e}", file.display()))?;
    Ok(Some((user.clone(), text.lines().next().unwrap_or_default().to_string())))
}

/// An IPv6 address wants brackets where a port follows.
fn host(mqtt: &Mqtt) -> String {
    let host = &mqtt.broker.host;
    if host.contains(':') && !mqtt.broker.tls { format!("[{host}]") } else { host.clone() }
}

fn keep_alive(mqtt: &Mqtt) -> Duration {
    Duration::from_secs(u64::from(mqtt.keep_alive_s.max(5)))
}

fn v5_options(connect: &Connect, transport: Transport, login: Option<(String, String)>) -> v5::MqttOptions {
    let mqtt = connect.mqtt;
    let mut options = v5::MqttOptions::new(&mqtt.client_id, host(mqtt), mqtt.broker.port);
    if let Some((topic, will)) = &connect.will {
        let will = v5packets::LastWill::new(topic, will.to_string(), v5bytes::QoS::AtLeastOnce, true, None);
        options.set_last_will(will);
    }
    options
        .set_transport(transport)
        .set_clean_start(true)
        .set_keep_alive(keep_alive(mqtt))
        .set_manual_acks(true)
        .set_session_expiry_interval(Some(0))
        .set_receive_maximum(Some(RECEIVE_MAX))
        .set_max_packet_size(Some(u32::try_from(connect.packet_bytes_max).unwrap_or(u32::MAX)))
        .set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX)
        .set_connection_timeout(CONNECT_WAIT.as_secs());
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    options
}

fn v3_options(connect: &Connect, transport: Transport, login: Option<(String, String)>) -> rumqttc::MqttOptions {
    let mqtt = connect.mqtt;
    let mut options = rumqttc::MqttOptions::new(&mqtt.client_id, host(mqtt), mqtt.broker.port);
    if let Some((topic, will)) = &connect.will {
        options.set_last_will(rumqttc::LastWill::new(topic, will.to_string(), rumqttc::QoS::AtLeastOnce, true));
    }
    options
        .set_transport(transport)
        .set_clean_session(true)
        .set_keep_alive(keep_alive(mqtt))
        .set_manual_acks(true)
        .set_max_packet_size(connect.packet_bytes_max, connect.packet_bytes_max)
        .set_inflight(IN_FLIGHT_MAX);
    if let Some((user, password)) = login {
        options.set_credentials(user, password);
    }
    options
}

async fn pump_v5(mut events: v5::EventLoop, tell: mpsc::Sender<Heard>) {
    let mut connected = false;
    loop {
        let (event, ended) = match events.poll().await {
            Ok(event) => (Some(event), None),
            Err(e) => (None, Some(ended_v5(&e, connected))),
        };
        // What was read in one go before an error came is heard before it.
        let rest = ended.iter().flat_map(|_| std::mem::take(&mut events.state.events)).collect::<Vec<_>>();
        for heard in event.into_iter().chain(rest).filter_map(heard_v5).chain(ended.map(Heard::Ended)) {
            connected |= matches!(heard, Heard::Connected { .. });
            let over = matches!(heard, Heard::Ended(_));
            if tell.send(heard).await.is_err() || over {
                return;
            }
        }
    }
}

fn heard_v5(event: v5::Event) -> Option<Heard> {
    match event {
        v5::Event::Incoming(v5packets::Packet::ConnAck(connack)) => {
            let most = connack.properties.and_then(|p| p.max_packet_size).map(|n| n as usize);
            Some(Heard::Connected { packet_bytes_max: most })
        }
        v5::Event::Incoming(v5packets::Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let topic = std::mem::take(&mut publish.topic);
            publish.properties = None;
            let topic = String::from_utf8(topic.to_vec()).unwrap_or_default();
            Some(Heard::Message(Box::new(Incoming { topic, payload, receipt: Receipt::V5(publish) })))
        }
        v5::Event::Incoming(v5packets::Packet::SubAck(suback)) => {
            let refused =
                |code: &&v5packets::SubscribeReasonCode| !matches!(code, v5packets::SubscribeReasonCode::Success(_));
            Some(Heard::Subscribed {
                refusal: suback.return_codes.iter().find(refused).map(|code| format!("{code:?}")),
            })
        }
        v5::Event::Incoming(v5packets::Packet::PubAck(puback)) => {
            let fine = matches!(
                puback.reason,
                v5packets::PubAckReason::Success | v5packets::PubAckReason::NoMatchingSubscribers
            );
            Some(Heard::Answered { refusal: (!fine).then(|| format!("{:?}", puback.reason)) })
        }
        _ => None,
    }
}

fn ended_v5(error: &v5::ConnectionError, connected: bool) -> Ended {
    use v5::{ConnectionError as E, StateError as S};
    let text = error.to_string();
    let why = match error {
        E::MqttState(
            S::Deserialization(v5bytes::Error::PayloadSizeLimitExceeded { .. }) | S::IncomingPacketTooLarge { .. },
        ) => Why::TooLarge,
        E::ConnectionRefused(
            v5packets::ConnectReturnCode::RefusedProtocolVersion
            | v5packets::ConnectReturnCode::UnsupportedProtocolVersion,
        ) => Why::Refused,
        E::NotConnAck(_) | E::MqttState(_) if !connected => Why::Refused,
        E::Io(e) if !connected && broke_off(e) => Why::Refused,
        _ => Why::Lost,
    };
    Ended { why, text }
}

async fn pump_v3(mut events: rumqttc::EventLoop, tell: mpsc::Sender<Heard>) {
    events.network_options.set_connection_timeout(CONNECT_WAIT.as_secs());
    let mut connected = false;
    loop {
        let (event, ended) = match events.poll().await {
            Ok(event) => (Some(event), None),
            Err(e) => (None, Some(ended_v3(&e, connected))),
        };
        let rest = ended.iter().flat_map(|_| std::mem::take(&mut events.state.events)).collect::<Vec<_>>();
        for heard in event.into_iter().chain(rest).filter_map(heard_v3).chain(ended.map(Heard::Ended)) {
            connected |= matches!(heard, Heard::Connected { .. });
            let over = matches!(heard, Heard::Ended(_));
            if tell.send(heard).await.is_err() || over {
                return;
            }
        }
    }
}

fn heard_v3(event: rumqttc::Event) -> Option<Heard> {
    match event {
        rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_)) => Some(Heard::Connected { packet_bytes_max: None }),
        rumqttc::Event::Incoming(rumqttc::Packet::Publish(mut publish)) => {
            let payload = std::mem::take(&mut publish.payload);
            let topic = std::mem::take(&mut publish.topic);
            Some(Heard::Message(Box::new(Incoming { topic, payload, receipt: Receipt::V3(publish) })))
        }
        rumqttc::Event::Incoming(rumqttc::Packet::SubAck(suback)) => {
            let refused = suback.return_codes.contains(&rumqttc::SubscribeReasonCode::Failure);
            Some(Heard::Subscribed { refusal: refused.then(|| "Failure".to_string()) })
        }
        // 3.1.1 has no word for "refused": the same answer comes for what was thrown away.
        rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) => Some(Heard::Answered { refusal: None }),
        _ => None,
    }
}

fn ended_v3(error: &rumqttc::ConnectionError, connected: bool) -> Ended {
    use rumqttc::{ConnectionError as E, StateError as S};
    let text = error.to_string();
    let why = match error {
        E::MqttState(S::Deserialization(rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(_))) => Why::TooLarge,
        E::ConnectionRefused(rumqttc::ConnectReturnCode::RefusedProtocolVersion) => Why::Refused,
        E::NotConnAck(_) | E::MqttState(_) if !connected => Why::Refused,
        E::Io(e) if !connected && broke_off(e) => Why::Refused,
        _ => Why::Lost,
    };
    Ended { why, text }
}

/// The other side took the connection and ended it, as opposed to nobody being there.
fn broke_off(e: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(e.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    /// A packet of any kind whose length is right, or bytes that are none.
    fn packets() -> impl Strategy<Value = Vec<u8>> {
        let body =
            prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), proptest::collection::vec(0u8..40, 0..60)];
        let packet = (any::<u8>(), body).prop_map(|(kind, body)| {
            let mut bytes = vec![kind, body.len() as u8];
            bytes.extend(body);
            bytes
        });
        let stream = proptest::collection::vec(packet, 1..6).prop_map(|packets| packets.concat());
        prop_oneof![stream, proptest::collection::vec(any::<u8>(), 0..80)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

        /// The library's decoders and states, whatever a broker sends: a release build dies of a panic.
        #[test]
        fn no_bytes_of_a_broker_make_the_library_panic(bytes in packets()) {
            let mut state = v5::MqttState::new(IN_FLIGHT_MAX, true);
            let publish = v5packets::Publish::new("t", v5bytes::QoS::AtLeastOnce, "x", None);
            state.handle_outgoing_packet(v5::Request::Publish(publish)).unwrap();
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(packet) = v5packets::Packet::read(&mut buffer, Some(1000)) {
                let _ = state.handle_incoming_packet(packet);
            }
            let mut state = rumqttc::MqttState::new(IN_FLIGHT_MAX, true);
            let publish = rumqttc::Publish::new("t", rumqttc::QoS::AtLeastOnce, "x");
            state.handle_outgoing_packet(rumqttc::Request::Publish(publish)).unwrap();
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(packet) = rumqttc::Packet::read(&mut buffer, 1000) {
                let _ = state.handle_incoming_packet(packet);
            }
        }
    }
}

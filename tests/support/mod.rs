//! What several tests need: brokers, somebody on the other side, and a disk that loses power.

pub mod crash_backend;
pub mod mosquitto;
pub mod peer;
pub mod rumqttd;

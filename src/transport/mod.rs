//! Bytes from servers: addresses, a blocking HTTP client with TLS, waits between tries, downloads that go on where they broke
//! off. Knows neither registries nor versions of this program.

pub mod http;
pub mod partial;
pub mod retry;
pub mod trust;
pub mod url;

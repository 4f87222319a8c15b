//! Why a step of a fetch did not come about, sorted by whether it helps to try again.

use std::time::Duration;

use crate::image::ImageError;

use crate::transport::http::Fault;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It may go better next time: the network, a server's own failure, too many requests. `after`: what the server wants.
    Passing { why: String, after: Option<Duration> },
    /// It will be the same next time.
    Lasting(ImageError),
}

impl Trouble {
    pub fn passing(why: impl Into<String>) -> Trouble {
        Trouble::Passing { why: why.into(), after: None }
    }

    pub fn refused(why: impl Into<String>) -> Trouble {
        Trouble::Lasting(ImageError::Refused(why.into()))
    }

    /// Of a request to `host`.
    pub fn of(fault: Fault, host: &str) -> Trouble {
        match fault {
            Fault::Cancelled => Trouble::Lasting(ImageError::Cancelled),
            Fault::Unconnected(why) => Trouble::passing(format!("{host} cannot be reached: {why}")),
            Fault::Broken(why) => Trouble::passing(format!("{host}: {why}")),
            Fault::NoTls(why) => Trouble::Lasting(ImageError::Unreachable(format!(
                "{host} does not speak HTTPS ({why}); if it is meant to be asked by plain HTTP, set insecure for it in \
                 images.registries"
            ))),
            Fault::Untrusted(why) => Trouble::Lasting(ImageError::Unreachable(format!(
                "{host}: {why}; give the certificate of its authority as ca_file in images.registries, and see that the \
                 clock is right"
            ))),
        }
    }

    /// After the last try.
    pub fn into_error(self) -> ImageError {
        match self {
            Trouble::Passing { why, .. } => {
                ImageError::Unreachable(format!("{why}; see whether this node has a network and the registry runs"))
            }
            Trouble::Lasting(error) => error,
        }
    }
}

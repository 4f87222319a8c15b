//! What pods and the host use, at one instant. CPU is counted since the beginning of a group; a rate takes two of these.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Uid;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Usage {
    /// Time since boot at which it was read.
    pub at: Duration,
    pub host: Sample,
    /// By pod and container; only those with a control group of their own.
    pub containers: BTreeMap<(Uid, String), Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Microseconds of CPU so far.
    pub cpu_us: u64,
    /// Bytes that cannot be given back without harm: Kubernetes' working set, without the file cache that is not in use.
    pub memory: u64,
}

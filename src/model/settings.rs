//! The bounds and choices that the core needs to know; named here, set in the configuration.

/// Every bound has a name and a default; going beyond one is an error that says the name.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Pods that are not finished, as a kubelet's `maxPods`.
    pub pods_max: usize,
    /// Finished pods that are kept for `logs` and `describe`; beyond it the oldest are folded into their Job's status.
    pub finished_pods_max: usize,
    /// Objects of all kinds, events and pods apart.
    pub objects_max: usize,
    pub events_max: usize,
    /// Seconds that an event is kept.
    pub event_ttl_s: u64,
    /// Bytes of a container's log before it is rotated, and how many files are kept.
    pub log_bytes_max: u64,
    pub log_files_max: u32,
    /// Refuse pods whose limits this host cannot enforce, instead of running them without.
    pub limits_required: bool,
    /// Processes in one pod; none: no bound.
    pub pod_pids_max: Option<u64>,
    /// Whether this node asks registries at all.
    pub images_pull: bool,
    /// Bytes that unpacked images may take; none: as much as the marks below leave.
    pub images_bytes_max: Option<u64>,
    /// When a new image leaves the disk fuller than `high`, images that nobody refers to go, the one unused for longest
    /// first, until it is no fuller than `low`; in percent, as a kubelet's `imageGCHighThresholdPercent`.
    pub images_high_percent: u8,
    pub images_low_percent: u8,
    pub fleet: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pods_max: 110,
            finished_pods_max: 1000,
            objects_max: 2000,
            events_max: 1000,
            event_ttl_s: 3600,
            log_bytes_max: 10 * 1024 * 1024,
            log_files_max: 5,
            limits_required: false,
            pod_pids_max: None,
            images_pull: true,
            images_bytes_max: None,
            images_high_percent: 85,
            images_low_percent: 80,
            fleet: "default".into(),
        }
    }
}

//! How the node reaches registries: named here, set in the configuration, used by `image::registry`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What images may take of the node, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// Bytes that stay free on the disk of the images; none: [`ImagesConfig::reserve_of`].
    pub reserve_bytes: Option<u64>,
    /// Bytes that one image may unpack to.
    pub image_bytes_max: u64,
    pub registries: RegistriesConfig,
}

impl ImagesConfig {
    /// 10 GiB.
    pub const IMAGE_BYTES_MAX: u64 = 10 << 30;
    const RESERVE_BYTES_MOST: u64 = 1 << 30;

    /// The defaults; `partial_dir` as in [`RegistriesConfig`].
    pub fn new(partial_dir: PathBuf) -> ImagesConfig {
        ImagesConfig {
            reserve_bytes: None,
            image_bytes_max: Self::IMAGE_BYTES_MAX,
            registries: RegistriesConfig::new(partial_dir),
        }
    }

    /// Bytes to keep free on a disk of `total` bytes: what is set, else a tenth of it and at most 1 GiB.
    pub fn reserve_of(&self, total: u64) -> u64 {
        self.reserve_bytes.unwrap_or((total / 10).min(Self::RESERVE_BYTES_MOST))
    }
}

/// Where images come from, and how much of the network a fetch may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistriesConfig {
    /// Parts of downloads that broke off, so that the next try goes on where they end.
    pub partial_dir: PathBuf,
    /// A docker `config.json` with the node's own logins; read at each fetch.
    pub docker_config: PathBuf,
    /// The file was named by a person: that it is missing is an error.
    pub docker_config_required: bool,
    /// Layers of one image that are fetched at once; 1 or more.
    pub concurrency: usize,
    /// Bytes a second of all fetches together; 0: no bound.
    pub bandwidth_max: u64,
    /// By host as references write it, `HOST[:PORT]`; `docker.io` for names without one.
    pub hosts: BTreeMap<String, RegistryHost>,
}

/// What is said of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryHost {
    /// `HOST[:PORT]`, asked in this order before the registry itself.
    pub mirrors: Vec<String>,
    /// Plain HTTP is allowed and certificates are not checked.
    pub insecure: bool,
    /// PEM file with the certificates that vouch for this registry, instead of the host's own list.
    pub ca_file: Option<PathBuf>,
}

impl RegistriesConfig {
    /// Read where `images.docker_config` is not given and the file is there.
    pub const DOCKER_CONFIG: &str = "/etc/pinnace/docker.json";

    /// The defaults; `partial_dir` is `images/partial` of the node's data directory.
    pub fn new(partial_dir: PathBuf) -> RegistriesConfig {
        RegistriesConfig {
            partial_dir,
            docker_config: Self::DOCKER_CONFIG.into(),
            docker_config_required: false,
            concurrency: 2,
            bandwidth_max: 0,
            hosts: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_a_small_disk_stays_free() {
        let mut config = ImagesConfig::new("/p".into());
        assert_eq!(config.reserve_of(4 << 30), (4 << 30) / 10);
        assert_eq!(config.reserve_of(1 << 40), 1 << 30);
        config.reserve_bytes = Some(7);
        assert_eq!(config.reserve_of(1 << 40), 7);
    }
}

//! The image configuration: what a container of the image runs, and the layers it has. Reads no file.
//!
//! Source: OCI image spec, `config.md`; docker's schema 2 has the same fields.

use serde::{Deserialize, Deserializer, Serialize};

use super::{ImageError, Platform};

/// Bytes of a configuration, a manifest or an index; registries take no larger ones (OCI distribution spec, 4 MiB).
pub(super) const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
/// overlayfs takes 500; docker makes no more than 127.
pub(super) const LAYERS_MAX: usize = 128;

/// The parts of an image's configuration that a node needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    pub architecture: String,
    pub os: String,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Runs,
    pub rootfs: RootFs,
}

/// What a container of the image runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Runs {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    /// `sha256:…` of each layer's plain archive, lowest first.
    #[serde(deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// Go writes `null` for an empty list.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// For which machine an image is; its layers are not looked at.
pub(super) fn platform(bytes: &[u8]) -> Result<Platform, ImageError> {
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|e| ImageError::Invalid(format!("read the image's configuration: {e}")))?;
    Ok(Platform::new(&config.os, &config.architecture, &config.variant))
}

impl Config {
    /// Reads a configuration and checks that the image can run on a machine of `platform`.
    ///
    /// # Errors
    /// It is no configuration (`Invalid`), or the image is for another system or machine (`Unsupported`).
    pub fn read(bytes: &[u8], platform: &Platform) -> Result<Config, ImageError> {
        let invalid = |why: String| ImageError::Invalid(format!("read the image's configuration: {why}"));
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(invalid(format!("it has more than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let config: Config = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
        let its = Platform::new(&config.os, &config.architecture, &config.variant);
        if platform.rank(&its).is_none() {
            return Err(ImageError::Unsupported(format!("the image is for {its}, this machine is {platform}")));
        }
        if config.rootfs.kind != "layers" {
            return Err(invalid(format!("rootfs.type must be layers, is {:?}", config.rootfs.kind)));
        }
        if config.rootfs.diff_ids.is_empty() {
            return Err(ImageError::Unsupported("the image has no layer, so there is nothing to run in it".into()));
        }
        if config.rootfs.diff_ids.len() > LAYERS_MAX {
            return Err(invalid(format!("it has more than {LAYERS_MAX} layers")));
        }
        for diff_id in &config.rootfs.diff_ids {
            super::read::sha256_digits(diff_id, "a layer of the image")?;
        }
        Ok(config)
    }

    /// The layers' digits, lowest first.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.rootfs.diff_ids.iter().filter_map(|id| super::read::digits(id))
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, ImageError, Platform};

    fn read(text: &str) -> Result<Config, ImageError> {
        Config::read(text.as_bytes(), &Platform::new("linux", "arm", "v7"))
    }

    fn with(rootfs: &str, platform: &str) -> String {
        format!(r#"{{{platform}, "config": null, "rootfs": {rootfs}}}"#)
    }

    #[test]
    fn a_configuration_may_leave_out_almost_all() {
        let id = format!("sha256:{}", "0".repeat(64));
        let rootfs = format!(r#"{{"type":"layers","diff_ids":["{id}"]}}"#);
        let plain = read(&with(&rootfs, r#""os":"linux","architecture":"arm""#)).unwrap();
        assert_eq!(plain.layers().collect::<Vec<_>>(), ["0".repeat(64)]);
        assert!(plain.config.entrypoint.is_empty());
        let full = format!(
            r#"{{"os":"linux","architecture":"arm","variant":"v6","created":"x","config":{{"Entrypoint":["/a"],"Cmd":null,
            "Env":["A=b"],"WorkingDir":"/w","User":"1:2","StopSignal":"SIGINT","Labels":{{}}}},"rootfs":{rootfs}}}"#
        );
        let full = read(&full).unwrap().config;
        assert_eq!((full.entrypoint, full.cmd, full.env), (vec!["/a".into()], vec![], vec!["A=b".into()]));
        assert_eq!((&*full.working_dir, &*full.user, &*full.stop_signal), ("/w", "1:2", "SIGINT"));
    }

    #[test]
    fn what_is_no_image_of_ours_is_refused() {
        let id = format!("sha256:{}", "0".repeat(64));
        let good = format!(r#"{{"type":"layers","diff_ids":["{id}"]}}"#);
        let arm = r#""os":"linux","architecture":"arm""#;
        let cases = [
            (with(&good, r#""os":"windows","architecture":"arm""#), "for windows/arm/v7, this machine is linux/arm/v7"),
            (with(&good, r#""os":"linux","architecture":"amd64""#), "for linux/amd64"),
            (with(r#"{"type":"x","diff_ids":[]}"#, arm), "rootfs.type must be layers"),
            (with(r#"{"type":"layers","diff_ids":null}"#, arm), "no layer"),
            (with(r#"{"type":"layers","diff_ids":["md5:00"]}"#, arm), "\"md5:00\""),
            (with(r#"{"type":"layers","diff_ids":["sha256:../../x"]}"#, arm), "only sha256"),
            ("[]".into(), "read the image's configuration"),
            ("{".into(), "read the image's configuration"),
        ];
        for (text, expected) in cases {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

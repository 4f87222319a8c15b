//! Which of several images fits this machine. Knows no image.
//!
//! Source: OCI image spec, `image-index.md` (platform variants); the order is containerd's: what fits most closely first.

use std::fmt;

use super::ImageError;

/// System, architecture and variant in Go's words, as indexes and configurations have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    /// `v7`; empty where the architecture has one kind.
    pub variant: String,
}

impl Platform {
    /// Fills in what a missing variant means: arm is v7, arm64 is v8.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Platform {
        let variant = match (architecture, variant) {
            ("arm", "") => "v7",
            ("arm64", "" | "8" | "v8") => "",
            ("amd64", "v1") => "",
            ("arm", "5" | "6" | "7" | "8") => return Platform::new(os, architecture, &format!("v{variant}")),
            (_, variant) => variant,
        };
        Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// This machine. A 32 bit program under a 64 bit kernel runs images of its own width, as its C library would.
    pub fn here() -> Platform {
        // ARMv6 and ARMv7 are one `arm` to Rust; the processor tells.
        let uname = nix::sys::utsname::uname().ok();
        let machine = uname.as_ref().and_then(|name| name.machine().to_str()).unwrap_or("");
        Platform::of(std::env::consts::ARCH, machine)
    }

    fn of(architecture: &str, machine: &str) -> Platform {
        match architecture {
            "x86_64" => Platform::new("linux", "amd64", ""),
            "x86" => Platform::new("linux", "386", ""),
            "aarch64" => Platform::new("linux", "arm64", ""),
            "arm" if machine.starts_with("armv6") => Platform::new("linux", "arm", "v6"),
            "arm" if machine.starts_with("armv5") => Platform::new("linux", "arm", "v5"),
            "arm" => Platform::new("linux", "arm", "v7"),
            "powerpc64" => Platform::new("linux", "ppc64le", ""),
            "loongarch64" => Platform::new("linux", "loong64", ""),
            other => Platform::new("linux", other, ""),
        }
    }

    /// How well an image for `other` runs here: 0 is best; none: not at all.
    pub fn rank(&self, other: &Platform) -> Option<usize> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let runs: &[&str] = match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm", "v8") => &["v8", "v7", "v6", "v5"],
            ("arm", "v7") => &["v7", "v6", "v5"],
            ("arm", "v6") => &["v6", "v5"],
            ("arm", "v5") => &["v5"],
            // Of amd64 and arm64 the plain kind runs everywhere; whether a higher one would is not asked.
            _ => &[""],
        };
        runs.iter().position(|variant| *variant == other.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// The one of `offered` that fits `here` best; of equals the first, as the index's author ordered them.
///
/// # Errors
/// None fits; the text names those that there are.
pub fn choose<T>(here: &Platform, offered: Vec<(Platform, T)>) -> Result<T, ImageError> {
    let names: Vec<String> = offered.iter().map(|(platform, _)| platform.to_string()).collect();
    let ranked = offered.into_iter().filter_map(|(platform, value)| Some((here.rank(&platform)?, value)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, value)| value).ok_or_else(|| {
        let names = if names.is_empty() { "none at all".into() } else { names.join(", ") };
        ImageError::Unsupported(format!("the image is not there for this machine, {here}; it is there for: {names}"))
    })
}

#[cfg(test)]
mod tests {
    use super::{Platform, choose};

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/');
        let mut next = || parts.next().unwrap_or("");
        Platform::new(next(), next(), next())
    }

    #[test]
    fn the_closest_platform_is_chosen() {
        let cases: [(&str, &[&str], Option<usize>); 10] = [
            ("linux/amd64", &["linux/arm64", "linux/amd64"], Some(1)),
            ("linux/amd64", &["windows/amd64", "linux/amd64/v3"], None),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64", &["linux/arm/v7"], None),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm/v6", &["linux/arm", "linux/arm/6"], Some(1)),
            ("linux/riscv64", &["linux/riscv64", "linux/riscv64"], Some(0)),
            ("linux/amd64", &["unknown/unknown"], None),
        ];
        for (here, offered, expected) in cases {
            let offered = offered.iter().enumerate().map(|(at, text)| (platform(text), at)).collect();
            assert_eq!(choose(&platform(here), offered).ok(), expected, "{here}");
        }
    }

    #[test]
    fn those_that_there_are_get_named() {
        let error = choose(&platform("linux/arm/v6"), vec![(platform("linux/amd64"), ()), (platform("linux/arm"), ())]);
        assert!(error.unwrap_err().to_string().ends_with("linux/arm/v6; it is there for: linux/amd64, linux/arm/v7"));
    }

    #[test]
    fn the_processor_tells_the_kinds_of_arm() {
        let cases = [("armv6l", "v6"), ("armv7l", "v7"), ("aarch64", "v7"), ("armv5tejl", "v5")];
        for (machine, variant) in cases {
            assert_eq!(Platform::of("arm", machine).variant, variant, "{machine}");
        }
    }
}

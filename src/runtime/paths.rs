//! Where the runtime keeps things, and the names of files that stand for an attempt. Opens nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{AttemptId, BootId, Uid};

/// The two directories of a node: what must outlive a reboot, and what must not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dirs {
    /// On a disk: logs and exit records.
    pub data: PathBuf,
    /// On tmpfs where there is one: the claims of attempts.
    pub run: PathBuf,
}

impl Dirs {
    pub fn claims(&self) -> PathBuf {
        self.run.join("attempts")
    }

    pub fn claim(&self, attempt: &AttemptId, boot: &BootId) -> PathBuf {
        self.claims().join(claim_name(attempt, boot))
    }

    pub fn records(&self) -> PathBuf {
        self.data.join("exits")
    }

    pub fn record(&self, attempt: &AttemptId) -> PathBuf {
        self.records().join(record_name(attempt))
    }

    /// One directory a pod, named by its uid.
    pub fn pods(&self) -> PathBuf {
        self.data.join("pods")
    }

    pub fn pod(&self, uid: &Uid) -> PathBuf {
        self.pods().join(uid.as_str())
    }

    /// The volumes of a pod that live as long as it does. No container has this name.
    pub fn kept_volumes(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("_volumes")
    }

    /// What is made anew after a reboot: volumes of files, secrets among them.
    pub fn file_volumes(&self) -> PathBuf {
        self.run.join("volumes")
    }

    /// The log files of all attempts of one container.
    pub fn logs(&self, attempt: &AttemptId) -> PathBuf {
        self.pod(&attempt.pod).join(&attempt.container)
    }

    /// Layers of the image store, each unpacked in a directory named by its `diff_id`.
    pub fn layers(&self) -> PathBuf {
        self.data.join("images").join("layers")
    }

    /// What one attempt needs for its root file system and its mounts: it goes with the attempt.
    pub fn root(&self, attempt: &AttemptId) -> PathBuf {
        self.logs(attempt).join(root_name(attempt.number))
    }
}

/// `UID_CONTAINER_NUMBER_BOOT`; none of the parts can hold an underscore.
pub fn claim_name(attempt: &AttemptId, boot: &BootId) -> String {
    format!("{}_{boot}", record_name(attempt))
}

/// `UID_CONTAINER_NUMBER`.
pub fn record_name(attempt: &AttemptId) -> String {
    format!("{}_{}_{}", attempt.pod, attempt.container, attempt.number)
}

pub fn parse_claim_name(name: &str) -> Option<(AttemptId, BootId)> {
    let (record, boot) = name.rsplit_once('_')?;
    Some((parse_record_name(record)?, BootId::new(is_part(boot).then_some(boot)?)))
}

pub fn parse_record_name(name: &str) -> Option<AttemptId> {
    let mut parts = name.split('_');
    let (pod, container, number) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && is_part(pod) && is_part(container);
    let number = number.parse().ok().filter(|n: &u32| n.to_string() == number)?;
    whole.then(|| AttemptId { pod: Uid::new(pod), container: container.to_string(), number })
}

/// `ATTEMPT.root`.
pub fn root_name(number: u32) -> String {
    format!("{number}.root")
}

pub fn parse_root_name(name: &str) -> Option<u32> {
    name.strip_suffix(".root")?.parse().ok()
}

/// `ATTEMPT.SEQUENCE.log`: the greatest sequence is the file that is being written.
pub fn log_name(number: u32, sequence: u32) -> String {
    format!("{number}.{sequence}.log")
}

/// The attempt's number and the sequence.
pub fn parse_log_name(name: &str) -> Option<(u32, u32)> {
    let (number, sequence) = name.strip_suffix(".log")?.split_once('.')?;
    Some((number.parse().ok()?, sequence.parse().ok()?))
}

/// Whether an attempt's parts may be used as names of files: nothing that leads out of the directory they are put in.
pub fn is_sound(attempt: &AttemptId) -> bool {
    is_part(attempt.pod.as_str()) && is_part(&attempt.container)
}

/// A DNS label or a UUID, give or take; 63 is the length of a label.
pub fn is_part(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(pod: &str, container: &str, number: u32) -> AttemptId {
        AttemptId { pod: Uid::new(pod), container: container.into(), number }
    }

    #[test]
    fn a_name_stands_for_one_attempt_of_one_boot() {
        let (id, boot) = (attempt("0a-1b", "main", 12), BootId::new("b0-07"));
        assert_eq!(claim_name(&id, &boot), "0a-1b_main_12_b0-07");
        assert_eq!(parse_claim_name(&claim_name(&id, &boot)), Some((id.clone(), boot)));
        assert_eq!(parse_record_name(&record_name(&id)), Some(id));
    }

    #[test]
    fn what_is_no_name_of_ours_is_left_alone() {
        for name in ["", "a", "a_b", "a_b_c", "a_b_1_", "a_b_1_c_d", "_b_1", "a__1", "a_b_01", "a_b_-1", "a_b_1.tmp"] {
            assert_eq!(parse_record_name(name), None, "{name:?}");
            assert_eq!(parse_claim_name(name), None, "{name:?}");
        }
        assert_eq!(parse_log_name("3.14.log"), Some((3, 14)));
        for name in ["", "1.log", "1.2", "a.b.log", "1.2.log.gz"] {
            assert_eq!(parse_log_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn no_attempt_leads_out_of_its_directory() {
        assert!(is_sound(&attempt("0a-1b", "main", 0)));
        for bad in ["", ".", "..", "../x", "a/b", "a_b", "a b", "a\0", &"a".repeat(64)] {
            assert!(!is_sound(&attempt(bad, "main", 0)), "{bad:?}");
            assert!(!is_sound(&attempt("u", bad, 0)), "{bad:?}");
        }
    }
}

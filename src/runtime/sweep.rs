//! Removes all that is left of a pod: processes, control groups, logs, claims and records. Blocks; runs beside the loop.

use std::fs;
use std::io;

use crate::model::Uid;

use super::evidence::{list, live_shims};
use super::{Shared, cgroup, claim, descent, paths, record, shim};

/// Done when nothing of the pod lives. May be done again, also after half of it was done.
pub fn pod(shared: &Shared, pod: &Uid) -> io::Result<()> {
    if !paths::is_part(pod.as_str()) {
        return Ok(());
    }
    let of_pod = |name: &String| name.split('_').next() == Some(pod.as_str());
    let claims = list(&shared.dirs.claims())?.into_iter().filter(of_pod);
    let claims: Vec<_> = claims.map(|name| shared.dirs.claims().join(name)).collect();
    for claim in &claims {
        claim::signal(claim, shim::KILL as i32)?;
    }
    let groups = shared.tree.as_ref().map(|tree| tree.pod_anywhere(pod));
    for group in groups.iter().flatten() {
        cgroup::end(group)?;
    }
    // A shim that still writes would make files anew.
    for claim in &claims {
        claim::wait_released(claim)?;
    }
    match &groups {
        Some(groups) => groups.iter().try_for_each(|group| cgroup::remove(group))?,
        None => descent::end_orphans(pod, &live_shims(shared))?,
    }
    shared.tree.iter().for_each(|tree| tree.weigh());
    match fs::remove_dir_all(shared.dirs.pod(pod)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    for claim in &claims {
        record::remove(claim)?;
    }
    for name in list(&shared.dirs.records())?.iter().filter(|name| of_pod(name)) {
        record::remove(&shared.dirs.records().join(name))?;
    }
    Ok(())
}

//! Removes all that is left of a pod: processes, control groups, logs, claims and records; and the root file systems of
//! attempts that ended with their machine or their shim. Blocks; runs beside the loop.

use std::fs;
use std::io;
use std::path::Path;

use crate::model::{AttemptId, Uid};

use super::evidence::{list, live_shims};
use super::{Shared, cgroup, claim, descent, paths, record, shim, volumes};

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
    volumes::remove(&shared.dirs, pod)?;
    remove_tree(&shared.dirs.pod(pod))?;
    for claim in &claims {
        record::remove(claim)?;
    }
    for name in list(&shared.dirs.records())?.iter().filter(|name| of_pod(name)) {
        record::remove(&shared.dirs.records().join(name))?;
    }
    Ok(())
}

/// Removes the root file system of every attempt that no shim holds.
pub fn roots(shared: &Shared) -> io::Result<()> {
    for pod in list(&shared.dirs.pods())?.into_iter().filter(|name| paths::is_part(name)).map(Uid::new) {
        for container in list(&shared.dirs.pod(&pod))?.into_iter().filter(|name| paths::is_part(name)) {
            let attempt = |number| AttemptId { pod: pod.clone(), container: container.clone(), number };
            let directory = shared.dirs.logs(&attempt(0));
            let names = if directory.is_dir() { list(&directory)? } else { Vec::new() };
            let attempts = names.iter().filter_map(|name| paths::parse_root_name(name)).map(attempt);
            // Listed before it is asked: one that begins meanwhile has its claim before its root.
            for attempt in attempts {
                if !claim::is_held(&shared.claim(&attempt))? {
                    remove_tree(&shared.dirs.root(&attempt))?;
                }
            }
        }
    }
    Ok(())
}

pub fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

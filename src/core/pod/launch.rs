//! What an attempt is started with: program, environment, user, root directory and bounds.

use crate::core::draft::Draft;
use crate::model::attempt::Root;
use crate::model::image::{ImageSpec, normal_reference};
use crate::model::pod::PullPolicy;
use crate::model::{AttemptId, Container, Kind, Launch, Pod};

use super::env::{self, Vars};
use super::expand::expand;
use super::refusal::Refusal;
use super::security::{self, Ground};
use super::{resources, signal, volumes};

/// `image` of a container that has the host's own file system, beside an empty one.
const HOST: &str = "host";

/// The launch of the attempt with that number, and sentences about what of it was left out.
///
/// # Errors
/// Why it cannot be started now. Asked again in every step, so what was missing is used as soon as it is there.
pub fn launch(draft: &Draft, pod: &Pod, container: &Container, number: u32) -> Result<(Launch, Vec<String>), Refusal> {
    let (spec, settings) = (&pod.spec, draft.settings());
    let facts = draft.node().map(|node| node.status.facts.clone()).unwrap_or_default();
    let missing = resources::missing_controllers(spec, &facts, settings);
    if settings.limits_required && !missing.is_empty() {
        return Err(Refusal::Limits(missing.join(", ")));
    }
    let image = image(draft, container)?;
    let root = root(&image);
    let ground = match root {
        Root::Host => Ground::Host { daemon_is_root: facts.root },
        Root::Directory(_) | Root::Layers(_) => Ground::Image(&image),
    };
    let identity = security::identity(pod, container, ground)?;
    let (declared, skipped) = env::declared(draft, pod, container, number)?;
    let argv = argv(container, &image, &declared).ok_or(Refusal::NoCommand)?;
    let (volumes, mounts) = volumes::of_container(draft, pod, container, &declared)?;
    let (security, no_new_privileges) = (&container.security_context, security::no_new_privileges(container, ground));
    let home = match root {
        Root::Host if facts.root && identity.is_root => Some("/root"),
        Root::Host => Some("/"),
        Root::Directory(_) | Root::Layers(_) => None,
    };
    let launch = Launch {
        attempt: AttemptId { pod: pod.meta.uid.clone(), container: container.name.clone(), number },
        namespace: pod.meta.namespace.clone(),
        pod_name: pod.meta.name.clone(),
        qos: spec.qos(),
        argv,
        env: declared.over(env::defaults(pod, &image.env, home)).into_pairs(),
        cwd: directory(container, &image),
        root,
        read_only_root: security.read_only_root_filesystem,
        volumes,
        mounts,
        hostname: spec.hostname.clone().unwrap_or_else(|| pod.meta.name.clone()),
        user: identity.user,
        image_user: image.user.clone(),
        group: security.run_as_group.or(spec.security_context.run_as_group),
        groups: identity.groups,
        must_not_be_root: identity.must_not_be_root,
        no_new_privileges,
        privileged: security.privileged,
        capabilities: security::capabilities(container),
        seccomp: security::seccomp(pod, container),
        stop_signal: signal::number(&image.stop_signal),
        pod_limits: resources::pod(spec, settings),
        limits: resources::container(container),
        oom_score_adj: resources::oom_score_adj(spec, container, &facts),
        log_bytes_max: settings.log_bytes_max,
        log_files_max: settings.log_files_max,
    };
    Ok((launch, skipped))
}

/// The image of a container; the host's file system is the one without a directory of its own.
fn image(draft: &Draft, container: &Container) -> Result<ImageSpec, Refusal> {
    if container.image.is_empty() || container.image == HOST {
        return Ok(ImageSpec::default());
    }
    let wanted = normal_reference(&container.image);
    let known = draft.list(Kind::Image);
    let found = known.iter().filter_map(|r| r.as_image()).find(|i| normal_reference(&i.spec.reference) == wanted);
    match (found, container.image_pull_policy) {
        (Some(image), _) => Ok(image.spec.clone()),
        (None, PullPolicy::Never) => Err(Refusal::ImageNeverPulled(container.image.clone())),
        (None, PullPolicy::Always | PullPolicy::IfNotPresent) => Err(Refusal::ImageMissing(container.image.clone())),
    }
}

fn root(image: &ImageSpec) -> Root {
    if !image.layers.is_empty() {
        Root::Layers(image.layers.iter().map(|layer| layer.diff_id.clone()).collect())
    } else if matches!(image.directory.as_str(), "" | "/") {
        Root::Host
    } else {
        Root::Directory(image.directory.clone())
    }
}

/// What to run; none when nothing says it. A command drops the image's arguments too. What the image says is not
/// expanded.
fn argv(container: &Container, image: &ImageSpec, vars: &Vars) -> Option<Vec<String>> {
    let expanded = |words: &[String]| words.iter().map(|w| expand(w, |name| vars.get(name))).collect::<Vec<_>>();
    let (mut argv, args) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => (image.entrypoint.clone(), image.cmd.clone()),
        (true, false) => (image.entrypoint.clone(), expanded(&container.args)),
        (false, _) => (expanded(&container.command), expanded(&container.args)),
    };
    argv.extend(args);
    (!argv.is_empty()).then_some(argv)
}

fn directory(container: &Container, image: &ImageSpec) -> String {
    let wished = container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.working_dir);
    if wished.is_empty() { "/".to_string() } else { wished.to_string() }
}

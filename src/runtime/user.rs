//! Who a container's program runs as: looked up in the container's own `/etc/passwd` and `/etc/group`, so to be called
//! inside its root. Changes nothing. As the OCI image specification has `User` (`config.md`), and containerd carries it out.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use crate::model::Launch;
use crate::model::attempt::Root;

/// Far more than such a file has; what lies behind is not read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Numbers to become; none stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub groups: Vec<u32>,
    /// Home directory; `/` for a user that is not listed.
    pub home: String,
}

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    id: u32,
    group: u32,
    home: String,
}

/// # Errors
/// The image names a user or a group that is not in its files.
pub fn identity(launch: &Launch) -> Result<Identity, String> {
    let passwd = read("/etc/passwd");
    match launch.root {
        Root::Host => Ok(on_host(launch, &passwd)),
        Root::Directory(_) | Root::Layers(_) => in_image(launch, &passwd, &read("/etc/group")),
    }
}

/// Kubernetes takes group 0 for a user that is not listed. A container without a user runs as the daemon does.
fn on_host(launch: &Launch, passwd: &str) -> Identity {
    let listed = launch.user.and_then(|id| users(passwd).find(|user| user.id == id));
    let primary = launch.user.map(|_| listed.as_ref().map_or(0, |user| user.group));
    Identity {
        user: launch.user,
        group: launch.group.or(primary),
        groups: launch.groups.clone(),
        home: listed.map_or_else(|| "/".into(), |user| user.home),
    }
}

fn in_image(launch: &Launch, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, named_group) = match launch.user {
        Some(id) => (id.to_string(), None),
        None => match launch.image_user.split_once(':') {
            Some((user, group)) => (user.to_string(), Some(group).filter(|group| !group.is_empty())),
            None => (launch.image_user.clone(), None),
        },
    };
    let listed = users(passwd).find(|known| known.name == user || user.parse() == Ok(known.id));
    let id = match &listed {
        Some(listed) => listed.id,
        None if user.is_empty() => 0,
        None => user.parse().map_err(|_| format!("the image's user {user:?} is not in its /etc/passwd"))?,
    };
    let listed = listed.or_else(|| users(passwd).find(|known| known.id == id));
    let named_group = named_group.map(|wanted| find_group(group, wanted)).transpose()?;
    let primary = launch.group.or(named_group).unwrap_or_else(|| listed.as_ref().map_or(0, |user| user.group));
    let mut groups = launch.groups.clone();
    if let Some(listed) = listed.as_ref().filter(|_| named_group.is_none()) {
        groups.extend(groups_of(group, &listed.name));
    }
    groups.push(primary);
    groups.sort_unstable();
    groups.dedup();
    let home = listed.map(|user| user.home).filter(|home| !home.is_empty());
    Ok(Identity { user: Some(id), group: Some(primary), groups, home: home.unwrap_or_else(|| "/".into()) })
}

fn find_group(text: &str, wanted: &str) -> Result<u32, String> {
    let listed = groups(text).find(|(name, _, _)| *name == wanted).map(|(_, id, _)| id);
    let number = listed.or_else(|| wanted.parse().ok());
    number.ok_or_else(|| format!("the image's group {wanted:?} is not in its /etc/group"))
}

fn groups_of<'a>(text: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups(text).filter(move |(_, _, members)| members.split(',').any(|member| member == user)).map(|(_, id, _)| id)
}

/// Source: passwd(5).
fn users(text: &str) -> impl Iterator<Item = User> + '_ {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, group, _, home, ..] = fields[..] else { return None };
        Some(User { name: name.into(), id: id.parse().ok()?, group: group.parse().ok()?, home: home.into() })
    })
}

/// Source: group(5).
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, ref members @ ..] = fields[..] else { return None };
        Some((name, id.parse().ok()?, members.first().copied().unwrap_or("")))
    })
}

/// Empty where there is no such file. An image could have a pipe there, which must not be waited for.
fn read(path: &str) -> String {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    // Room for a usual one, so that one read takes it.
    let mut bytes = Vec::with_capacity(4096);
    if let Ok(file) = open
        && file.metadata().is_ok_and(|file| file.is_file())
    {
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

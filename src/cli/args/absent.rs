//! What kubectl does and pinnace does not: told by its name, with the way that there is instead.

/// The words behind `pinnace`, and the way there is; empty where there is none. docs/limits.md names them too.
const ABSENT: &[(&str, &str)] = &[
    ("attach", "`pinnace logs -f` shows what a container writes"),
    ("auth", "whoever may use the node's socket may do everything"),
    ("autoscale", "`pinnace scale` sets how many pods a Job runs at a time"),
    ("certificate", ""),
    ("cluster-info", "`pinnace describe node` shows the node, `pinnace doctor` examines it"),
    ("config current-context", CONTEXTS),
    ("config get-contexts", CONTEXTS),
    ("config set-context", CONTEXTS),
    ("config use-context", CONTEXTS),
    ("config view", CONTEXTS),
    ("cp", "a hostPath volume shares files between the host and a pod"),
    ("create clusterrole", ""),
    ("create clusterrolebinding", ""),
    ("create cronjob", MANIFEST),
    ("create deployment", "a DaemonSet runs one pod that is kept running: `pinnace apply -f FILE`"),
    ("create ingress", ""),
    ("create poddisruptionbudget", ""),
    ("create priorityclass", ""),
    ("create quota", ""),
    ("create role", ""),
    ("create rolebinding", ""),
    ("create secret docker-registry", MANIFEST),
    ("create secret tls", MANIFEST),
    ("create service", NO_SERVICES),
    ("create serviceaccount", ""),
    ("create token", ""),
    ("diff", "`pinnace apply -f FILE --dry-run=server -o yaml` shows what would be there"),
    ("edit", CHANGE),
    ("exec", "a container's processes are the host's: `ps` shows them, `nsenter` enters their namespaces"),
    ("expose", NO_SERVICES),
    ("kustomize", "`kustomize build DIR | pinnace apply -f -`"),
    ("patch", CHANGE),
    ("plugin", ""),
    ("port-forward", NO_SERVICES),
    ("proxy", "any HTTP client may use the socket: `curl --unix-socket`"),
    ("rollout pause", ""),
    ("rollout resume", ""),
    ("run", "`pinnace create job NAME --image=IMAGE -- COMMAND`, or a Pod's manifest and `pinnace apply -f FILE`"),
    ("set", CHANGE),
];

const CHANGE: &str = "`pinnace get KIND NAME -o yaml >FILE`, change FILE, `pinnace apply -f FILE`";
const CONTEXTS: &str = "there are no contexts: --socket or PINNACE_SOCKET says which node is meant";
const MANIFEST: &str = "write a manifest: `pinnace apply -f FILE`";
const NO_SERVICES: &str = "there are no Services: pods use the host's network, and their ports are the host's";

/// The refusal of a word that was typed behind `path` (`pinnace rollout`), if kubectl knows it there.
pub(super) fn refusal(path: &str, word: &str) -> Option<String> {
    let typed = format!("{path} {word}");
    let name = typed.strip_prefix("pinnace ")?;
    let (name, way) = ABSENT.iter().find(|(absent, _)| *absent == name)?;
    let way = if way.is_empty() { String::new() } else { format!("\n{way}") };
    Some(format!("error: {name:?} is not supported by pinnace{way}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn the_documents_name_every_verb_that_is_absent() {
        let limits = include_str!("../../../docs/limits.md");
        for (name, _) in ABSENT.iter().filter(|(name, _)| !name.contains(' ')) {
            assert!(limits.contains(&format!("`{name}`")), "docs/limits.md does not say that there is no {name}");
        }
    }

    #[test]
    fn what_there_is_is_not_called_absent() {
        for (name, _) in ABSENT {
            let mut command = Cli::command();
            let (last, before) = match name.rsplit_once(' ') {
                Some((before, last)) => (last, before),
                None => (*name, ""),
            };
            for word in before.split_whitespace() {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("no {word} of {name}")).clone();
            }
            assert!(command.find_subcommand(last).is_none(), "{name}");
        }
    }
}

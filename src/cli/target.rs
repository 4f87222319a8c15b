//! What the words behind a verb mean: kinds, names, and the API paths they stand for.

use crate::model::Kind;

use super::fail::Fail;

/// What a person pointed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `pods,jobs` or `all`: everything of these kinds.
    Kinds { kinds: Vec<Kind>, all: bool },
    /// `job a b`, `job/a pod/b`.
    Named(Vec<(Kind, String)>),
}

/// One object by its name.
#[derive(Debug, Clone)]
pub struct Object {
    pub kind: Kind,
    /// Not looked at where the kind has none.
    pub namespace: String,
    pub name: String,
}

/// `all` is these, in the order in which kubectl lists them.
const ALL: [Kind; 4] = [Kind::Pod, Kind::DaemonSet, Kind::CronJob, Kind::Job];

/// Reads `KIND[,KIND…] [NAME…]` or `KIND/NAME …`. Source: `cli-runtime/pkg/resource/builder.go`.
///
/// # Errors
/// A kind that does not exist, or words that do not go together.
pub fn parse(words: &[String]) -> Result<Target, Fail> {
    // References have slashes of their own.
    if let [first, names @ ..] = words
        && Kind::from_word(first) == Some(Kind::Image)
        && !names.is_empty()
    {
        return Ok(Target::Named(names.iter().map(|name| (Kind::Image, name.clone())).collect()));
    }
    if words.iter().any(|w| w.contains('/')) {
        return words.iter().map(|w| slashed(w)).collect::<Result<_, _>>().map(Target::Named);
    }
    let Some((first, names)) = words.split_first() else {
        return Err(Fail::other("you must say what: KIND, KIND NAME or KIND/NAME"));
    };
    let (kinds, all) = kinds(first)?;
    match (kinds.as_slice(), names) {
        (_, []) => Ok(Target::Kinds { kinds, all }),
        ([kind], names) => Ok(Target::Named(names.iter().map(|name| (*kind, name.clone())).collect())),
        (_, _) => Err(Fail::other("you may only specify a single resource type")),
    }
}

/// One `KIND/NAME`.
///
/// # Errors
/// As `parse`.
pub fn slashed(word: &str) -> Result<(Kind, String), Fail> {
    match word.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((kind_of(kind)?, name.to_string()))
        }
        Some((kind, reference)) if Kind::from_word(kind) == Some(Kind::Image) && !reference.is_empty() => {
            Ok((Kind::Image, reference.to_string()))
        }
        Some(_) => Err(Fail::other(format!("{word:?} must be KIND/NAME"))),
        None => Err(Fail::other(format!(
            "there is no need to specify a resource type as a separate argument when passing arguments in \
             resource/name form (e.g. 'pinnace get job/x' instead of 'pinnace get job job/x'): {word:?}"
        ))),
    }
}

/// The kinds of a comma-separated list; true when `all` is among them.
fn kinds(list: &str) -> Result<(Vec<Kind>, bool), Fail> {
    let mut kinds = Vec::new();
    let mut all = false;
    for word in list.split(',') {
        let more = if word == "all" { ALL.to_vec() } else { vec![kind_of(word)?] };
        all |= word == "all";
        kinds.extend(more);
    }
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    Ok((kinds, all))
}

/// # Errors
/// kubectl's words for a kind that does not exist, and the nearest one that does.
pub fn kind_of(word: &str) -> Result<Kind, Fail> {
    Kind::from_word(word).ok_or_else(|| {
        let hint = nearest(&word.to_ascii_lowercase()).map(|w| format!("; did you mean {w:?}?")).unwrap_or_default();
        Fail::other(format!("the server doesn't have a resource type {word:?}{hint}"))
    })
}

fn nearest(word: &str) -> Option<&'static str> {
    let known = Kind::SERVED.into_iter().map(Kind::names).flat_map(|n| [n.plural, n.singular]);
    let scored = known.map(|name| (strsim::jaro_winkler(word, name), name));
    scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// The path of all objects of a kind; of one namespace, or of all with none.
pub fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let names = kind.names();
    let root = if names.group.is_empty() { "/api".to_string() } else { format!("/apis/{}", names.group) };
    let place = match namespace {
        Some(namespace) if names.namespaced => format!("/namespaces/{}", escape(namespace)),
        Some(_) | None => String::new(),
    };
    format!("{root}/{}{place}/{}", names.version, names.plural)
}

/// The path of one object.
pub fn object(kind: Kind, namespace: &str, name: &str) -> String {
    format!("{}/{}", collection(kind, Some(namespace)), escape(name))
}

/// A path with query parameters added, escaped.
pub fn query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = path.to_string();
    for (i, (key, value)) in parameters.iter().enumerate() {
        out.push(if i == 0 && !path.contains('?') { '?' } else { '&' });
        out.push_str(&format!("{}={}", escape(key), escape(value)));
    }
    out
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// `job.batch`, `pod`: the form in front of a slash in what verbs print.
pub fn singular(kind: Kind) -> String {
    let names = kind.names();
    if names.group.is_empty() { names.singular.to_string() } else { format!("{}.{}", names.singular, names.group) }
}

/// The kind of a document from its own words; also older versions.
pub fn kind_of_document(api_version: &str, kind: &str) -> Option<Kind> {
    Kind::SERVED.into_iter().find(|candidate| {
        let names = candidate.names();
        names.kind == kind && (candidate.api_version() == api_version || names.also.contains(&api_version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_string).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: Target) {
        assert_eq!(parse(&words(text)).unwrap(), expected, "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let text = parse(&words(text)).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }

    fn named(list: &[(Kind, &str)]) -> Target {
        Target::Named(list.iter().map(|(kind, name)| (*kind, (*name).to_string())).collect())
    }

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        check("pods", Target::Kinds { kinds: vec![Kind::Pod], all: false });
        check("po,jobs,pods", Target::Kinds { kinds: vec![Kind::Pod, Kind::Job], all: false });
        check("all", Target::Kinds { kinds: ALL.to_vec(), all: true });
        check("job a b", named(&[(Kind::Job, "a"), (Kind::Job, "b")]));
        check("image x/y:1 z", named(&[(Kind::Image, "x/y:1"), (Kind::Image, "z")]));
        check("image/x/y:1 pod/b", named(&[(Kind::Image, "x/y:1"), (Kind::Pod, "b")]));
        check("ds/a pod/b", named(&[(Kind::DaemonSet, "a"), (Kind::Pod, "b")]));
        check_refused("pods,jobs a", "single resource type");
        check_refused("pod pod/a", "no need to specify a resource type");
        check_refused("pod/", "must be KIND/NAME");
        check_refused("/a", "must be KIND/NAME");
        check_refused("pod/a/b", "must be KIND/NAME");
        check_refused("jbos", "the server doesn't have a resource type \"jbos\"; did you mean \"jobs\"?");
        check_refused("zzz/a", "the server doesn't have a resource type \"zzz\"");
        check_refused("", "you must say what");
        check_refused(",", "resource type \"\"");
    }

    #[test]
    fn paths_are_kubernetes_own_and_escaped() {
        assert_eq!(object(Kind::Job, "default", "x"), "/apis/batch/v1/namespaces/default/jobs/x");
        assert_eq!(object(Kind::Node, "default", "n"), "/api/v1/nodes/n");
        assert_eq!(collection(Kind::Pod, None), "/api/v1/pods");
        assert_eq!(object(Kind::Pod, "a/b", "../x?y"), "/api/v1/namespaces/a%2Fb/pods/..%2Fx%3Fy");
        assert_eq!(query("/p", &[("a", "x=1,y"), ("b", "é")]), "/p?a=x%3D1%2Cy&b=%C3%A9");
    }

    #[test]
    fn a_document_of_an_older_version_is_of_the_same_kind() {
        assert_eq!(kind_of_document("batch/v1beta1", "CronJob"), Some(Kind::CronJob));
        assert_eq!(kind_of_document("extensions/v1beta1", "DaemonSet"), Some(Kind::DaemonSet));
        assert_eq!(kind_of_document("v1", "Job"), None);
        assert_eq!(kind_of_document("apps/v1", "Deployment"), None);
    }
}

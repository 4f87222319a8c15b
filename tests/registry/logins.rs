//! Who is let in, by what, and who must never see it.

use std::fs;

use pinnace::image::ImageError;
use pinnace::model::RegistryHost;
use serde_json::json;

use super::fake::{Asked, Fake, Picture, Reply};
use super::node::{Node, holds, large};

const SECRET: &str = "hunter2-Zq9";
/// `user:hunter2-Zq9`
const BASIC: &str = "Basic dXNlcjpodW50ZXIyLVpxOQ==";

fn name(fake: &Fake) -> String {
    format!("{}/team/app:v1", fake.address)
}

fn login(host: &str, password: &str) -> String {
    json!({"auths": {host: {"username": "user", "password": password}}}).to_string()
}

fn bearer(realm: &str) -> String {
    format!(r#"Bearer realm="{realm}",service="test registry",scope="repository:team/app:pull""#)
}

/// A registry that wants the token `good`, and its token server.
fn guarded(picture: Picture, tokens: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start(move |asked, before| match asked.path.starts_with("/token") {
        true => tokens(asked, before),
        false if asked.header("authorization") == "Bearer good" => picture.answer(asked),
        false => Reply::new(401, "").with("www-authenticate", bearer("/token?x=y")),
    })
}

#[track_caller]
fn denied(node: &Node, reference: &str, credentials: &[&str]) -> String {
    match node.pull_with(reference, credentials) {
        Err(ImageError::Refused(why)) => {
            assert!(!why.contains(SECRET) && !why.contains(&BASIC[6..]), "{why}");
            assert!(why.contains("pull access denied"), "{why}");
            why
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("was let in"),
    }
}

#[test]
fn a_token_is_fetched_once_without_a_login() {
    let Some(node) = Node::new() else { return };
    let (picture, files, _) = large();
    let fake = guarded(picture, |_, _| Reply::new(200, r#"{"access_token": "good"}"#));
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    let tokens = fake.asked_for("/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].path, "/token?x=y&service=test%20registry&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(tokens[0].header("authorization"), "");
}

#[test]
fn a_login_is_changed_for_a_token() {
    let Some(node) = Node::new() else { return };
    let (picture, _, _) = large();
    let fake = guarded(picture, |asked, _| match asked.header("authorization") {
        BASIC => Reply::new(200, r#"{"token": "good", "access_token": "no"}"#),
        _ => Reply::new(401, ""),
    });
    let why = denied(&node, &name(&fake), &[]);
    assert!(why.contains("no login for it was given"), "{why}");
    let why = denied(&node, &name(&fake), &[&login(&fake.address, "wrong"), &login("other.example.com", SECRET)]);
    assert!(why.contains("none of the logins given for it (1)"), "{why}");
    node.pull_with(&name(&fake), &[&login(&fake.address, "wrong"), &login(&fake.address, SECRET)]).unwrap();
}

#[test]
fn the_form_before_docker_1_7_and_the_nodes_own_file_are_read() {
    let Some(mut node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let fake = guarded(picture, |asked, _| match asked.header("authorization") {
        BASIC => Reply::new(200, r#"{"token": "good"}"#),
        _ => Reply::new(403, ""),
    });
    let old = json!({format!("https://{}/v1/", fake.address): {"auth": &BASIC[6..]}}).to_string();
    node.pull_with(&name(&fake), &[&old]).unwrap();
    fs::write(&node.config.docker_config, login(&fake.address, SECRET)).unwrap();
    node.pull_with(&name(&fake), &[]).unwrap();
    // The pods' logins go first, the node's own is still tried.
    node.pull_with(&name(&fake), &[&login(&fake.address, "wrong")]).unwrap();

    fs::write(&node.config.docker_config, SECRET).unwrap();
    let error = node.pull(&name(&fake)).err().unwrap().to_string();
    assert!(error.contains("images.docker_config") && error.contains("no JSON") && !error.contains(SECRET), "{error}");
    fs::remove_file(&node.config.docker_config).unwrap();
    node.config.docker_config_required = true;
    assert!(node.pull(&name(&fake)).err().unwrap().to_string().contains("cannot be read"));
}

#[test]
fn a_secret_of_a_pod_that_cannot_be_read_is_told() {
    let Some(node) = Node::new() else { return };
    let fake = Fake::start(|_, _| Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""));
    let why = denied(&node, &name(&fake), &[SECRET]);
    assert!(why.contains("one of the imagePullSecrets was not used: it is no JSON"), "{why}");
}

#[test]
fn an_expired_token_is_fetched_again_once() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let path = layer.clone();
    // The first token holds until the layer is asked for.
    let fake = Fake::start(move |asked, before| match asked.header("authorization") {
        _ if asked.path.starts_with("/token") => Reply::new(200, format!(r#"{{"token": "t{before}"}}"#)),
        "Bearer t0" if !asked.path.ends_with(&path) => picture.answer(asked),
        "Bearer t1" => picture.answer(asked),
        _ => Reply::new(401, "").with("www-authenticate", bearer("/token")),
    });
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    assert_eq!(fake.asked_for("/token").len(), 2);

    let never = Fake::start(|asked, _| match asked.path.starts_with("/token") {
        true => Reply::new(200, r#"{"token": "t"}"#),
        false => Reply::new(401, "").with("www-authenticate", bearer("/token")),
    });
    denied(&node, &name(&never), &[]);
    assert_eq!(never.asked_for("/token").len(), 1);
}

#[test]
fn basic_and_identity_and_ready_made_tokens_are_proofs() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let basic = picture.clone();
    let basic = Fake::start(move |asked, _| match asked.header("authorization") {
        BASIC => basic.answer(asked),
        _ => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
    });
    denied(&node, &name(&basic), &[]);
    denied(&node, &name(&basic), &[&login(&basic.address, "wrong")]);
    node.pull_with(&name(&basic), &[&login(&basic.address, SECRET)]).unwrap();

    let identity = guarded(picture.clone(), |asked, _| {
        let expected = "grant_type=refresh_token&service=test%20registry&client_id=pinnace\
                        &scope=repository%3Ateam%2Fapp%3Apull&refresh_token=r%2F1";
        let fits = (asked.method.as_str(), asked.body.as_str()) == ("POST", expected);
        if fits { Reply::new(200, r#"{"access_token": "good"}"#) } else { Reply::new(401, "") }
    });
    let file = json!({"auths": {&identity.address: {"auth": "PHRva2VuPjo=", "identitytoken": "r/1"}}}).to_string();
    node.pull_with(&name(&identity), &[&file]).unwrap();

    let ready = guarded(picture, |_, _| Reply::new(500, ""));
    let file = json!({"auths": {&ready.address: {"registrytoken": "good"}}}).to_string();
    node.pull_with(&name(&ready), &[&file]).unwrap();
    assert!(ready.asked_for("/token").is_empty());
}

/// Neither by a redirect, nor by a challenge of the server where it leads.
#[test]
fn another_host_never_sees_a_login() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let blobs = picture.clone();
    let other = Fake::start_at("127.0.0.2", move |asked, _| blobs.answer(asked));
    let greedy = Fake::start_at("127.0.0.2", |asked, _| match asked.path.starts_with("/token") {
        true => Reply::new(200, r#"{"token": "bait"}"#),
        false => Reply::new(401, "").with("www-authenticate", bearer("/token")),
    });
    for (target, is_good) in [(&other, true), (&greedy, false)] {
        let (location, path, picture) = (format!("http://{}/{layer}", target.address), layer.clone(), picture.clone());
        let fake = Fake::start(move |asked, _| match asked.header("authorization") {
            BASIC if asked.path.ends_with(&path) => Reply::new(302, "").with("location", &location),
            BASIC => picture.answer(asked),
            _ => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        });
        let logins = login(&fake.address, SECRET);
        let pulled = node.pull_with(&name(&fake), &[&logins]);
        assert!(!target.asked().is_empty());
        for asked in target.asked() {
            assert!(!format!("{asked:?}").contains(&BASIC[6..]), "{asked:?}");
        }
        match pulled {
            Ok(stored) => {
                assert!(is_good);
                holds(&node, &stored, &files);
                drop(stored);
                node.store.sweep(&[]);
            }
            Err(error) => assert!(!is_good && error.to_string().contains("401"), "{error}"),
        }
    }
}

#[test]
fn a_mirror_sees_no_login_of_the_registry() {
    let Some(mut node) = Node::new() else { return };
    let wants = |_: &Asked, _: usize| Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\"");
    let (mirror, own) = (Fake::start(wants), Fake::start(wants));
    let mirrors = vec![mirror.address.clone()];
    node.config.hosts.insert(own.address.clone(), RegistryHost { mirrors, ..RegistryHost::default() });
    denied(&node, &name(&own), &[&login(&own.address, SECRET)]);
    assert!(own.asked().iter().any(|asked| asked.header("authorization") == BASIC));
    assert!(mirror.asked().iter().all(|asked| asked.header("authorization").is_empty()));
}

/// Plain HTTP to a token server that is not this machine; an answer that holds no token; one that no header can carry.
#[test]
fn token_servers_that_are_not_safe_or_make_no_sense_are_refused() {
    let Some(node) = Node::new() else { return };
    for (realm, answer, expected) in [
        ("http://192.0.2.1/token", "", "not safe to use"),
        ("gopher://127.0.0.1/", "", "not safe to use"),
        ("/token", "{}", "gives no token"),
        ("/token", "[", "gives no token"),
        ("/token", r#"{"token": "a\r\nX: y"}"#, "gives no token"),
        ("/token", r#"{"token": 5}"#, "gives no token"),
    ] {
        let fake = Fake::start(move |asked, _| match asked.path.starts_with("/token") {
            true => Reply::new(200, answer),
            false => Reply::new(401, "").with("www-authenticate", bearer(realm)),
        });
        let logins = login(&fake.address, SECRET);
        let error = node.pull_with(&name(&fake), &[&logins]).err().unwrap();
        let ImageError::Refused(why) = error else { panic!("{error:?}") };
        assert!(why.contains(expected) && !why.contains(SECRET), "{why}");
    }
    let endless = guarded(Picture::new(&[]), |_, _| Reply::new(200, "          ").sent(super::fake::Send::Endless));
    let error = node.pull(&name(&endless)).err().unwrap().to_string();
    assert!(error.contains("short answer"), "{error}");
}

/// Such registries say 404 to strangers; `/v2/` says what they want.
#[test]
fn a_registry_that_hides_images_is_asked_at_its_root() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let fake = Fake::start(move |asked, _| match asked.header("authorization") {
        BASIC => picture.answer(asked),
        _ if asked.path == "/v2/" => Reply::new(401, "").with("www-authenticate", "Basic realm=\"x\""),
        _ => Reply::new(404, ""),
    });
    node.refused(&name(&fake), "manifest unknown");
    node.pull_with(&name(&fake), &[&login(&fake.address, SECRET)]).unwrap();
}

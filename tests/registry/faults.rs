//! What goes wrong between a registry and a node, and what the node makes of it. No login here.

use std::fs;
use std::time::Duration;

use pinnace::image::ImageError;
use pinnace::image::registry::Pulled;
use pinnace::model::RegistryHost;
use serde_json::json;

use super::fake::{Asked, Fake, INDEX_TYPE, MANIFEST_TYPE, Picture, Reply, Send, digest, document, part};
use super::node::{Node, Watch, holds, large, wish};

fn name(fake: &Fake) -> String {
    format!("{}/team/app:v1", fake.address)
}

#[test]
fn an_image_comes_whole_and_the_same_again_takes_one_request() {
    let Some(node) = Node::new() else { return };
    let files = [("a", 10), ("b", 100_000), ("c", 0)];
    let picture = Picture::new(&files);
    let known = picture.digest();
    let fake = Fake::start(move |asked, _| picture.answer(asked));
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    assert_eq!((stored.spec.digest.as_str(), stored.spec.cmd), (known.as_str(), vec!["/x".to_string()]));
    let before = fake.asked().len();
    assert!(node.is_same(&name(&fake), &known).unwrap());
    assert_eq!(fake.lines()[before..], ["HEAD /v2/team/app/manifests/v1"]);
    // A digest that is known is not asked for at all.
    assert!(node.is_same(&format!("{}/team/app@{known}", fake.address), &known).unwrap());
    assert_eq!(fake.asked().len(), before + 1);
    assert!(!node.is_same(&name(&fake), &digest(b"other")).unwrap());
    let pinned = node.pull(&format!("{}/team/app@{known}", fake.address)).unwrap();
    assert_eq!(pinned.spec.digest, known);
}

#[test]
fn a_server_without_head_is_asked_for_the_manifest() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let known = picture.digest();
    for status in [405, 404, 501] {
        let picture = picture.clone();
        let fake = Fake::start(move |asked, _| match asked.method.as_str() {
            "HEAD" => Reply::new(status, ""),
            _ => picture.answer(asked),
        });
        assert!(node.is_same(&name(&fake), &known).unwrap());
        assert_eq!(fake.asked().len(), 2);
    }
}

/// Breaks, and the request that goes on each time.
#[test]
fn a_broken_layer_goes_on_where_it_broke() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let path = layer.clone();
    let fake = Fake::start(move |asked, _| {
        let reply = picture.answer(asked);
        let is_last = reply.body.len() < 100_000;
        if asked.path.ends_with(&path) && !is_last { reply.sent(Send::Cut(90_000)) } else { reply }
    });
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    let ranges: Vec<String> = fake.asked_for(&layer).iter().map(|asked| asked.header("range").to_string()).collect();
    assert_eq!(ranges, ["", "bytes=90000-", "bytes=180000-", "bytes=270000-"]);
}

#[test]
fn a_layer_that_makes_no_progress_is_given_up() {
    let Some(node) = Node::new() else { return };
    let (picture, _, layer) = large();
    let path = layer.clone();
    let fake = Fake::start(move |asked, before| {
        let reply = picture.answer(asked);
        let cut = if before == 0 { 1000 } else { 0 };
        if asked.path.ends_with(&path) { reply.sent(Send::Cut(cut)) } else { reply }
    });
    node.unreachable(&name(&fake), "broke off");
    assert_eq!(fake.asked_for(&layer).len(), 4);
    // What came is kept for the next time.
    assert_eq!(node.partials(), [(layer["sha256:".len()..].to_string(), 1000)]);
    node.is_empty();
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let Some(node) = Node::new() else { return };
    for wrong in ["whole", "elsewhere", "unsatisfiable"] {
        let (picture, files, layer) = large();
        let path = layer.clone();
        let fake = Fake::start(move |asked, before| {
            let blob = picture.blobs.get(asked.path.rsplit('/').next().unwrap());
            match (blob, before) {
                (Some(blob), 0) if asked.path.ends_with(&path) => Reply::new(200, blob.clone()).sent(Send::Cut(70_000)),
                (Some(blob), 1) if wrong == "elsewhere" => part(blob, 5),
                (Some(_), 1) if wrong == "unsatisfiable" => Reply::new(416, ""),
                (Some(blob), _) => Reply::new(200, blob.clone()),
                (None, _) => picture.answer(asked),
            }
        });
        let stored = node.pull(&name(&fake)).unwrap();
        holds(&node, &stored, &files);
        let asked = fake.asked_for(&layer);
        assert_eq!(asked[1].header("range"), "bytes=70000-", "{wrong}");
        assert_eq!(asked.len(), if wrong == "whole" { 2 } else { 3 }, "{wrong}");
        drop(stored);
        node.store.sweep(&[]);
    }
}

/// As after a cancel, a loss of power or a kill: the file is all that is left.
#[test]
fn a_download_goes_on_after_a_restart() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let path = layer.clone();
    let fake = Fake::start(move |asked, before| {
        let reply = picture.answer(asked);
        if asked.path.ends_with(&path) && before == 0 { reply.sent(Send::Hang(120_000)) } else { reply }
    });
    let watch = Watch::cancel_at(120_000);
    let cancelled = node.registries().pull(&node.store, &wish(&name(&fake), "", &[]), &watch);
    assert!(matches!(cancelled, Err(ImageError::Cancelled)));
    node.is_empty();
    let heard = watch.heard.lock().unwrap().clone();
    assert!(heard.contains(&(format!("download {}", &layer[7..19]), 0, Some(301_568))), "{heard:?}");
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    assert_eq!(fake.asked_for(&layer)[1].header("range"), "bytes=120000-");
}

#[test]
fn what_was_left_damaged_is_fetched_whole() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let whole = picture.blobs[&layer].len();
    for length in [1000, whole, whole + 1] {
        let picture = picture.clone();
        let fake = Fake::start(move |asked, _| picture.answer(asked));
        fs::create_dir_all(&node.config.partial_dir).unwrap();
        fs::write(node.config.partial_dir.join(&layer[7..]), vec![7; length]).unwrap();
        let stored = node.pull(&name(&fake)).unwrap();
        holds(&node, &stored, &files);
        assert_eq!(fake.asked_for(&layer).last().unwrap().header("range"), "", "{length}");
        drop(stored);
        node.store.sweep(&[]);
    }
}

/// Each answer for the layer is a lie of its own kind.
#[test]
fn content_that_is_not_what_the_image_names_is_refused() {
    let Some(node) = Node::new() else { return };
    type Lie = fn(Vec<u8>) -> Reply;
    let lies: [(&str, Lie); 6] = [
        ("the digest is another", |mut blob| {
            blob[1000] ^= 1;
            Reply::new(200, blob)
        }),
        ("another number of them", |blob| Reply::new(200, &blob[1..])),
        ("another number of them", |blob| Reply::new(200, [blob, vec![0]].concat())),
        ("longer than", |blob| Reply::new(200, blob).sent(Send::Endless)),
        ("packed on the way", |blob| Reply::new(200, blob).with("content-encoding", "gzip")),
        ("blob unknown", |_| Reply::new(404, "{}")),
    ];
    for (expected, lie) in lies {
        let (picture, _, layer) = large();
        let fake = Fake::start(move |asked, _| {
            let reply = picture.answer(asked);
            if asked.path.ends_with(&layer) { lie(reply.body) } else { reply }
        });
        node.refused(&name(&fake), expected);
        assert!(node.partials().iter().all(|(_, bytes)| *bytes < 302_000));
        drop(fs::remove_dir_all(&node.config.partial_dir));
    }
}

#[test]
fn a_configuration_that_was_changed_is_refused() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let config = picture.blobs.keys().find(|digest| !picture.layers.contains(digest)).unwrap().clone();
    for lie in [b"{}".to_vec(), vec![b' '; 9 << 20]] {
        let (picture, config) = (picture.clone(), config.clone());
        let fake = Fake::start(move |asked, _| {
            if asked.path.ends_with(&config) { Reply::new(200, lie.clone()) } else { picture.answer(asked) }
        });
        node.refused(&name(&fake), "something else");
    }
}

#[test]
fn manifests_that_are_none_are_refused_by_name() {
    let Some(node) = Node::new() else { return };
    let good = Picture::new(&[("a", 10)]).manifest;
    let other = Picture::of(&[("a", 10)], "s390x");
    let index = |entries: serde_json::Value| json!({"schemaVersion": 2, "manifests": entries}).to_string().into_bytes();
    let entry = |architecture: &str| {
        json!({"mediaType": MANIFEST_TYPE, "digest": digest(b"x"), "size": 1,
            "platform": {"os": "linux", "architecture": architecture, "variant": "v6"}})
    };
    let cases: Vec<(Reply, &str)> = vec![
        (document(b"<html>", "text/html"), "not what one must be"),
        (document(b"{\"schemaVersion\": 2, \"layers\": [", MANIFEST_TYPE), "not what one must be"),
        (document(&vec![b' '; (4 << 20) + 1], MANIFEST_TYPE), "more than 4194304 bytes"),
        (Reply::new(200, "          ").sent(Send::Endless), "more than 4194304 bytes"),
        (document(&good, MANIFEST_TYPE).with("docker-content-digest", digest(b"other")), "damaged or changed"),
        (
            document(
                br#"{"schemaVersion": 1, "fsLayers": []}"#,
                "application/vnd.docker.distribution.manifest.v1+json",
            ),
            "schema 1",
        ),
        (document(&index(json!([entry("mips"), entry("sh4")])), INDEX_TYPE), "linux/mips/v6, linux/sh4/v6"),
        (document(&index(json!([])), INDEX_TYPE), "none at all"),
        (document(&other.manifest, MANIFEST_TYPE), "blob unknown"),
        (Reply::new(404, r#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#), "manifest unknown"),
        (Reply::new(403, ""), "pull access denied"),
        (Reply::new(401, ""), "pull access denied"),
        (Reply::new(418, ""), "418"),
    ];
    for (reply, expected) in cases {
        let reply = std::sync::Mutex::new(Some(reply));
        let fake = Fake::start(move |asked, _| match asked.path.contains("/manifests/") {
            true => reply.lock().unwrap().take().unwrap_or_else(|| Reply::new(500, "")),
            false => Reply::new(404, ""),
        });
        node.refused(&name(&fake), expected);
    }
}

#[test]
fn an_image_for_another_machine_is_refused_before_its_layers_come() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::of(&[("a", 10)], "s390x");
    let layer = picture.layers[0].clone();
    let fake = Fake::start(move |asked, _| picture.answer(asked));
    node.refused(&name(&fake), "the image is for linux/s390x");
    assert!(fake.asked_for(&layer).is_empty());
}

#[test]
fn the_list_leads_to_the_image_for_this_machine() {
    let Some(node) = Node::new() else { return };
    let files = [("here", 50)];
    let (here, there) = (Picture::new(&files), Picture::of(&[("there", 60)], "s390x"));
    let entry = |picture: &Picture, architecture: &str| {
        json!({"mediaType": MANIFEST_TYPE, "digest": picture.digest(), "size": picture.manifest.len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let entries = json!([entry(&there, "s390x"), entry(&here, super::fake::architecture())]);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).to_string().into_bytes();
    let known = digest(&index);
    let fake = Fake::start(move |asked, _| match asked.path.as_str() {
        "/v2/team/app/manifests/v1" => document(&index, INDEX_TYPE),
        _ => here.answer(asked),
    });
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    // The name leads to the list, and by its digest a later pull knows it again.
    assert_eq!(stored.spec.digest, known);
    assert!(node.is_same(&name(&fake), &known).unwrap());
}

#[test]
fn a_list_that_leads_to_itself_ends() {
    let Some(node) = Node::new() else { return };
    let fake = Fake::start(|asked, _| {
        let entry = json!({"mediaType": INDEX_TYPE, "digest": digest(asked.path.as_bytes()), "size": 1});
        let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        document(index.as_bytes(), INDEX_TYPE)
    });
    node.refused(&name(&fake), "damaged or changed");
}

#[test]
fn too_many_requests_are_waited_out_within_reason() {
    let Some(node) = Node::new() else { return };
    let check = |after: &'static str, times: usize| {
        let picture = Picture::new(&[("a", 10)]);
        let fake = Fake::start(move |asked, before| match before {
            before if before < times => Reply::new(429, "").with("retry-after", after),
            _ => picture.answer(asked),
        });
        (node.pull(&name(&fake)).map(drop), fake.asked().len())
    };
    assert_eq!(check("0", 1), (Ok(()), 6));
    for (after, times, asked) in [("0", 9, 4), ("86400", 9, 1), ("Thu, 01 Jan 2099 00:00:00 GMT", 9, 1)] {
        let (outcome, count) = check(after, times);
        let Err(ImageError::Unreachable(why)) = outcome else { panic!("{outcome:?}") };
        assert!(why.contains("too many requests"), "{why}");
        assert_eq!(count, asked, "{after}");
    }
}

#[test]
fn a_server_that_fails_is_asked_again() {
    let Some(node) = Node::new() else { return };
    let picture = Picture::new(&[("a", 10)]);
    let fake = Fake::start(
        move |asked, before| {
            if before < 2 { Reply::new(503 - before as u16, "") } else { picture.answer(asked) }
        },
    );
    node.pull(&name(&fake)).unwrap();
    let fake = Fake::start(|_, _| Reply::new(500, ""));
    node.unreachable(&name(&fake), "500");
    assert_eq!(fake.asked().len(), 4);
}

#[test]
fn nobody_there_and_nobody_who_speaks_http_are_unreachable() {
    let Some(mut node) = Node::new() else { return };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    node.unreachable(&format!("{free}/a"), "cannot be reached");
    node.unreachable("no-such-host.invalid/a", "no-such-host.invalid cannot be reached");
    let garbage = Fake::start(|_, _| Reply::new(200, "").with("x: y\r\n\r\nGARBAGE", ""));
    node.pull(&name(&garbage)).err().unwrap();
    node.effort.idle = Duration::from_millis(20);
    let silent = Fake::start(|_, _| Reply::new(200, "x".repeat(10)).sent(Send::Hang(0)));
    node.unreachable(&name(&silent), "no byte came");
}

/// Answers that are hardly HTTP.
#[test]
fn bytes_that_are_no_answer_are_an_error() {
    let Some(mut node) = Node::new() else { return };
    node.effort.tries = 0;
    let bomb = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(20_000));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let deep = "[".repeat(1 << 20);
    let deep = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{deep}", deep.len());
    let answers = [
        "",
        "\r\n\r\n",
        "200 OK",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 999999 X\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\n\u{0}: x\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nlocation: \u{1}\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 401 No\r\nwww-authenticate: Bearer realm=\"\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        &bomb,
        &long,
        &deep,
    ];
    for answer in answers {
        let server = super::fake::speak(answer.as_bytes().to_vec());
        let outcome = node.pull(&format!("{server}/a"));
        assert!(outcome.is_err(), "{answer:.60?}");
        node.is_empty();
    }
}

#[test]
fn a_trickle_can_be_cancelled() {
    let Some(node) = Node::new() else { return };
    let (picture, _, layer) = large();
    let fake = Fake::start(move |asked, _| {
        let reply = picture.answer(asked);
        if asked.path.ends_with(&layer) { reply.sent(Send::Hang(1)) } else { reply }
    });
    let watch = Watch::cancel_at(1);
    let outcome = node.registries().pull(&node.store, &wish(&name(&fake), "", &[]), &watch);
    assert!(matches!(outcome, Err(ImageError::Cancelled)));
    node.is_empty();
}

#[test]
fn redirects_are_followed_within_reason() {
    let Some(node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let blobs = picture.clone();
    let store = Fake::start_at("127.0.0.2", move |asked, before| {
        let reply = blobs.answer(&Asked { path: asked.path.split('?').next().unwrap().into(), ..asked.clone() });
        if before == 0 { reply.sent(Send::Cut(80_000)) } else { reply }
    });
    let target = format!("http://{}/blobs/{layer}?signature=s3cret", store.address);
    let path = layer.clone();
    let fake = Fake::start(move |asked, _| {
        if asked.path.ends_with(&path) { Reply::new(307, "").with("location", &target) } else { picture.answer(asked) }
    });
    let stored = node.pull(&name(&fake)).unwrap();
    holds(&node, &stored, &files);
    // The place is asked for again each time: a signature may have expired.
    assert_eq!(fake.asked_for(&layer).len(), 2);
    assert_eq!(store.asked()[1].header("range"), "bytes=80000-");
    drop(stored);
    node.store.sweep(&[]);

    let fake = Fake::start(|asked, _| Reply::new(302, "").with("location", format!("{}x", asked.path)));
    node.refused(&name(&fake), "redirects more than");
    for unsafe_place in ["http://192.0.2.1/x", "ftp://127.0.0.1/", "http://", "file:///etc/passwd"] {
        let fake = Fake::start(move |_, _| Reply::new(301, "").with("location", unsafe_place));
        node.refused(&name(&fake), "not safe to use");
    }
}

#[test]
fn mirrors_are_asked_in_their_order_and_the_registry_last() {
    let Some(mut node) = Node::new() else { return };
    let files = [("a", 10)];
    let picture = Picture::new(&files);
    let good = |picture: &Picture| {
        let picture = picture.clone();
        Fake::start(move |asked, _| picture.answer(asked))
    };
    let (own, second) = (good(&picture), good(&picture));
    let empty = Fake::start(|_, _| Reply::new(404, ""));
    let down = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut mirrored = |mirrors: &[&String]| {
        let mirrors = mirrors.iter().map(|mirror| mirror.to_string()).collect();
        node.config.hosts.insert(own.address.clone(), RegistryHost { mirrors, ..RegistryHost::default() });
        let stored = node.pull(&name(&own)).unwrap();
        holds(&node, &stored, &files);
        drop(stored);
        node.store.sweep(&[]);
        (empty.asked().len(), second.asked().len(), own.asked().len())
    };
    assert_eq!(mirrored(&[&down, &empty.address, &second.address]), (1, 3, 0));
    assert_eq!(mirrored(&[&down, &empty.address]), (2, 3, 3));
}

/// A layer that a mirror has lost or spoilt comes from the registry itself.
#[test]
fn a_layer_comes_from_whoever_has_it() {
    let Some(mut node) = Node::new() else { return };
    let (picture, files, layer) = large();
    let own = picture.clone();
    let own = Fake::start(move |asked, _| own.answer(asked));
    let path = layer.clone();
    let mirror = Fake::start(move |asked, _| {
        if asked.path.ends_with(&path) { Reply::new(200, vec![0; 301_568]) } else { picture.answer(asked) }
    });
    let mirrors = vec![mirror.address.clone()];
    node.config.hosts.insert(own.address.clone(), RegistryHost { mirrors, ..RegistryHost::default() });
    let stored = node.pull(&name(&own)).unwrap();
    holds(&node, &stored, &files);
    assert_eq!(own.lines(), [format!("GET /v2/team/app/blobs/{layer}")]);
}

#[test]
fn layers_that_are_there_are_not_fetched() {
    let Some(node) = Node::new() else { return };
    let (first, second) =
        (Picture::new(&[("base", 1000)]), Picture::new(&[("base", 1000), ("top", 1000), ("top", 1000)]));
    let shared = first.layers[0].clone();
    let top = second.layers[1].clone();
    let fake = Fake::start(move |asked, _| match asked.path.contains("/one/") {
        true => first.answer(asked),
        false => second.answer(asked),
    });
    let one = node.pull(&format!("{}/one/a", fake.address)).unwrap();
    let two = node.pull(&format!("{}/two/a", fake.address)).unwrap();
    assert_eq!(one.spec.layers[0], two.spec.layers[0]);
    assert_eq!((fake.asked_for(&shared).len(), fake.asked_for(&top).len()), (1, 1));
}

#[test]
fn two_pulls_at_once_fetch_a_layer_once() {
    let Some(node) = Node::new() else { return };
    let (picture, _, layer) = large();
    let fake = Fake::start(move |asked, _| picture.answer(asked));
    let registries = node.registries();
    std::thread::scope(|scope| {
        for image in ["a", "b", "c"] {
            let (registries, node, fake) = (&registries, &node, &fake);
            scope.spawn(move || {
                let wish = wish(&format!("{}/{image}", fake.address), "", &[]);
                let pulled = registries.pull(&node.store, &wish, &Watch::default()).unwrap();
                assert!(matches!(pulled, Pulled::New(_)));
            });
        }
    });
    assert_eq!(fake.asked_for(&layer).len(), 1);
    assert_eq!(node.store.found().len(), 3);
}

#[test]
fn names_that_cannot_be_are_refused_without_a_request() {
    let Some(node) = Node::new() else { return };
    for bad in ["", "a/B", "a b", "a@sha256:ab", &format!("a@sha512:{}", "a".repeat(128)), "a:-", "http://a/b"] {
        assert!(matches!(node.pull(bad), Err(ImageError::InvalidName(_))), "{bad}");
    }
}

#[test]
fn an_image_that_does_not_fit_is_not_begun() {
    let Some(node) = Node::new() else { return };
    let (picture, _, layer) = large();
    let huge = String::from_utf8(picture.manifest.clone()).unwrap().replace("301568", &format!("{}", u64::MAX / 2));
    assert!(huge.contains(&format!("{}", u64::MAX / 2)));
    let fake = Fake::start(move |asked, _| match asked.path.contains("/manifests/") {
        true => document(huge.as_bytes(), MANIFEST_TYPE),
        false => picture.answer(asked),
    });
    assert!(matches!(node.pull(&name(&fake)), Err(ImageError::NoRoom(_))));
    assert!(fake.asked_for(&layer).is_empty());
}

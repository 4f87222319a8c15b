use std::io::Write;

use super::*;

struct Deaf;

impl Listener for Deaf {
    fn at(&self, _: &str, _: u64, _: Option<u64>) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

fn wish() -> UpdateWish {
    UpdateWish { url: None, size: None, sha256: None, signature: None, within: crate::model::update::WITHIN }
}

#[test]
fn what_comes_from_elsewhere_needs_a_proof() {
    let key = UpdateKey { key: [0; 32], comment: String::new() };
    let url = Some("http://a/".to_string());
    let signature = || Some(SignatureFrom::Text(String::new()));
    let sha256 = Some("0".repeat(64));
    let check = |wish: UpdateWish, keys: usize, may: bool| {
        let keys = vec![key.clone(); keys];
        assert_eq!(admit(&wish, &keys).is_ok(), may, "{wish:?} with {} keys", keys.len());
    };
    check(wish(), 0, true);
    check(wish(), 1, false);
    check(UpdateWish { signature: signature(), ..wish() }, 0, false);
    check(UpdateWish { signature: signature(), ..wish() }, 1, true);
    check(UpdateWish { url: url.clone(), ..wish() }, 0, false);
    check(UpdateWish { url: url.clone(), sha256: sha256.clone(), ..wish() }, 0, true);
    check(UpdateWish { url: url.clone(), sha256: sha256.clone(), ..wish() }, 1, false);
    check(UpdateWish { url: url.clone(), signature: signature(), sha256, ..wish() }, 0, false);
    check(UpdateWish { url, signature: signature(), ..wish() }, 1, true);
}

#[test]
fn a_stream_that_ends_early_or_late_is_not_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let receive = |size| receive(&mut &b"12345"[..], size, dir.path(), &Deaf).map(|file| file.len());
    assert_eq!((receive(None).unwrap(), receive(Some(5)).unwrap()), (5, 5));
    assert!(receive(Some(6)).unwrap_err().message.contains("5 of 6 bytes came"));
    assert!(receive(Some(4)).is_err());
    let no_room = receive(Some(1 << 60)).unwrap_err();
    assert_eq!(no_room.reason, Reason::RequestEntityTooLarge);
}

fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        if kind.is_symlink() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        archive.append_data(&mut header, name, *content).unwrap();
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&archive.into_inner().unwrap()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn the_program_of_an_archive_is_the_file_that_has_its_name() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("archive");
    let unpacked = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        assert!(is_gzip(&file));
        unpack(dir.path(), &file).map(|program| fs::read(program).unwrap())
    };
    let whole = archive(&[
        ("pinnace/", Directory, b""),
        ("x/README", Regular, b"read"),
        ("y/pinnace", Symlink, b""),
        ("x/pinnace", Regular, b"program"),
    ]);
    assert_eq!(unpacked(&whole).unwrap(), b"program");
    let none = unpacked(&archive(&[("x/pinnace-0.2", Regular, b"program")])).unwrap_err();
    assert!(none.message.contains("no file that is named pinnace"), "{none:?}");
    for cut in [20, whole.len() / 2] {
        assert!(unpacked(&whole[..cut]).unwrap_err().message.contains("archive"));
    }
}

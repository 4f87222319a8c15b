//! The walk over members, with archives that the tar crate writes.

use std::io::Read;

use tar::{Builder, EntryType, Header};

use super::{Kind, Tarball, number};

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o640);
    header.set_uid(3);
    header.set_gid(4);
    header.set_mtime(5);
    header
}

fn archive(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<(String, Kind, Vec<u8>)>, String> {
    let mut tarball = Tarball::new(bytes);
    let mut found = Vec::new();
    while let Some(member) = tarball.next().map_err(|e| e.to_string())? {
        let mut content = Vec::new();
        tarball.read_to_end(&mut content).map_err(|e| e.to_string())?;
        found.push((String::from_utf8(member.path).unwrap(), member.kind, content));
    }
    Ok(found)
}

#[test]
fn long_names_come_by_gnu_and_by_pax() {
    let long = "d/".repeat(80) + "file";
    let gnu = archive(|b| b.append_data(&mut header(EntryType::Regular, 3), &long, &b"abc"[..]).unwrap());
    assert_eq!(read(&gnu).unwrap(), [(long.clone(), Kind::File, b"abc".to_vec())]);
    let pax = archive(|b| {
        b.append_pax_extensions([("path", long.as_bytes()), ("size", b"2")]).unwrap();
        b.append_data(&mut header(EntryType::Regular, 2), "short", &b"ab"[..]).unwrap();
        b.append_data(&mut header(EntryType::Regular, 0), "next", &b""[..]).unwrap();
    });
    let expected = [(long, Kind::File, b"ab".to_vec()), ("next".into(), Kind::File, vec![])];
    assert_eq!(read(&pax).unwrap(), expected);
}

#[test]
fn an_archive_that_is_cut_anywhere_is_an_error() {
    let whole = archive(|b| b.append_data(&mut header(EntryType::Regular, 700), "f", &[7u8; 700][..]).unwrap());
    let end_mark = whole.len() - 1024;
    for length in (0..end_mark).step_by(100).chain([end_mark]) {
        assert!(read(&whole[..length]).is_err(), "cut to {length} bytes");
    }
    assert!(read(&whole[..end_mark + 512]).is_ok(), "one block of zeros is an end");
}

#[test]
fn fields_that_make_no_sense_are_errors() {
    type Change = fn(&mut Header);
    let changes: [(&str, Change); 5] = [
        ("a size of letters", |h| h.as_old_mut().size = *b"zzzzzzzzzzz\0"),
        ("a negative size", |h| h.as_old_mut().size = [0xff; 12]),
        ("an owner of letters", |h| h.as_old_mut().uid = *b"root\0\0\0\0"),
        ("an unknown type", |h| h.set_entry_type(EntryType::new(b'Z'))),
        ("a huge extension", |h| {
            h.set_entry_type(EntryType::GNULongName);
            h.set_size(1 << 40);
        }),
    ];
    for (name, change) in changes {
        let mut bad = header(EntryType::Regular, 0);
        change(&mut bad);
        bad.set_cksum();
        let bytes = [bad.as_bytes().as_slice(), &[0; 1024]].concat();
        assert!(read(&bytes).is_err(), "{name}");
    }
    assert!(read(&[1; 1024]).is_err(), "no checksum");
}

#[test]
fn numbers_are_octal_or_base_256() {
    let cases: [(&[u8], Option<u64>); 8] = [
        (b"0000644\0", Some(0o644)),
        (b"   644 \0", Some(0o644)),
        (b"\0\0\0\0", Some(0)),
        (b"77777777", Some(0o77777777)),
        (&[0x80, 0, 1, 0], Some(256)),
        (&[0xff, 0xff], None),
        (b"89", None),
        (&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], None),
    ];
    for (field, expected) in cases {
        assert_eq!(number(field), expected, "{field:?}");
    }
}

//! The request for a certificate: PKCS#10 (RFC 2986) with the node's name as common name and its Ed25519 key. So small a
//! thing that a library for it would be larger than all else here.

use super::key::{self, Key};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const UTF8: u8 = 0x0c;
/// `[0]`: the attributes, of which there are none.
const ATTRIBUTES: u8 = 0xa0;
/// 2.5.4.3, commonName.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
/// 1.3.101.112 (RFC 8410).
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];

/// `openssl req -verify` reads it.
pub fn pem(key: &Key, name: &str) -> String {
    key::pem("CERTIFICATE REQUEST", &der(key, name))
}

fn der(key: &Key, name: &str) -> Vec<u8> {
    let algorithm = element(SEQUENCE, &[element(OBJECT, &[ED25519.to_vec()])]);
    let attribute =
        element(SEQUENCE, &[element(OBJECT, &[COMMON_NAME.to_vec()]), element(UTF8, &[name.as_bytes().to_vec()])]);
    let subject = element(SEQUENCE, &[element(SET, &[attribute])]);
    let public = element(SEQUENCE, &[algorithm.clone(), bits(key.public())]);
    let info = element(SEQUENCE, &[element(INTEGER, &[vec![0]]), subject, public, element(ATTRIBUTES, &[])]);
    let signature = bits(&key.sign(&info));
    element(SEQUENCE, &[info, algorithm, signature])
}

/// Whole bytes: none of the last one's bits is unused.
fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[vec![0], bytes.to_vec()])
}

/// Tag, length and content (X.690, 8.1). A name has 63 characters at most, so no length needs more than two bytes.
fn element(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => {
            let length = u16::try_from(content.len()).expect("a name has at most 63 characters, all else is fixed");
            out.push(0x82);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn openssl_reads_it_and_the_signature_holds() {
        for name in ["a", &"long-name.".repeat(6)] {
            let key = Key::draw().unwrap();
            let mut openssl = Command::new("openssl")
                .args(["req", "-verify", "-noout", "-subject"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("openssl is needed for this test: apt-get install openssl");
            openssl.stdin.take().unwrap().write_all(pem(&key, name).as_bytes()).unwrap();
            let said = openssl.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
            assert!(said.status.success() && text.contains("verify OK") && text.contains(name), "{text}");
        }
    }
}

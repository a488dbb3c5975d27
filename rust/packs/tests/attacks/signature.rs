//! Cases 1 to 12: who signed what.

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use ruvllm_packs::{LoadError, PublicKey, TrustedKeys, VerifiedPack};
use serde_json::json;

use crate::support::{Folder, TestPack, key, options, refused, trust, trusting};

const SIGNATURE: &str = "kernels.json.sig";

fn is_untrusted(folder: &Folder) -> bool {
    matches!(refused(folder.verify()), LoadError::NoTrustedKey { .. })
}

#[test]
fn case_01_valid() {
    let pack = TestPack::rms_norm("").verify().unwrap();
    assert_eq!(pack.signer().text(), key(1).public().text());
    assert_eq!(pack.manifest().name, "test");
}

#[test]
fn case_02_damaged_signature_or_manifest() {
    let pack = TestPack::rms_norm("");
    for index in [0, 1, 31, 32, 63] {
        let folder = pack.write();
        let mut signature = folder.get(SIGNATURE);
        signature[index] ^= 1;
        folder.put(SIGNATURE, &signature);
        assert!(is_untrusted(&folder), "byte {index} of the signature");
    }
    let manifest = pack.manifest_bytes();
    for index in [0, manifest.len() / 2, manifest.len() - 1] {
        let folder = pack.write();
        let mut other = manifest.clone();
        other[index] ^= 1;
        folder.put("kernels.json", &other);
        assert!(is_untrusted(&folder), "byte {index} of the manifest");
    }
    let signature = pack.write().get(SIGNATURE);
    for length in [0, 63, 65, 4096] {
        let folder = pack.write();
        let mut other = signature.clone();
        other.resize(length, 0);
        folder.put(SIGNATURE, &other);
        assert_eq!(
            refused(folder.verify()),
            LoadError::SignatureLength { bytes: length }
        );
    }
    let folder = pack.write();
    std::fs::remove_file(folder.file(SIGNATURE)).unwrap();
    assert!(matches!(refused(folder.verify()), LoadError::File { path, .. } if path == SIGNATURE));
}

#[test]
fn case_03_untrusted_key() {
    assert!(is_untrusted(&TestPack::rms_norm("").signed_by(2).write()));
}

#[test]
fn case_04_no_trusted_keys() {
    let folder = TestPack::rms_norm("").write();
    let result = VerifiedPack::read(folder.path(), &trusting(&[], &[]), &options().ceilings);
    assert_eq!(refused(result), LoadError::NoTrustedKey { trusted: 0 });
}

#[test]
fn case_05_second_trusted_key() {
    let folder = TestPack::rms_norm("").signed_by(2).write();
    let pack = VerifiedPack::read(folder.path(), &trusting(&[1, 2], &[]), &options().ceilings);
    assert_eq!(pack.unwrap().signer().text(), key(2).public().text());
}

#[test]
fn case_06_revoked_key() {
    let folder = TestPack::rms_norm("").write();
    let result = VerifiedPack::read(folder.path(), &trusting(&[1, 2], &[1]), &options().ceilings);
    assert_eq!(refused(result), LoadError::NoTrustedKey { trusted: 1 });
}

#[test]
fn case_07_small_order_key() {
    // For a key of small order there are signatures that fit any text: R the key's opposite or neutral, S 0.
    for point in EIGHT_TORSION {
        let bytes = point.compress().to_bytes();
        let text = text_of(&bytes);
        let error = refused(PublicKey::parse(&text));
        assert!(
            matches!(error, LoadError::Key { reason, .. } if reason.contains("weak")),
            "{text}"
        );
    }
    let neutral = VerifyingKey::from_bytes(&EIGHT_TORSION[0].compress().to_bytes()).unwrap();
    let mut universal = [0; 64];
    universal[..32].copy_from_slice(&EIGHT_TORSION[0].compress().to_bytes());
    let universal = Signature::from_bytes(&universal);
    assert!(
        neutral.verify(b"any text", &universal).is_ok(),
        "the attack itself"
    );
    assert!(neutral.verify_strict(b"any text", &universal).is_err());
}

#[test]
fn case_08_non_canonical_s() {
    // S + L is the same number to a careless reader: a second signature of the same text.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    assert!(
        bool::from(Scalar::from_canonical_bytes(ORDER).is_none()),
        "the order is not below itself"
    );
    let folder = TestPack::rms_norm("").write();
    let mut signature = folder.get(SIGNATURE);
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    folder.put(SIGNATURE, &signature);
    assert!(is_untrusted(&folder));
}

#[test]
fn case_09_small_order_or_non_canonical_r() {
    let pack = TestPack::rms_norm("");
    let mut non_canonical = [0xff; 32];
    // p + 1, which is y = 1 again.
    non_canonical[0] = 0xee;
    non_canonical[31] = 0x7f;
    let small = EIGHT_TORSION.map(|point| point.compress().to_bytes());
    for r in small.iter().chain([&non_canonical]) {
        let folder = pack.write();
        let mut signature = folder.get(SIGNATURE);
        signature[..32].copy_from_slice(r);
        folder.put(SIGNATURE, &signature);
        assert!(is_untrusted(&folder));
    }
}

#[test]
fn case_10_signature_of_another_pack() {
    let other = TestPack::rms_norm("").version("1.0.1").write();
    let folder = TestPack::rms_norm("").write();
    folder.put(SIGNATURE, &other.get(SIGNATURE));
    assert!(is_untrusted(&folder));
}

#[test]
fn case_11_other_bytes_of_the_same_json() {
    let pack = TestPack::rms_norm("");
    let text = String::from_utf8(pack.manifest_bytes()).unwrap();
    let others = [
        format!("{text}\n"),
        format!(" {text}"),
        format!("\u{feff}{text}"),
        text.replace('\n', "\r\n"),
        serde_json::to_string(&pack.manifest).unwrap(),
    ];
    for other in others {
        let folder = pack.write();
        folder.put("kernels.json", other.as_bytes());
        assert!(is_untrusted(&folder), "{other:?}");
    }
}

#[test]
fn case_12_texts_of_keys() {
    let good = key(1).public().text();
    PublicKey::parse(&good).unwrap();
    let encoded = good.strip_prefix("ed25519:").unwrap();
    let bad = [
        encoded.to_owned(),
        format!("rsa:{encoded}"),
        format!("ED25519:{encoded}"),
        format!("ed25519: {encoded}"),
        format!("{good}\n"),
        format!("{good}AAAA"),
        good.trim_end_matches('=').to_owned(),
        "ed25519:".to_owned(),
        text_of(&[7; 31]),
        text_of(&[7; 33]),
        // With '-' and '_', as in addresses: these 32 bytes have one in the standard alphabet.
        text_of(&[0xff; 32]).replace('/', "_"),
    ];
    for text in bad {
        assert!(PublicKey::parse(&text).is_err(), "{text:?}");
        assert!(TrustedKeys::parse([text.as_str()], []).is_err());
        assert!(TrustedKeys::parse([], [text.as_str()]).is_err());
    }
    // What the manifest says of its key must be what verified.
    for stated in [
        key(2).public().text(),
        "ed25519:?".to_owned(),
        String::new(),
    ] {
        let pack = TestPack::rms_norm("").with("/author/signing_key", json!(stated));
        let error = refused(VerifiedPack::read(
            pack.write().path(),
            &trust(),
            &options().ceilings,
        ));
        assert!(matches!(error, LoadError::OtherAuthor { .. }), "{error}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!(
        "ed25519:{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    )
}

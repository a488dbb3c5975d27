//! Who may sign: Ed25519 keys that the host trusts, and the strict check of a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

use crate::error::LoadError;

/// What stands before the base64 of a key.
const PREFIX: &str = "ed25519:";
/// Characters of a key's text that an error repeats.
const SHOWN: usize = 80;

/// A key that signatures are checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads `ed25519:<base64 of 32 bytes>`, and refuses keys for which anyone can sign.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let fault = |reason| LoadError::Key {
            text: text.chars().take(SHOWN).collect(),
            reason,
        };
        let encoded = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| fault("it begins with something else"))?;
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| fault("not padded standard base64"))?;
        let bytes: [u8; 32] = bytes
            .try_into()
            .map_err(|_| fault("it has another length"))?;
        let key =
            VerifyingKey::from_bytes(&bytes).map_err(|_| fault("not a point of the curve"))?;
        if key.is_weak() {
            return Err(fault("a weak key: it has signatures that fit any text"));
        }
        Ok(Self(key))
    }

    /// Its text.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0.as_bytes()))
    }

    fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.verify_strict(message, signature).is_ok()
    }
}

/// The keys whose packs a host runs. Without a key it runs none.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
}

impl TrustedKeys {
    /// Reads keys; one that is also revoked is not trusted.
    pub fn parse<'a>(
        trusted: impl IntoIterator<Item = &'a str>,
        revoked: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, LoadError> {
        Ok(Self {
            keys: trusted
                .into_iter()
                .map(PublicKey::parse)
                .collect::<Result<_, _>>()?,
            revoked: revoked
                .into_iter()
                .map(PublicKey::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The trusted key that made this signature of the manifest's very bytes.
    pub(crate) fn verify(&self, manifest: &[u8], signature: &[u8]) -> Result<PublicKey, LoadError> {
        let bytes: [u8; 64] = signature
            .try_into()
            .map_err(|_| LoadError::SignatureLength {
                bytes: signature.len(),
            })?;
        let signature = Signature::from_bytes(&bytes);
        let trusted = || self.keys.iter().filter(|key| !self.revoked.contains(key));
        let found = trusted().find(|key| key.verifies(manifest, &signature));
        found.copied().ok_or_else(|| LoadError::NoTrustedKey {
            trusted: trusted().count(),
        })
    }
}

/// A key that signs manifests, from 32 secret random bytes.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of these bytes.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The half that others check with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs the bytes of a manifest.
    pub fn sign(&self, manifest: &[u8]) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        self.0.sign(manifest).to_bytes()
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretKey of {}", self.public().text())
    }
}

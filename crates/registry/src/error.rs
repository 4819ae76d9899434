//! What a registry, or the way to it, can do wrong.

use wire::{Digest, Platform};

/// What went wrong between us and a registry. URLs in messages never carry credentials: they are built here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, a broken one, a time-out, a certificate.
    #[error("{request}: {cause}")]
    Transport {
        /// Method and URL.
        request: String,
        /// What ureq says.
        cause: Box<ureq::Error>,
    },
    /// An answer that is no success.
    #[error("{request}: {code} {message}")]
    Status {
        /// Method and URL.
        request: String,
        /// The HTTP status.
        code: u16,
        /// The registry's own words, or the meaning of the status.
        message: String,
    },
    /// 401 even with what we know.
    #[error("{request}: {message}: log in, or check that the repository exists")]
    Denied {
        /// Method and URL.
        request: String,
        /// Why, in one phrase.
        message: String,
    },
    /// The registry sends us for a token to a place where credentials must not go.
    #[error("token realm {realm:?}: {reason}")]
    Realm {
        /// The URL of the challenge.
        realm: String,
        /// Why not.
        reason: &'static str,
    },
    /// A redirect that is not followed.
    #[error("{request}: redirect to {to:?}: {reason}")]
    Redirect {
        /// Method and URL.
        request: String,
        /// Where we were sent.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The token server's answer is no token.
    #[error("token from {realm}: {reason}")]
    Token {
        /// The URL of the challenge.
        realm: String,
        /// What is wrong.
        reason: String,
    },
    /// More bytes than a document may have.
    #[error("{request}: more than {limit} bytes")]
    TooLarge {
        /// Method and URL.
        request: String,
        /// The cap.
        limit: u64,
    },
    /// The bytes are not what the digest promised.
    #[error("manifest: the bytes have digest {got}, not {want}")]
    Digest {
        /// Asked for, or announced in Docker-Content-Digest.
        want: Digest,
        /// Computed.
        got: Digest,
    },
    /// A manifest of docker's first schema.
    #[error("manifest: docker schema 1 is no longer supported; push the image again with a current tool")]
    Schema1,
    /// A document that is no manifest and no index, or both.
    #[error("manifest: {0}")]
    Document(String),
    /// The index has nothing for the platform.
    #[error("no image for platform {wanted}; the index offers {offered}")]
    Platform {
        /// What was asked for.
        wanted: Platform,
        /// What there is, comma separated.
        offered: String,
    },
    /// A host that makes no URL.
    #[error("{0:?} is not a registry host")]
    Host(String),
    /// The configuration file or a helper says something unreadable.
    #[error("credentials for {host}: {reason}")]
    Credentials {
        /// Whose.
        host: String,
        /// What is wrong; never the secret.
        reason: String,
    },
    /// The registry keeps the manifest under another digest than ours.
    #[error("{request}: the registry calls it {got}, not {want}")]
    Renamed {
        /// Method and URL.
        request: String,
        /// What the registry says.
        got: String,
        /// What was sent.
        want: Digest,
    },
    /// A file of the configuration that cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A file of the configuration that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Json {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper that cannot help.
    #[error("{0}")]
    Helper(String),
    /// A file of certificates or keys.
    #[error("{}: {reason}", path.display())]
    Certificates {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// `DOCK_REGISTRY_TIMEOUT` is no number.
    #[error("DOCK_REGISTRY_TIMEOUT: {0:?} is not a number of seconds")]
    Timeout(String),
    /// A variable of the environment names a proxy that is none. The URL may have a password in it.
    #[error("HTTP_PROXY or HTTPS_PROXY: not the URL of a proxy")]
    Proxy,
}

/// Text of a stranger: short, and without control characters that would speak to a terminal.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

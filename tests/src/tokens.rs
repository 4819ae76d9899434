//! A token server for a test, whose tokens docker-registry believes: JSON Web Tokens (RFC 7519) signed by openssl.

use crate::Room;
use crate::liar::{Liar, reply};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Knows the user `me` with the password `secret`, and the refresh token `Refresh`.
#[derive(Debug)]
pub struct Tokens {
    /// The server; its log is of interest.
    pub server: Liar,
    certificate: PathBuf,
}

impl Tokens {
    /// Starts one, with its key in the room.
    pub fn start(room: &Room) -> Self {
        room.sh("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tokens -keyout tokens.key -out tokens.pem 2>/dev/null").ok();
        let (key, certificate) = (room.path("tokens.key"), room.path("tokens.pem"));
        let chain = room.sh("grep -v CERTIFICATE tokens.pem | tr -d '\\n'").ok();
        let server = Liar::with_body(move |head, body, _| {
            let line = head.lines().next().unwrap_or_default();
            let form = String::from_utf8_lossy(body).into_owned();
            let known = if line.starts_with("POST ") {
                form.contains("grant_type=refresh_token") && form.contains("refresh_token=Refresh")
            } else {
                // me:secret
                head.contains("Basic bWU6c2VjcmV0")
            };
            if !known {
                return reply("401 Unauthorized", &[], b"");
            }
            let asked = if form.is_empty() { line.split(' ').nth(1).unwrap_or_default().to_owned() } else { form };
            let text = format!(r#"{{"access_token":"{}"}}"#, token(&key, &chain, &access(&asked)));
            reply("200 OK", &[("Content-Type", "application/json")], text.as_bytes())
        });
        Self { server, certificate }
    }

    /// What docker-registry's configuration says about us.
    pub fn lines(&self) -> String {
        format!(
            "auth: {{token: {{realm: 'http://{}/token', service: s, issuer: i, rootcertbundle: {}}}}}",
            self.server.host(),
            self.certificate.display()
        )
    }
}

/// `scope=repository:app:pull,push` of a query, as the claim has it; everybody gets what he asks for.
fn access(query: &str) -> String {
    let query = query
        .replace("%3A", ":")
        .replace("%2C", ",")
        .replace("%2F", "/")
        .replace("%20", "&scope=")
        .replace('+', "&scope=");
    let scopes = query.split(['?', '&']).filter_map(|field| field.strip_prefix("scope="));
    let one = |scope: &str| {
        let mut parts = scope.splitn(3, ':');
        let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?.replace(',', "\",\""));
        Some(format!(r#"{{"type":"{kind}","name":"{name}","actions":["{actions}"]}}"#))
    };
    scopes.filter_map(one).collect::<Vec<_>>().join(",")
}

fn token(key: &std::path::Path, chain: &str, access: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs();
    let header = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{chain}"]}}"#);
    let claims = format!(
        r#"{{"iss":"i","sub":"me","aud":"s","exp":{},"nbf":{},"iat":{now},"jti":"1","access":[{access}]}}"#,
        now + 300,
        now - 30
    );
    let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl");
    openssl.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
    let signature = openssl.wait_with_output().expect("openssl").stdout;
    format!("{text}.{}", base64url(&signature))
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let number = part.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for place in 0..=part.len() {
            text.push(char::from(LETTERS[(number >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

//! The token flow of distribution-spec: the registry's challenge names a realm, the realm gives a token.

use crate::client::{Client, Response, header};
use crate::credentials::Credentials;
use crate::error::clip;
use crate::listing::escape;
use crate::origin::Origin;
use crate::{Error, Result, retry};
use std::io::Read;
use ureq::http::Request;

/// A token is a few KiB of JSON.
const LARGEST_ANSWER: u64 = 1 << 20;

/// Asks `realm` for a token for `scope`: words that a space parts. The scope is ours, not the challenge's: a
/// registry does not choose what we ask a shared token server for.
pub(crate) fn fetch(client: &Client, realm: &str, service: Option<&str>, scope: &str) -> Result<String> {
    check_realm(&client.origin()?, realm)?;
    let bad = |reason: String| Error::Token { realm: clip(realm), reason };
    let mut fields: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
    let scopes = scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope));
    let mut request = Request::builder();
    let mut form = String::new();
    match client.credentials() {
        Some(Credentials::RegistryToken(token)) => return Ok(token.clone()),
        Some(Credentials::IdentityToken(token)) => {
            fields.extend([
                ("scope", scope),
                ("grant_type", "refresh_token"),
                ("client_id", "dock"),
                ("refresh_token", token),
            ]);
            form = query(&fields);
            request = request.method("POST").uri(realm).header("Content-Type", "application/x-www-form-urlencoded");
        }
        known => {
            fields.extend(scopes);
            let joint = if realm.contains('?') { '&' } else { '?' };
            request = request.uri(format!("{realm}{joint}{}", query(&fields)));
            if let Some(Credentials::Basic { user, password }) = known {
                request = request.header("Authorization", Credentials::basic_header(user, password));
            }
        }
    }
    let request = request.body(form).map_err(|error| bad(error.to_string()))?;
    let response = patiently(client, &request).map_err(|cause| bad(cause.to_string()))?;
    let status = response.status();
    if !status.is_success() {
        return Err(bad(format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default())));
    }
    let mut text = Vec::new();
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    body.take(LARGEST_ANSWER).read_to_end(&mut text).map_err(|cause| bad(cause.to_string()))?;
    let answer: serde_json::Value = serde_json::from_slice(&text).map_err(|_| bad("the answer is not JSON".into()))?;
    let token = answer["token"].as_str().or(answer["access_token"].as_str()).unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("the answer has no token".into()));
    }
    Ok(token.to_owned())
}

/// Sends until it is answered; what fails in passing is repeated.
fn patiently(client: &Client, request: &Request<String>) -> std::result::Result<Response, ureq::Error> {
    let mut tries = 1;
    loop {
        // No body is not an empty one: a GET has none.
        let (head, form) = request.clone().into_parts();
        let answer = match &form[..] {
            "" => client.transport().run(Request::from_parts(head, ())),
            form => client.transport().run(Request::from_parts(head, form)),
        };
        let again = match &answer {
            Ok(response) if retry::worth_it(response.status().as_u16()) => {
                Some(header(response.headers(), "retry-after"))
            }
            Err(error) if retry::transient(error) => Some(None),
            _ => None,
        };
        match again {
            Some(after) if tries < retry::TRIES && retry::wait(tries, after) => tries += 1,
            _ => return answer,
        }
    }
}

fn query(fields: &[(&str, &str)]) -> String {
    let escaped = |text: &str| text.bytes().map(escape).collect::<String>();
    fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&")
}

/// Credentials and tokens travel encrypted, and not into a network that the registry itself is not in
/// (CVE-2020-15157, CVE-2019-10214).
fn check_realm(registry: &Origin, realm: &str) -> Result<()> {
    let refuse = |reason| Err(Error::Realm { realm: clip(realm), reason });
    let Some(origin) = Origin::of(realm) else { return refuse("not a URL") };
    if origin.scheme == "http" && registry.scheme != "http" {
        return refuse("a token is only fetched over https");
    }
    if origin.scheme == "http" && !origin.is_loopback() && origin.host != registry.host {
        return refuse("plain http leaves this machine");
    }
    if origin.is_internal() && !registry.is_internal() && origin.host != registry.host {
        return refuse("a registry outside must not send us to an internal address");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realms() {
        for (registry, realm, good) in [
            ("https://r.io", "https://auth.docker.io/token", true),
            ("https://r.io", "http://r.io/token", false),
            ("https://r.io", "https://127.0.0.1/token", false),
            ("https://r.io", "https://169.254.169.254/latest", false),
            ("https://10.0.0.1", "https://10.0.0.2/token", true),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000", "http://evil.org/token", false),
            ("http://127.0.0.1:5000", "https://auth.example.org/token", true),
            ("http://lan.example:5000", "http://lan.example:5001/token", true),
            ("https://r.io", "file:///etc/passwd", false),
            ("https://r.io", "", false),
        ] {
            let registry = Origin::of(registry).unwrap();
            assert_eq!(check_realm(&registry, realm).is_ok(), good, "{registry:?} {realm}");
        }
    }
}

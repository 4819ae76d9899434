//! What a registry has: the tags of a repository, and repositories by a word.

use crate::client::{Client, body, header, next, pull};
use crate::{Error, LARGEST_MANIFEST, Result};
use serde_json::Value;
use std::io::Read;
use ureq::http::Method;

/// Pages of one list; a registry that sends us around in its list ends here.
const MOST_PAGES: usize = 1000;

/// One repository that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name at the registry.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// How many like it.
    pub stars: u64,
    /// Whether the registry vouches for it.
    pub official: bool,
}

impl Client {
    /// All tags of a repository, in the registry's order.
    pub fn tags(&self, repository: &str) -> Result<Vec<String>> {
        self.settle()?;
        self.pages(&format!("/v2/{repository}/tags/list"), &pull(repository), "tags")
    }

    /// Repositories that have `word` in their name: by the search of docker's index, else by the catalogue.
    pub fn search(&self, word: &str, limit: u64) -> Result<Vec<Found>> {
        self.settle()?;
        let query: String = word.bytes().map(escape).collect();
        match self.page(&format!("{}/v1/search?q={query}&n={limit}", self.base()), "") {
            Ok((answer, _)) => Ok(answer["results"].as_array().into_iter().flatten().map(found).collect()),
            Err(Error::Status { code: 404, .. }) => {
                let mut names = self.pages("/v2/_catalog", "registry:catalog:*", "repositories")?;
                names.retain(|name| name.contains(word));
                names.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                let bare = |name| Found { name, description: String::new(), stars: 0, official: false };
                Ok(names.into_iter().map(bare).collect())
            }
            Err(error) => Err(error),
        }
    }

    /// Follows `Link: <…>; rel="next"` to the end. What is no plain word is no name, and is left out.
    fn pages(&self, path: &str, scope: &str, member: &str) -> Result<Vec<String>> {
        let (mut all, mut url) = (Vec::new(), format!("{}{path}", self.base()));
        for _ in 0..MOST_PAGES {
            let (answer, link) = self.page(&url, scope)?;
            let words = answer[member].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.extend(words.filter(|word| word.bytes().all(|b| b.is_ascii_graphic())).map(str::to_owned));
            let Some(link) = link else { return Ok(all) };
            url = next(&format!("GET {url}"), &url, &link)?;
        }
        Err(Error::Document(format!("{member}: more than {MOST_PAGES} pages")))
    }

    fn page(&self, url: &str, scope: &str) -> Result<(Value, Option<String>)> {
        let request = || format!("GET {url}");
        let response = self.send(&Method::GET, url, scope, &[("Accept", "application/json")], None)?;
        let link = header(response.headers(), "link").and_then(next_of).map(str::to_owned);
        let mut text = Vec::new();
        body(response)
            .take(LARGEST_MANIFEST + 1)
            .read_to_end(&mut text)
            .map_err(|cause| Error::Transport { request: request(), cause: Box::new(cause.into()) })?;
        if text.len() as u64 > LARGEST_MANIFEST {
            return Err(Error::TooLarge { request: request(), limit: LARGEST_MANIFEST });
        }
        let answer = serde_json::from_slice(&text).map_err(|_| Error::Document("the list is not JSON".into()))?;
        Ok((answer, link))
    }
}

fn next_of(link: &str) -> Option<&str> {
    let (url, parameters) = link.split_once('<')?.1.split_once('>')?;
    let next = parameters.replace('"', "").to_ascii_lowercase().contains("rel=next");
    next.then_some(url)
}

fn found(entry: &Value) -> Found {
    let text = |name: &str| crate::error::clip(entry[name].as_str().unwrap_or_default());
    let name = text("name");
    Found {
        name: if name.is_empty() { text("repo_name") } else { name },
        description: text("description"),
        stars: entry["star_count"].as_u64().unwrap_or(0),
        official: entry["is_official"].as_bool().unwrap_or(false),
    }
}

/// For a query: everything that is not a letter of it by itself.
pub(crate) fn escape(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(next_of("</v2/a/tags/list?last=x&n=2>; rel=\"next\""), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next_of("<https://r/x>; rel=next"), Some("https://r/x"));
        for none in ["", "<x", "<x>; rel=\"prev\"", "x; rel=next"] {
            assert_eq!(next_of(none), None, "{none:?}");
        }
        assert_eq!("a b/ü".bytes().map(escape).collect::<String>(), "a%20b%2F%C3%BC");
    }
}

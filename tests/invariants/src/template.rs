use crate::parts;
use serde_json::Value;
use template::Template;

/// A template, a zero byte, JSON. Whatever they are, it ends, and with the same text a second time.
pub fn template(input: &[u8]) {
    let [text, data] = parts::<2>(input);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(data) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(template) = Template::parse(text) else { return };
    let first = template.render(&data).map_err(|error| error.to_string());
    assert_eq!(first, template.render(&data).map_err(|error| error.to_string()));
}

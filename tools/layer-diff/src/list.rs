//! `docker diff`.

use layer_tar::Change;
use serde_json::json;
use std::path::Path;
use toolkit::Out;
use wire::WirePath;

/// Prints the changes in order.
pub fn print(changes: &[Change], json: bool, out: &mut Out) -> anyhow::Result<()> {
    for change in changes {
        let path = Path::new("/").join(&change.path);
        let kind = change.kind.to_string();
        if json {
            let line = json!({ "change": kind, "path": WirePath(path) });
            out.text(&format!("{line}\n"))?;
        } else {
            // A line feed in a name would be a line of its own.
            let shown = path.to_string_lossy().replace('\n', "\\n");
            out.text(&format!("{kind} {shown}\n"))?;
        }
    }
    Ok(())
}

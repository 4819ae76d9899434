//! `--check`: the findings of the lint with the lines that they are about, as docker prints them.

use anyhow::bail;
use dockerfile::{Around, File, Finding, Graph, Ignore, Policy, lint};
use oci_layout::Layout;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use toolkit::Out;

/// What the file's author should know. Base images that are not in the layout are not asked about.
pub fn findings(file: &File, graph: &Graph, ignore: &Ignore, layout: Option<&Layout>) -> Vec<Finding> {
    let image_env = |name: &str| {
        let layout = layout?;
        let image = layout.open_image(&layout.find(name).ok()?, None).ok()?;
        let env = image.config["config"]["Env"].as_array().cloned().unwrap_or_default();
        Some(env.iter().filter_map(|entry| Some(entry.as_str()?.split('=').next()?.to_owned())).collect())
    };
    lint(file, graph, &Around { image_env: Some(&image_env), ignore: Some(ignore) })
}

/// Where the file itself says that a finding is an error, `# check=error=true`, nothing is built.
pub fn refuse(findings: &[Finding], file: &File) -> anyhow::Result<()> {
    if !findings.is_empty() && file.check.as_deref().is_some_and(|text| Policy::parse(text).error) {
        let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule).collect();
        bail!("{}: lint violation found for rules: {}", file.name, Vec::from_iter(rules).join(", "));
    }
    Ok(())
}

/// The report of `--check`. The answer is whether nothing was found.
pub fn report(findings: &[Finding], file: &File, text: &[u8], out: &mut Out) -> anyhow::Result<bool> {
    let text = String::from_utf8_lossy(text);
    for finding in findings {
        out.text(&format!(
            "WARNING: {}\n{}\n{}\n",
            finding.rule,
            finding.message,
            excerpt(&file.name, &text, finding)
        ))?;
    }
    out.text(&match findings.len() {
        0 => "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        many => format!("Check complete, {many} warnings have been found!\n"),
    })?;
    Ok(findings.is_empty())
}

/// The line with two around it.
fn excerpt(name: &str, text: &str, finding: &Finding) -> String {
    let rule = "--------------------\n";
    let mut shown = format!("{name}:{}\n{rule}", finding.line);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    for (number, line) in lines.filter(|(number, _)| number.abs_diff(finding.line) <= 2) {
        let mark = if number == finding.line { ">>>" } else { "   " };
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').take(200).collect();
        let _ = writeln!(shown, "{number:4} | {mark} {line}");
    }
    shown + rule
}

/// The last words of a build.
pub fn summary(findings: &[Finding]) -> Option<String> {
    let many = match findings.len() {
        0 => return None,
        1 => "1 warning",
        many => &format!("{many} warnings"),
    };
    let mut text = format!("\n {many} found (use --check to expand):\n");
    for finding in findings {
        let _ = writeln!(text, " - {}: {} (line {})", finding.rule, finding.message, finding.line);
    }
    Some(text)
}

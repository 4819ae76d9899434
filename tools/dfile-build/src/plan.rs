//! `--plan`: the graph of a Dockerfile as JSON, and which of its steps the cache has. Nothing is written or fetched.

use dockerfile::{Base, Graph, Step};
use serde_json::{Value, json};
use std::collections::HashMap;
use toolkit::Out;
use wire::exit;

/// Prints the plan of a target. `cached` says of a stage how many of its steps, from the first on, are there: what comes
/// after the first that is not has no answer before that one is built.
pub fn print(graph: &Graph, target: usize, cached: &HashMap<usize, usize>, out: &mut Out) -> anyhow::Result<u8> {
    let needed = graph.needed(target)?;
    let stages = graph.stages.iter().enumerate().map(|(index, stage)| {
        let is_needed = needed.contains(&index);
        let there = cached.get(&index).copied().unwrap_or(0);
        let steps = stage.steps.iter().enumerate().map(|(at, step)| {
            let mut members = json!({"line": step.line, "instruction": step.original});
            if let Some(from) = sources(graph, index, step) {
                members["from"] = from;
            }
            if is_needed && step.makes_files() {
                members["cache"] = if at < there { "cached" } else { "unknown" }.into();
            }
            members
        });
        json!({
            "stage": index,
            "name": stage.name,
            "line": stage.line,
            "from": base(&stage.base),
            "needed": is_needed,
            "steps": steps.collect::<Vec<_>>(),
        })
    });
    let plan =
        json!({"formatVersion": "1.0", "kind": "buildPlan", "target": target, "stages": stages.collect::<Vec<_>>()});
    out.text(&plan.to_string())?;
    out.text("\n")?;
    Ok(exit::DONE)
}

/// What a step reads beside the context; none when there is nothing.
fn sources(graph: &Graph, stage: usize, step: &Step) -> Option<Value> {
    let sources = graph.sources(stage, &step.instruction).ok().filter(|sources| !sources.is_empty())?;
    Some(sources.iter().map(base).collect())
}

fn base(base: &Base) -> Value {
    match base {
        Base::Scratch => json!({"scratch": true}),
        Base::Stage(index) => json!({"stage": index}),
        Base::Image(name) => json!({"image": name}),
        Base::Context(name) => json!({"context": name}),
    }
}

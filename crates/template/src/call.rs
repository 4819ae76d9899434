//! What the calls of a [`Tree`] do: members, docker's functions, printing.

use crate::functions::{self, Wrong};
use crate::tree::{APPLY, FIELD, PRINT, Site, Tree};
use crate::value::Known;
use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use std::sync::Arc;

/// What a template is run over.
#[derive(Debug, Clone)]
pub enum For {
    /// One of docker's documents.
    Document,
    /// A line of a list.
    Row { kind: String, methods: serde_json::Value },
    /// The headings of a list.
    Headings,
}

/// What the calls of one run know.
pub struct State {
    pub tree: Arc<Tree>,
    pub known: Known,
    pub used: For,
}

/// The functions that the engine gets beside Go's own.
pub fn functions(state: &Arc<State>) -> FuncMap {
    let with_state = |function: fn(&State, &[Value]) -> Result<Value, TemplateError>| -> ValueFunc {
        let state = Arc::clone(state);
        Arc::new(move |args| function(&state, args))
    };
    let named = [(FIELD, field as fn(&State, &[Value]) -> _), (APPLY, apply), (PRINT, print)];
    named.into_iter().map(|(name, function)| (name.to_owned(), with_state(function))).collect()
}

fn print(state: &State, args: &[Value]) -> Result<Value, TemplateError> {
    let value = args.last().ok_or_else(|| TemplateError::Exec("nothing to print".into()))?;
    Ok(Value::String(state.known.print(value).into()))
}

/// The site that a call names by its number, and the rest of its arguments.
fn site<'a>(state: &'a State, args: &'a [Value]) -> Result<(&'a Site, &'a [Value]), TemplateError> {
    let number = args.first().and_then(Value::as_int).and_then(|number| usize::try_from(number).ok());
    let site = number.and_then(|number| state.tree.sites.get(number));
    Ok((site.ok_or_else(|| TemplateError::Exec("a call without its place".into()))?, &args[1..]))
}

fn field(state: &State, args: &[Value]) -> Result<Value, TemplateError> {
    let (site, args) = site(state, args)?;
    let Some((base, arguments)) = args.split_first() else { return Ok(Value::Nil) };
    let mut value = base.clone();
    for (depth, name) in site.names.iter().enumerate() {
        let last = depth + 1 == site.names.len();
        if last && let Some(found) = method(state, site, name, arguments)? {
            return Ok(found);
        }
        value = member(state, &value, name).map_err(|cause| site.error(&cause))?;
    }
    if arguments.is_empty() {
        return Ok(value);
    }
    let name = site.names.last().map(ToString::to_string).unwrap_or_default();
    Err(site.error(&format!("{name} is not a method but has arguments")))
}

/// A field that takes an argument: the row has an object of that name aside, to look the argument up in.
fn method(state: &State, site: &Site, name: &str, args: &[Value]) -> Result<Option<Value>, TemplateError> {
    let table = match (&state.used, args) {
        // docker: the last word of a label's name, in words.
        (For::Headings, [Value::String(key)]) => {
            let last = key.rsplit('.').next().unwrap_or_default();
            return Ok(Some(Value::String(last.replace(['-', '_'], " ").into())));
        }
        (For::Row { methods, .. }, _) => methods.get(name),
        _ => None,
    };
    match (table, args) {
        (None, _) => Ok(None),
        (Some(table), [Value::String(key)]) => {
            let found = table.get(key.as_ref()).and_then(serde_json::Value::as_str);
            Ok(Some(Value::String(found.unwrap_or_default().into())))
        }
        (Some(_), _) => Err(site.error(&format!("wrong number of args for {name}: want 1 got {}", args.len()))),
    }
}

fn member(state: &State, value: &Value, name: &str) -> Result<Value, String> {
    if let Some(found) = value.field(name) {
        return Ok(found.clone());
    }
    let Value::Map(map) = value else {
        let of_null = matches!(value, Value::Nil) || state.known.is_null(value);
        let nil = format!("nil pointer evaluating interface {{}}.{name}");
        return Err(if of_null { nil } else { format!("can't evaluate field {name} in type interface {{}}") });
    };
    if state.known.is_map(value) {
        return Ok(Value::Nil);
    }
    match &state.used {
        For::Headings => Ok(Value::Nil),
        For::Row { kind, .. } => Err(format!("can't evaluate field {name} in type {kind}")),
        // The fields of docker's types are written otherwise in its JSON, some of them: ID and Id, DNS and Dns.
        For::Document => map
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, found)| found)
            .or_else(|| state.known.absent(name))
            .cloned()
            .ok_or_else(|| format!("map has no entry for key {name:?}")),
    }
}

fn apply(state: &State, args: &[Value]) -> Result<Value, TemplateError> {
    let (site, args) = site(state, args)?;
    let name = site.names.first().map(ToString::to_string).unwrap_or_default();
    if matches!(state.used, For::Headings) && functions::leaves_headings_alone(&name) {
        return Ok(args.first().cloned().unwrap_or(Value::Nil));
    }
    let blame = |wrong| match wrong {
        Wrong::Count(want) => {
            site.error_at(&name, &format!("wrong number of args for {name}: want {want} got {}", args.len()))
        }
        Wrong::Type(index, want) => {
            let given = args.get(index).map_or("nil", go_type);
            let place = site.arguments.get(index).and_then(|number| state.tree.sites.get(*number)).unwrap_or(site);
            place.error(&format!("wrong type for value; expected {want}; got {given}"))
        }
        Wrong::Call(cause) => site.error(&format!("error calling {name}: {cause}")),
    };
    let result = functions::call(&state.known, &name, args).map_err(blame)?;
    Ok(if name == "json" && matches!(state.used, For::Row { .. }) { for_html(&result) } else { result })
}

/// Docker lets Go write the JSON of a line as it may stand in a web page.
fn for_html(json: &Value) -> Value {
    let text = json.as_str().unwrap_or_default();
    Value::String(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into())
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) => "int",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        Value::Function(_) => "func",
    }
}

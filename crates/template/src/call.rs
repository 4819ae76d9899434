//! What the calls of a [`Tree`](crate::tree::Tree) do: members, docker's functions, printing.

use crate::functions::{self, Wrong};
use crate::listing::Row;
use crate::tree::{APPLY, FIELD, PRINT, Site, Tree};
use crate::value::Known;
use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use std::sync::Arc;

/// What the calls of one run know.
pub struct State {
    tree: Arc<Tree>,
    known: Known,
    kind: Option<String>,
    methods: serde_json::Value,
    for_headings: bool,
}

impl State {
    pub fn new(tree: Arc<Tree>, known: Known, row: &Row, for_headings: bool) -> Self {
        Self { tree, known, kind: row.kind.map(Into::into), methods: row.methods.clone(), for_headings }
    }
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
    let Some(table) = state.methods.get(name) else { return Ok(None) };
    let [Value::String(key)] = args else {
        return Err(site.error(&format!("wrong number of args for {name}: want 1 got {}", args.len())));
    };
    if state.for_headings {
        // docker: the last word of a label's name, in words.
        let last = key.rsplit('.').next().unwrap_or_default();
        return Ok(Some(Value::String(last.replace(['-', '_'], " ").into())));
    }
    Ok(Some(Value::String(table.get(key.as_ref()).and_then(serde_json::Value::as_str).unwrap_or_default().into())))
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
    if state.for_headings || state.known.is_map(value) {
        return Ok(Value::Nil);
    }
    match &state.kind {
        Some(kind) => Err(format!("can't evaluate field {name} in type {kind}")),
        // The fields of docker's types are written otherwise in its JSON, some of them: ID and Id, DNS and Dns.
        None => map
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, found)| found.clone())
            .ok_or_else(|| format!("map has no entry for key {name:?}")),
    }
}

fn apply(state: &State, args: &[Value]) -> Result<Value, TemplateError> {
    let (site, args) = site(state, args)?;
    let name = site.names.first().map(ToString::to_string).unwrap_or_default();
    if state.for_headings && functions::leaves_headings_alone(&name) {
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
    Ok(if name == "json" && state.kind.is_some() { for_html(&result) } else { result })
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

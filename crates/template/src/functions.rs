//! The functions that docker adds to Go's, and `index` and `len`, which know of nulls and of missing labels.

use crate::value::Known;
use gotmpl::Value;

/// Go's own, which the engine has.
pub const GOS: [&str; 18] = [
    "and", "call", "eq", "ge", "gt", "html", "js", "le", "lt", "ne", "not", "or", "print", "printf", "println",
    "slice", "urlquery", "break",
];

const OURS: [&str; 10] = ["index", "join", "json", "len", "lower", "pad", "split", "title", "truncate", "upper"];

/// Nobody pads by more; docker would try.
const WIDEST_PAD: i64 = 4096;

/// How a call can fail.
pub enum Wrong {
    /// Another number of arguments is wanted.
    Count(usize),
    /// Of the argument with this index, another type.
    Type(usize, &'static str),
    /// The function itself says so.
    Call(String),
}

pub fn is_ours(name: &str) -> bool {
    OURS.contains(&name)
}

/// Over the headings of a table, docker calls no function that would change them.
pub fn leaves_headings_alone(name: &str) -> bool {
    matches!(name, "json" | "title" | "lower" | "upper" | "truncate")
}

/// Calls one of ours.
pub fn call(known: &Known, name: &str, args: &[Value]) -> Result<Value, Wrong> {
    let text = |text: String| Ok(Value::String(text.into()));
    match name {
        "index" => index(args),
        "join" => {
            let [list, between] = args else { return Err(Wrong::Count(2)) };
            let Value::List(items) = list else { return Err(Wrong::Type(0, "[]string")) };
            let between = string(between, 1)?;
            text(items.iter().map(|item| known.print(item)).collect::<Vec<_>>().join(between))
        }
        "json" => text(known.json(one(args)?).to_string()),
        "len" => {
            let value = one(args)?;
            let length = value.len().ok_or_else(|| Wrong::Call(format!("len of type {}", value.type_name())))?;
            Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
        }
        "lower" => text(string(one(args)?, 0)?.to_lowercase()),
        "upper" => text(string(one(args)?, 0)?.to_uppercase()),
        "title" => text(title(string(one(args)?, 0)?)),
        "pad" => {
            let [source, before, after] = args else { return Err(Wrong::Count(3)) };
            let (source, before, after) = (string(source, 0)?, number(before, 1)?, number(after, 2)?);
            let blanks = |count: i64| " ".repeat(usize::try_from(count.clamp(0, WIDEST_PAD)).unwrap_or(0));
            text(if source.is_empty() { String::new() } else { blanks(before) + source + &blanks(after) })
        }
        "split" => {
            let [source, at] = args else { return Err(Wrong::Count(2)) };
            let (source, at) = (string(source, 0)?, string(at, 1)?);
            let value = |part: &str| Value::String(part.into());
            // Go splits into characters at nothing, Rust also before the first and behind the last.
            Ok(Value::List(if at.is_empty() {
                source.chars().map(|c| value(c.encode_utf8(&mut [0; 4]))).collect()
            } else {
                source.split(at).map(value).collect()
            }))
        }
        "truncate" => {
            let [source, length] = args else { return Err(Wrong::Count(2)) };
            let (source, length) = (string(source, 0)?, number(length, 1)?);
            let mut end = usize::try_from(length).unwrap_or(0).min(source.len());
            while !source.is_char_boundary(end) {
                end -= 1;
            }
            text(source[..end].into())
        }
        _ => Err(Wrong::Call("no such function".into())),
    }
}

fn one(args: &[Value]) -> Result<&Value, Wrong> {
    let [value] = args else { return Err(Wrong::Count(1)) };
    Ok(value)
}

fn string(value: &Value, index: usize) -> Result<&str, Wrong> {
    value.as_str().ok_or(Wrong::Type(index, "string"))
}

fn number(value: &Value, index: usize) -> Result<i64, Wrong> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Uint(number) => Ok(i64::try_from(*number).unwrap_or(i64::MAX)),
        _ => Err(Wrong::Type(index, "int")),
    }
}

/// As Go's `strings.Title`: the first letter of each word.
fn title(text: &str) -> String {
    let mut in_word = false;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if in_word {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        in_word = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    titled
}

/// A label that is not there is an empty text: Go knows that all of them are texts.
fn index(args: &[Value]) -> Result<Value, Wrong> {
    let Some((value, indices)) = args.split_first() else { return Err(Wrong::Count(1)) };
    indices.iter().try_fold(value.clone(), |value, index| {
        if let (Value::Map(map), Value::String(key)) = (&value, index)
            && !map.contains_key(key)
            && map.values().all(|item| matches!(item, Value::String(_)))
        {
            return Ok(Value::String("".into()));
        }
        value.index(index).map_err(|error| match error {
            gotmpl::TemplateError::Exec(cause) => Wrong::Call(cause),
            other => Wrong::Call(other.to_string()),
        })
    })
}

//! Which value the text of a scalar means: the table of go-yaml 2, which kubectl reads with.

use std::borrow::Cow;

use serde_json::{Number, Value};
use serde_saphyr::granit_parser::Tag;

const CORE: &str = "tag:yaml.org,2002:";

/// The value of a scalar. Only plain ones, that is without quotes, mean more than their text, and
/// those whose tag says so.
///
/// # Errors
///
/// Where the text is not of the type that its tag names, and for values that JSON does not have.
pub fn resolve(text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if is_plain { plain(text) } else { Ok(text.into()) };
    };
    let is_of_type: fn(&Value) -> bool = match core(tag).as_deref() {
        Some("null") => Value::is_null,
        Some("bool") => Value::is_boolean,
        Some("int") => |value| value.is_i64() || value.is_u64(),
        Some("float") => Value::is_number,
        Some("binary") => return Err("!!binary is not read: write the text itself".to_owned()),
        // Of tags that mean nothing here the text is left.
        _ => return Ok(text.into()),
    };
    let value = plain(text)?;
    if is_of_type(&value) { Ok(value) } else { Err(format!("the text is not of its type {tag}")) }
}

/// True for the tag of YAML of that name, which is written `!!name`.
pub fn is_core(tag: &Tag, name: &str) -> bool {
    core(tag).is_some_and(|found| found == name)
}

fn core(tag: &Tag) -> Option<Cow<'_, str>> {
    tag.suffix_in_namespace(CORE)
}

/// The value of a text without quotes and tag.
fn plain(text: &str) -> Result<Value, String> {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(format!("{text} is no number that JSON has"));
        }
        _ => match number(text) {
            Some(number) => Value::Number(number),
            None => text.into(),
        },
    };
    Ok(value)
}

fn number(text: &str) -> Option<Number> {
    match text.as_bytes().first()? {
        b'.' => {}
        b'0'..=b'9' | b'+' | b'-' => {
            let digits: Cow<'_, str> =
                if text.contains('_') { text.replace('_', "").into() } else { text.into() };
            return integer(&digits).or_else(|| float(&digits));
        }
        _ => return None,
    }
    float(text)
}

/// As `strconv.ParseInt` of Go with base 0: `0x`, `0o`, `0b`, and `0` alone for octal.
fn integer(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` takes a sign of its own.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, radix).ok()?);
    match i64::try_from(if is_negative { -size } else { size }) {
        Ok(small) => Some(small.into()),
        // Beyond that kubectl goes on with a float.
        Err(_) if !text.starts_with(['-', '+']) => Number::from_f64(size as f64),
        Err(_) => None,
    }
}

/// A decimal number with an optional fraction and exponent; a whole one is an integer in JSON.
fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    // `parse` takes words such as "infinity" too.
    let is_decimal = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let value = text.parse::<f64>().ok().filter(|_| is_decimal)?;
    whole(value).map(Into::into).or_else(|| Number::from_f64(value))
}

/// The integer that a float is.
pub fn whole(value: f64) -> Option<i64> {
    // 2^63 is a float, and the first that is no i64. kubectl leaves its negative a float, too.
    let is_in_range = value > i64::MIN as f64 && value < i64::MAX as f64;
    (value.fract() == 0.0 && is_in_range).then_some(value as i64)
}

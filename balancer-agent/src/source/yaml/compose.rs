//! A value of the parser's events: nesting, anchors, merge keys.

use std::collections::HashMap;

use serde_json::{Map, Value, map::Entry};
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, StrInput};

use super::{Read, YamlError, scalar};

/// Nested lists and mappings at most, as in JSON: whatever is deeper is no object of Kubernetes.
pub const DEEPEST: usize = 128;

/// What aliases may add to a document of so many bytes, in [weights](weight): a document of a few
/// lines can stand for gigabytes.
const fn most_copied(bytes: usize) -> usize {
    (64 << 10) + 100 * bytes
}

/// Makes a value of a text of at most one document.
pub fn compose(text: &str) -> Result<Read, YamlError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut composer = Composer {
        events: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        copied: 0,
        most_copied: most_copied(text.len()),
        repeated: None,
    };
    let value = composer.document()?;
    Ok(Read { value, repeated: composer.repeated })
}

/// What was read so far.
struct Composer<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// What stands behind an anchor; nothing while it is still being read.
    anchors: HashMap<usize, Option<Value>>,
    copied: usize,
    most_copied: usize,
    repeated: Option<(String, usize)>,
}

impl<'a> Composer<'a> {
    fn document(&mut self) -> Result<Value, YamlError> {
        let mut value = None;
        loop {
            let (event, span) = self.event()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(value.unwrap_or_default()),
                _ if value.is_some() => {
                    return Err(YamlError::at(span.start, "a second document without ---"));
                }
                event => value = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.events.next() {
            Some(event) => Ok(event?),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Value, YamlError> {
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if depth == DEEPEST => {
                Err(YamlError::at(span.start, format!("nested deeper than {DEEPEST}")))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .map_err(|reason| YamlError::at(span.start, reason))?;
                self.anchored(anchor, value, span)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(anchor);
                let value = self.sequence(depth)?;
                self.anchored(anchor, value, span)
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(anchor);
                let value = self.mapping(depth)?;
                self.anchored(anchor, value, span)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(Some(value)) => {
                    self.copied += weight(value);
                    self.admit(span)?;
                    Ok(self.anchors[&anchor].clone().unwrap_or_default())
                }
                _ => Err(YamlError::at(span.start, "the alias stands within what it means")),
            },
            other => Err(YamlError::at(span.start, format!("{other:?} where a value must be"))),
        }
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, YamlError> {
        let mut entries = Map::new();
        let mut merges = false;
        loop {
            let (event, span) = self.event()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(entries));
            }
            let key = if is_merge_key(&event) { None } else { Some(self.key(event, span, depth)?) };
            let (event, at) = self.event()?;
            let value = self.node(event, at, depth + 1)?;
            // What comes later counts, be it written or merged.
            let Some(key) = key else {
                merge(&mut entries, value).map_err(|()| {
                    YamlError::at(at.start, "<< takes a mapping or a list of mappings")
                })?;
                merges = true;
                continue;
            };
            match entries.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(mut entry) => {
                    if !merges && self.repeated.is_none() {
                        self.repeated = Some((entry.key().clone(), span.start.line()));
                    }
                    entry.insert(value);
                }
            }
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<String, YamlError> {
        match self.node(event, span, depth + 1)? {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(YamlError::at(span.start, "a key that is no text"))
            }
        }
    }

    fn open(&mut self, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn anchored(&mut self, anchor: usize, value: Value, span: Span) -> Result<Value, YamlError> {
        if anchor > 0 {
            self.copied += weight(&value);
            self.admit(span)?;
            self.anchors.insert(anchor, Some(value.clone()));
        }
        Ok(value)
    }

    fn admit(&self, span: Span) -> Result<(), YamlError> {
        if self.copied > self.most_copied {
            return Err(YamlError::at(span.start, "aliases make the document too large"));
        }
        Ok(())
    }
}

fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::Scalar(text, ScalarStyle::Plain, _, tag)
            if text == "<<" && tag.as_ref().is_none_or(|tag| scalar::is_core(tag, "merge"))
    )
}

/// Adds what a merge key names; of several mappings the first counts.
fn merge(entries: &mut Map<String, Value>, value: Value) -> Result<(), ()> {
    match value {
        Value::Object(found) => entries.extend(found),
        Value::Array(several) => {
            for found in several.into_iter().rev() {
                let Value::Object(found) = found else { return Err(()) };
                entries.extend(found);
            }
        }
        _ => return Err(()),
    }
    Ok(())
}

/// Bytes of text, and 16 for each value.
fn weight(value: &Value) -> usize {
    16 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| key.len() + weight(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

//! The text of one YAML document to a value, as kubectl reads it: what YAML leaves open, such as
//! which words are numbers, is as in [`scalar`]; of a key that is there twice the last counts.
//!
//! kubectl reads with sigs.k8s.io/yaml: YAML 1.1 of go-yaml 2, then JSON. Each rule here was
//! compared with `kubectl label --local -o json -f FILE a=b` of 1.32.

mod compose;
mod scalar;

use serde_json::Value;
use serde_saphyr::granit_parser::{Marker, ScanError};

pub use scalar::whole;

/// Why a text is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub struct YamlError {
    pub reason: String,
    /// Of the text, from 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

impl YamlError {
    fn at(place: Marker, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), line: place.line(), column: place.col() + 1 }
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        Self::at(*error.marker(), error.info())
    }
}

/// A document.
#[derive(Debug, PartialEq)]
pub struct Read {
    pub value: Value,
    /// The first key that is there twice in one mapping, and its line in the text, from 1.
    pub repeated: Option<(String, usize)>,
}

/// Reads a text of at most one document; one without content is null.
///
/// # Errors
///
/// Where kubectl refuses the text, where it is nested deeper than JSON may be, and where aliases
/// make it more than a hundred times as large.
pub fn read(text: &str) -> Result<Read, YamlError> {
    // Editors of Windows put it there, and `cat` puts it in the middle.
    let text = text.trim_start_matches('\u{feff}');
    refuse_controls(text)?;
    compose::compose(text)
}

/// Control characters, which the parser would take for text or for the end of it.
fn refuse_controls(text: &str) -> Result<(), YamlError> {
    let is_refused = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let Some(at) = text.find(is_refused) else { return Ok(()) };
    let before = &text[..at];
    let line_begins = before.rfind('\n').map_or(0, |end| end + 1);
    Err(YamlError {
        reason: "control characters are not allowed".to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_begins..].chars().count() + 1,
    })
}

#[cfg(test)]
mod tests;

//! The page of `doctor`.

use std::fmt::Write;

use comfy_table::Color;

use super::table::{cell, table};
use crate::doctor::{Finding, Outcome};

/// Draws the checks, and below them what to do.
pub fn doctor(findings: &[Finding]) -> String {
    let rows = findings.iter().map(|finding| {
        let colour = match finding.result {
            Outcome::Ok => Color::Green,
            Outcome::Warn => Color::Yellow,
            Outcome::Fail => Color::Red,
        };
        vec![cell(&finding.check), cell(finding.result).fg(colour), cell(&finding.detail)]
    });
    let mut text = table(&["CHECK", "RESULT", "DETAIL"], rows);
    let remedies: Vec<_> = findings
        .iter()
        .filter_map(|finding| Some((&finding.check, finding.remedy.as_ref()?)))
        .collect();
    if !remedies.is_empty() {
        text.push_str("\nWhat to do:\n");
        for (check, remedy) in remedies {
            let _infallible = writeln!(text, "  {check}: {remedy}");
        }
    }
    text
}

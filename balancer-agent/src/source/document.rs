//! Cuts a file into YAML documents without parsing it.
//!
//! A parser stops at the first error; cut first, and the documents after a broken one are still
//! read. `---` or `...` at the start of a line always ends a document, even inside a quoted or
//! block scalar (YAML 1.2, rule `c-forbidden`), so that cutting at lines is exact.

/// One document, not parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// 1 for the first of the file.
    pub number: usize,
    /// Lines of the file before it.
    pub lines_before: usize,
    /// Its text, with its markers, directives and the comments before it.
    pub text: &'a str,
}

/// The documents of a file; empty ones count, so that the numbers are what an editor shows.
pub fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = (0, 0);
    let mut open = false;
    let mut offset = 0;
    let mut cut = |from: (usize, usize), to: usize| {
        documents.push(Document {
            number: documents.len() + 1,
            lines_before: from.1,
            text: &text[from.0..to],
        });
    };
    for (row, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_start_matches('\u{feff}').trim_end();
        if is_marker(bare, "---") {
            if open {
                cut(start, offset);
                start = (offset, row);
            }
            open = true;
        } else if is_marker(bare, "...") {
            if open {
                cut(start, offset);
            }
            start = (offset + line.len(), row + 1);
            open = false;
        } else if !bare.is_empty() && !bare.trim_start().starts_with('#') && !bare.starts_with('%')
        {
            open = true;
        }
        offset += line.len();
    }
    if open {
        cut(start, offset);
    }
    documents
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, lines before, text.
    type Cut<'a> = (usize, usize, &'a str);

    fn cut(text: &str) -> Vec<Cut<'_>> {
        split(text).into_iter().map(|d| (d.number, d.lines_before, d.text)).collect()
    }

    #[test]
    fn documents_are_cut_at_markers_only() {
        let cases: &[(&str, &[Cut<'_>])] = &[
            ("", &[]),
            ("\n# only a comment\n", &[]),
            ("a: 1", &[(1, 0, "a: 1")]),
            ("# head\n---\na: 1\n", &[(1, 0, "# head\n---\na: 1\n")]),
            ("a: 1\n---\nb: 2\n", &[(1, 0, "a: 1\n"), (2, 1, "---\nb: 2\n")]),
            ("a: 1\n--- # next\nb: 2\n", &[(1, 0, "a: 1\n"), (2, 1, "--- # next\nb: 2\n")]),
            ("---\n---\na: 1\n---\n", &[(1, 0, "---\n"), (2, 1, "---\na: 1\n"), (3, 3, "---\n")]),
            (
                "a: 1\n...\n# between\n---\nb: 2\n",
                &[(1, 0, "a: 1\n"), (2, 2, "# between\n---\nb: 2\n")],
            ),
            ("a: 1\r\n---\r\nb: 2\r\n", &[(1, 0, "a: 1\r\n"), (2, 1, "---\r\nb: 2\r\n")]),
            ("%YAML 1.2\n---\na: 1\n", &[(1, 0, "%YAML 1.2\n---\na: 1\n")]),
            ("a: 1\n\u{feff}---\nb: 2\n", &[(1, 0, "a: 1\n"), (2, 1, "\u{feff}---\nb: 2\n")]),
            ("a: |\n  ---\n  text\n ---\n", &[(1, 0, "a: |\n  ---\n  text\n ---\n")]),
            ("a: 1\n----\n---b\n", &[(1, 0, "a: 1\n----\n---b\n")]),
            ("--- {a: 1}\n--- {b: 2}", &[(1, 0, "--- {a: 1}\n"), (2, 1, "--- {b: 2}")]),
        ];
        for (text, want) in cases {
            assert_eq!(cut(text), *want, "of {text:?}");
        }
    }
}

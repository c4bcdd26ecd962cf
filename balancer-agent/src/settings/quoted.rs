//! Values as messages show them.

/// A value in quotes, cut at 100 characters.
pub fn quoted(value: &str) -> String {
    const MOST: usize = 100;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_where_a_character_ends() {
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
        let long = "\u{e9}".repeat(250_000);
        assert_eq!(quoted(&long), format!("\"{}\"...", "\u{e9}".repeat(100)));
    }
}

//! Bars and numbers.

/// A bar of `cells` characters, in eighths; anything above zero shows.
pub(super) fn bar(value: u64, most: u64, cells: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = if value == 0 { 0 } else { (value as usize * cells * 8 / most as usize).max(1) };
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(EIGHTHS[eighths % 8]);
    }
    format!("{bar:cells$}")
}

/// `12345` as `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_their_cells() {
        assert_eq!(bar(4, 4, 4), "████");
        assert_eq!(bar(1, 8, 4), "▌   ");
        assert_eq!(bar(1, 10_000, 4), "▏   ");
        assert_eq!(bar(0, 4, 4), "    ");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(thousands));
    }
}

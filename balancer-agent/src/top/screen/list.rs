//! A list: as many columns as there is room for, and the rows around the chosen one.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::{Modifier, Style},
    text::{Line, Text},
    widgets::{Cell, Row, Table, TableState},
};

use super::{Theme, clean};
use crate::top::{columns::Column, order::Order};

/// Blanks between columns.
const GAP: u16 = 2;

/// Draws rows below their headers; `at` is the chosen one, and `offset` the first that was drawn last.
#[expect(clippy::too_many_arguments, reason = "each is a part of what is seen")]
pub(super) fn draw<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: &[T],
    order: Order,
    at: usize,
    offset: &mut usize,
    theme: Theme,
) {
    let headers: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(nth, column)| match (nth == order.column, order.descending) {
            (false, _) => column.name.to_owned(),
            (true, false) => format!("{}▲", column.name),
            (true, true) => format!("{}▼", column.name),
        })
        .collect();
    let texts: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| clean(&(column.text)(row))).collect())
        .collect();
    let width = |nth: usize| {
        let cells = texts.iter().map(|row| &row[nth]).chain([&headers[nth]]);
        let widest = cells.map(|text| Line::raw(text.as_str()).width()).max().unwrap_or_default();
        let is_unknown = columns[nth].is_rare && texts.iter().all(|row| row[nth] == "-");
        let rank = if is_unknown { u8::MAX } else { columns[nth].rank };
        (u16::try_from(widest).unwrap_or(u16::MAX), rank)
    };
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let shown = fitting(&widths, area.width);
    let aligned = |nth: usize, text: &str| {
        let side = if columns[nth].is_number { Alignment::Right } else { Alignment::Left };
        Text::from(text.to_owned()).alignment(side)
    };
    let header = shown.iter().map(|nth| Cell::new(aligned(*nth, &headers[*nth])));
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    let body = rows.iter().zip(&texts).map(|(row, texts)| {
        Row::new(shown.iter().map(|nth| {
            let style = theme.style((columns[*nth].tone)(row));
            Cell::new(aligned(*nth, &texts[*nth])).style(style)
        }))
    });
    let constraints = shown.iter().map(|nth| Constraint::Length(widths[*nth].0.min(area.width)));
    let table = Table::new(body, constraints)
        .header(header)
        .column_spacing(GAP)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let chosen = (!rows.is_empty()).then_some(at);
    let mut table_state = TableState::new().with_offset(*offset).with_selected(chosen);
    frame.render_stateful_widget(table, area, &mut table_state);
    *offset = table_state.offset();
}

/// Which columns are shown, in their order: those of the lowest ranks that fit beside each other, and
/// those of rank 0 anyway.
fn fitting(widths: &[(u16, u8)], room: u16) -> Vec<usize> {
    let mut by_rank: Vec<usize> = (0..widths.len()).collect();
    by_rank.sort_by_key(|nth| widths[*nth].1);
    let mut shown = Vec::new();
    let mut used = 0_u32;
    for nth in by_rank {
        let (width, rank) = widths[nth];
        let gap = if shown.is_empty() { 0 } else { GAP };
        let with = used + u32::from(width) + u32::from(gap);
        if rank > 0 && with > u32::from(room) {
            break;
        }
        used = with;
        shown.push(nth);
    }
    shown.sort_unstable();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_low_ranks_are_shown_first_and_in_their_order() {
        let widths = [(10, 0), (6, 3), (5, 1), (4, 2)];
        for (room, want) in [
            (5, &[0][..]),
            (16, &[0]),
            (17, &[0, 2]),
            (23, &[0, 2, 3]),
            (30, &[0, 2, 3]),
            (31, &[0, 1, 2, 3]),
        ] {
            assert_eq!(fitting(&widths, room), want, "{room}");
        }
        assert_eq!(fitting(&[(u16::MAX, 0), (u16::MAX, 1)], u16::MAX), [0]);
    }
}

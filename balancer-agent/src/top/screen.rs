//! Draws a page on whatever ratatui draws on, of any size.

mod help;
mod list;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    columns::{BACKENDS, CONNECTIONS, SERVICES, Tone},
    figures::{optional, rate, ratio},
    model::Model,
    page::Page,
    state::{Level, State},
};
use crate::view::TopServiceView;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// False: only bold and reversed text tell rows apart.
    pub is_coloured: bool,
}

impl Theme {
    fn style(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Plain => return Style::new(),
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Drawing => Color::Cyan,
        };
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Draws what is known in the state that keys have brought about; `note` is what else is to be said.
pub fn draw(
    frame: &mut Frame<'_>,
    model: &Model,
    state: &mut State,
    theme: Theme,
    note: Option<&str>,
) {
    let area = frame.area();
    if state.shows_help {
        help::draw(frame, area);
        return;
    }
    let page = Page::of(model, state);
    let head = head(model, state, &page);
    let mut lines: Vec<Line<'_>> = head.into_iter().map(Line::raw).collect();
    lines[0].style = Style::new().add_modifier(Modifier::BOLD);
    if let Some(note) = note {
        lines.push(Line::styled(clean(note), theme.style(Tone::Warning)));
    }
    let above = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    for (nth, line) in (0..above).zip(&lines) {
        frame.render_widget(line, Rect { y: area.y + nth, height: 1, ..area });
    }
    let below = u16::from(area.height > above + 2);
    let rest = Rect { y: area.y + above, height: area.height - above - below, ..area };
    let at = state.at(&page.ids());
    let order = state.order();
    let offset = &mut state.offset;
    match &page {
        Page::Services(rows) => list::draw(frame, rest, SERVICES, rows, order, at, offset, theme),
        Page::Backends(_, rows) => {
            list::draw(frame, rest, BACKENDS, rows, order, at, offset, theme);
        }
        Page::Connections(_, rows) => {
            list::draw(frame, rest, CONNECTIONS, rows, order, at, offset, theme);
        }
    }
    if below > 0 {
        let area = Rect { y: area.bottom() - 1, height: 1, ..area };
        frame.render_widget(foot(state), area);
    }
}

/// What is above the rows.
fn head(model: &Model, state: &State, page: &Page) -> Vec<String> {
    let sampled = if model.view().sampled { ", rates of 2,000 of them" } else { "" };
    match page {
        Page::Services(rows) => {
            let all = &model.view().services;
            let open: u64 = all.iter().map(|row| row.connections).sum();
            let ports = format!("{} of {} Service ports", rows.len(), all.len());
            vec![format!("balancer top: {ports}, {}{sampled}", connections(open))]
        }
        Page::Backends(None, _) | Page::Connections(None, _) => {
            vec!["this Service port is not balanced any more; Esc leads back".to_owned()]
        }
        Page::Backends(Some(service), _) => vec![name(service), sums(service)],
        Page::Connections(Some(service), rows) => {
            let to = match &state.level {
                Level::Connections(_, Some(backend)) => format!(" to {backend}"),
                _ => String::new(),
            };
            vec![name(service), format!("{}{to}{sampled}", connections(rows.len() as u64))]
        }
    }
}

fn connections(number: u64) -> String {
    format!("{number} connection{}", if number == 1 { "" } else { "s" })
}

fn name(service: &TopServiceView) -> String {
    let TopServiceView { namespace, service: name, service_port, policy, .. } = service;
    clean(&format!("{namespace}/{name} {}/{} {policy}", service_port.number, service_port.protocol))
}

fn sums(service: &TopServiceView) -> String {
    let mut said = connections(service.connections);
    if let Some(cluster) = service.cluster_active {
        said += &format!(" (cluster {cluster})");
    }
    said += &format!(
        ", {} to {}, skew {}, rate {} (skew {}), moved {}",
        optional(service.least),
        optional(service.most),
        ratio(service.skew),
        rate(service.rate),
        ratio(service.rate_skew),
        optional(service.moved)
    );
    said
}

/// What keys do now.
fn foot(state: &State) -> Line<'_> {
    if state.is_typing {
        return Line::from(vec![
            Span::styled("/", Modifier::BOLD),
            Span::raw(clean(&state.filter)),
            Span::styled(" ", Modifier::REVERSED),
        ]);
    }
    let (open, back) = match state.level {
        Level::Services => ("Enter backends  c connections  ", ""),
        Level::Backends(_) => ("Enter connections  c all of them  ", "Esc back  "),
        Level::Connections(..) => ("", "Esc back  "),
    };
    let filter = match state.filter.as_str() {
        "" => "/ filter  ".to_owned(),
        filter => format!("/{}  ", clean(filter)),
    };
    Line::styled(format!("? keys  q quit  {back}{open}{filter}s sort  r reverse"), Modifier::DIM)
}

/// Control characters, which could move the cursor, are shown as blanks.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;

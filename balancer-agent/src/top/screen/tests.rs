use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};

use super::*;
use crate::top::{order::Order, port::PortKey, row::Id, testing};

const PLAIN: Theme = Theme { is_coloured: false };

fn drawn(width: u16, height: u16, state: &mut State, theme: Theme, note: Option<&str>) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let model = testing::model();
    terminal.draw(|frame| draw(frame, &model, state, theme, note)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let line = |y| {
        let line: String = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        line.trim_end().to_owned() + "\n"
    };
    (0..buffer.area.height).map(line).collect()
}

fn state(level: Level) -> State {
    State::new(Order::named(SERVICES, "conns").unwrap(), level)
}

fn cart() -> PortKey {
    PortKey::of(&testing::model().view().services[0])
}

#[test]
fn services_are_drawn_in_80_columns() {
    let buffer = drawn(80, 8, &mut state(Level::Services), PLAIN, None);
    assert_eq!(
        text(&buffer),
        "\
balancer top: 2 of 2 Service ports, 13 connections
SERVICE      CONNS▼  OPEN/S  FAIL/S  PODS  LEAST  MOST  SKEW     RATE  R-SKEW
shop/cart        12     1.0     0.2   2/2      3     9  1.50  5120B/s    1.60
shop/search       1       0       0   1/1      1     1  1.00     0B/s       -



? keys  q quit  Enter backends  c connections  / filter  s sort  r reverse
"
    );
}

#[test]
fn every_column_is_drawn_where_there_is_room() {
    let shown = text(&drawn(200, 8, &mut state(Level::Services), PLAIN, None));
    for column in SERVICES {
        assert!(shown.contains(column.name), "{} is not in\n{shown}", column.name);
    }
    let shown = text(&drawn(200, 8, &mut state(Level::Backends(cart())), PLAIN, None));
    for column in BACKENDS {
        assert!(shown.contains(column.name), "{} is not in\n{shown}", column.name);
    }
}

#[test]
fn backends_are_drawn_with_bars_and_trends() {
    let buffer = drawn(80, 7, &mut state(Level::Backends(cart())), PLAIN, Some("no agent"));
    assert_eq!(
        text(&buffer),
        "\
shop/cart 80/TCP least-connections
12 connections, 3 to 9, skew 1.50, rate 5120B/s (skew 1.60), moved 0
no agent
BACKEND        STATE  CONNS▼            OPEN/S  CLOSE/S  FAIL/S     RATE  TREND
10.0.0.1:8080  ready       9  ████████     1.0      1.0       0  4096B/s  ██
10.0.0.2:8080  ready       3  ██▋            0        0     0.2  1024B/s  ██
? keys  q quit  Esc back  Enter connections  c all of them  / filter  s sort  r
"
    );
}

#[test]
fn connections_are_drawn() {
    let mut state = state(Level::Connections(cart(), None));
    let buffer = drawn(80, 6, &mut state, PLAIN, None);
    assert_eq!(
        text(&buffer),
        "\
shop/cart 80/TCP least-connections
2 connections
CLIENT          BACKEND         AGE  IDLE  STATE    RATE▼   SENT  COMMAND
10.0.0.9:40000  10.0.0.1:8080  100s    1s  quiet  4096B/s  40KiB  curl
10.0.0.9:40001  10.0.0.2:8080   50s    1s  quiet  1024B/s  10KiB  curl
? keys  q quit  Esc back  / filter  s sort  r reverse
"
    );
}

#[test]
fn no_size_is_too_small() {
    let model = testing::model();
    let levels = [
        Level::Services,
        Level::Backends(cart()),
        Level::Connections(cart(), None),
        Level::Backends(PortKey { service: "gone".into(), ..cart() }),
    ];
    for level in levels {
        for (width, height) in [(1, 1), (2, 3), (20, 5), (20, 24), (300, 1), (300, 100)] {
            for shows_help in [false, true] {
                let mut state = State { shows_help, ..state(level.clone()) };
                state.chosen = Some(Id::Port(cart()));
                let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
                let note = Some("the agent is away");
                terminal.draw(|frame| draw(frame, &model, &mut state, PLAIN, note)).unwrap();
            }
        }
    }
    assert_eq!(
        text(&drawn(20, 5, &mut state(Level::Services), PLAIN, None)),
        "\
balancer top: 2 of 2
SERVICE      CONNS▼
shop/cart        12
shop/search       1
? keys  q quit  Ente
"
    );
}

#[test]
fn without_colours_the_chosen_row_is_seen_and_nothing_is_coloured() {
    let has_colour = |buffer: &Buffer| buffer.content().iter().any(|cell| cell.fg != Color::Reset);
    let mut shown = state(Level::Backends(cart()));
    let buffer = drawn(80, 8, &mut shown, PLAIN, None);
    assert!(!has_colour(&buffer));
    assert!(buffer[(0, 3)].modifier.contains(Modifier::REVERSED));
    assert!(has_colour(&drawn(80, 8, &mut shown, Theme { is_coloured: true }, None)));
}

#[test]
fn names_can_not_move_the_cursor() {
    let mut state = State { filter: "\u{1b}[2J".into(), ..state(Level::Services) };
    let shown = text(&drawn(80, 8, &mut state, PLAIN, Some("a\u{1b}\nb")));
    assert!(shown.contains("a  b") && !shown.contains('\u{1b}'), "{shown}");
}

use super::*;
use crate::top::{model::Model, page::Page, testing};

fn press(state: &mut State, model: &Model, keys: &[KeyCode]) -> Do {
    let mut done = Do::Draw;
    for code in keys {
        let ids = Page::of(model, state).ids();
        done = state.key(KeyEvent::new(*code, KeyModifiers::NONE), &ids);
    }
    done
}

fn letters(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

fn services() -> State {
    State::new(Order::named(SERVICES, "conns").unwrap(), Level::Services)
}

fn names(model: &Model, state: &State) -> Vec<String> {
    let Page::Services(rows) = Page::of(model, state) else { panic!("another page") };
    rows.into_iter().map(|row| row.service).collect()
}

#[test]
fn enter_leads_to_backends_and_their_connections_and_escape_back() {
    let (model, mut state) = (testing::model(), services());
    press(&mut state, &model, &[KeyCode::Enter]);
    assert_eq!(state.focus(), Some(("shop".into(), "cart".into())), "the one with the most");
    press(&mut state, &model, &[KeyCode::Down, KeyCode::Enter]);
    let Page::Connections(_, rows) = Page::of(&model, &state) else { panic!("another page") };
    assert_eq!(rows.iter().map(|row| row.view.client.port).collect::<Vec<_>>(), [40_001]);
    press(&mut state, &model, &[KeyCode::Esc]);
    let second = SocketAddr::from(([10, 0, 0, 2], 8080));
    assert_eq!(state.chosen, Some(Id::Backend(second)), "the row that was left is chosen");
    press(&mut state, &model, &letters("c"));
    assert_eq!(Page::of(&model, &state).ids().len(), 2, "all of the Service");
    press(&mut state, &model, &[KeyCode::Esc, KeyCode::Esc, KeyCode::Esc]);
    assert_eq!(state.level, Level::Services);
}

#[test]
fn where_one_service_is_shown_escape_does_not_lead_to_others() {
    let model = testing::model();
    let port = PortKey::of(&model.view().services[0]);
    let mut state = State::new(Order::by(SERVICES, 0), Level::Backends(port.clone()));
    press(&mut state, &model, &[KeyCode::Enter, KeyCode::Esc, KeyCode::Esc]);
    assert_eq!(state.level, Level::Backends(port));
}

#[test]
fn the_filter_is_typed_kept_and_cleared() {
    let (model, mut state) = (testing::model(), services());
    assert_eq!(press(&mut state, &model, &letters("/q")), Do::Draw, "a letter, not the end");
    press(&mut state, &model, &[KeyCode::Enter]);
    assert_eq!(names(&model, &state), [""; 0]);
    press(&mut state, &model, &[KeyCode::Esc]);
    assert_eq!(names(&model, &state), ["cart", "search"]);
    press(&mut state, &model, &letters("/SEAR"));
    press(&mut state, &model, &[KeyCode::Enter]);
    assert_eq!(names(&model, &state), ["search"]);
    assert_eq!(press(&mut state, &model, &letters("q")), Do::Quit);
}

#[test]
fn numbers_are_sorted_from_the_largest_and_names_from_a() {
    let (model, mut state) = (testing::model(), services());
    assert_eq!(names(&model, &state), ["cart", "search"]);
    press(&mut state, &model, &letters("r"));
    assert_eq!(names(&model, &state), ["search", "cart"]);
    press(&mut state, &model, &letters("SS"));
    assert_eq!(SERVICES[state.order().column].name, "SERVICE");
    assert_eq!(names(&model, &state), ["cart", "search"]);
    for column in BACKENDS {
        assert_eq!(Order::named(BACKENDS, column.name).is_some(), column.key.is_some());
    }
    // Every column comes round; those without an order are left out.
    press(&mut state, &model, &[KeyCode::Enter]);
    let first = state.order();
    for _ in BACKENDS.iter().filter(|column| column.key.is_some()) {
        press(&mut state, &model, &letters("s"));
        assert!(BACKENDS[state.order().column].key.is_some());
    }
    assert_eq!(state.order(), first);
}

#[test]
fn what_is_not_known_comes_last_either_way() {
    let mut rows = testing::model().view().services.clone();
    rows[0].skew = None;
    for descending in [true, false] {
        let order = Order { descending, ..Order::named(SERVICES, "skew").unwrap() };
        order.sort(SERVICES, &mut rows);
        assert_eq!(rows[1].service, "cart", "{descending}");
    }
}

#[test]
fn the_chosen_row_stays_chosen_where_it_moves_and_the_first_takes_its_place_where_it_goes() {
    let (model, mut state) = (testing::model(), services());
    press(&mut state, &model, &[KeyCode::End]);
    let ids = Page::of(&model, &state).ids();
    assert_eq!(state.at(&ids), 1);
    press(&mut state, &model, &letters("r"));
    assert_eq!(state.at(&Page::of(&model, &state).ids()), 0);
    assert_eq!(state.at(&ids[..1]), 0);
    press(&mut state, &model, &[KeyCode::PageDown]);
    assert_eq!(state.at(&Page::of(&model, &state).ids()), 1);
    press(&mut state, &model, &[KeyCode::PageUp, KeyCode::Up, KeyCode::Home]);
    assert_eq!(state.at(&Page::of(&model, &state).ids()), 0);
    press(&mut state, &Model::default(), &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(state.level, Level::Services, "of nothing there is nothing to open");
}

#[test]
fn control_c_ends_also_while_typing() {
    let (model, mut state) = (testing::model(), services());
    press(&mut state, &model, &letters("/"));
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.key(key, &[]), Do::Quit);
}

//! The page that explains keys and columns.

use ratatui::{Frame, layout::Rect, widgets::Paragraph};

const HELP: &str = "\
Up Down j k PgUp PgDn Home End   choose a row
Enter   its backends, then the connections of one
c       all connections of the Service port
Esc     back, or clear the filter
/       show rows with a text     s S  sort by the next column, the one before
r       reverse the order         q    quit

CONNS   open from this node       CLUSTER  from all nodes
OPEN/S CLOSE/S FAIL/S   opened, closed, refused or timed out a second
LEAST MOST   fewest and most of a backend that gets new ones, of all nodes
SKEW    most over mean, by weight: 1 is even
RATE    bytes a second that servers acknowledged; looked at each 10 s
R-SKEW  largest rate over mean    MOVED  ended within a minute to be reopened

any key leads back";

/// Fills the screen with it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect) {
    frame.render_widget(Paragraph::new(HELP), area);
}

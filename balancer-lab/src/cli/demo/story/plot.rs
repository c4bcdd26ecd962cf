//! Courses as charts over time.

use std::fmt::Write as _;

use super::{Course, Told};

/// Size of a chart.
const WIDTH: f64 = 280.0;
const HEIGHT: f64 = 110.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 24.0;
const BOTTOM: f64 = 16.0;
/// Hues of the pods, as far apart as there are pods.
const HUES: u32 = 360;

/// A story as a part of the page.
pub(in super::super) fn section(told: &Told) -> String {
    let end = told.courses.iter().flat_map(|course| &course.samples).map(|sample| sample.at);
    let end = end.fold(1.0, f64::max);
    let most = told.courses.iter().flat_map(|course| &course.samples);
    let most = most.flat_map(|sample| &sample.connections).copied().max().unwrap_or(1).max(1);
    let figures: String = told
        .courses
        .iter()
        .map(|course| figure(course, course.side.title(told.nodes.is_some()), end, most))
        .collect();
    format!(
        "<section class=\"story\" id=\"{}\">\n<h2>{} <small>{}</small></h2>\n{figures}\
         <p class=\"figures\">Above: connections of each pod over time. Below: connections closed \
         a second; requests that failed are marked.</p>\n</section>\n",
        told.name, told.name, told.description
    )
}

fn figure(course: &Course, title: &str, end: f64, most: u32) -> String {
    let (failed, later) = course.failures();
    format!(
        "<figure><figcaption>{title}: {} closed, {} ended by balancer; of {} requests \
         {failed} failed while pods came and went, {later} later</figcaption>\n{}{}</figure>\n",
        course.closed(),
        course.ended,
        course.requests + course.failed.len() as u64,
        lines(course, end, most),
        bars(course, end),
    )
}

/// Connections of each pod.
fn lines(course: &Course, end: f64, most: u32) -> String {
    let mut svg = open(&most.to_string(), end);
    let pods = course.last().len();
    for pod in 0..pods {
        let mut points = String::new();
        let mut before = None;
        for sample in &course.samples {
            let (x, y) = (across(sample.at, end), up(sample.connections[pod], most));
            // Steps: a connection is there or not.
            if let Some(before) = before.replace(y) {
                let _ = write!(points, "{x:.1},{before:.1} ");
            }
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
        let hue = pod as u32 * HUES / pods as u32;
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"hsl({hue} 65% 50%)\" \
             stroke-width=\"2\"/>"
        );
    }
    svg + "</svg>\n"
}

/// Connections closed in each second, and the requests that failed.
fn bars(course: &Course, end: f64) -> String {
    let mut closed = vec![0_u32; end.ceil() as usize + 1];
    for sample in &course.samples {
        closed[sample.at as usize] += sample.closed;
    }
    let most = closed.iter().copied().max().unwrap_or(0).max(10);
    let mut svg = open(&most.to_string(), end);
    for (second, count) in closed.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (x, y) = (across(second as f64, end), up(*count, most));
        let width = across(1.0, end) - across(0.0, end) - 1.0;
        let height = HEIGHT - BOTTOM - y;
        let _ = writeln!(
            svg,
            "<rect class=\"least\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"/>"
        );
    }
    for at in &course.failed {
        let x = across(*at, end);
        let _ = writeln!(
            svg,
            "<line class=\"failed\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"2\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        );
    }
    svg + "</svg>\n"
}

/// A chart with its axes.
fn open(most: &str, end: f64) -> String {
    let base = HEIGHT - BOTTOM;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\">\n\
         <text class=\"name\" x=\"{}\" y=\"10\">{most}</text>\n\
         <text class=\"name\" x=\"{}\" y=\"{base}\">0</text>\n\
         <text class=\"name\" x=\"{WIDTH}\" y=\"{}\">{end:.0} s</text>\n\
         <line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{base}\" y2=\"{base}\"/>\n",
        LEFT - 4.0,
        LEFT - 4.0,
        HEIGHT - 4.0,
    )
}

fn across(at: f64, end: f64) -> f64 {
    LEFT + at / end * (WIDTH - LEFT)
}

fn up(count: u32, most: u32) -> f64 {
    (HEIGHT - BOTTOM) - f64::from(count) / f64::from(most) * (HEIGHT - BOTTOM - 4.0)
}

#[cfg(test)]
mod tests {
    use super::super::{sample::Sample, side::Side};
    use super::*;

    #[test]
    fn each_side_has_a_line_for_each_pod_and_a_mark_for_each_failure() {
        let sample = |at, closed| Sample { at, connections: vec![7, 7, 6], closed };
        let course = |side| Course {
            side,
            samples: vec![sample(0.25, 0), sample(0.5, 3)],
            ended: 2,
            requests: 99,
            failed: vec![0.3, 0.4],
            first_error: None,
            joined: 0.3,
        };
        let courses = Side::SEVERAL_NODES.map(course).into();
        let (name, description) = ("rollout-nodes".into(), "pods".into());
        let told = Told { name, description, nodes: Some(20), courses };
        let html = section(&told);
        assert_eq!(html.matches("<polyline").count(), 9, "{html}");
        assert_eq!(html.matches("<rect").count(), 3, "{html}");
        assert_eq!(html.matches("class=\"failed\"").count(), 6, "{html}");
        assert!(
            html.contains("balancer, moves of the cluster: 3 closed, 2 ended by balancer"),
            "{html}"
        );
        assert!(html.contains("of 101 requests 1 failed"), "{html}");
    }
}

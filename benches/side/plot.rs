//! A plot as SVG text: values over powers of ten.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 40.0;

/// One line of the plot.
pub struct Series {
    pub name: &'static str,
    pub colour: &'static str,
    /// Abscissa, at least 1, and value.
    pub points: Vec<(f64, f64)>,
}

/// The plot; the horizontal axis is logarithmic, the vertical one begins at zero.
pub fn svg(title: &str, horizontal: &str, vertical: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|one| &one.points);
    let decades = points().map(|(at, _)| at.log10()).fold(1.0, f64::max).ceil();
    let top = ceiling(points().map(|(_, value)| *value).fold(1.0, f64::max));
    let x = |at: f64| LEFT + at.log10() / decades * (WIDTH - LEFT - 30.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}",
        text(WIDTH / 2.0, 20.0, "middle", title)
    );
    let mut decade = 0.0;
    while decade <= decades {
        let at = 10_f64.powf(decade);
        out += &line(x(at), y(0.0), x(at), y(top));
        out += &text(x(at), y(0.0) + 18.0, "middle", &at.to_string());
        decade += 1.0;
    }
    for step in [0.0, 0.25, 0.5, 0.75, 1.0] {
        out += &line(x(1.0), y(top * step), WIDTH - 30.0, y(top * step));
        out += &text(LEFT - 8.0, y(top * step) + 4.0, "end", &(top * step).to_string());
    }
    out += &text(WIDTH / 2.0, HEIGHT - 10.0, "middle", horizontal);
    out += &text(10.0, TOP - 8.0, "start", vertical);
    for (n, one) in series.iter().enumerate() {
        let mut path = String::new();
        for (at, value) in &one.points {
            let _ = write!(path, "{:.1},{:.1} ", x(*at), y(*value));
            let (x, y) = (x(*at), y(*value));
            let _ = writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>",
                one.colour
            );
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n<g fill=\"{}\">{}</g>",
            path.trim_end(),
            one.colour,
            one.colour,
            text(
                WIDTH - 40.0,
                y(0.0) - 12.0 - 16.0 * f64::from(u32::try_from(n).unwrap_or(0)),
                "end",
                one.name
            )
        );
    }
    out + "</svg>\n"
}

/// The next of 1, 2, 4 or 8 times a power of ten.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value).unwrap_or(value)
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>\n")
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}

//! A plot as an SVG file: memory against cold starts, a curve for fixed times and a point for what is learned.

use std::fmt::Write;

/// One policy: its label, its memory relative to the field's fixed time, its cold starts in percent.
pub(crate) struct Point {
    pub(crate) label: String,
    pub(crate) memory: f64,
    pub(crate) cold: f64,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 56.0;
/// What the axes begin and end with.
const MEMORY: (f64, f64) = (0.4, 1.6);
const COLD: (f64, f64) = (0.0, 100.0);

fn x(memory: f64) -> f64 {
    LEFT + (memory - MEMORY.0) / (MEMORY.1 - MEMORY.0) * (WIDTH - LEFT - RIGHT)
}

fn y(cold: f64) -> f64 {
    HEIGHT - BOTTOM - (cold - COLD.0) / (COLD.1 - COLD.0) * (HEIGHT - TOP - BOTTOM)
}

/// The file's content.
pub(crate) fn svg(fixed: &[Point], learned: &Point) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#333\">\n<title>Cold starts and memory of keep-alive policies</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    axes(&mut svg);
    let line: Vec<String> = fixed.iter().map(|point| format!("{:.1},{:.1}", x(point.memory), y(point.cold))).collect();
    let line = line.join(" ");
    // Writing to a string does not fail.
    let _ = writeln!(svg, "<polyline points=\"{line}\" fill=\"none\" stroke=\"#777\" stroke-width=\"2\"/>");
    for point in fixed {
        dot(&mut svg, point, 4.0, "#777", "");
    }
    dot(&mut svg, learned, 6.0, "#c2410c", " font-weight=\"bold\"");
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String) {
    let (left, right, bottom) = (x(MEMORY.0), x(MEMORY.1), y(COLD.0));
    for cold in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        let y = y(cold);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#e5e5e5\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{cold} %</text>",
            left - 8.0,
            y + 4.0
        );
    }
    for memory in [0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6] {
        let x = x(memory);
        let dashes = if memory == 1.0 { " stroke-dasharray=\"4 4\"" } else { "" };
        let color = if memory == 1.0 { "#999" } else { "#e5e5e5" };
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{color}\"{dashes}/><text x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{memory:.1}</text>",
            bottom + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">idle isolates, relative to 10 minutes</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">cold starts, third-quartile \
         application</text>",
        f64::midpoint(left, right),
        HEIGHT - 14.0,
        f64::midpoint(TOP, bottom)
    );
}

fn dot(svg: &mut String, point: &Point, radius: f64, color: &str, style: &str) {
    let (x, y) = (x(point.memory), y(point.cold));
    // Above the curve there is room to the right, and left of the learned policy's point there is nothing.
    let (from, anchor) = if style.is_empty() { (x + 8.0, "start") } else { (x - 10.0, "end") };
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{color}\"/><text x=\"{from:.1}\" y=\"{:.1}\" \
         text-anchor=\"{anchor}\" fill=\"{color}\"{style}>{}</text>",
        y - 4.0,
        point.label
    );
}

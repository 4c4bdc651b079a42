//! Plots of a run over time: goodput, congestion window, queue, age.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::run::Sample;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 90.0;
const GAP: f64 = 34.0;

/// Most points of a curve, so that the files stay small.
const POINTS: usize = 150;

/// One curve: its title with the unit, and its value in a sample.
type Curve = (&'static str, fn(&Sample) -> Option<f64>);

const CURVES: [Curve; 4] = [
    ("goodput, Mbit/s", |sample| Some(sample.goodput / 1e6)),
    ("cwnd, KiB", |sample| sample.cwnd.map(|bytes| bytes as f64 / 1024.0)),
    ("queue, ms", |sample| Some(sample.queue.as_secs_f64() * 1e3)),
    ("age, ms", |sample| sample.age.map(|age| age.as_secs_f64() * 1e3)),
];

/// Writes the plots of a run to a file.
pub(crate) fn write(file: &Path, title: &str, samples: &[Sample]) -> io::Result<()> {
    fs::write(file, draw(title, samples))
}

fn draw(title: &str, samples: &[Sample]) -> String {
    let curves: Vec<&Curve> = CURVES.iter().filter(|(_, value)| samples.iter().any(|s| value(s).is_some())).collect();
    let height = 40.0 + curves.len() as f64 * (HEIGHT + GAP) + 20.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#888\"><text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n",
        LEFT + WIDTH + 20.0
    );
    let end = samples.last().map_or(1.0, |sample| sample.at.as_secs_f64());
    for (index, (name, value)) in curves.iter().enumerate() {
        let top = 40.0 + index as f64 * (HEIGHT + GAP);
        let values: Vec<(f64, f64)> =
            samples.iter().filter_map(|sample| Some((sample.at.as_secs_f64(), value(sample)?))).collect();
        let max = values.iter().map(|(_, value)| *value).fold(1e-9, f64::max);
        let points: Vec<String> = values
            .chunks(values.len().div_ceil(POINTS).max(1))
            .map(mean)
            .map(|(at, value)| format!("{:.0},{:.0}", LEFT + at / end * WIDTH, top + HEIGHT - value / max * HEIGHT))
            .collect();
        write_plot(&mut out, name, top, max, end, &points.join(" "));
    }
    out + "</svg>\n"
}

/// Returns the mean time and value of some points.
fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / count, sum.1 / count)
}

fn write_plot(out: &mut String, name: &str, top: f64, max: f64, end: f64, points: &str) {
    let bottom = top + HEIGHT;
    let right = LEFT + WIDTH;
    let written = writeln!(
        out,
        "<path d=\"M{LEFT} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{max:.1}</text><text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\
         <text x=\"{LEFT}\" y=\"{}\">{name}</text><text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{end:.0} s</text>\
         <polyline points=\"{points}\" fill=\"none\" stroke=\"#3a7bd5\" stroke-width=\"1.2\"/>",
        LEFT - 6.0,
        top + 10.0,
        LEFT - 6.0,
        top - 4.0,
        bottom + 14.0,
    );
    debug_assert!(written.is_ok(), "text takes any text");
}

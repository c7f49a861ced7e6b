//! The plot: bars of medians, with a line from the least to the most.

use std::fmt::Write;

use crate::peers::fleet::{Durability, Peer};
use crate::peers::results::{RATE, Results, Spread};
use crate::peers::table::number;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 220.0;
const BAR: f64 = 500.0;
const LINE: f64 = 22.0;

/// A panel: its title, its scenario, and which servers are in it.
type Panel = (&'static str, &'static str, fn(Durability) -> bool);

const ANY: fn(Durability) -> bool = |_| true;
const PANELS: [Panel; 6] = [
    ("Puts of 64 B, 64 connections, not synced, per second", "puts-64x64", |class| {
        class != Durability::Synced
    }),
    ("Puts of 1 KiB, 64 connections, not synced, per second", "puts-64x1k", |class| {
        class != Durability::Synced
    }),
    (
        "Puts of 64 B, 64 connections, on the disk before the answer, per second",
        "puts-64x64",
        |class| class == Durability::Synced,
    ),
    (
        "Puts of 1 KiB, 64 connections, on the disk before the answer, per second",
        "puts-64x1k",
        |class| class == Durability::Synced,
    ),
    ("Reserve and ack of 64 B, 64 connections, per second", "take-64x64", ANY),
    ("Short connections, 64 at a time, one put of 64 B each, per second", "short-64", ANY),
];

pub(crate) fn draw(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for (title, scenario, is_in) in PANELS {
        let bars: Vec<(Peer, Spread)> = Peer::ALL
            .into_iter()
            .filter(|peer| is_in(peer.durability()))
            .filter_map(|peer| Some((peer, Spread::of(&results.series(scenario, peer, RATE))?)))
            .collect();
        let most = bars.iter().map(|(_, spread)| spread.most).fold(0.0, f64::max);
        if most > 0.0 {
            y = panel(&mut body, y, title, &bars, BAR / most);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{y}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

/// Returns where the next one begins.
fn panel(out: &mut String, top: f64, title: &str, bars: &[(Peer, Spread)], scale: f64) -> f64 {
    let mut y = top + LINE;
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes it");
    line(format!("<text x=\"10\" y=\"{y}\" font-weight=\"bold\" fill=\"#222\">{title}</text>"));
    y += 10.0;
    for (peer, Spread { median, least, most }) in bars {
        let color = match peer {
            Peer::Echo => "#bbb",
            peer if peer.is_ours() => "#2b7a5b",
            _ => "#7b96b5",
        };
        let (base, middle) = (y + LINE * 0.7, y + LINE / 2.0);
        let name = peer.name();
        line(format!(
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#222\">{name}</text>",
            LABEL - 8.0
        ));
        line(format!(
            "<rect x=\"{LABEL}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"/>",
            y + 3.0,
            median * scale,
            LINE - 6.0
        ));
        line(format!(
            "<path d=\"M{:.1} {middle}H{:.1}\" stroke=\"#222\" stroke-width=\"2\"/>",
            LABEL + least * scale,
            LABEL + most * scale
        ));
        line(format!(
            "<text x=\"{:.1}\" y=\"{base}\" fill=\"#222\">{}</text>",
            LABEL + most * scale + 8.0,
            number(*median)
        ));
        y += LINE;
    }
    y + 12.0
}

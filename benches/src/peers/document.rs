//! What is printed, and the generated part of `docs/benchmarks.md`; the rest of that file is written by people and stays as it is.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::peers::fleet::{Durability, Peer};
use crate::peers::kestrel::Found;
use crate::peers::quiet::Quiet;
use crate::peers::results::{P50, P99, RATE, Results, Sample, Spread};
use crate::peers::scenarios::SCENARIOS;
use crate::peers::table::{HEADS, Row, number};
use crate::peers::{missed, plot};

const BEGIN: &str = "<!-- make bench writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Everything that a run found.
pub(crate) struct Report<'a> {
    pub(crate) rows: Vec<Row>,
    pub(crate) results: &'a Results,
    pub(crate) tools: &'a [Found],
    pub(crate) machine: &'a str,
    pub(crate) versions: Vec<String>,
    pub(crate) missing: Vec<&'static str>,
    pub(crate) repetitions: usize,
    pub(crate) time: Duration,
    pub(crate) quiet: Quiet,
}

/// Cells of a table, whose first row is its head.
type Cells = Vec<Vec<String>>;

fn heads(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Report<'_> {
    pub(crate) fn print(&self) {
        print!("\n{}", self.circumstances());
        let tables = [self.details(), self.tool_lines(), self.verdicts()];
        // One that has only a head was not asked for.
        for cells in tables.into_iter().filter(|cells| cells.len() > 1) {
            println!("\n{}", aligned(&cells));
        }
        let (met, missed) = missed(&self.rows);
        println!("{met} OK, {missed} MISSED");
    }

    fn circumstances(&self) -> String {
        let Quiet { measurements, were_quiet } = self.quiet;
        let mut text = self.machine.to_owned();
        writeln!(text, "{}", self.versions.join(", ")).expect("a string takes it");
        writeln!(
            text,
            "{} repetitions of {:.1} s; the machine was quiet before {were_quiet} of {measurements} measurements",
            self.repetitions,
            self.time.as_secs_f64()
        )
        .expect("a string takes it");
        if !self.missing.is_empty() {
            writeln!(text, "not installed, rows left out: {}", self.missing.join(", "))
                .expect("a string takes it");
        }
        text
    }

    fn verdicts(&self) -> Cells {
        let lines = self.rows.iter().map(|row| row.cells().to_vec());
        std::iter::once(heads(&HEADS)).chain(lines).collect()
    }

    fn details(&self) -> Cells {
        let names = [
            "scenario",
            "server",
            "class",
            "per second (range)",
            "p50 us",
            "p99 us",
            "server us",
            "generator us",
        ];
        let mut cells = vec![heads(&names)];
        for scenario in SCENARIOS {
            let measured = |peer: &&Peer| self.results.was_measured(scenario.name, **peer);
            for (index, peer) in scenario.peers.iter().filter(measured).enumerate() {
                let figure = |figure: fn(&Sample) -> f64| {
                    let spread = Spread::of(&self.results.series(scenario.name, *peer, figure));
                    spread.unwrap_or(Spread { median: 0.0, least: 0.0, most: 0.0 })
                };
                let rate = figure(RATE);
                cells.push(vec![
                    if index == 0 { scenario.what.to_owned() } else { String::new() },
                    peer.name().to_owned(),
                    class(peer.durability()).to_owned(),
                    format!(
                        "{} ({} to {})",
                        number(rate.median),
                        number(rate.least),
                        number(rate.most)
                    ),
                    number(figure(P50).median),
                    number(figure(P99).median),
                    number(figure(|sample| sample.server_us).median),
                    number(figure(|sample| sample.generator_us).median),
                ]);
            }
        }
        cells
    }

    fn tool_lines(&self) -> Cells {
        let mut cells = vec![heads(&["Kestrel's tool", "what", "server", "figure", "remark"])];
        for Found { tool, server, what, figure, unit, remark } in self.tools {
            let figure = format!("{} {unit}", number(*figure));
            let line = [*tool, what, *server, &figure, remark];
            cells.push(heads(&line));
        }
        cells
    }

    /// Into `benchmarks.md` between the markers, and beside it.
    pub(crate) fn write(&self, directory: &Path) {
        let (met, missed) = missed(&self.rows);
        let mut text = String::new();
        writeln!(text, "Taken on this machine:\n\n```text\n{}```\n", self.circumstances())
            .and_then(|()| writeln!(text, "{}\n{met} OK, {missed} MISSED.\n", markdown(&self.verdicts())))
            .and_then(|()| writeln!(text, "![Operations per second: medians and ranges](benchmarks.svg)\n"))
            .and_then(|()| writeln!(text, "Every scenario and server; processor time is that of one operation, the warm-up included:\n\n{}", markdown(&self.details())))
            .and_then(|()| writeln!(text, "Kestrel's own load tools, with their defaults (`put-many` is among the scenarios):\n\n{}", markdown(&self.tool_lines())))
            .expect("a string takes it");
        let file = directory.join("benchmarks.md");
        let before = fs::read_to_string(&file).expect("docs/benchmarks.md");
        let after = replaced(&before, &text).expect("docs/benchmarks.md has both markers");
        fs::write(&file, after).expect("the document can be written");
        fs::write(directory.join("benchmarks.svg"), plot::draw(self.results))
            .expect("the plot can be written");
        println!("written: {}, benchmarks.svg", file.display());
    }
}

fn class(durability: Durability) -> &'static str {
    match durability {
        Durability::None => "-",
        Durability::Memory => "memory",
        Durability::Written => "written",
        Durability::Synced => "synced",
    }
}

fn replaced(document: &str, text: &str) -> Option<String> {
    let (head, rest) = document.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{text}{END}{tail}"))
}

fn markdown(cells: &Cells) -> String {
    let mut text = String::new();
    for (index, line) in cells.iter().enumerate() {
        writeln!(text, "| {} |", line.join(" | ")).expect("a string takes it");
        if index == 0 {
            writeln!(text, "|{}", "---|".repeat(line.len())).expect("a string takes it");
        }
    }
    text
}

fn aligned(cells: &Cells) -> String {
    let width = |column: usize| cells.iter().map(|line| line[column].chars().count()).max();
    let columns = cells.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for line in cells {
        let mut padded = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            write!(padded, "{cell:<width$}  ").expect("a string takes it");
        }
        writeln!(text, "{}", padded.trim_end()).expect("a string takes it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn what_people_wrote_stays() {
        let before = format!("# Head\n\n{BEGIN}old\n{END}\n## More\n");
        let after = replaced(&before, "new\n").expect("both markers");
        assert_eq!(after, format!("# Head\n\n{BEGIN}\nnew\n{END}\n## More\n"));
        assert_eq!(replaced(&after, "new\n").as_deref(), Some(after.as_str()));
        assert_eq!(replaced("# Head\n", "new\n"), None);
    }
}

//! The table: what was measured, what was to be reached, and whether it was.

use std::time::Duration;

use crate::storage::{GIB, MIB};

/// Segments of 1 MiB that may be there for longer on a machine that is busy with something else.
const LATE_MIB: u64 = 16;

/// Figures in the order in which they came.
pub(crate) struct Report {
    lines: Vec<Line>,
    row: &'static str,
    is_timed: bool,
    /// Something was missed that must hold on any machine.
    has_failed: bool,
}

struct Line {
    row: &'static str,
    what: String,
    figure: String,
    target: String,
    is_met: Option<bool>,
}

impl Line {
    fn text(&self) -> String {
        let verdict = match self.is_met {
            Some(true) => "OK",
            Some(false) => "MISSED",
            None => "",
        };
        let Self { row, what, figure, target, .. } = self;
        format!("{row:<11} {what:<58} {figure:>16}  {target:<34} {verdict}").trim_end().to_owned()
    }
}

impl Report {
    /// `is_timed`: times and rates are judged, too.
    pub(crate) fn new(is_timed: bool) -> Self {
        Self { lines: Vec::new(), row: "", is_timed, has_failed: false }
    }

    /// What follows belongs to this row.
    pub(crate) fn begin(&mut self, row: &'static str) {
        self.row = row;
    }

    /// A figure without a target.
    pub(crate) fn note(&mut self, what: &str, figure: String) {
        self.push(what, figure, String::new(), None);
    }

    /// A figure and its target, which must be met on any machine.
    pub(crate) fn judge(&mut self, what: &str, figure: String, target: String, is_met: bool) {
        self.has_failed |= !is_met;
        self.push(what, figure, target, Some(is_met));
    }

    /// A figure that depends on the machine, and on what else it does: a verdict, and no more.
    pub(crate) fn judge_pace(&mut self, what: &str, figure: String, target: String, is_met: bool) {
        match self.is_timed {
            true => self.push(what, figure, target, Some(is_met)),
            false => self.note(what, figure),
        }
    }

    pub(crate) fn judge_memory(&mut self, what: &str, bytes: u64, below: u64) {
        self.judge(what, mib(bytes), format!("< {}", mib(below)), bytes < below);
    }

    pub(crate) fn judge_time(&mut self, what: &str, time: Duration, below: Duration) {
        self.judge_pace(what, seconds(time), format!("< {}", seconds(below)), time < below);
    }

    /// Something of which there must be none.
    pub(crate) fn judge_none(&mut self, what: &str, count: u64) {
        self.judge(what, count.to_string(), "0".to_owned(), count == 0);
    }

    /// How far the files exceeded their bound. Space is won back beside the puts, which do not wait for that: where times are not judged the server may be as late as
    /// the machine makes it, by [`LATE_MIB`].
    pub(crate) fn judge_disk(&mut self, what: &str, over: i64) {
        let figure = format!("{:+.1} MiB", over as f64 / MIB as f64);
        let most = if self.is_timed { 0 } else { LATE_MIB };
        let target = format!("<= {most}: 2 x live + log_cap + 2 seg.");
        self.judge(what, figure, target, over <= (most * MIB) as i64);
    }

    pub(crate) fn judge_at_least(&mut self, what: &str, ratio: f64, least: f64, of: &str) {
        self.judge_pace(what, format!("{ratio:.2}"), format!(">= {least} x {of}"), ratio >= least);
    }

    fn push(&mut self, what: &str, figure: String, target: String, is_met: Option<bool>) {
        let line = Line { row: self.row, what: what.to_owned(), figure, target, is_met };
        eprintln!("{}", line.text());
        self.lines.push(line);
    }

    /// Whether all is well that does not depend on the machine: memory, disk, and what became of the items.
    pub(crate) fn holds(&self) -> bool {
        !self.has_failed
    }

    pub(crate) fn print(&self) {
        println!("{:<11} {:<58} {:>16}  {:<34} verdict", "row", "what", "figure", "target");
        self.lines.iter().for_each(|line| println!("{}", line.text()));
        let judged = self.lines.iter().filter_map(|line| line.is_met);
        let (met, missed): (Vec<bool>, Vec<bool>) = judged.partition(|is_met| *is_met);
        println!("{} OK, {} MISSED", met.len(), missed.len());
    }
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / GIB as f64)
}

pub(crate) fn mib_per_second(bytes_per_second: f64) -> String {
    format!("{:.0} MiB/s", bytes_per_second / MIB as f64)
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

pub(crate) fn rate(per_second: f64) -> String {
    format!("{per_second:.0} /s")
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn a_time_is_a_verdict_where_that_is_wanted_and_no_more() {
        for is_timed in [false, true] {
            let mut report = Report::new(is_timed);
            report.judge_at_least("a rate", 0.1, 0.5, "another");
            assert_eq!(report.lines[0].is_met, is_timed.then_some(false));
            assert!(report.holds());
        }
    }

    #[test]
    fn one_target_that_any_machine_meets_is_a_missed_run() {
        let mut report = Report::new(true);
        report.begin("row");
        report.note("a figure", "1".to_owned());
        report.judge_disk("files", 0);
        report.judge_memory("memory", 299, 300);
        assert!(report.holds());
        report.judge_memory("memory", 300, 300);
        assert!(!report.holds());
    }
}

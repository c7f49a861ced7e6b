//! The table of what was to be reached: ratios of pairs that were taken in the same repetition, and a verdict on their median.

use serde::Serialize;

use crate::peers::fleet::Peer;
use crate::peers::results::{P50, P99, RATE, Results, Spread};

/// Names of figures that no server's operation gives.
pub(crate) const SYNC_US: &str = "sync-us";
pub(crate) const POOL_US: &str = "pool-us";
pub(crate) const PROXY_US: &str = "proxy-us";
pub(crate) const PUSH_US: &str = "push-us";
pub(crate) const SET_US: &str = "set-us";

/// The item of the row about memory.
pub(crate) const SMALL_ITEM_BYTES: usize = 64;

pub(crate) fn memory_name(peer: Peer) -> String {
    format!("memory-{}", peer.name())
}

/// What the ratio is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// It is told, not judged.
    None,
}

impl Target {
    /// Whether two digits may not show on which side of it `ratio` is.
    fn is_near(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => (ratio - bound).abs() < 0.005,
            Self::None => false,
        }
    }
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) ours: Vec<f64>,
    pub(crate) theirs: Vec<f64>,
    pub(crate) unit: &'static str,
    pub(crate) against: String,
    pub(crate) target: Target,
}

impl Row {
    pub(crate) fn ratio(&self) -> Option<Spread> {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(a, b)| a / b).collect();
        Spread::of(&ratios)
    }

    /// None where there is no target. What could not be measured was not reached.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let median = self.ratio().map(|ratio| ratio.median);
        match self.target {
            Target::AtLeast(least) => Some(median.is_some_and(|ratio| ratio >= least)),
            Target::AtMost(most) => Some(median.is_some_and(|ratio| ratio <= most)),
            Target::None => None,
        }
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "OK",
            Some(false) => "MISSED",
            None => "",
        }
    }

    pub(crate) fn cells(&self) -> [String; 7] {
        let figure =
            |series: &[f64]| Spread::of(series).map_or("-".to_owned(), |s| number(s.median));
        let ratio = self.ratio().map_or("not measured".to_owned(), |ratio| {
            // 0.997 of 1 is missed: "1.00" would not show it.
            let digits = if self.target.is_near(ratio.median) { 3 } else { 2 };
            format!("{:.digits$} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most)
        });
        let target = match self.target {
            Target::AtLeast(least) => format!(">= {least}"),
            Target::AtMost(most) => format!("<= {most}"),
            Target::None => String::new(),
        };
        [
            self.what.to_owned(),
            format!("{} {}", figure(&self.ours), self.unit),
            self.against.clone(),
            format!("{} {}", figure(&self.theirs), self.unit),
            ratio,
            target,
            self.verdict().to_owned(),
        ]
    }
}

pub(crate) const HEADS: [&str; 7] =
    ["row", "KQueue", "beside", "its figure", "ratio", "target", "verdict"];

/// With thousands, and no more digits than are meant.
pub(crate) fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Makes rows from results.
struct Table<'a> {
    results: &'a Results,
    rows: Vec<Row>,
}

/// All rows whose servers were there.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut table = Table { results, rows: Vec::new() };
    table.puts();
    table.synced();
    table.takes();
    table.short_connections();
    table.crowd();
    table.latencies();
    table.memory();
    table.rows
}

impl Table<'_> {
    fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Rates of one scenario, ours beside another's.
    fn rates(
        &mut self,
        what: &'static str,
        scenario: &'static str,
        ours: Peer,
        theirs: Peer,
        target: Target,
    ) {
        if !self.results.was_measured(scenario, theirs) {
            return;
        }
        let row = Row {
            what,
            ours: self.results.series(scenario, ours, RATE),
            theirs: self.results.series(scenario, theirs, RATE),
            unit: "/s",
            against: theirs.name().to_owned(),
            target,
        };
        self.push(row);
    }

    /// A latency beside a bound, each of which has one value per repetition.
    fn bound(
        &mut self,
        what: &'static str,
        ours: Vec<f64>,
        against: &str,
        theirs: Vec<f64>,
        most: f64,
    ) {
        let target = Target::AtMost(most);
        self.push(Row { what, ours, theirs, unit: "us", against: against.to_owned(), target });
    }

    fn puts(&mut self) {
        const ROWS: [(&str, &str); 2] = [
            ("puts, sync off, 64 connections, 64 B", "puts-64x64"),
            ("puts, sync off, 64 connections, 1 KiB", "puts-64x1k"),
        ];
        for (what, scenario) in ROWS {
            for (peer, least) in [
                (Peer::Memcached, 1.1),
                (Peer::BeanstalkMemory, 1.0),
                (Peer::RedisEverysec, 1.1),
                (Peer::Echo, 0.8),
            ] {
                self.rates(what, scenario, Peer::Kqueue, peer, Target::AtLeast(least));
            }
            for peer in [Peer::Nats, Peer::BeanstalkDefault, Peer::KqueueKestrel] {
                self.rates(what, scenario, Peer::Kqueue, peer, Target::None);
            }
        }
    }

    fn synced(&mut self) {
        const ROWS: [(&str, &str); 2] = [
            ("puts, synced, 64 connections, 64 B", "puts-64x64"),
            ("puts, synced, 64 connections, 1 KiB", "puts-64x1k"),
        ];
        for (what, scenario) in ROWS {
            for (peer, least) in
                [(Peer::RedisAlways, 1.5), (Peer::BeanstalkSynced, 8.0), (Peer::Kqueue, 0.7)]
            {
                self.rates(what, scenario, Peer::KqueueSynced, peer, Target::AtLeast(least));
            }
        }
        let round_trip = self.results.series("puts-1x64", Peer::Echo, P50);
        let sync = self.results.other(SYNC_US);
        let limit = sync.iter().zip(&round_trip).map(|(sync, echo)| 1e6 / (sync + echo)).collect();
        self.push(Row {
            what: "puts, synced, 1 connection, 64 B",
            ours: self.results.series("puts-1x64", Peer::KqueueSynced, RATE),
            theirs: limit,
            unit: "/s",
            against: "1 / (one sync + one echo)".to_owned(),
            target: Target::AtLeast(0.9),
        });
    }

    fn takes(&mut self) {
        const TAKE: &str = "reserve + ack, 64 connections, 64 B";
        const MIXED: &str = "put + reserve + ack, 64 connections, 1 KiB";
        let at_least = Target::AtLeast(1.3);
        self.rates(TAKE, "take-64x64", Peer::Kqueue, Peer::BeanstalkMemory, at_least);
        self.rates(TAKE, "take-64x64", Peer::Kqueue, Peer::RedisEverysec, Target::None);
        self.rates(TAKE, "take-64x64", Peer::Kqueue, Peer::KqueueKestrel, Target::None);
        for peer in [Peer::BeanstalkMemory, Peer::RedisEverysec] {
            self.rates(MIXED, "mixed-64x1k", Peer::Kqueue, peer, Target::None);
        }
        const BACKLOG: [(&str, &str); 3] = [
            ("backlog, filling, 64 connections, 1 KiB", "backlog-filling"),
            ("backlog, resting: put + reserve + ack", "backlog-resting"),
            ("backlog, draining: reserve + ack", "backlog-draining"),
        ];
        for (what, scenario) in BACKLOG {
            for peer in [Peer::BeanstalkMemory, Peer::RedisEverysec] {
                self.rates(what, scenario, Peer::Kqueue, peer, Target::None);
            }
        }
        for peer in [Peer::Memcached, Peer::BeanstalkMemory, Peer::RedisEverysec] {
            self.rates(
                "put-many (Kestrel's load tool)",
                "put-many",
                Peer::KqueueKestrel,
                peer,
                Target::None,
            );
        }
    }

    fn short_connections(&mut self) {
        const RIVALS: [Peer; 3] = [Peer::Memcached, Peer::BeanstalkMemory, Peer::RedisEverysec];
        const ROWS: [(&str, &str); 3] = [
            ("short connections, 1 at a time", "short-1"),
            ("short connections, 16 at a time", "short-16"),
            ("short connections, 64 at a time", "short-64"),
        ];
        for (what, scenario) in ROWS {
            self.rates(what, scenario, Peer::Kqueue, Peer::Echo, Target::AtLeast(0.95));
            let series = RIVALS.map(|peer| self.results.series(scenario, peer, RATE));
            let best = |series: &&Vec<f64>| Spread::of(series).map_or(0, |s| s.median as u64);
            let (peer, theirs) =
                RIVALS.iter().zip(&series).max_by_key(|(_, series)| best(series)).expect("some");
            self.push(Row {
                what,
                ours: self.results.series(scenario, Peer::Kqueue, RATE),
                theirs: theirs.clone(),
                unit: "/s",
                against: format!("the best rival, {}", peer.name()),
                target: Target::AtLeast(1.0),
            });
            self.rates(what, scenario, Peer::Kqueue, Peer::Nutcracker, Target::None);
        }
        let php = [
            (
                "PHP: push, the extension's pool",
                POOL_US,
                PROXY_US,
                "short connections to nutcracker",
            ),
            (
                "PHP: push, the extension's pool",
                PUSH_US,
                SET_US,
                "php-memcached's kept set, same server",
            ),
        ];
        for (what, ours, theirs, against) in php {
            let (ours, theirs) = (self.results.other(ours), self.results.other(theirs));
            if Spread::of(&ours).is_some() {
                let against = against.to_owned();
                self.push(Row { what, ours, theirs, unit: "us", against, target: Target::None });
            }
        }
    }

    fn crowd(&mut self) {
        let with = |peer| self.results.series("crowd-5000", peer, RATE);
        let without = |peer| self.results.series("crowd-0", peer, RATE);
        let row = |peer: Peer, what, against: &str, target| Row {
            what,
            ours: with(peer),
            theirs: without(peer),
            unit: "/s",
            against: against.to_owned(),
            target,
        };
        let ours = row(
            Peer::Kqueue,
            "64 active beside 5,000 idle connections",
            "without them",
            Target::AtLeast(0.95),
        );
        let theirs = row(Peer::Memcached, "the same, memcached", "without them", Target::None);
        self.rows.extend([ours, theirs]);
    }

    fn latencies(&mut self) {
        const HALF: &str = "half-1k";
        let p99 = |peer| self.results.series(HALF, peer, P99);
        let sync = self.results.other(SYNC_US);
        let (off, synced) = (p99(Peer::Kqueue), p99(Peer::KqueueSynced));
        // What the machine allows is what the others reach, the echo server first.
        let others = [
            (Peer::Memcached, "memcached at its half load"),
            (Peer::RedisEverysec, "redis everysec at its half load"),
            (Peer::Echo, "echo server at its half load"),
        ];
        let others = others.map(|(peer, against)| (p99(peer), against));
        let redis = p99(Peer::RedisAlways);
        let what = "p99 of a put at half load, sync off";
        self.bound(what, off.clone(), "0.3 ms", vec![300.0; off.len()], 1.0);
        for (theirs, against) in others {
            self.beside(what, off.clone(), theirs, against);
        }
        let what = "p99 of a put at half load, synced";
        self.bound(what, synced.clone(), "the disk's median sync", sync, 3.0);
        self.beside(what, synced, redis, "redis always at its half load");
    }

    fn beside(&mut self, what: &'static str, ours: Vec<f64>, theirs: Vec<f64>, against: &str) {
        let (unit, against, target) = ("us", against.to_owned(), Target::None);
        self.push(Row { what, ours, theirs, unit, against, target });
    }

    fn memory(&mut self) {
        let ours = self.results.other(&memory_name(Peer::Kqueue));
        let bound = vec![(2 * SMALL_ITEM_BYTES + 64) as f64; ours.len()];
        self.push(Row {
            what: "peak memory per queued item of 64 B",
            ours: ours.clone(),
            theirs: bound,
            unit: "B",
            against: "2 x its bytes + 64 B".to_owned(),
            target: Target::AtMost(1.0),
        });
        for peer in [Peer::BeanstalkMemory, Peer::RedisEverysec] {
            let theirs = self.results.other(&memory_name(peer));
            self.push(Row {
                what: "peak memory per queued item of 64 B",
                ours: ours.clone(),
                theirs,
                unit: "B",
                against: peer.name().to_owned(),
                target: Target::None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Target, number};

    #[test]
    fn the_median_of_the_ratios_of_pairs_is_judged() {
        let mut row = Row {
            what: "",
            ours: vec![90.0, 110.0, 120.0],
            theirs: vec![100.0, 100.0, f64::NAN],
            unit: "/s",
            against: String::new(),
            target: Target::AtLeast(1.1),
        };
        assert_eq!(row.is_met(), Some(true));
        row.target = Target::AtMost(1.0);
        assert_eq!(row.is_met(), Some(false));
        row.ours.clear();
        assert_eq!((row.is_met(), row.ratio()), (Some(false), None));
        row.target = Target::None;
        assert_eq!(row.is_met(), None);
    }

    #[test]
    fn a_ratio_shows_on_which_side_of_its_target_it_is() {
        let ratio = |ours, target| {
            let (ours, theirs) = (vec![ours], vec![1000.0]);
            let (unit, against) = ("/s", String::new());
            Row { what: "", ours, theirs, unit, against, target }.cells()[4].clone()
        };
        assert_eq!(ratio(997.0, Target::AtLeast(1.0)), "0.997 (1.00 to 1.00)");
        assert_eq!(ratio(1004.0, Target::AtMost(1.0)), "1.004 (1.00 to 1.00)");
        assert_eq!(ratio(994.0, Target::AtLeast(1.0)), "0.99 (0.99 to 0.99)");
        assert_eq!(ratio(997.0, Target::None), "1.00 (1.00 to 1.00)");
    }

    #[test]
    fn numbers_are_readable() {
        let numbers = [0.04, 99.94, 100.4, 1234.0, 1_234_567.0].map(number);
        assert_eq!(numbers, ["0.0", "99.9", "100", "1,234", "1,234,567"]);
    }
}

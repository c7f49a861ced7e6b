//! What was measured: one figure per scenario, server and repetition.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::Outcome;
use crate::peers::fleet::{Durability, Peer};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) operations: u64,
    /// Processor time per operation.
    pub(crate) generator_us: f64,
    pub(crate) server_us: f64,
}

impl Sample {
    pub(crate) fn new(outcome: &Outcome, server_seconds: f64) -> Self {
        let each = |seconds: f64| seconds * 1e6 / outcome.sent.max(1) as f64;
        Self {
            per_second: outcome.per_second(),
            p50_us: outcome.percentile_us(50.0),
            p99_us: outcome.percentile_us(99.0),
            p999_us: outcome.percentile_us(99.9),
            max_us: outcome.percentile_us(100.0),
            operations: outcome.count,
            generator_us: each(outcome.processor.as_secs_f64()),
            server_us: each(server_seconds),
        }
    }
}

/// A figure of a sample.
pub(crate) type Figure = fn(&Sample) -> f64;

pub(crate) const RATE: Figure = |sample| sample.per_second;
pub(crate) const P50: Figure = |sample| sample.p50_us;
pub(crate) const P99: Figure = |sample| sample.p99_us;

/// All of them. A series has one value per repetition; NaN where the measurement broke off.
#[derive(Debug, Default)]
pub(crate) struct Results {
    samples: BTreeMap<(&'static str, Peer), BTreeMap<usize, Sample>>,
    /// What is no operation of a server: by name and repetition.
    others: BTreeMap<String, BTreeMap<usize, f64>>,
    repetitions: usize,
}

impl Results {
    pub(crate) fn add(
        &mut self,
        scenario: &'static str,
        peer: Peer,
        repetition: usize,
        sample: Sample,
    ) {
        self.repetitions = self.repetitions.max(repetition + 1);
        self.samples.entry((scenario, peer)).or_default().insert(repetition, sample);
    }

    pub(crate) fn add_other(&mut self, name: &str, repetition: usize, figure: f64) {
        self.repetitions = self.repetitions.max(repetition + 1);
        self.others.entry(name.to_owned()).or_default().insert(repetition, figure);
    }

    pub(crate) fn sample(
        &self,
        scenario: &'static str,
        peer: Peer,
        repetition: usize,
    ) -> Option<&Sample> {
        self.samples.get(&(scenario, peer))?.get(&repetition)
    }

    pub(crate) fn series(&self, scenario: &'static str, peer: Peer, figure: Figure) -> Vec<f64> {
        let one = |repetition| self.sample(scenario, peer, repetition).map_or(f64::NAN, figure);
        (0..self.repetitions).map(one).collect()
    }

    pub(crate) fn other(&self, name: &str) -> Vec<f64> {
        let figures = self.others.get(name);
        let one = |repetition| figures.and_then(|figures| figures.get(&repetition)).copied();
        (0..self.repetitions).map(|repetition| one(repetition).unwrap_or(f64::NAN)).collect()
    }

    pub(crate) fn was_measured(&self, scenario: &'static str, peer: Peer) -> bool {
        self.samples.contains_key(&(scenario, peer))
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Line<'a> {
            scenario: &'static str,
            server: Peer,
            durability: Durability,
            repetition: usize,
            #[serde(flatten)]
            sample: &'a Sample,
        }
        let samples = self.samples.iter().flat_map(|((scenario, peer), samples)| {
            samples.iter().map(|(repetition, sample)| Line {
                scenario,
                server: *peer,
                durability: peer.durability(),
                repetition: *repetition,
                sample,
            })
        });
        serde_json::json!({ "samples": samples.collect::<Vec<_>>(), "others": self.others })
    }
}

/// Median, least and most of what is a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: sorted[sorted.len() / 2], least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn what_was_not_measured_does_not_count() {
        let spread = Spread::of(&[3.0, f64::NAN, 1.0, 2.0]);
        assert_eq!(spread, Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(Spread::of(&[f64::NAN]), None);
    }
}

//! Histograms of how long things took, as Prometheus and as Ostrich show them.

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

/// Bounds for requests and syncs, in seconds.
pub(super) const QUICK: &[f64] = &[
    25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3,
    500e-3, 1.0, 2.5, 5.0, 10.0,
];
/// Bounds for what may wait for long, in seconds.
pub(super) const LONG: &[f64] =
    &[1e-3, 10e-3, 100e-3, 1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0];

/// A histogram in classes of Prometheus's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Classes {
    /// In seconds.
    pub(super) sum: f64,
    pub(super) count: u64,
    /// Upper bounds in seconds; how many are below it and above the one before.
    pub(super) buckets: Vec<(f64, u64)>,
}

impl Classes {
    /// Of a histogram in microseconds. A value is in the class of the smallest that could be recorded as it is: one percent off at most.
    pub(super) fn of(histogram: &Histogram<u64>, bounds: &[f64]) -> Self {
        let mut buckets: Vec<(f64, u64)> = bounds.iter().map(|&bound| (bound, 0)).collect();
        let (mut sum_us, mut class) = (0_u128, 0);
        for value in histogram.iter_recorded() {
            let (us, count) = (value.value_iterated_to(), value.count_at_value());
            sum_us += u128::from(histogram.median_equivalent(us)) * u128::from(count);
            let seconds = histogram.lowest_equivalent(us) as f64 / 1e6;
            while buckets.get(class).is_some_and(|(bound, _)| *bound < seconds) {
                class += 1;
            }
            if let Some((_, counted)) = buckets.get_mut(class) {
                *counted += count;
            }
        }
        Self { sum: sum_us as f64 / 1e6, count: histogram.len(), buckets }
    }
}

/// The figures that Ostrich shows, of a histogram in microseconds, in units of so many microseconds.
pub(super) fn distribution(histogram: &Histogram<u64>, unit_us: u64) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut add =
        |name: &str, us: u64| figures.insert(name.into(), ((us + unit_us / 2) / unit_us).into());
    if !histogram.is_empty() {
        let sum = Classes::of(histogram, &[]).sum * 1e6;
        add("average", histogram.mean() as u64);
        add("maximum", histogram.max());
        add("minimum", histogram.min());
        for (name, quantile) in [
            ("p25", 0.25),
            ("p50", 0.5),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
            ("p999", 0.999),
            ("p9999", 0.9999),
        ] {
            add(name, histogram.value_at_quantile(quantile));
        }
        add("sum", sum as u64);
    }
    figures.insert("count".into(), histogram.len().into());
    figures.sort_keys();
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_max(30 * 24 * 3600 * 1_000_000, 2).unwrap();
        values.iter().for_each(|&us| histogram.saturating_record(us));
        histogram
    }

    #[test]
    fn every_value_is_in_the_class_below_whose_bound_it_is() {
        let classes = Classes::of(&recorded(&[0, 25, 26, 1000, 1001, 9_999_999, u64::MAX]), QUICK);
        let in_class = |bound: f64| classes.buckets.iter().find(|b| b.0 == bound).unwrap().1;
        assert_eq!((in_class(25e-6), in_class(50e-6)), (2, 1));
        // The histogram keeps two figures: 1001 is recorded as 1000 is.
        assert_eq!((in_class(1e-3), in_class(2.5e-3), in_class(10.0)), (2, 0, 1));
        assert_eq!(classes.count, 7, "one is above all bounds");
        assert_eq!(classes.buckets.iter().map(|b| b.1).sum::<u64>(), 6);
        assert!(classes.sum > 2_500_000.0, "{}", classes.sum);
        assert_eq!(Classes::of(&recorded(&[]), &[1.0]).buckets, [(1.0, 0)]);
    }

    #[test]
    fn a_distribution_is_empty_or_has_all_of_ostrichs_figures() {
        let empty = Value::from(distribution(&recorded(&[]), 1)).to_string();
        assert_eq!(empty, r#"{"count":0}"#);
        let values: Vec<u64> = (1..=100).collect();
        let all = Value::from(distribution(&recorded(&values), 1)).to_string();
        assert_eq!(
            all,
            r#"{"average":50,"count":100,"maximum":100,"minimum":1,"p25":25,"p50":50,"p75":75,"p90":90,"p95":95,"p99":99,"p999":100,"p9999":100,"sum":5050}"#
        );
        assert_eq!(distribution(&recorded(&[7_000]), 1000)["minimum"], 7);
    }
}

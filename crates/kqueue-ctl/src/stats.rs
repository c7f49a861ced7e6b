//! The figures of a server, as `stats` gives them: its own, and each queue's.
//!
//! `queue_<name>_<figure>` is ambiguous where a queue's name ends like a figure. The server gives a queue's figures one after the other and each once, beginning with
//! `items`; by that they are told apart.
//! Must not: talk to a server.

use std::collections::BTreeMap;

/// One queue's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueFigures {
    pub(crate) name: String,
    pub(crate) figures: BTreeMap<String, String>,
}

impl QueueFigures {
    /// 0 if the server does not have it.
    pub(crate) fn number(&self, figure: &str) -> u64 {
        self.figures.get(figure).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// All figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) totals: Vec<(String, String)>,
    pub(crate) queues: Vec<QueueFigures>,
}

const FIRST: &str = "items";

impl Stats {
    /// Adds the next figure.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let Some(of_queue) = name.strip_prefix("queue_") else {
            return self.totals.push((name.to_owned(), value.to_owned()));
        };
        if let Some(last) = self.queues.last_mut()
            && let Some(figure) =
                of_queue.strip_prefix(&last.name).and_then(|f| f.strip_prefix('_'))
            && !last.figures.contains_key(figure)
            && figure != FIRST
        {
            last.figures.insert(figure.to_owned(), value.to_owned());
            return;
        }
        match of_queue.strip_suffix(FIRST).and_then(|name| name.strip_suffix('_')) {
            Some(queue) => {
                let figures = BTreeMap::from([(FIRST.to_owned(), value.to_owned())]);
                self.queues.push(QueueFigures { name: queue.to_owned(), figures });
            }
            // Of the server: queue_creates and the like.
            None => self.totals.push((name.to_owned(), value.to_owned())),
        }
    }

    /// The figures of a queue.
    pub(crate) fn queue(&self, name: &str) -> Option<&QueueFigures> {
        self.queues.iter().find(|queue| queue.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&str, &str)]) -> Stats {
        let mut stats = Stats::default();
        lines.iter().for_each(|(name, value)| stats.add(name, value));
        stats
    }

    #[test]
    fn a_queue_that_is_called_like_a_figure_is_told_from_one_whose_figure_it_is() {
        let stats = read(&[
            ("uptime", "5"),
            ("queue_creates", "2"),
            ("queue_a_items", "1"),
            ("queue_a_expired_items", "2"),
            ("queue_a_expired_items", "3"),
            ("queue_a_expired_bytes", "4"),
        ]);
        assert_eq!(
            stats.totals,
            [("uptime", "5"), ("queue_creates", "2")].map(|(a, b)| (a.into(), b.into()))
        );
        assert_eq!(stats.queue("a").map(|queue| queue.number("expired_items")), Some(2));
        let other = stats.queue("a_expired").expect("the other one");
        assert_eq!((other.number("items"), other.number("bytes"), other.number("none")), (3, 4, 0));
    }
}

//! The extended commands over a raw connection: items by id, and what a queue holds in any state.

use std::collections::BTreeMap;

use crate::Wire;

/// An item that `reserve` handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// By which it is acknowledged.
    pub id: u64,
    /// Deliveries, this one included.
    pub attempts: u32,
    /// Milliseconds since its put.
    pub age_ms: u64,
    /// The item.
    pub body: String,
}

/// An item that `browse` showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By which it is known.
    pub id: u64,
    /// The word for its state.
    pub state: String,
    /// Everything that is said by name.
    pub names: BTreeMap<String, String>,
    /// As much of it as was asked for.
    pub body: String,
}

impl Found {
    /// What stands behind a name.
    ///
    /// # Panics
    /// If it is missing.
    pub fn name(&self, name: &str) -> &str {
        self.names.get(name).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }
}

impl Wire {
    /// Sends a line, and a body behind it if there is one; answers the first line that comes back.
    pub fn say(&mut self, line: &str, body: Option<&str>) -> String {
        let body = body.map(|body| format!("{body}\r\n")).unwrap_or_default();
        self.send(format!("{line}\r\n{body}").as_bytes());
        self.line()
    }

    /// Puts an item with options and answers its id.
    ///
    /// # Panics
    /// If it is not stored.
    pub fn put_with(&mut self, queue: &str, body: &str, options: &str) -> u64 {
        let line = format!("put {queue} {} {options}", body.len());
        let reply = self.say(&line, Some(body));
        let id = reply.strip_prefix("STORED ").and_then(|id| id.parse().ok());
        id.unwrap_or_else(|| panic!("STORED <id>, not {reply:?}"))
    }

    /// Reserves items; `rest` stands behind the word `reserve`.
    ///
    /// # Panics
    /// If something else comes.
    pub fn reserve(&mut self, rest: &str) -> Vec<Reserved> {
        let mut line = self.say(&format!("reserve {rest}"), None);
        let mut items = Vec::new();
        while line != "END" {
            let words: Vec<&str> = line.split(' ').collect();
            let ["ITEM", _, id, _, attempts, age_ms, bytes] = words[..] else {
                panic!("ITEM or END, not {line:?}");
            };
            let number = |word: &str| word.parse::<u64>().expect("a number");
            let (id, attempts, age_ms) = (number(id), number(attempts) as u32, number(age_ms));
            let body = self.body(number(bytes));
            items.push(Reserved { id, attempts, age_ms, body });
            line = self.line();
        }
        items
    }

    /// Reserves one item at once.
    ///
    /// # Panics
    /// If there is none.
    pub fn reserve_one(&mut self, queue: &str) -> Reserved {
        let mut items = self.reserve(&format!("1 60000 0 {queue}"));
        items.pop().unwrap_or_else(|| panic!("an item of {queue}"))
    }

    /// Browses; `rest` stands behind the word `browse`. Answers what was found and the cursor, if there is one.
    ///
    /// # Panics
    /// If something else comes.
    pub fn browse(&mut self, rest: &str) -> (Vec<Found>, Option<String>) {
        let mut line = self.say(&format!("browse {rest}"), None);
        let mut items = Vec::new();
        loop {
            if let Some(cursor) = line.strip_prefix("END") {
                return (items, cursor.strip_prefix(' ').map(str::to_owned));
            }
            let words: Vec<&str> = line.split(' ').collect();
            let ["FOUND", _, id, state, bytes, names @ ..] = &words[..] else {
                panic!("FOUND or END, not {line:?}");
            };
            let names = names.iter().map(|word| word.split_once('=').expect("name=value"));
            items.push(Found {
                id: id.parse().expect("a number"),
                state: (*state).to_owned(),
                names: names.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                body: self.body(bytes.parse().expect("a number")),
            });
            line = self.line();
        }
    }

    /// The bodies of all items of a queue in a state.
    pub fn bodies(&mut self, queue: &str, state: &str) -> Vec<String> {
        let mut bodies = Vec::new();
        let mut after = String::new();
        loop {
            let (found, cursor) = self.browse(&format!("{queue} {state} 1000{after}"));
            bodies.extend(found.into_iter().map(|found| found.body));
            let Some(cursor) = cursor else { return bodies };
            after = format!(" after={cursor}");
        }
    }

    fn body(&mut self, bytes: u64) -> String {
        let mut body = vec![0; bytes as usize];
        self.read(&mut body);
        self.expect(b"\r\n");
        String::from_utf8_lossy(&body).into_owned()
    }
}

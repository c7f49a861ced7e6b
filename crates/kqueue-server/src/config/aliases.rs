//! Aliases: names that stand for several queues.
//!
//! Invariant: after [`flatten`] no destination is an alias, and none is there twice.
//! Must not: know what is put where (the engine does).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kqueue_broker::Destinations;
use toml::de::DeValue;

use super::check_name;
use super::reader::{self, ConfigError, Places, Table, named_key};

/// A put to an alias is a put to each of them, and everybody else waits meanwhile.
const DESTINATIONS_MAX: usize = 1000;

/// Destinations by the name of the alias.
pub(super) type Aliases = BTreeMap<Box<[u8]>, Destinations>;

/// Reads the destinations as they are written.
pub(super) fn read(table: &mut Table<'_, '_>) -> Result<Destinations, reader::Error> {
    let mut read = None;
    table.set("destinations", &mut read, |value| destinations(value).map(Some))?;
    read.ok_or_else(|| table.lacks("destinations", "a list of the queues that receive"))
}

fn destinations(value: &DeValue<'_>) -> Result<Destinations, String> {
    let expected = || "a list of names of queues, such as [\"a\", \"b\"]".to_owned();
    let list = value.as_array().ok_or_else(expected)?;
    if !(1..=DESTINATIONS_MAX).contains(&list.len()) {
        return Err(format!("a list of 1 to {DESTINATIONS_MAX} names of queues"));
    }
    let named = list.iter().map(|entry| {
        let name = entry.get_ref().as_str().ok_or_else(expected)?;
        check_name(name).map_err(|error| format!("{} (\"{name}\": {error})", expected()))?;
        Ok(name.as_bytes().into())
    });
    named.collect()
}

/// Replaces every destination that is an alias by that one's destinations. A queue that is reached in several ways is there once, at its first place.
///
/// # Errors
/// An alias that leads to itself, or to too many queues.
pub(super) fn flatten(written: &Aliases, places: &Places) -> Result<Aliases, ConfigError> {
    let mut flat = Aliases::new();
    for name in written.keys() {
        // From the alias that is wanted to the one that has to be known first.
        let mut way: Vec<&[u8]> = vec![name];
        while let Some(&alias) = way.last() {
            let is_unknown =
                |to: &&Arc<[u8]>| written.contains_key(&***to) && !flat.contains_key(&***to);
            match written[alias].iter().find(is_unknown) {
                Some(inner) => {
                    let is_cycle = way.contains(&&**inner);
                    way.push(inner);
                    if is_cycle {
                        return Err(cycle(&way, places));
                    }
                }
                None => {
                    let destinations = expand(&written[alias], &flat);
                    if destinations.len() > DESTINATIONS_MAX {
                        return Err(too_many(alias, destinations.len(), places));
                    }
                    flat.insert(alias.into(), destinations);
                    way.pop();
                }
            }
        }
    }
    Ok(flat)
}

/// `written` with the destinations of the aliases in it, which are all in `flat`.
fn expand(written: &[Arc<[u8]>], flat: &Aliases) -> Destinations {
    let mut seen = BTreeSet::new();
    let expanded = written.iter().flat_map(|to| match flat.get(&**to) {
        Some(inner) => &inner[..],
        None => std::slice::from_ref(to),
    });
    expanded.filter(|to| seen.insert(&***to)).cloned().collect()
}

/// The last alias of the way is on it twice.
fn cycle(way: &[&[u8]], places: &Places) -> ConfigError {
    let begin = way.iter().position(|alias| Some(alias) == way.last()).unwrap_or(0);
    let names: Vec<_> = way[begin..].iter().map(|alias| String::from_utf8_lossy(alias)).collect();
    let key = key_of(way[begin]);
    places.error(&key, format!("{key} lead back to it: {}", names.join(" -> ")))
}

fn too_many(alias: &[u8], count: usize, places: &Places) -> ConfigError {
    let key = key_of(alias);
    places.error(&key, format!("{key} are {count} queues, more than {DESTINATIONS_MAX}"))
}

fn key_of(alias: &[u8]) -> String {
    format!("{}.destinations", named_key("aliases", &String::from_utf8_lossy(alias)))
}

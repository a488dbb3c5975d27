//! A JSON object with names of its own, in which no name stands twice.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Most names of one object.
const MOST_NAMES: usize = 64;

/// The names and values, in order. Where JSON has a name twice, readers differ in which one counts, so
/// this reader takes neither.
#[derive(Debug, Clone)]
pub struct StrictMap<V>(BTreeMap<String, V>);

impl<V> Default for StrictMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> StrictMap<V> {
    /// Its names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &V)> {
        self.0.iter()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for StrictMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
    type Value = StrictMap<V>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if name.len() > MOST_NAMES || entries.len() == MOST_NAMES {
                return Err(A::Error::custom("too many names, or one that is too long"));
            }
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
            entries.insert(name, value);
        }
        Ok(StrictMap(entries))
    }
}

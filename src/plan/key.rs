//! The key of a step: a digest over everything that goes into it; and what differs between two.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::verdict::Reason;
use crate::state::Ingredient;

/// SHA-256 over a canonical encoding of `ingredients`: each name and value with its length, sorted, so
/// that where two keys differ a name or a value does, and [`differences`] tells it.
pub fn key(ingredients: &[Ingredient]) -> String {
    let mut sorted: Vec<_> = ingredients.iter().collect();
    sorted.sort();
    let mut hasher = Sha256::new();
    hasher.update(b"qrun step key 2\n");
    for text in sorted.into_iter().flat_map(|(name, value)| [name, value]) {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hex::encode(hasher.finalize())
}

/// Something that goes into a step, by what it is now and what it was at the last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub name: String,
    /// `None` if it goes into the step no more, or is not known yet.
    pub now: Option<String>,
    /// Whether it is known only once another step has run.
    pub waits: bool,
    /// `None` if it did not go into the step then.
    pub before: Option<String>,
}

impl Compared {
    /// Whether it makes another key, as far as is known.
    pub fn differs(&self) -> bool {
        !self.waits && self.now != self.before
    }
}

/// The ingredients of now, of which a value may not be known yet, held against those of the last
/// success; behind them those that it had alone.
pub fn compare(old: &[Ingredient], new: &[(String, Option<String>)]) -> Vec<Compared> {
    let before = |name: &str| old.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let of_now = new.iter().map(|(name, now)| Compared {
        before: before(name),
        waits: now.is_none(),
        name: name.clone(),
        now: now.clone(),
    });
    let gone = old.iter().filter(|(name, _)| !new.iter().any(|(n, _)| n == name));
    let of_then = gone.map(|(name, value)| Compared {
        name: name.clone(),
        now: None,
        waits: false,
        before: Some(value.clone()),
    });
    of_now.chain(of_then).collect()
}

/// What differs between the ingredients of the last success and those of now; a value that is not
/// known yet (`None`) is passed over.
pub fn differences(old: &[Ingredient], new: &[(String, Option<String>)]) -> Vec<Reason> {
    let differing = compare(old, new).into_iter().filter(Compared::differs);
    let reason =
        |Compared { name, now, before, .. }| Reason::Changed { field: name, old: before, new: now };
    differing.map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[(&str, &str)]) -> Vec<Ingredient> {
        items.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn names_and_values_do_not_run_into_each_other() {
        let keys = [
            key(&list(&[("ab", "c")])),
            key(&list(&[("a", "bc")])),
            key(&list(&[("ab", ""), ("c", "")])),
            key(&list(&[("ab", "c"), ("", "")])),
            key(&[]),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn the_encoding_is_fixed() {
        // Records of earlier versions are found again only as long as this holds.
        assert_eq!(
            key(&list(&[("bench.runs", "10")])),
            "bddb2dec3d4714a79e3b4840a7d45422298df735368bddd4b97b2fcd7b807e30"
        );
    }

    #[test]
    fn differences_are_named_and_unknown_values_passed_over() {
        let old = list(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let new = [
            ("a".to_owned(), Some("1".to_owned())),
            ("b".to_owned(), Some("9".to_owned())),
            ("d".to_owned(), Some("4".to_owned())),
            ("e".to_owned(), None),
        ];
        let shown: Vec<_> = differences(&old, &new).iter().map(Reason::to_string).collect();
        assert_eq!(shown, ["b: 2 -> 9", "d: none -> 4", "c: 3 -> none"]);
    }
}

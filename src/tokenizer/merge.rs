//! Byte-pair encoding of one word: the pair with the lowest rank merges first, the leftmost of
//! equals before the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::{TokenizerError, byte_level};

/// Which pairs of tokens merge, in which order, into what.
#[derive(Debug)]
pub struct Merges {
    /// (left, right) to (rank, joined).
    pairs: HashMap<(u32, u32), (u32, u32)>,
    /// The token of each byte.
    bytes: [u32; 256],
}

/// A token on its way through the merges of one word.
#[derive(Clone, Copy)]
struct Symbol {
    token: u32,
    previous: usize,
    next: usize,
}

/// No neighbour.
const NONE: usize = usize::MAX;
/// A symbol that has been merged into its left neighbour.
const GONE: u32 = u32::MAX;

impl Merges {
    /// Merges written as `"left right"` in byte-level characters, best first, over a vocabulary
    /// that `id` looks up.
    ///
    /// # Errors
    /// If a merge's parts or their join are no tokens, or a byte has no token.
    pub fn new(
        merges: &[String],
        id: impl Fn(&str) -> Option<u32>,
    ) -> Result<Self, TokenizerError> {
        let mut bytes = [0; 256];
        for byte in 0..=255 {
            let text = byte_level::char_of(byte).to_string();
            bytes[usize::from(byte)] = id(&text).ok_or(TokenizerError::MissingByte(byte))?;
        }
        let mut pairs = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (number, merge) in merges.iter().enumerate() {
            let bad =
                |reason: String| TokenizerError::Merge { number, merge: merge.clone(), reason };
            let (left, right) = merge
                .split_once(' ')
                .filter(|(left, right)| !left.is_empty() && !right.is_empty())
                .ok_or_else(|| bad("expected two tokens with a space between them".to_owned()))?;
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let token =
                |text: &str| id(text).ok_or_else(|| bad(format!("{text:?} is not a token")));
            let (pair, rank) = ((token(left)?, token(right)?), number as u32);
            // A merge that is listed twice keeps its first rank.
            pairs.entry(pair).or_insert((rank, token(&joined)?));
        }
        Ok(Self { pairs, bytes })
    }

    /// Appends the tokens of `word` to `out`.
    ///
    /// Takes time in proportion to `n log n` of the word's bytes, whatever they are.
    pub fn encode(&self, word: &[u8], out: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = word
            .iter()
            .enumerate()
            .map(|(i, &byte)| Symbol {
                token: self.bytes[usize::from(byte)],
                previous: i.checked_sub(1).unwrap_or(NONE),
                next: if i + 1 < word.len() { i + 1 } else { NONE },
            })
            .collect();
        let mut queue = BinaryHeap::new();
        for left in 0..symbols.len() {
            self.offer(&symbols, left, &mut queue);
        }
        while let Some(Reverse((rank, left))) = queue.pop() {
            let Symbol { token, next: right, .. } = symbols[left];
            if token == GONE || right == NONE {
                continue;
            }
            // An entry made before one of its sides changed is stale: its rank is another pair's.
            let Some(&(now, joined)) = self.pairs.get(&(token, symbols[right].token)) else {
                continue;
            };
            if now != rank {
                continue;
            }
            let after = symbols[right].next;
            symbols[left].token = joined;
            symbols[left].next = after;
            symbols[right].token = GONE;
            if after != NONE {
                symbols[after].previous = left;
            }
            self.offer(&symbols, left, &mut queue);
            if symbols[left].previous != NONE {
                self.offer(&symbols, symbols[left].previous, &mut queue);
            }
        }
        out.extend(symbols.iter().map(|s| s.token).filter(|&token| token != GONE));
    }

    /// Queues the pair that begins at symbol `left`, if it merges.
    fn offer(
        &self,
        symbols: &[Symbol],
        left: usize,
        queue: &mut BinaryHeap<Reverse<(u32, usize)>>,
    ) {
        let Symbol { token, next, .. } = symbols[left];
        if next != NONE
            && let Some(&(rank, _)) = self.pairs.get(&(token, symbols[next].token))
        {
            queue.push(Reverse((rank, left)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 256 bytes, then the join of each merge.
    fn merges(list: &[&str]) -> Result<Merges, TokenizerError> {
        let mut ids: HashMap<String, u32> =
            (0..=255).map(|b| (byte_level::char_of(b).to_string(), u32::from(b))).collect();
        for merge in list {
            let id = ids.len() as u32;
            ids.entry(merge.replace(' ', "")).or_insert(id);
        }
        let list: Vec<String> = list.iter().map(|&m| m.to_owned()).collect();
        Merges::new(&list, |text| ids.get(text).copied())
    }

    fn encode(merges: &Merges, word: &str) -> Vec<u32> {
        let mut out = Vec::new();
        merges.encode(word.as_bytes(), &mut out);
        out
    }

    /// Merges by looking for the best pair in the whole word each time.
    fn naive(merges: &Merges, word: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = word.bytes().map(u32::from).collect();
        loop {
            let best = (1..tokens.len())
                .filter_map(|i| Some((*merges.pairs.get(&(tokens[i - 1], tokens[i]))?, i)))
                .min();
            let Some(((_, joined), i)) = best else { return tokens };
            tokens[i - 1] = joined;
            tokens.remove(i);
        }
    }

    #[test]
    fn the_best_pair_merges_first_and_the_leftmost_of_equals() {
        let merges = merges(&["b c", "a b", "a a", "aa aa"]).unwrap();
        assert_eq!(encode(&merges, "abc"), [97, 256]);
        assert_eq!(encode(&merges, "aaa"), [258, 97]);
        assert_eq!(encode(&merges, "aaaaab"), [259, 257]);
        assert!(encode(&merges, "").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn as_the_naive_way(word in "[abc]{0,60}") {
            let merges = merges(&["b c", "a b", "a a", "ab c", "aa aa", "c aa", "bc bc"]).unwrap();
            assert_eq!(encode(&merges, &word), naive(&merges, &word));
        }
    }

    #[test]
    fn unknown_parts_are_named() {
        let error = Merges::new(&["a b".to_owned()], |t| (t.chars().count() == 1).then_some(1))
            .unwrap_err()
            .to_string();
        assert_eq!(error, r#"merge 0 is "a b": "ab" is not a token"#);
        for bad in ["ab", " a", "a "] {
            assert!(merges(&[bad]).unwrap_err().to_string().contains("two tokens"), "{bad:?}");
        }
    }
}

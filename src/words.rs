//! Words that somebody mistyped. Knows nothing of what they name.

/// Likeness from which words are near that typing errors alone do not explain, such as `benhc` and
/// `bench:q4_K_M`.
const ALIKE: f64 = 0.8;

/// The candidate that a misspelt word most likely meant: the one with the fewest typing errors, if
/// they are no more than a third of it, or else the most alike. In any case, upper or lower.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let mut closest: Option<(usize, &str)> = None;
    let mut most_alike: Option<(f64, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let errors = strsim::damerau_levenshtein(&word, &lower);
        let few = errors * 3 <= candidate.chars().count().max(3);
        if few && closest.is_none_or(|(fewest, _)| errors < fewest) {
            closest = Some((errors, candidate));
        }
        let likeness = strsim::jaro_winkler(&word, &lower);
        if likeness > most_alike.map_or(ALIKE, |(most, _)| most) {
            most_alike = Some((likeness, candidate));
        }
    }
    closest.map(|(_, word)| word).or(most_alike.map(|(_, word)| word))
}

/// `did you mean X?`, if something is near.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// The same behind a message: `; did you mean X?`, or nothing.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(word, candidates).map_or_else(String::new, |hint| format!("; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let formats = ["q4_K_M", "q4_K_S", "q8_0"];
        assert_eq!(nearest("q4_k_n", formats), Some("q4_K_M"));
        assert_eq!(nearest("Q8-0", formats), Some("q8_0"));
        assert_eq!(nearest("zebra", formats), None);
        assert_eq!(nearest("warmup", ["warmups", "runs"]), Some("warmups"));
        assert_eq!(nearest("quantise", ["verify", "quantize:small"]), Some("quantize:small"));
    }
}

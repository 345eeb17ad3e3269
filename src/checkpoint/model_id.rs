//! What a model's name says about it, be it a directory's or `organization/model`: name, base name,
//! size, version and fine-tune, by the same guesses as `Metadata.get_model_id_components` in gguf-py's `metadata.py`, so that a
//! converted file carries the `general.*` keys that llama.cpp's converter gives it.

use std::sync::LazyLock;

use regex::Regex;

/// The parts of a model's name, each absent where nothing looks like it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelId {
    /// Without the organization, as it is written: `gpt-oss-20b`.
    pub full_name: String,
    /// What stands before the first slash.
    pub organization: Option<String>,
    pub basename: Option<String>,
    pub finetune: Option<String>,
    pub version: Option<String>,
    /// As the name gives it: `20B`.
    pub size_label: Option<String>,
}

/// What one part of a name looks like.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    version: bool,
    /// A quantization.
    kind: bool,
    size: bool,
    finetune: bool,
    basename: bool,
}

impl Looks {
    fn count(self) -> usize {
        [self.version, self.kind, self.size, self.finetune, self.basename]
            .into_iter()
            .filter(|&x| x)
            .count()
    }
}

/// A pattern for a whole part, in any case. The patterns are constants; each is used by a test.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(&format!("^(?i:{text})$")).ok()
}

static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(v|iter)?\d+([.]\d+)*"));
static KIND: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"i?q\d(_\w)*|b?fp?(16|32)"));
static SIZE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl")
});
static FINETUNE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern("chat|instruct|vision|lora"));

fn is(pattern: &LazyLock<Option<Regex>>, part: &str) -> bool {
    pattern.as_ref().is_some_and(|p| p.is_match(part))
}

impl ModelId {
    /// Takes `id` apart; a size in it counts only where it is about that of the model, `parameters`.
    pub fn parse(id: &str, parameters: u64) -> Self {
        if id.contains(' ') {
            return Self { full_name: id.to_owned(), ..Self::default() };
        }
        let (organization, full_name) = match id.split_once('/') {
            // A path is no organization.
            Some((first, rest)) => (Some(first).filter(|o| !o.starts_with('.')), rest),
            None => (None, id),
        };
        let mut parts: Vec<String> =
            full_name.split('-').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let mut looks = vec![Looks::default(); parts.len()];
        for (i, (part, looks)) in parts.iter_mut().zip(&mut looks).enumerate() {
            if is(&VERSION, part) {
                looks.version = true;
            } else if is(&KIND, part) {
                looks.kind = true;
                *part = part.to_uppercase();
            } else if i > 0 && is(&SIZE, part) {
                let (label, plausible) = size_label(part, parameters);
                *part = label;
                looks.size = plausible;
                looks.finetune = !plausible;
            } else if i > 0 && is(&FINETUNE, part) {
                looks.finetune = true;
            }
        }
        drop_words_beside_numbers(&parts, &mut looks);
        mark_basename(&parts, &mut looks);

        let chosen = |wanted: fn(&Looks) -> bool| -> Vec<&str> {
            let all = parts.iter().zip(&looks).filter(|(_, l)| wanted(l));
            all.map(|(p, _)| p.as_str()).collect()
        };
        let joined = |parts: Vec<&str>| (!parts.is_empty()).then(|| parts.join("-"));
        let join = |wanted| joined(chosen(wanted));
        let finetune = join(|l| l.finetune);
        let version = join(|l| l.version && !l.basename);
        let mut sizes: Vec<&str> = Vec::new();
        for size in chosen(|l| l.size) {
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        let size_label = joined(sizes);
        // A base name that nothing sets off from the rest is none.
        let alone = finetune.is_none() && version.is_none() && size_label.is_none();
        let basename = if alone { None } else { join(|l| l.basename) };
        let organization = organization.map(str::to_owned);
        let full_name = full_name.to_owned();
        Self { full_name, organization, basename, finetune, version, size_label }
    }
}

/// The size in its usual spelling (`7b1` is `7.1B`), and whether the model may be of that size.
fn size_label(part: &str, parameters: u64) -> (String, bool) {
    let mut label = part.replace('_', ".");
    let mut chars: Vec<char> = label.chars().collect();
    if let [.., unit, digit] = chars[..]
        && digit.is_ascii_digit()
    {
        chars.truncate(chars.len() - 2);
        chars.extend(['.', digit, unit]);
    }
    if let [.., before, last] = &mut chars[..]
        && before.is_ascii_digit()
        && matches!(last, 'k' | 'm' | 'b' | 't')
    {
        *last = last.to_ascii_uppercase();
    }
    label.clear();
    label.extend(&chars);

    let Some(unit) = chars.last().copied() else { return (label, true) };
    let number: String = chars[..chars.len() - 1].iter().collect();
    let (Ok(number), Some(power)) = (number.parse::<f64>(), " KMBT".find(unit)) else {
        return (label, true);
    };
    let claimed = number * 1000f64.powi(power as i32);
    if parameters != 0 && (claimed - parameters as f64).abs() > (7 * parameters / 8) as f64 {
        // Likely a context length, which is written in lower case.
        let mut label: String = chars[..chars.len() - 1].iter().collect();
        label.push(unit.to_ascii_lowercase());
        return (label, false);
    }
    (label, true)
}

/// Sizes in words (`mini`) do not count beside one in numbers.
fn drop_words_beside_numbers(parts: &[String], looks: &mut [Looks]) {
    let has_number = parts
        .iter()
        .zip(looks.iter())
        .any(|(p, l)| l.size && p.chars().any(|c| c.is_ascii_digit()));
    if has_number {
        for (part, looks) in parts.iter().zip(looks) {
            if looks.size && part.chars().all(char::is_alphabetic) {
                looks.size = false;
            }
        }
    }
}

/// The base name is what comes before the first part that looks like anything else; what comes
/// after it and looks like nothing is the fine-tune.
fn mark_basename(parts: &[String], looks: &mut [Looks]) {
    let mut at_start = true;
    for (part, looks) in parts.iter().zip(looks.iter_mut()) {
        let word = looks.count() == 0 && part.starts_with(char::is_alphabetic);
        if at_start && (word || looks.version) {
            looks.basename = true;
        } else {
            at_start = false;
            if looks.count() == 0 {
                looks.finetune = true;
            }
        }
    }
    // A version at the very end is not part of the base name.
    for looks in looks.iter_mut().rev() {
        if looks.basename && looks.count() > 1 {
            looks.basename = false;
        } else {
            break;
        }
    }
}

/// `gpt-oss-20b` is `Gpt Oss 20b`: words in lower case get a capital, unless they are versions or
/// begin with a digit.
pub fn title(id: &str) -> String {
    let spaced = id.replace('-', " ");
    let words = spaced.split_whitespace().map(|word| {
        let lower = word.chars().any(char::is_lowercase) && !word.chars().any(char::is_uppercase);
        let numbered = word.strip_prefix('v').unwrap_or(word);
        let version = word.starts_with(|c: char| c.is_ascii_digit())
            || (numbered.len() < word.len()
                && numbered
                    .split('.')
                    .all(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit())));
        if lower && !version { capitalize(word) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A capital at the start of every run of letters that have cases.
fn capitalize(word: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in word.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            // One letter may become two, of which one is the capital: `Ss`.
            let mut capitals = c.to_uppercase();
            out.extend(capitals.next());
            out.extend(capitals.flat_map(char::to_lowercase));
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    out
}

/// `12x1.9M`: experts, and the parameters that one token meets with a single expert, or without
/// experts all of them; as `size_label` in gguf-py's `utility.py`.
pub fn computed_size_label(parameters: u64, experts: u64) -> String {
    let count = parameters as f64;
    let (scaled, unit) = if count > 1e12 {
        (count * 1e-12, 'T')
    } else if count > 1e9 {
        (count * 1e-9, 'B')
    } else if count > 1e6 {
        (count * 1e-6, 'M')
    } else {
        (count * 1e-3, 'K')
    };
    let whole = scaled.round_ties_even().to_string();
    let digits = 2usize.saturating_sub(whole.trim_start_matches('0').len());
    let size = format!("{scaled:.digits$}{unit}");
    if experts > 0 { format!("{experts}x{size}") } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[name, basename, finetune, version, size]`, as gguf-py 0.18 answers.
    fn parts(id: &str, parameters: u64) -> [String; 5] {
        let id = ModelId::parse(id, parameters);
        let text = |x: Option<String>| x.unwrap_or_default();
        [
            title(&id.full_name),
            text(id.basename),
            text(id.finetune),
            text(id.version),
            text(id.size_label),
        ]
    }

    #[test]
    fn names_come_apart_as_in_gguf_py() {
        let billion = 1_000_000_000;
        let cases = [
            ("gpt-oss-nano", 3_000_000, ["Gpt Oss Nano", "", "", "", ""]),
            ("gpt-oss-20b", 21 * billion, ["Gpt Oss 20b", "gpt-oss", "", "", "20B"]),
            ("gpt-oss-20b", 3_000_000, ["Gpt Oss 20b", "gpt-oss", "20b", "", ""]),
            (
                "gpt-oss-20b-instruct-v2",
                21 * billion,
                ["Gpt Oss 20b Instruct v2", "gpt-oss", "instruct", "v2", "20B"],
            ),
            ("my model", 5, ["My Model", "", "", "", ""]),
            ("bloom-7b1", 7 * billion, ["Bloom 7b1", "bloom", "", "", "7.1B"]),
            (
                "Phi-3-mini-4k-instruct",
                4 * billion,
                ["Phi 3 Mini 4k Instruct", "Phi-3", "4k-instruct", "", "mini"],
            ),
            ("o200k-MoE-q4_0", 0, ["O200K MoE Q4_0", "", "", "", ""]),
            ("模型abc-20b", 21 * billion, ["模型Abc 20b", "模型abc", "", "", "20B"]),
            ("a-20B-x-20b", 21 * billion, ["A 20B X 20b", "a", "x", "", "20B"]),
        ];
        for (id, parameters, expected) in cases {
            assert_eq!(parts(id, parameters), expected.map(str::to_owned), "{id}");
        }
    }

    #[test]
    fn sizes_are_rounded_to_two_digits() {
        assert_eq!(computed_size_label(1_915_000, 12), "12x1.9M");
        assert_eq!(computed_size_label(2_400_000_000, 32), "32x2.4B");
        assert_eq!(computed_size_label(21_000_000_000, 0), "21B");
        assert_eq!(computed_size_label(900, 0), "0.9K");
    }
}

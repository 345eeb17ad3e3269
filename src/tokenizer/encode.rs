//! Text to token ids and back.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use hashbrown::HashMap;

use super::merge::Merges;
use super::split::{PreTokenizer, Splitter};
use super::{TextStream, TokenType, TokenizerError, Vocabulary, byte_level, gguf_keys};
use crate::gguf::{Array, Metadata, Value};

/// What text that spells a special token becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// The token, whichever it is: for prompts.
    Parse,
    /// The token if it is user-defined to llama.cpp, as its programs read a text (`llama-perplexity`,
    /// `llama-tokenize --no-parse-special`): gpt-oss's `<|start|>`, `<|channel|>`, `<|constrain|>`,
    /// `<|message|>` and `<|end|>` are, whatever type the file gives them.
    UserDefined,
    /// The token if the file calls it user-defined; otherwise ordinary tokens.
    AsText,
}

/// Encodes text to token ids and decodes them.
#[derive(Debug)]
pub struct Tokenizer {
    /// The bytes that each token decodes to.
    bytes: Vec<Box<[u8]>>,
    merges: Merges,
    splitter: Splitter,
    /// Tokens that are found in text before it is split.
    all_special: SpecialTokens,
    /// Those of them that are user-defined to llama.cpp.
    user_defined: SpecialTokens,
    /// Those that the file calls user-defined.
    declared: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    /// Sorted.
    end_of_generation: Vec<u32>,
}

/// Words between two questions whether to go on: about a millisecond.
const WORDS: usize = 1024;

/// Tokens that stand for themselves in a text; the longest match wins.
#[derive(Debug)]
struct SpecialTokens {
    find: AhoCorasick,
    ids: Vec<u32>,
}

/// A vocabulary's parts, borrowed from wherever they are kept.
struct Parts<'a> {
    pre: &'a PreTokenizer,
    tokens: &'a [String],
    token_type: &'a dyn Fn(usize) -> TokenType,
    merges: &'a [String],
    /// The id under GGUF's name for it.
    special_id: &'a dyn Fn(&str) -> Option<u32>,
    add_bos: bool,
}

/// Texts of tokens that end a generation: llama.cpp's list (`src/llama-vocab.cpp`), as far as
/// byte-level vocabularies have them.
pub(super) const END_OF_GENERATION: [&str; 9] = [
    "<|return|>",
    "<|call|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|fim_pad|>",
];

/// Marks of a message that llama.cpp takes for user-defined (`src/llama-vocab.cpp`).
const MARKS: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// A mark, too, where the tokens of the harmony format are there; elsewhere it ends a generation.
const END_OF_MESSAGE: &str = "<|end|>";

impl Tokenizer {
    /// A tokenizer over `vocabulary`.
    ///
    /// # Errors
    /// If the vocabulary contradicts itself; see [`TokenizerError`].
    pub fn new(vocabulary: &Vocabulary) -> Result<Self, TokenizerError> {
        let (types, tokens) = (vocabulary.token_types.len(), vocabulary.tokens.len());
        if types != tokens {
            return Err(TokenizerError::TypeCount { types, tokens });
        }
        Self::build(&Parts {
            pre: vocabulary.pre,
            tokens: &vocabulary.tokens,
            token_type: &|id| vocabulary.token_types[id],
            merges: &vocabulary.merges,
            special_id: &|name| vocabulary.special_id(name),
            add_bos: vocabulary.add_special.contains(&("bos", true)),
        })
    }

    /// The tokenizer of a GGUF file.
    ///
    /// # Errors
    /// If the file has no vocabulary, one of a kind not supported, or one that contradicts itself.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        let model = string(metadata, "tokenizer.ggml.model")?;
        if model != Vocabulary::MODEL {
            let (what, expected) = ("tokenizer model", Vocabulary::MODEL.to_owned());
            return Err(TokenizerError::Unsupported { what, expected, found: model.to_owned() });
        }
        let pre = PreTokenizer::named(string(metadata, "tokenizer.ggml.pre")?)?;
        let tokens = strings(metadata, "tokenizer.ggml.tokens")?;
        let merges = strings(metadata, "tokenizer.ggml.merges")?;
        gguf_keys::check_types(metadata, tokens.len())?;
        let types = match metadata.get("tokenizer.ggml.token_type") {
            Some(Value::Array(Array::I32(types))) if types.len() == tokens.len() => Some(types),
            Some(Value::Array(Array::I32(types))) => {
                return Err(TokenizerError::TypeCount { types: types.len(), tokens: tokens.len() });
            }
            Some(_) => {
                return Err(TokenizerError::Metadata {
                    key: "tokenizer.ggml.token_type",
                    expected: "an array of 32-bit integers",
                });
            }
            None => None,
        };
        Self::build(&Parts {
            pre,
            tokens,
            token_type: &|id| {
                types.map_or(TokenType::Normal, |types| TokenType::from_number(types[id]))
            },
            merges,
            special_id: &|name| {
                let id = metadata.u64(&format!("tokenizer.ggml.{name}_token_id"))?;
                u32::try_from(id).ok().filter(|&id| (id as usize) < tokens.len())
            },
            add_bos: metadata.bool("tokenizer.ggml.add_bos_token") == Some(true),
        })
    }

    /// What llama.cpp warns of in a GGUF file's vocabulary, or does otherwise than the file says, a
    /// line each.
    pub fn warnings(metadata: &Metadata) -> Vec<String> {
        gguf_keys::warnings(metadata)
    }

    fn build(parts: &Parts<'_>) -> Result<Self, TokenizerError> {
        let ids = ids(parts.tokens)?;
        let harmony = ids.contains_key("<|return|>") && ids.contains_key("<|call|>");
        let bytes = parts.tokens.iter().enumerate().map(|(id, token)| {
            match (parts.token_type)(id) {
                TokenType::Normal | TokenType::Byte => byte_level::to_bytes(token),
                _ => token.clone().into_bytes(),
            }
            .into_boxed_slice()
        });
        // llama.cpp goes by the texts of some tokens and not by their types.
        let llama_type = |token: &str, id: usize| match token {
            END_OF_MESSAGE if harmony => TokenType::UserDefined,
            _ if MARKS.contains(&token) => TokenType::UserDefined,
            _ if END_OF_GENERATION.contains(&token) => TokenType::Control,
            _ => (parts.token_type)(id),
        };
        let special = |wanted: &[TokenType], type_of: &dyn Fn(&str, usize) -> TokenType| {
            SpecialTokens::new(parts.tokens.iter().zip(0..).filter_map(|(token, id)| {
                wanted.contains(&type_of(token, id as usize)).then_some((token.as_str(), id))
            }))
        };
        Ok(Self {
            bytes: bytes.collect(),
            merges: Merges::new(parts.merges, |token| ids.get(token).copied())?,
            splitter: Splitter::new(parts.pre)?,
            all_special: special(
                &[TokenType::Control, TokenType::UserDefined, TokenType::Unknown],
                &llama_type,
            )?,
            user_defined: special(&[TokenType::UserDefined], &llama_type)?,
            declared: special(&[TokenType::UserDefined], &|_, id| (parts.token_type)(id))?,
            bos: (parts.special_id)("bos"),
            eos: (parts.special_id)("eos"),
            add_bos: parts.add_bos,
            end_of_generation: end_of_generation(&ids, harmony, parts.special_id),
        })
    }

    /// The tokens of `text`, without a `bos` token.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        self.encode_while(text, special, &|| true).unwrap_or_default()
    }

    /// [`Tokenizer::encode`] that asks `go_on` every few words: `None` after the first no.
    pub fn encode_while(
        &self,
        text: &str,
        special: Special,
        go_on: &dyn Fn() -> bool,
    ) -> Option<Vec<u32>> {
        let tokens = self.found_in_text(special);
        let mut out = Vec::new();
        let mut at = 0;
        for found in tokens.find.find_iter(text) {
            self.encode_ordinary(&text[at..found.start()], go_on, &mut out)?;
            out.push(tokens.ids[found.pattern().as_usize()]);
            at = found.end();
        }
        self.encode_ordinary(&text[at..], go_on, &mut out)?;
        Some(out)
    }

    fn found_in_text(&self, special: Special) -> &SpecialTokens {
        match special {
            Special::Parse => &self.all_special,
            Special::UserDefined => &self.user_defined,
            Special::AsText => &self.declared,
        }
    }

    /// How many special tokens `text` spells that [`Tokenizer::encode`] reads as text, and the
    /// first of them.
    pub fn spelled_as_text(&self, text: &str, special: Special) -> Option<(usize, u32)> {
        let read = self.found_in_text(special);
        let mut spelled = (self.all_special.find.find_iter(text))
            .map(|found| self.all_special.ids[found.pattern().as_usize()])
            .filter(|id| !read.ids.contains(id));
        let first = spelled.next()?;
        Some((1 + spelled.count(), first))
    }

    fn encode_ordinary(
        &self,
        text: &str,
        go_on: &dyn Fn() -> bool,
        out: &mut Vec<u32>,
    ) -> Option<()> {
        for (number, word) in self.splitter.words(text).enumerate() {
            if number % WORDS == 0 && !go_on() {
                return None;
            }
            self.merges.encode(word.as_bytes(), out);
        }
        Some(())
    }

    /// The bytes that `token` decodes to: whole characters, or parts of them. Control tokens
    /// decode to their names, ids outside the vocabulary to nothing.
    pub fn bytes(&self, token: u32) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }

    /// The text of `tokens`; bytes that are no UTF-8 become the replacement character.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens.iter().flat_map(|&token| self.bytes(token)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Decodes tokens as they come.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }

    /// Tokens in the vocabulary, padding included.
    pub fn vocab_size(&self) -> usize {
        self.bytes.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the model wants [`Tokenizer::bos`] before every text.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// The tokens that end a generation, in ascending order.
    pub fn end_of_generation(&self) -> &[u32] {
        &self.end_of_generation
    }

    /// Whether `token` ends a generation.
    pub fn is_end_of_generation(&self, token: u32) -> bool {
        self.end_of_generation.binary_search(&token).is_ok()
    }
}

/// Whether llama.cpp takes the token for a special one whatever its type.
pub(super) fn looks_like_control(token: &str) -> bool {
    MARKS.contains(&token) || END_OF_GENERATION.contains(&token)
}

impl SpecialTokens {
    fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Result<Self, TokenizerError> {
        let (texts, ids): (Vec<&str>, Vec<u32>) = tokens.filter(|(t, _)| !t.is_empty()).unzip();
        let find = AhoCorasickBuilder::new()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(|e| TokenizerError::Build {
            what: "the search for special tokens",
            reason: e.to_string(),
        })?;
        Ok(Self { find, ids })
    }
}

/// The tokens that end a generation, as llama.cpp finds them: by their texts, and those that the
/// metadata names. In the harmony format `<|end|>` ends a message and not the generation.
fn end_of_generation(
    ids: &HashMap<&str, u32>,
    harmony: bool,
    special_id: &dyn Fn(&str) -> Option<u32>,
) -> Vec<u32> {
    let mut end: Vec<u32> = END_OF_GENERATION
        .iter()
        .filter(|&&text| !(harmony && text == END_OF_MESSAGE))
        .filter_map(|text| ids.get(text).copied())
        .chain(["eos", "eot", "eom"].into_iter().filter_map(special_id))
        .collect();
    end.sort_unstable();
    end.dedup();
    end
}

/// The ids of all tokens that have a text; every text is one token's.
fn ids(tokens: &[String]) -> Result<HashMap<&str, u32>, TokenizerError> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (token, id) in tokens.iter().zip(0..) {
        if let Some(first) = ids.insert(token.as_str(), id)
            && !token.is_empty()
        {
            return Err(TokenizerError::DuplicateToken { token: token.clone(), first, second: id });
        }
    }
    Ok(ids)
}

/// A string.
fn string<'m>(metadata: &'m Metadata, key: &'static str) -> Result<&'m str, TokenizerError> {
    metadata.str(key).ok_or(TokenizerError::Metadata { key, expected: "a string" })
}

/// An array of strings.
fn strings<'m>(metadata: &'m Metadata, key: &'static str) -> Result<&'m [String], TokenizerError> {
    match metadata.get(key) {
        Some(Value::Array(Array::String(strings))) => Ok(strings),
        Some(Value::Array(Array::RawString(_))) => {
            Err(TokenizerError::Metadata { key, expected: "an array of strings in UTF-8" })
        }
        _ => Err(TokenizerError::Metadata { key, expected: "an array of strings" }),
    }
}

#[cfg(test)]
mod tests;

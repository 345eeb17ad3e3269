//! A vocabulary as a GGUF file stores it.

use camino::Utf8Path;

use super::split::PreTokenizer;
use super::{TokenizerError, directory, o200k};
use crate::gguf::{Array, Metadata, Value};

/// Keys of the long lists.
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";

/// What a token is, with the number that GGUF stores (`TokenType` in gguf-py's `constants.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    Normal = 1,
    Unknown = 2,
    /// Structure of a conversation; text becomes one only where that is asked for.
    Control = 3,
    /// Added by the model's maker; text that looks like one always is one.
    UserDefined = 4,
    /// Padding up to the model's vocabulary size.
    Unused = 5,
    Byte = 6,
}

impl TokenType {
    /// The type with this number; what GGUF does not define counts as normal, as in llama.cpp.
    pub(super) fn from_number(number: i32) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

/// A vocabulary as a GGUF file stores it: byte-level BPE.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    /// How text is split before it is merged.
    pub pre: &'static PreTokenizer,
    /// Text of each token in byte-level characters; control tokens as they are.
    pub tokens: Vec<String>,
    /// One for each token.
    pub token_types: Vec<TokenType>,
    /// `"left right"`, best first.
    pub merges: Vec<String>,
    /// Ids of special tokens under GGUF's names (`bos`, `eos`, `unknown`, `padding`, ...), in the
    /// order in which a file lists them.
    pub special_ids: Vec<(&'static str, u32)>,
    /// Whether a `bos` (`eos`, `sep`) token is added to every text, where the tokenizer says so.
    pub add_special: Vec<(&'static str, bool)>,
    pub chat: ChatTemplates,
}

/// Jinja templates of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatTemplates {
    /// The one that is used where none is asked for by name.
    pub default: Option<String>,
    /// Others, such as `tool_use`, by name.
    pub named: Vec<(String, String)>,
}

impl Vocabulary {
    /// What byte-level BPE is called in GGUF's `tokenizer.ggml.model`.
    pub(super) const MODEL: &str = "gpt2";

    /// Reads `tokenizer.json` and its companions in `directory`, as llama.cpp's converter does,
    /// padded to the model's `vocab_size`.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, is of a kind not supported, or has more tokens than the
    /// model.
    pub fn from_directory(directory: &Utf8Path, vocab_size: usize) -> Result<Self, TokenizerError> {
        directory::read(directory, vocab_size)
    }

    /// The built-in vocabulary of gpt-oss, padded to the model's `vocab_size`, with gpt-oss's own
    /// chat template.
    ///
    /// # Errors
    /// If the model has fewer tokens than the vocabulary.
    pub fn o200k_harmony(vocab_size: usize) -> Result<Self, TokenizerError> {
        o200k::vocabulary(vocab_size)
    }

    /// The id of the special token that GGUF calls `name`.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.special_ids.iter().find(|(n, _)| *n == name).map(|&(_, id)| id)
    }

    /// Its `tokenizer.*` keys, in the order of llama.cpp's converter.
    pub fn into_metadata(self) -> Metadata {
        let mut metadata = Metadata::default();
        let types = self.token_types.iter().map(|&t| t as i32).collect();
        describe(self.pre.name, &mut metadata);
        metadata.set(TOKENS, Value::Array(Array::String(self.tokens)));
        metadata.set(TOKEN_TYPES, Value::Array(Array::I32(types)));
        if !self.merges.is_empty() {
            metadata.set(MERGES, Value::Array(Array::String(self.merges)));
        }
        set_special(&self.special_ids, &self.add_special, &mut metadata);
        self.chat.write_to(&mut metadata);
        metadata
    }

    /// Appends the unused tokens `[PAD<id>]` up to `vocab_size`.
    pub(super) fn pad(&mut self, vocab_size: usize) {
        for id in self.tokens.len()..vocab_size {
            self.tokens.push(padding(id));
            self.token_types.push(TokenType::Unused);
        }
    }
}

/// Appends the keys that come before the lists.
pub(super) fn describe(pre_tokenizer: &str, metadata: &mut Metadata) {
    let text = |s: &str| Value::String(s.to_owned());
    metadata.set("tokenizer.ggml.model", text(Vocabulary::MODEL));
    metadata.set("tokenizer.ggml.pre", text(pre_tokenizer));
}

/// Appends the keys of special tokens.
pub(super) fn set_special(ids: &[(&str, u32)], add: &[(&str, bool)], metadata: &mut Metadata) {
    for (name, id) in ids {
        metadata.set(format!("tokenizer.ggml.{name}_token_id"), Value::U32(*id));
    }
    for (name, add) in add {
        metadata.set(format!("tokenizer.ggml.add_{name}_token"), Value::Bool(*add));
    }
}

/// The text of an unused token.
pub(super) fn padding(id: usize) -> String {
    format!("[PAD{id}]")
}

impl ChatTemplates {
    /// The templates in `directory`, where a tokenizer is published: in `tokenizer_config.json`, or
    /// else in `chat_template.jinja` and `additional_chat_templates/`, or else in
    /// `chat_template.json`. Without any it is empty.
    ///
    /// # Errors
    /// If a file is there and cannot be read or parsed.
    pub fn from_directory(directory: &Utf8Path) -> Result<Self, TokenizerError> {
        directory::chat_templates(directory)
    }

    /// Whether there is no template at all.
    pub fn is_empty(&self) -> bool {
        self.default.is_none() && self.named.is_empty()
    }

    /// Appends the keys of the templates, in the order of gguf-py's `add_chat_template`; names have
    /// `_` for what is neither a letter nor a digit of ASCII.
    pub(super) fn write_to(self, metadata: &mut Metadata) {
        let mut names = Vec::new();
        for (name, template) in self.named {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let name: String = name.chars().map(plain).collect();
            metadata.set(format!("tokenizer.chat_template.{name}"), Value::String(template));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !names.is_empty() {
            metadata.set("tokenizer.chat_templates", Value::Array(Array::String(names)));
        }
        if let Some(template) = self.default {
            metadata.set("tokenizer.chat_template", Value::String(template));
        }
    }
}

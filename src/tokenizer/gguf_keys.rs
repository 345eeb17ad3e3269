//! A file's vocabulary as llama.cpp's loader sees it (`llama_vocab::impl::load` in
//! `src/llama-vocab.cpp` of b11434): the types that it insists on, and what it warns of.

use crate::gguf::{Array, Metadata, Value};

use super::encode::{END_OF_GENERATION, looks_like_control};
use super::{TokenType, TokenizerError};

/// Ids of special tokens under GGUF's names for them, and the id that llama.cpp takes for a
/// byte-level vocabulary where a file has none or one that no token has.
const IDS: [(&str, Option<u32>); 17] = [
    ("bos", Some(11)),
    ("eos", Some(11)),
    ("eot", None),
    ("eom", None),
    ("unknown", None),
    ("seperator", None),
    ("padding", None),
    ("mask", None),
    ("fim_pre", None),
    ("fim_suf", None),
    ("fim_mid", None),
    ("fim_pad", None),
    ("fim_rep", None),
    ("fim_sep", None),
    ("prefix", None),
    ("suffix", None),
    ("middle", None),
];

const FLAGS: [&str; 7] = [
    "add_bos_token",
    "add_eos_token",
    "add_sep_token",
    "add_space_prefix",
    "remove_extra_whitespaces",
    "normalizer.lowercase",
    "normalizer.strip_accents",
];

fn full(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// Fails at the first key of another type than llama.cpp reads.
pub(super) fn check_types(metadata: &Metadata, tokens: usize) -> Result<(), TokenizerError> {
    let check = |name: &str, expected: &'static str, fits: &dyn Fn(&Value) -> bool| {
        let key = full(name);
        match metadata.get(&key) {
            Some(value) if !fits(value) => {
                Err(TokenizerError::KeyType { key, expected, found: value.type_name() })
            }
            _ => Ok(()),
        }
    };
    for (name, _) in IDS {
        check(&format!("{name}_token_id"), "u32", &|v| matches!(v, Value::U32(_)))?;
    }
    check("token_type_count", "u32", &|v| matches!(v, Value::U32(_)))?;
    for name in FLAGS {
        check(name, "bool", &|v| matches!(v, Value::Bool(_)))?;
    }
    check("suppress_tokens", "array of i32", &|v| matches!(v, Value::Array(Array::I32(_))))?;
    check("scores", "array of f32 or i32, one for each token", &|v| match v {
        Value::Array(array @ (Array::F32(_) | Array::I32(_))) => array.len() >= tokens,
        _ => false,
    })
}

/// What llama.cpp warns of, or does otherwise than the file says, a line each.
pub(super) fn warnings(metadata: &Metadata) -> Vec<String> {
    let Some(Value::Array(Array::String(tokens))) = metadata.get("tokenizer.ggml.tokens") else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    for (name, default) in IDS {
        ids(metadata, name, default, tokens, &mut warnings);
    }
    if metadata.get("tokenizer.ggml.add_bos_token") == Some(&Value::Bool(true))
        && metadata.get("tokenizer.ggml.bos_token_id").is_none()
    {
        warnings.push(
            "tokenizer.ggml.add_bos_token is set and there is no bos_token_id: llama.cpp begins \
             every text with its default, token 11"
                .to_owned(),
        );
    }
    let mistyped: Vec<&String> = match metadata.get("tokenizer.ggml.token_type") {
        Some(Value::Array(Array::I32(types))) => (tokens.iter().zip(types))
            .filter(|(token, kind)| {
                let kind = TokenType::from_number(**kind);
                looks_like_control(token)
                    && !matches!(kind, TokenType::Control | TokenType::UserDefined)
            })
            .map(|(token, _)| token)
            .collect(),
        _ => tokens.iter().filter(|token| looks_like_control(token)).collect(),
    };
    if let Some(first) = mistyped.first() {
        warnings.push(format!(
            "{} of the vocabulary's special tokens are not of the control type, the first of them \
             {first}: llama.cpp takes them for such all the same, other programs may not",
            mistyped.len()
        ));
    }
    let empty = tokens.iter().filter(|token| token.is_empty()).count();
    if empty > 0 {
        let at = tokens.iter().position(String::is_empty).unwrap_or(0);
        warnings.push(format!("{empty} tokens have no text, the first of them token {at}"));
    }
    if metadata.get("tokenizer.chat_template").is_none() {
        warnings.push(
            "no chat template (tokenizer.chat_template): llama.cpp's server formats conversations \
             as ChatML, which the model was not trained on"
                .to_owned(),
        );
    }
    warnings
}

/// What is odd about the id of one special token.
fn ids(
    metadata: &Metadata,
    name: &str,
    default: Option<u32>,
    tokens: &[String],
    warnings: &mut Vec<String>,
) {
    let key = full(&format!("{name}_token_id"));
    let instead = default.map_or("none".to_owned(), |id| format!("its default, token {id},"));
    match metadata.u64(&key) {
        None if name == "eos" => warnings.push(format!(
            "no {key}: llama.cpp takes {instead} for the end of a text; convert again"
        )),
        None => {}
        Some(id) if id >= tokens.len() as u64 => warnings.push(format!(
            "{key} is {id}, and there are {} tokens: llama.cpp takes {instead} instead",
            tokens.len()
        )),
        Some(id) if matches!(name, "eos" | "eot" | "eom") => {
            let token = tokens[id as usize].as_str();
            if !END_OF_GENERATION.contains(&token) {
                warnings.push(format!(
                    "{key} is {id}, {token:?}, which is none of the tokens that llama.cpp knows \
                     to end a generation: the tokenizer's configuration may be wrong"
                ));
            }
        }
        Some(_) => {}
    }
}

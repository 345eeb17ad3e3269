//! Recommended sampling: what `generation_config.json` says of it, as `general.sampling.*`.

use camino::Utf8Path;
use serde_json::{Map, Value as Json};

use super::error::Error;
use super::index::MAX_JSON;
use crate::downloads::{json, read_text_if_there};
use crate::gguf::{Metadata, Value};

/// Appends the keys, in the order and with the types of gguf-py's `Metadata`. A file that is no JSON
/// is passed over with a warning: models are published with such ones.
///
/// # Errors
/// If the file cannot be read, or a value that goes into the metadata is not a number that it can
/// hold.
pub fn write(
    directory: &Utf8Path,
    metadata: &mut Metadata,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let path = directory.join("generation_config.json");
    let Some(text) = read_text_if_there(&path, MAX_JSON)? else { return Ok(()) };
    let config: Map<String, Json> = match json::from_str(&text) {
        Ok(config) => config,
        Err(e) => {
            warnings.push(format!(
                "{path} is not the JSON it should be, so the file recommends no sampling: {e}"
            ));
            return Ok(());
        }
    };
    if let Some(sequence) = config.get("sequence").and_then(Json::as_str).filter(|s| !s.is_empty())
    {
        metadata.set("general.sampling.sequence", Value::String(sequence.to_owned()));
    }
    let repeat = match config.contains_key("penalty_repeat") {
        true => "penalty_repeat",
        false => "repetition_penalty",
    };
    for (name, key, convert) in [
        ("top_k", "top_k", whole as fn(&Json) -> Option<Value>),
        ("top_p", "top_p", float),
        ("min_p", "min_p", float),
        ("xtc_probability", "xtc_probability", float),
        ("xtc_threshold", "xtc_threshold", float),
        ("temp", "temperature", float),
        ("penalty_last_n", "penalty_last_n", whole),
        ("penalty_repeat", repeat, float),
        ("mirostat", "mirostat", whole),
        ("mirostat_tau", "mirostat_tau", float),
        ("mirostat_eta", "mirostat_eta", float),
    ] {
        let Some(value) = config.get(key).filter(|value| !value.is_null()) else { continue };
        let converted = convert(value).ok_or_else(|| Error::Damaged {
            path: path.clone(),
            what: key.to_owned(),
            expected: "a number of the usual size".to_owned(),
            found: value.to_string(),
        })?;
        metadata.set(format!("general.sampling.{name}"), converted);
    }
    Ok(())
}

fn whole(value: &Json) -> Option<Value> {
    value.as_i64()?.try_into().ok().map(Value::I32)
}

fn float(value: &Json) -> Option<Value> {
    let value = value.as_f64()? as f32;
    value.is_finite().then_some(Value::F32(value))
}

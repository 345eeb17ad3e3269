//! The names of formats and types as the schema has them, so that an editor offers them and marks
//! what is none. Knows nothing of what they mean.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::ggml::{GgmlType, Mix};

/// A mix, by name.
pub struct MixName;

/// A tensor type, by name.
pub struct TypeName;

/// Other names of mixes that are understood.
const ALIASES: [&str; 3] = ["q3_K", "q4_K", "q5_K"];

impl JsonSchema for MixName {
    fn schema_name() -> Cow<'static, str> {
        "Mix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Mix::ALL.iter().map(|mix| mix.name());
        any_case("A mix, as llama-quantize names them.", names, &ALIASES)
    }
}

impl JsonSchema for TypeName {
    fn schema_name() -> Cow<'static, str> {
        "GgmlType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        any_case("A ggml type.", GgmlType::ALL.iter().map(|ty| ty.name()), &[])
    }
}

/// The canonical spellings, to be offered, and a pattern that takes them and `aliases` in any case.
fn any_case(
    about: &str,
    names: impl Iterator<Item = &'static str>,
    aliases: &[&'static str],
) -> Schema {
    let names: Vec<&str> = names.collect();
    let either = |c: char| match c.is_ascii_alphabetic() {
        true => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
        false => c.to_string(),
    };
    let pattern = |name: &&str| name.chars().map(either).collect::<String>();
    let patterns: Vec<String> = names.iter().chain(aliases).map(pattern).collect();
    json_schema!({
        "description": about,
        "type": "string",
        "anyOf": [{ "enum": names }, { "pattern": format!("^({})$", patterns.join("|")) }],
    })
}

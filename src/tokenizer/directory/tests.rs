use super::*;
use crate::gguf::{self, Array};
use crate::tokenizer::{Special, Tokenizer};

const NANO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt-oss-nano");
const ORACLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle/metadata_f32.json"));

fn nano() -> Vocabulary {
    read(Utf8Path::new(NANO), 2048).unwrap()
}

/// A value as the oracle writes it: long arrays by length and ends.
fn shown(value: &gguf::Value) -> Value {
    fn ends<T: serde::Serialize>(items: &[T]) -> Value {
        serde_json::json!({
            "length": items.len(),
            "first": &items[..4],
            "last": &items[items.len() - 4..],
        })
    }
    match value {
        gguf::Value::String(s) => s.as_str().into(),
        gguf::Value::U32(n) => (*n).into(),
        gguf::Value::Array(Array::String(items)) => ends(items),
        gguf::Value::Array(Array::I32(items)) => ends(items),
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn metadata_is_that_of_llama_cpps_converter_in_its_order() {
    let metadata = nano().into_metadata();
    let oracle: Map<String, Value> = serde_json::from_str(ORACLE).unwrap();
    let expected: Vec<(&str, &Value)> = oracle
        .iter()
        .filter(|(key, _)| key.starts_with("tokenizer."))
        .map(|(key, entry)| (key.as_str(), &entry["value"]))
        .collect();
    assert_eq!(expected.len(), 8);
    for (key, value) in &expected {
        assert_eq!(&shown(metadata.get(key).unwrap()), *value, "{key}");
    }
    let order: Vec<&str> = metadata.iter().map(|(key, _)| key).collect();
    let at = |key| ORACLE.find(&format!("\"{key}\"")).unwrap();
    assert!(order.is_sorted_by_key(at), "{order:?}");
    assert_eq!(order.len(), expected.len());
}

#[test]
fn a_tokenizer_from_metadata_is_one_from_the_vocabulary() {
    let metadata = nano().into_metadata();
    let direct = Tokenizer::new(&nano()).unwrap();
    let stored = Tokenizer::from_gguf(&metadata).unwrap();
    let text = "<|start|>In the beginning, God's 1234 wörds\n\n<|end|>";
    for special in [Special::Parse, Special::AsText] {
        assert_eq!(direct.encode(text, special), stored.encode(text, special));
    }
    assert_eq!(stored.end_of_generation(), [2033, 2034, 2040]);
    assert_eq!((stored.bos(), stored.eos(), stored.add_bos()), (Some(2032), Some(2034), false));
    assert_eq!(stored.vocab_size(), 2048);
}

/// llama.cpp's tokens of the corpora (`/tokenize` of its server, on the converted nano): their
/// number, and the SHA-256 of the ids in decimal, joined by commas.
#[test]
fn long_texts_get_llama_cpps_tokens() {
    let tokenizer = Tokenizer::new(&nano()).unwrap();
    for (corpus, number, sha256) in [
        ("kjv", 28688, "d0239b7b596e8a1163309d90b49dbc4c27b0b64d34aab5af9a8deb2c1ee628dc"),
        ("jargon", 27360, "d8be89d70dcaece6a4dbdd92b5e6741b642314eb035d139ba2c66ed5ce012fa5"),
    ] {
        let text = std::fs::read_to_string(format!("{NANO}/../corpus/{corpus}.txt")).unwrap();
        let ids = tokenizer.encode(&text, Special::AsText);
        assert_eq!(ids.len(), number, "{corpus}");
        let listed: Vec<String> = ids.iter().map(u32::to_string).collect();
        let digest = <sha2::Sha256 as sha2::Digest>::digest(listed.join(","));
        assert_eq!(hex::encode(digest), sha256, "{corpus}");
        assert_eq!(tokenizer.decode(&ids), text);
    }
}

/// A directory with the nano's `tokenizer.json` after `change`.
fn changed(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(format!("{NANO}/tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    change(&mut json);
    std::fs::write(directory.path().join("tokenizer.json"), json.to_string()).unwrap();
    directory
}

fn read_from(directory: &tempfile::TempDir) -> Result<Vocabulary, TokenizerError> {
    read(Utf8Path::from_path(directory.path()).unwrap(), 2048)
}

#[test]
fn merges_come_in_two_encodings() {
    let joined = changed(|json| {
        for merge in json["model"]["merges"].as_array_mut().unwrap() {
            let text = format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap());
            *merge = text.into();
        }
    });
    assert_eq!(read_from(&joined).unwrap().merges, nano().merges);
}

/// The keys that a directory's templates become, in order.
fn template_keys(directory: &tempfile::TempDir) -> Vec<(String, gguf::Value)> {
    let metadata = read_from(directory).unwrap().into_metadata();
    let own = metadata.iter().filter(|(key, _)| key.starts_with("tokenizer.chat_template"));
    own.map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

fn entry(key: &str, template: &str) -> (String, gguf::Value) {
    (format!("tokenizer.{key}"), gguf::Value::String(template.to_owned()))
}

fn template_names(names: &[&str]) -> (String, gguf::Value) {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    ("tokenizer.chat_templates".to_owned(), gguf::Value::Array(Array::String(names)))
}

#[test]
fn chat_templates_come_from_files_of_their_own() {
    let directory = changed(|_| ());
    assert_eq!(template_keys(&directory), []);
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("chat_template.json"), r#"{"chat_template": "json"}"#).unwrap();
    assert_eq!(template_keys(&directory), [entry("chat_template", "json")]);
    std::fs::write(at("chat_template.jinja"), "{{ x }}").unwrap();
    assert_eq!(template_keys(&directory), [entry("chat_template", "{{ x }}")]);
    std::fs::create_dir(at("additional_chat_templates")).unwrap();
    for (name, text) in [("tool-use.jinja", "tools"), ("a.jinja", "a"), ("notes.txt", "no")] {
        std::fs::write(at("additional_chat_templates").join(name), text).unwrap();
    }
    let expected = [
        entry("chat_template.a", "a"),
        entry("chat_template.tool_use", "tools"),
        template_names(&["a", "tool_use"]),
        entry("chat_template", "{{ x }}"),
    ];
    assert_eq!(template_keys(&directory), expected);
}

#[test]
fn chat_templates_of_the_configuration_win() {
    let directory = changed(|_| ());
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("chat_template.jinja"), "{{ x }}").unwrap();
    let configured = |value: &str| {
        let text = format!(r#"{{"chat_template": {value}}}"#);
        std::fs::write(at("tokenizer_config.json"), text).unwrap();
        template_keys(&directory)
    };
    assert_eq!(configured(r#""one""#), [entry("chat_template", "one")]);
    assert_eq!(configured("null"), [entry("chat_template", "{{ x }}")]);
    let list = r#"[{"name": "rag", "template": "r"}, {"name": "default", "template": "d"},
                   {"name": "", "template": "no"}, {"name": "x"}]"#;
    let expected =
        [entry("chat_template.rag", "r"), template_names(&["rag"]), entry("chat_template", "d")];
    assert_eq!(configured(list), expected);
}

#[test]
fn a_template_that_begins_with_bos_adds_it() {
    let directory = changed(|json| {
        json["post_processor"] = serde_json::json!({"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<|startoftext|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ]});
    });
    let vocabulary = read_from(&directory).unwrap();
    assert_eq!(vocabulary.add_special, [("bos", true)]);
    assert_eq!(vocabulary.special_id("bos"), Some(2032));
    assert!(Tokenizer::new(&vocabulary).unwrap().add_bos());
}

#[test]
fn what_is_not_supported_or_not_consistent_is_named() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|j| j["model"]["type"] = "Unigram".into(), "unsupported tokenizer model"),
        (|j| j["normalizer"] = serde_json::json!({"type": "NFC"}), "unsupported normalizer"),
        (|j| j["pre_tokenizer"] = Value::Null, "unsupported pre-tokenizer"),
        (|j| j["model"]["vocab"]["!"] = 1.into(), r#"tokens "!" and "\"" both have id 1"#),
        (|j| j["model"]["vocab"]["zzz"] = 4000.into(), r#"token "zzz" has id 4000"#),
        (|j| j["model"]["vocab"] = "x".into(), "is not the JSON of a tokenizer"),
    ];
    for (change, message) in cases {
        let error = read_from(&changed(change)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(read_from(&empty).unwrap_err().to_string().contains("tokenizer.json"));
}

/// What `scripts/make_vocabularies.py` had llama.cpp's converter make of changed files.
#[derive(Deserialize)]
struct Case {
    shows: String,
    files: HashMap<String, Value>,
    tokens: Vec<(usize, String, i32)>,
    keys: Vec<(String, Value)>,
}

#[test]
fn files_that_say_more_become_what_llama_cpps_converter_makes_of_them() {
    let oracle = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/oracle/vocabularies.json"
    ));
    let cases: Vec<Case> = serde_json::from_str(oracle).unwrap();
    assert!(cases.len() > 20);
    let plain = nano();
    for Case { shows, files, tokens, keys } in cases {
        let directory = changed(|json| {
            let change = &files["tokenizer.json"];
            if let Some(more) = change["added_tokens"].as_array() {
                json["added_tokens"].as_array_mut().unwrap().extend(more.iter().cloned());
            }
            json["post_processor"] = change["post_processor"].clone();
        });
        let at = |name: &str| directory.path().join(name);
        for (name, content) in files.iter().filter(|(name, _)| *name != "tokenizer.json") {
            std::fs::write(at(name), content.to_string()).unwrap();
        }
        std::fs::copy(format!("{NANO}/config.json"), at("config.json")).unwrap();
        let found = read_from(&directory).unwrap();
        let both = found.tokens.iter().zip(&found.token_types);
        let before = plain.tokens.iter().zip(&plain.token_types);
        let differ = both.zip(before).enumerate().filter(|(_, (now, before))| now != before);
        let differ: Vec<_> =
            differ.map(|(id, ((text, &kind), _))| (id, text.clone(), kind as i32)).collect();
        assert_eq!(differ, tokens, "{shows}");

        let metadata = found.into_metadata();
        let special = metadata.iter().filter(|(key, _)| {
            key.ends_with("_token_id") || key.starts_with("tokenizer.ggml.add_")
        });
        let special: Vec<(String, Value)> = special
            .map(|(key, value)| match value {
                gguf::Value::Bool(truth) => (key.to_owned(), (*truth).into()),
                other => (key.to_owned(), shown(other)),
            })
            .collect();
        assert_eq!(special, keys, "{shows}");
    }
}

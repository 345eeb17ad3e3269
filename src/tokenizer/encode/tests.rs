use super::*;

/// Bytes, two merges, a control and a user-defined token, and padding.
fn vocabulary() -> Vocabulary {
    let mut tokens: Vec<String> =
        (0..=255).map(|byte| byte_level::char_of(byte).to_string()).collect();
    let mut token_types = vec![TokenType::Normal; 256];
    for (token, kind) in [
        ("he", TokenType::Normal),
        ("Ġhe", TokenType::Normal),
        ("<|end|>", TokenType::Control),
        ("<tool>", TokenType::UserDefined),
        ("[PAD260]", TokenType::Unused),
    ] {
        tokens.push(token.to_owned());
        token_types.push(kind);
    }
    Vocabulary {
        tokens,
        token_types,
        merges: vec!["h e".to_owned(), "Ġ he".to_owned()],
        special_ids: vec![("eos", 258)],
        add_special: vec![("bos", true)],
        chat_template: None,
    }
}

fn metadata(change: impl FnOnce(&mut Metadata)) -> Metadata {
    let mut metadata = Metadata::default();
    vocabulary().write_to(&mut metadata);
    change(&mut metadata);
    metadata
}

#[test]
fn control_tokens_are_parsed_only_when_asked_for() {
    let tokenizer = Tokenizer::new(&vocabulary()).unwrap();
    assert_eq!(tokenizer.encode("he<|end|><tool> he", Special::Parse), [256, 258, 259, 257]);
    let as_text = tokenizer.encode("he<|end|><tool> he", Special::AsText);
    assert_eq!(as_text.len(), 1 + "<|end|>".len() + 2);
    assert_eq!(tokenizer.decode(&as_text), "he<|end|><tool> he");
    assert!(tokenizer.encode("[PAD260]", Special::Parse).len() > 1);
    assert!(tokenizer.is_end_of_generation(258) && !tokenizer.is_end_of_generation(259));
    assert!(tokenizer.add_bos());
}

#[test]
fn characters_appear_when_they_are_whole() {
    let tokenizer = Tokenizer::new(&vocabulary()).unwrap();
    let ids = tokenizer.encode("aé€", Special::AsText);
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, ["a", "", "é", "", "", "€"]);
    assert_eq!(stream.finish(), "");
    assert_eq!(tokenizer.decode(&[ids[1]]), "\u{fffd}");
    assert_eq!(tokenizer.bytes(9999), b"");
}

#[test]
fn a_bad_file_is_an_error_that_says_where() {
    let strings =
        |list: &[&str]| Value::Array(Array::String(list.iter().map(|&s| s.to_owned()).collect()));
    let cases = [
        (metadata(|m| drop(m.remove("tokenizer.ggml.tokens"))), "tokenizer.ggml.tokens is missing"),
        (metadata(|m| m.set("tokenizer.ggml.pre", Value::String("qwen2".into()))), "found qwen2"),
        (
            metadata(|m| m.set("tokenizer.ggml.model", Value::U32(1))),
            "is missing or is not a string",
        ),
        (
            metadata(|m| m.set("tokenizer.ggml.tokens", strings(&["a"]))),
            "261 token types for 1 tokens",
        ),
        (metadata(|m| m.set("tokenizer.ggml.merges", strings(&["q q"]))), r#""qq" is not a token"#),
        (metadata(|m| m.set("tokenizer.ggml.merges", strings(&["qq"]))), "two tokens with a space"),
    ];
    for (metadata, message) in cases {
        let error = Tokenizer::from_gguf(&metadata).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let few = metadata(|m| {
        m.set("tokenizer.ggml.tokens", strings(&["a"]));
        m.remove("tokenizer.ggml.token_type");
    });
    assert!(Tokenizer::from_gguf(&few).unwrap_err().to_string().contains("byte 0x00"));
}

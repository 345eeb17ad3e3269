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
        pre: PreTokenizer::named("gpt-4o").unwrap(),
        tokens,
        token_types,
        merges: vec!["h e".to_owned(), "Ġ he".to_owned()],
        special_ids: vec![("eos", 258)],
        add_special: vec![("bos", true)],
        chat: Default::default(),
    }
}

fn metadata(change: impl FnOnce(&mut Metadata)) -> Metadata {
    let mut metadata = vocabulary().into_metadata();
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

/// `llama-tokenize` of b11434 on the nano model's file, with `--no-parse-special` and without.
#[test]
fn marks_of_messages_are_read_as_llama_cpp_reads_them() {
    let nano =
        camino::Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt-oss-nano");
    let vocabulary = Vocabulary::from_directory(&nano, 2048).unwrap();
    let metadata = vocabulary.clone().into_metadata();
    let text = "<|start|>user<|message|>Tell me of Moses.<|end|><|start|>assistant<|channel|>final \
                <|constrain|>json<|message|>And Moses said, go up.<|return|><|call|><|endoftext|>\
                <|start|";
    let message = [
        2037, 405, 267, 2039, 51, 661, 402, 268, 910, 13, 2038, 2037, 605, 515, 481, 2036, 69, 260,
        332, 220, 2035, 73, 82, 271, 2039, 1486, 910, 450, 11, 461, 399, 13,
    ];
    let spelled =
        [27, 91, 1098, 618, 91, 29, 27, 91, 66, 381, 91, 29, 27, 91, 701, 78, 642, 1232, 91, 29];
    let cut = [27, 91, 305, 498, 91];
    for tokenizer in
        [Tokenizer::new(&vocabulary).unwrap(), Tokenizer::from_gguf(&metadata).unwrap()]
    {
        let as_perplexity = tokenizer.encode(text, Special::UserDefined);
        assert_eq!(as_perplexity, [&message[..], &spelled, &cut].concat());
        let all = tokenizer.encode(text, Special::Parse);
        assert_eq!(all, [&message[..], &[2034, 2040, 2033], &cut].concat());
        let literal = tokenizer.encode(text, Special::AsText);
        assert!(literal.iter().all(|id| *id < 2033), "{literal:?}");
        assert_eq!(tokenizer.decode(&literal), text);
        assert_eq!(tokenizer.spelled_as_text(text, Special::UserDefined), Some((3, 2034)));
        assert_eq!(tokenizer.spelled_as_text("<|start|>", Special::UserDefined), None);
        assert_eq!(tokenizer.spelled_as_text(text, Special::AsText), Some((10, 2037)));
    }
}

/// llama.cpp goes by the texts of these tokens, whatever a file says of their types.
#[test]
fn types_that_contradict_the_texts_do_not_count() {
    let mut vocabulary = vocabulary();
    for token in ["<|return|>", "<|call|>", "<|message|>"] {
        vocabulary.tokens.push(token.to_owned());
        vocabulary.token_types.push(TokenType::Normal);
    }
    let encode = |vocabulary: &Vocabulary, special| {
        Tokenizer::new(vocabulary).unwrap().encode("<|message|>he<|end|><|return|>", special)
    };
    assert_eq!(encode(&vocabulary, Special::Parse), [263, 256, 258, 261]);
    let found = encode(&vocabulary, Special::UserDefined);
    assert_eq!((&found[..3], found.len()), (&[263, 256, 258][..], 3 + "<|return|>".len()));
    // Without the harmony format's ends of a generation `<|end|>` is one.
    vocabulary.tokens[261] = "<|other|>".to_owned();
    assert!(encode(&vocabulary, Special::UserDefined).len() > 12);
}

#[test]
fn a_token_twice_is_refused() {
    let mut vocabulary = vocabulary();
    vocabulary.tokens[259] = "he".to_owned();
    let error = Tokenizer::new(&vocabulary).unwrap_err().to_string();
    assert!(error.contains("ids 256 and 259 are both the token \"he\""), "{error}");
}

#[test]
fn a_long_text_is_left_when_it_is_told_to_stop() {
    let tokenizer = Tokenizer::new(&vocabulary()).unwrap();
    let text = " he".repeat(5 * WORDS);
    let asked = std::cell::Cell::new(0);
    let while_under = |most| {
        asked.set(0);
        tokenizer.encode_while(&text, Special::AsText, &|| {
            asked.set(asked.get() + 1);
            asked.get() < most
        })
    };
    assert_eq!(while_under(usize::MAX).unwrap().len(), 5 * WORDS);
    assert_eq!(asked.get(), 5);
    assert_eq!(while_under(3), None);
    assert_eq!(asked.get(), 3, "nobody asks again after a no");
}

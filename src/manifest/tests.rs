use std::time::Duration;

use super::*;
use crate::ggml::GgmlType;
use crate::steps::evaluate::MIN_CONTEXT;
use crate::steps::{ImatrixFile, TokenizerSource};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The least that is a job, in parts that a test can replace.
const HEAD: &str = "schema = 1\nname = \"small\"\n";
const INPUT: &str = "[input]\ncheckpoint = \"models/small\"\n";
const QUANTIZE: &str = "[quantize]\ngguf = \"out/{name}-{format}.{timestamp}.gguf\"\n";
const FORMAT: &str = "[[format]]\nname = \"q8_0\"\nrole = \"baseline\"\n";

fn parsed(text: &str) -> Result<Job, ManifestError> {
    let path = camino::Utf8PathBuf::from(format!("{ROOT}/jobs/small.toml"));
    parse(text, Utf8Path::new("jobs/small.toml"), &path)
}

fn least(more: &str) -> String {
    format!("{HEAD}{INPUT}{QUANTIZE}{FORMAT}{more}")
}

/// What the user sees.
fn report(text: &str) -> String {
    let error = parsed(text).unwrap_err();
    let theme = miette::GraphicalTheme::unicode_nocolor();
    let mut shown = String::new();
    miette::GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .render_report(&mut shown, &error)
        .unwrap();
    shown.replace(ROOT, "/home/qrun")
}

/// The messages alone, one a line.
fn messages(text: &str) -> Vec<String> {
    match parsed(text) {
        Err(ManifestError::Invalid(invalid)) => {
            invalid.problems.into_iter().map(|problem| problem.message).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let job = parsed(&least("")).unwrap();
    assert_eq!(job.workspace, format!("{ROOT}/jobs"));
    assert_eq!(job.lock, format!("{ROOT}/jobs/small.lock"));
    assert_eq!(job.input.tokenizer, TokenizerSource::Checkpoint);
    assert_eq!(job.load_check.timeout, Duration::from_secs(120));
    let Bench { warmups, runs, prompt_tokens, generate_tokens, out } = job.bench;
    assert_eq!((warmups, runs, prompt_tokens, generate_tokens), (3, 10, 128, 32));
    assert_eq!(out, format!("{ROOT}/jobs/bench/bench_results_full.json"));
    assert_eq!(job.quantize.gguf, format!("{ROOT}/jobs/out/small-{{format}}.{{timestamp}}.gguf"));
    assert!(job.convert.gguf.is_none() && job.evaluate.is_none() && job.publish.is_none());
    assert!(job.formats[0].baseline);
}

#[test]
fn names_are_taken_in_any_case_and_kept_in_one() {
    let text = least(
        "[[format]]\nname = \"tuned\"\nbase = \"Q8_0\"\n\
         tensors = [{ match = '^output\\.weight$', type = \"BF16\" }]\n\
         [[reference]]\nname = \"quality\"\ngguf = \"out/{name}-ref.gguf\"\nformat = \"F16\"\n",
    );
    let job = parsed(&text).unwrap();
    let tuned = &job.formats[1].spec;
    assert_eq!((tuned.base.as_str(), tuned.tensors[0].ggml_type), ("q8_0", GgmlType::BF16));
    let ReferenceOrigin::Made(spec) = &job.references[0].origin else { panic!() };
    assert_eq!((spec.name.as_str(), spec.base.as_str()), ("quality", "f16"));
    assert_eq!(job.references[0].gguf, format!("{ROOT}/jobs/out/small-ref.gguf"));
}

#[test]
fn a_format_has_its_own_importance_matrix_or_that_of_all() {
    let quantize = format!("{QUANTIZE}imatrix = \"i/all.gguf\"\n");
    let more = "[[format]]\nname = \"f16\"\nimatrix = \"i/../own.dat\"\n\
                [[reference]]\nname = \"r\"\nformat = \"q4_K_M\"\ngguf = \"r.gguf\"\n";
    let job = parsed(&format!("{HEAD}{INPUT}{quantize}{FORMAT}{more}")).unwrap();
    let file = |path: &str, name: &str| {
        Some(ImatrixFile {
            path: format!("{ROOT}/jobs/{path}").as_str().into(),
            name: name.to_owned(),
        })
    };
    assert_eq!(job.formats[0].spec.imatrix, file("i/all.gguf", "i/all.gguf"));
    assert_eq!(job.formats[1].spec.imatrix, file("own.dat", "i/../own.dat"));
    let ReferenceOrigin::Made(spec) = &job.references[0].origin else { panic!() };
    assert_eq!(spec.imatrix, job.formats[0].spec.imatrix);
    assert_eq!(parsed(&least("")).unwrap().formats[0].spec.imatrix, None);

    let overwritten = format!("{HEAD}{INPUT}{quantize}{FORMAT}[bench]\nout = \"i/all.gguf\"\n");
    let found = messages(&overwritten);
    assert!(found[0].contains("`bench.out` would overwrite `quantize.imatrix`"), "{found:?}");
}

#[test]
fn types_of_output_and_embedding_are_understood_or_refused() {
    let of = |more: &str| format!("{HEAD}{INPUT}{QUANTIZE}{FORMAT}{more}");
    let job = parsed(&of(
        "pure = true\noutput_tensor_type = \"Q6_k\"\ntoken_embedding_type = \"q4_0\"\n",
    ))
    .unwrap();
    let spec = &job.formats[0].spec;
    assert_eq!(
        (spec.pure, spec.output_tensor_type, spec.token_embedding_type, spec.leave_output_tensor),
        (true, Some(GgmlType::Q6_K), Some(GgmlType::Q4_0), false)
    );
    assert!(
        parsed(&of("leave_output_tensor = true\n")).unwrap().formats[0].spec.leave_output_tensor
    );
    let types = messages(&of("output_tensor_type = \"q4_K_M\"\ntoken_embedding_type = \"q9\"\n"));
    assert_eq!(types, ["unknown tensor type \"q4_K_M\"", "unknown tensor type \"q9\""]);
    let both = messages(&of("output_tensor_type = \"q6_K\"\nleave_output_tensor = true\n"));
    assert_eq!(both, ["`output.weight` cannot be left as it is and get a type"]);
}

#[test]
fn every_mix_is_accepted() {
    for mix in crate::ggml::Mix::ALL {
        let text =
            format!("{HEAD}{INPUT}{QUANTIZE}[[format]]\nname = \"{mix}\"\nrole = \"baseline\"\n");
        assert!(parsed(&text).is_ok(), "{mix}");
    }
}

#[test]
fn a_typo_shows_its_line_and_the_nearest_key() {
    insta::assert_snapshot!(report(&least("[bench]\nwarmup = 1\nruns = 0\n")));
}

#[test]
fn everything_that_is_wrong_is_shown_at_once() {
    insta::assert_snapshot!(report(
        "schema = 2\nname = \"a b\"\nruns = 3\n\
         [host]\nmin_ram = \"plenty\"\n\
         [input]\ncheckpoint = \"\"\ntokenizer = \"o200k_harmoni\"\n\
         sha256 = { \"model.safetensors\" = \"12\" }\n\
         [convert]\ndtype = \"fp16\"\n\
         [quantize]\ngguf = \"out/{name}.{timestmp}.gguf\"\n\
         [[format]]\nname = \"q8_0\"\nrole = \"baseline\"\n\
         [[format]]\nname = \"Q8_0\"\nrole = \"baseline\"\n\
         [[format]]\nname = \"fast\"\n\
         tensors = [{ match = \"(\", type = \"q4_K_M\" }]\n\
         [load_check]\ntimeout = \"0s\"\n"
    ));
}

#[test]
fn a_window_is_as_long_as_an_evaluation_wants_it() {
    let of = |context: u32| {
        least(&format!("[evaluate]\ncorpus = [\"text.txt\"]\ncontext = {context}\n"))
    };
    assert_eq!(messages(&of(MIN_CONTEXT - 1)), ["`context` is 3"]);
    assert!(parsed(&of(MIN_CONTEXT)).is_ok());
}

#[test]
fn toml_that_does_not_parse_shows_where() {
    insta::assert_snapshot!(report("schema = 1\nname = \"x\n[input\n"));
}

#[test]
fn a_wrong_type_shows_where() {
    insta::assert_snapshot!(report(&least("[bench]\nruns = \"ten\"\n")));
}

#[test]
fn a_missing_section_is_named() {
    insta::assert_snapshot!(report(&format!("{HEAD}{INPUT}{FORMAT}")));
}

#[test]
fn there_is_exactly_one_baseline() {
    let none = format!("{HEAD}{INPUT}{QUANTIZE}[[format]]\nname = \"q8_0\"\n");
    assert_eq!(messages(&none), ["no format is the baseline"]);
    let two = least("[[format]]\nname = \"f16\"\nrole = \"baseline\"\n");
    assert_eq!(messages(&two), ["`q8_0` and `f16` are both the baseline"]);
    assert_eq!(messages(&format!("{HEAD}{INPUT}{QUANTIZE}")), ["no formats to make"]);
    let misspelt = format!("{HEAD}{INPUT}{QUANTIZE}[[format]]\nname = \"f16\"\nrole = \"base\"\n");
    assert_eq!(messages(&misspelt), ["unknown role \"base\""]);
}

#[test]
fn several_formats_need_the_placeholder_and_one_does_not() {
    let quantize = "[quantize]\ngguf = \"out.gguf\"\n";
    let one = format!("{HEAD}{INPUT}{quantize}{FORMAT}");
    assert!(parsed(&one).is_ok());
    let two = format!("{one}[[format]]\nname = \"f16\"\n");
    assert_eq!(messages(&two), ["2 formats, and no `{format}` in their path"]);
}

#[test]
fn nothing_is_written_over_an_input_or_written_twice() {
    let cases = [
        ("[convert]\ngguf = \"models/small/x.gguf\"\n", "is inside the checkpoint's directory"),
        ("[bench]\nout = \"small.toml\"\n", "`bench.out` would overwrite `the manifest itself`"),
        ("[bench]\nout = \"small.lock\"\n", "`bench.out` would overwrite `the lock file`"),
        ("[report]\ndir = \"models/small/reports\"\n", "is inside the checkpoint's directory"),
        ("[bench]\nout = \"reports/README-small.md\"\n", "are the same file"),
        ("[bench]\nout = \"reports\"\n", "`report.dir` is a directory and `bench.out` a file"),
        ("[bench]\nout = \"x/\"\n", "\"x/\" is a directory"),
        (
            "[convert]\ngguf = \"a/../ref.gguf\"\n[[reference]]\nname = \"r\"\ngguf = \"ref.gguf\"\n",
            "`convert.gguf` would overwrite `reference.gguf (r)`",
        ),
        (
            "[evaluate]\ncorpus = [\"a.txt\"]\n[publish]\nto = \"a.txt\"\n",
            "`publish.to` is a directory",
        ),
    ];
    for (more, message) in cases {
        let found = messages(&least(more));
        assert!(found.len() == 1 && found[0].contains(message), "{message}: {found:?}");
    }
}

#[test]
fn no_file_is_called_a_part_of_what_is_written_in_parts() {
    let part = "m-00001-of-00002.gguf";
    let made = "[[reference]]\nname = \"made\"\nformat = \"q8_0\"\ngguf = \"m.gguf\"\n";
    for (other, key) in [
        (format!("[bench]\nout = \"{part}\"\n"), "`bench.out`"),
        (format!("[convert]\ngguf = \"{part}\"\n"), "`convert.gguf`"),
        (format!("[[reference]]\nname = \"r\"\ngguf = \"{part}\"\n"), "`reference.gguf (r)`"),
        (format!("[evaluate]\ncorpus = [\"{part}\"]\n"), "`evaluate.corpus`"),
    ] {
        let text = least(&format!("{made}{other}"));
        assert!(parsed(&text).is_ok(), "{other}: one file has no parts");
        let found = messages(&text.replace("[quantize]\n", "[quantize]\nsplit = \"1 GB\"\n"));
        let expected = format!("{key} is called a part of `reference.gguf (made)`");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{expected}: {found:?}");
    }
}

/// A manifest in which `path` stands under one of the keys that take one.
fn with_path(key: &str, path: &str) -> String {
    let text = least(
        "[convert]\ngguf = \"x.gguf\"\n[bench]\nout = \"b.json\"\n\
         [evaluate]\ncorpus = [\"c.txt\"]\n[report]\ndir = \"r\"\n\
         [publish]\nto = \"p\"\nsha256_list = \"l.txt\"\n\
         [[reference]]\nname = \"given\"\ngguf = \"given.gguf\"\n\
         [[reference]]\nname = \"made\"\nformat = \"q8_0\"\ngguf = \"made.gguf\"\n",
    );
    let text = text
        .replace("[input]\n", "[input]\ntokenizer = \"t\"\n")
        .replace("[quantize]\n", "[quantize]\nimatrix = \"i.gguf\"\n")
        .replace("schema = 1\n", "schema = 1\nworkspace = \".\"\n");
    let old = match key {
        "workspace" => "workspace = \".\"",
        "input.checkpoint" => "\"models/small\"",
        "input.tokenizer" => "\"t\"",
        "convert.gguf" => "\"x.gguf\"",
        "quantize.gguf" => "\"out/{name}-{format}.{timestamp}.gguf\"",
        "quantize.imatrix" => "\"i.gguf\"",
        "bench.out" => "\"b.json\"",
        "evaluate.corpus" => "\"c.txt\"",
        "report.dir" => "\"r\"",
        "publish.to" => "\"p\"",
        "publish.sha256_list" => "\"l.txt\"",
        "reference.gguf" => "\"given.gguf\"",
        "reference.gguf of a made one" => "\"made.gguf\"",
        other => panic!("{other}"),
    };
    let new =
        if key == "workspace" { format!("workspace = {path:?}") } else { format!("{path:?}") };
    assert_eq!(text.matches(old).count(), 1, "{key}");
    text.replace(old, &new)
}

#[test]
fn no_key_takes_a_url_or_what_only_a_shell_knows_for_a_path() {
    let keys = [
        "workspace",
        "input.checkpoint",
        "input.tokenizer",
        "convert.gguf",
        "quantize.gguf",
        "quantize.imatrix",
        "bench.out",
        "evaluate.corpus",
        "report.dir",
        "publish.to",
        "publish.sha256_list",
        "reference.gguf",
        "reference.gguf of a made one",
    ];
    for key in keys {
        for (path, what) in [
            ("s3://bucket/x", "is a URL"),
            ("hf://me/x", "is a URL"),
            ("~/x", "begins with `~`"),
            ("$HOME/x", "holds a variable"),
            ("${HOME}/x", "holds a variable"),
            ("me@host:x", "another machine"),
            ("a\tb", "control character"),
        ] {
            let found = messages(&with_path(key, path));
            assert!(found.len() == 1 && found[0].contains(what), "{key}, {path}: {found:?}");
        }
    }
    // The odd name of a file is one.
    assert!(parsed(&with_path("publish.to", "./~x/$HOME")).is_ok());
}

#[test]
fn what_is_published_is_named_or_recommended() {
    let of = |keys: &str| {
        least(&format!("[[format]]\nname = \"q4_K_S\"\n[publish]\nto = \"p\"\n{keys}\n"))
    };
    let publish = |keys: &str| parsed(&of(keys)).unwrap().publish.unwrap();
    let all = publish("");
    assert!(all.only.is_none() && all.failed == FailedFormats::LeaveOut);
    let only = publish("only = [\"recommended\", \"Q4_k_s\"]").only.unwrap();
    assert_eq!((only.formats.into_iter().collect(), only.recommended), (vec![1], true));
    assert_eq!(publish("failed = \"publish\"").failed, FailedFormats::Publish);
    for (keys, message) in [
        ("only = []", "nothing to publish"),
        ("only = [\"q4_K_M\"]", "unknown format \"q4_K_M\""),
        ("only = [\"recomended\"]", "unknown format \"recomended\""),
        ("failed = \"yes\"", "unknown choice \"yes\""),
    ] {
        assert_eq!(messages(&of(keys)), [message]);
    }
    let shown = report(&of("only = [\"q4_KS\"]"));
    assert!(shown.contains("did you mean `q4_K_S`?"), "{shown}");
    let shown = report(&of("only = [\"zebra\"]"));
    assert!(shown.contains("there are q8_0, q4_K_S, recommended"), "{shown}");
    let called = "[[format]]\nname = \"recommended\"\nbase = \"q8_0\"\n";
    let both = messages(&(of("only = [\"recommended\"]") + called));
    assert_eq!(both, ["`recommended` is what the report recommends"]);
}

#[test]
fn a_url_to_publish_to_shows_its_line_and_what_to_do() {
    insta::assert_snapshot!(report(&least("[publish]\nto = \"s3://bucket/models\"\n")));
}

#[test]
fn what_is_a_file_is_no_directory_and_the_other_way_round() {
    // Relative to jobs/, where the manifest of these tests stands.
    for (key, path) in [
        ("publish.to", "../README.md"),
        ("report.dir", "../README.md/reports"),
        ("bench.out", "../README.md/bench.json"),
        ("quantize.gguf", "../README.md/{format}.gguf"),
        ("publish.sha256_list", "../README.md/list.txt"),
    ] {
        let found = messages(&with_path(key, path));
        assert!(found.len() == 1 && found[0].contains("is a file, not a directory"), "{found:?}");
    }
    let found = messages(&with_path("bench.out", "../src"));
    assert!(found[0].ends_with("/src is a directory"), "{found:?}");
}

#[test]
fn references_are_named_once_and_not_like_the_model_itself() {
    let reference = |name: &str, more: &str| {
        format!("[[reference]]\nname = \"{name}\"\ngguf = \"ref-{name}.gguf\"\n{more}")
    };
    let twice = least(&(reference("a", "") + &reference("A", "")));
    assert_eq!(messages(&twice), ["two references are called `A`"]);
    let reserved = messages(&least(&reference("unquantized", "")));
    assert!(reserved[0].contains("the model before quantizing"), "{reserved:?}");
    let both = messages(&least(&reference("a", "format = \"q8_0\"\nrequired = true\n")));
    assert_eq!(both, ["a reference that the job makes is always there"]);
    let job = parsed(&least(&reference("a", "required = false\n"))).unwrap();
    assert_eq!(job.references[0].origin, ReferenceOrigin::Given { required: false });
}

#[test]
fn a_missing_manifest_says_what_to_name() {
    let error = Job::load(Utf8Path::new("no/such.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read no/such.toml");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,200}") {
        let _ = parsed(&text);
    }

    /// Cuts and doublings of a manifest keep most of its structure.
    #[test]
    fn no_damage_makes_the_parser_panic(from in 0..400usize, to in 0..400usize) {
        let whole = least("[evaluate]\ncorpus = [\"ä\"]\n[publish]\nto = \"{name}\"\n");
        let at = |i: usize| whole.floor_char_boundary(i);
        let _ = parsed(&format!("{}{}", &whole[..at(from)], &whole[at(to)..]));
    }
}

#[test]
fn a_workspace_whose_path_would_be_filled_in_is_refused() {
    for placeholder in ["{name}", "{format}", "{timestamp}"] {
        let text = least("").replace(
            "name = \"small\"",
            &format!("name = \"small\"\nworkspace = \"a{placeholder}\""),
        );
        let found = messages(&text);
        assert!(
            found.iter().any(|m| m.contains(&format!("has {placeholder} in its path"))),
            "{found:?}"
        );
    }
}

//! Files made in one pass are those made one by one.

use super::*;

/// The files of [`several`]: types of the tensors, from the first on and again.
const MIXES: [&[GgmlType]; 3] = [
    &[GgmlType::F32, GgmlType::Q8_0, GgmlType::Q4_K],
    &[GgmlType::Q8_0],
    &[GgmlType::F32, GgmlType::Q4_K, GgmlType::Q4_K, GgmlType::Q8_0],
];

/// Writes every mix of [`MIXES`] in one pass, as `0.gguf` and so on beside the place's file.
fn several(
    place: &Place,
    source: &dyn TensorSource,
    identity: &(dyn Fn() -> Result<String, StepError> + Sync),
    ctx: &Context<'_>,
) -> Result<Vec<WriteResult>, StepError> {
    let targets = MIXES.map(|types| -> Vec<NewTensor> {
        let types = types.iter().copied().cycle();
        types
            .zip(0..source.tensors().len())
            .map(|(ty, source)| NewTensor { source, ggml_type: ty.into() })
            .collect()
    });
    let outs = [0, 1, 2].map(|i| place.out.with_file_name(format!("{i}.gguf")));
    let files = targets.iter().zip(&outs).map(|(targets, out)| NewModel {
        source,
        metadata: source.metadata(),
        tensors: targets,
        out,
        split: None,
        replace: true,
        identity,
        importance: None,
        hash_tensors: true,
        flush_bytes: 0,
        ctx,
    });
    write_all(&files.collect::<Vec<_>>()).into_iter().collect()
}

#[test]
fn files_of_one_pass_are_those_of_many_whatever_was_there_before() {
    let model = Model::new();
    let same = || Ok("source".to_owned());
    let place = Place::new();
    let recorder = Recorder::new();
    let expected = several(&place, &model, &same, &context(&recorder)).unwrap();
    // Read once to be quantized, whatever the number of types, and once where it is copied.
    let reads = |(i, info): (usize, &TensorInfo)| {
        let copied = MIXES.iter().any(|types| types[i % types.len()] == GgmlType::F32);
        info.rows() as u64 * (1 + u64::from(copied))
    };
    let rows: u64 = model.tensors.iter().enumerate().map(reads).sum();
    assert_eq!(model.rows_read.load(Ordering::Relaxed), rows);
    let (alone, result) = whole(&model);
    assert!(fs::read(place.out.with_file_name("0.gguf")).unwrap() == alone);
    assert_eq!(result.tensors, expected[0].tensors);
    for result in &expected {
        let bytes = fs::read(&result.output.path).unwrap();
        assert_eq!(result.output.sha256, hex::encode(Sha256::digest(&bytes)));
        check_hashes(&result.output.path, &result.tensors);
    }

    // Interrupted, and one of the unfinished files lost.
    for lost in 0..3 {
        let place = Place::new();
        let cancelled = AtomicBool::new(false);
        let events = StopAt { bytes: 900_000, cancelled: &cancelled };
        let journals = Some(place.journals.clone());
        let ctx = Context { journals, ..Context::new(&events, &cancelled, 3) };
        let error = several(&place, &model, &same, &ctx).unwrap_err();
        assert_eq!(error.class, ErrorClass::Interrupted);
        let gone = place.out.with_file_name(format!("{lost}.gguf"));
        fs::remove_file(Mark::default().partial(&gone)).unwrap();

        let ctx = Context { journals: Some(place.journals.clone()), ..context(&recorder) };
        let results = several(&place, &model, &same, &ctx).unwrap();
        for (i, (result, expected)) in results.iter().zip(&expected).enumerate() {
            assert_eq!(result.output.sha256, expected.output.sha256);
            assert_eq!(result.tensors, expected.tensors);
            assert_eq!(result.resumed_tensors == 0, i == lost, "{}", result.resumed_tensors);
        }
    }
}

#[test]
fn what_stays_as_it_is_is_read_from_the_file_itself() {
    let model = Model::new();
    let place = Place::new();
    let recorder = Recorder::new();
    place.write(&model, &context(&recorder)).unwrap();
    let source = File::open(&place.out).unwrap();
    let copy = Place::new();
    let results = several(&copy, &source, &|| Ok(String::new()), &context(&recorder)).unwrap();
    assert!(fs::read(&results[0].output.path).unwrap() == fs::read(&place.out).unwrap());
}

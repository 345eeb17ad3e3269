//! Made-up latencies and distances, and what is recommended from them.

use super::*;

/// Ten runs around `centre`, spread 2% in all.
fn runs(centre: f64) -> Option<Vec<f64>> {
    Some((0..10).map(|i| centre * (1.0 + 0.002 * (f64::from(i) - 4.5))).collect())
}

fn contender(name: &str, ms: f64, kl: f64, agreement: f64) -> Contender {
    Contender {
        name: name.to_owned(),
        baseline: name == "base",
        latency_ms: runs(ms),
        quality: Some(Quality { kl_divergence: kl, top_token_agreement: agreement }),
        failure: None,
        noise: Vec::new(),
        disturbance: 0.0,
    }
}

fn base() -> Contender {
    contender("base", 100.0, 0.020, 0.96)
}

fn judged(other: Contender) -> (Advice, Outcome, String) {
    let r = recommend(&[base(), other], Some("unquantized"), None);
    (r.verdict, r.judgements[0].outcome, r.reason)
}

#[test]
fn faster_and_as_good_is_taken_with_its_numbers() {
    let (verdict, outcome, reason) = judged(contender("fast", 80.0, 0.021, 0.958));
    assert_eq!((verdict, outcome), (Advice::Take, Outcome::Wins));
    assert!(reason.starts_with("Take fast: p95 latency 80.65 ms"), "{reason}");
    assert!(reason.contains("0.800 times (95% interval 0.79"), "{reason}");
    assert!(reason.contains("0.02100 against 0.02000 (bound 0.02250)"), "{reason}");
}

#[test]
fn faster_but_worse_is_not_taken() {
    for (kl, agreement) in [(0.0226, 0.96), (0.020, 0.9549), (f64::NAN, 0.96)] {
        let (verdict, outcome, reason) = judged(contender("fast", 80.0, kl, agreement));
        assert_eq!((verdict, outcome), (Advice::Keep, Outcome::FasterButWorse));
        assert!(reason.starts_with("Keep base. fast: "), "{reason}");
        assert!(reason.contains("worse than the bound"), "{reason}");
    }
}

#[test]
fn a_difference_within_the_noise_keeps_and_shows_the_interval() {
    let (verdict, outcome, reason) = judged(contender("same", 99.8, 0.010, 0.99));
    assert_eq!((verdict, outcome), (Advice::Keep, Outcome::WithinNoise));
    assert!(reason.contains("within the noise") && reason.contains("95% interval"), "{reason}");
}

#[test]
fn a_gain_of_one_percent_is_not_acted_on_however_narrow_its_interval() {
    let mut narrow = contender("narrow", 99.0, 0.010, 0.99);
    narrow.latency_ms = Some(vec![99.0; 10]);
    let mut baseline = base();
    baseline.latency_ms = Some(vec![100.0; 10]);
    let r = recommend(&[baseline, narrow], Some("unquantized"), None);
    assert_eq!((r.verdict, r.judgements[0].outcome), (Advice::Keep, Outcome::WithinNoise));
    assert!(r.reason.contains("under the 2.0%"), "{}", r.reason);
}

#[test]
fn two_benchmarks_of_the_same_weights_say_how_large_the_noise_is() {
    let all = [base(), contender("fast", 80.0, 0.02, 0.96)];
    let names = ["base".to_owned(), "stability".to_owned()];
    let control = |difference| Control { names: names.clone(), difference };
    let r = recommend(&all, Some("unquantized"), Some(&control(0.1)));
    assert_eq!(r.verdict, Advice::Take);
    let r = recommend(&all, Some("unquantized"), Some(&control(0.25)));
    assert_eq!((r.verdict, r.judgements[0].outcome), (Advice::Keep, Outcome::WithinNoise));
    assert!(
        r.reason.contains("under the 25.0% by which base and stability differ"),
        "{}",
        r.reason
    );
}

#[test]
fn what_others_took_of_the_machine_is_no_gain() {
    let mut busy = contender("fast", 80.0, 0.02, 0.96);
    busy.disturbance = 0.3;
    let (verdict, outcome, reason) = judged(busy);
    assert_eq!((verdict, outcome), (Advice::Keep, Outcome::WithinNoise));
    assert!(reason.contains("30.0% of the processors' time"), "{reason}");
    let mut slow = contender("slow", 120.0, 0.02, 0.96);
    slow.disturbance = 0.3;
    assert_eq!(judged(slow).1, Outcome::WithinNoise);
}

#[test]
fn a_better_median_with_a_bad_tail_is_noise() {
    let mut tail = contender("tail", 80.0, 0.010, 0.99);
    tail.latency_ms = Some([vec![80.0; 8], vec![130.0; 2]].concat());
    assert_eq!(judged(tail).1, Outcome::WithinNoise);
}

#[test]
fn slower_is_kept_out() {
    let (verdict, outcome, _) = judged(contender("slow", 120.0, 0.001, 0.99));
    assert_eq!((verdict, outcome), (Advice::Keep, Outcome::Slower));
}

#[test]
fn without_an_evaluation_nothing_is_taken() {
    let mut unknown = contender("fast", 80.0, 0.0, 0.0);
    unknown.quality = None;
    assert_eq!(judged(unknown).1, Outcome::FasterQualityUnknown);
    let r = recommend(&[base(), contender("fast", 80.0, 0.02, 0.96)], None, None);
    assert_eq!(r.judgements[0].outcome, Outcome::FasterQualityUnknown);
}

#[test]
fn the_fastest_of_several_winners_is_taken() {
    let all = [
        base(),
        contender("a", 90.0, 0.02, 0.96),
        contender("b", 70.0, 0.02, 0.96),
        contender("c", 60.0, 0.09, 0.80),
    ];
    let r = recommend(&all, Some("unquantized"), None);
    assert_eq!((r.verdict, r.format.as_deref()), (Advice::Take, Some("b")));
    assert_eq!(r.judgements.len(), 3);
}

#[test]
fn a_failed_candidate_is_named_and_does_not_win() {
    let mut failed = contender("bad", 1.0, 0.0, 1.0);
    failed.latency_ms = None;
    failed.failure = Some("load_check: tensor output.weight, row 7: NaN".to_owned());
    let (verdict, outcome, reason) = judged(failed);
    assert_eq!((verdict, outcome), (Advice::Keep, Outcome::Failed));
    assert!(reason.contains("output.weight, row 7"), "{reason}");
}

#[test]
fn a_failed_evaluation_is_the_reason_why_quality_is_unknown() {
    let mut unknown = contender("fast", 80.0, 0.0, 0.0);
    unknown.quality = None;
    unknown.failure = Some("evaluate: the corpus\nis gone.".to_owned());
    let (_, outcome, reason) = judged(unknown);
    assert_eq!(outcome, Outcome::FasterQualityUnknown);
    assert!(reason.ends_with("(Failed: evaluate: the corpus is gone.)"), "{reason}");
}

#[test]
fn a_failed_baseline_leaves_it_undecided() {
    let mut failed = base();
    failed.latency_ms = None;
    failed.failure = Some("quantize: disk full".to_owned());
    let r = recommend(&[failed, contender("fast", 80.0, 0.02, 0.96)], Some("unquantized"), None);
    assert_eq!((r.verdict, r.format), (Advice::Undecided, None));
    assert!(r.reason.contains("disk full"), "{}", r.reason);
    assert_eq!(recommend(&[], None, None).verdict, Advice::Undecided);
}

#[test]
fn of_several_within_the_noise_the_fastest_is_named() {
    let all = [base(), contender("a", 100.3, 0.02, 0.96), contender("b", 99.7, 0.02, 0.96)];
    let r = recommend(&all, Some("unquantized"), None);
    assert!(r.reason.contains("The closest, b: "), "{}", r.reason);
}

#[test]
fn a_single_format_is_kept() {
    let r = recommend(&[base()], Some("unquantized"), None);
    assert_eq!(r.reason, "Keep base: the job has no other format.");
}

#[test]
fn noise_is_passed_on_as_a_caution() {
    let mut noisy = contender("fast", 80.0, 0.02, 0.96);
    noisy.noise = vec!["others took 31% of the processors".to_owned()];
    let r = recommend(&[base(), noisy], Some("unquantized"), None);
    assert_eq!(r.cautions, ["fast: others took 31% of the processors"]);
}

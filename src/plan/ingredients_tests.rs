//! That every field of every description is in a key, and nothing else is.

use serde_json::json;

use super::*;
use crate::ggml::GgmlType;
use crate::model::KvCacheType;
use crate::plan::testing::{Workspace, rule};
use crate::plan::{Plan, key};
use crate::state::Ingredient;
use crate::steps::{BenchPairSpec, ImatrixFile, StepSpec};

/// What each field of a description is, as if a file's name were its digest.
fn ingredients(plan: &Plan, kind: &str, draft: &Value) -> Vec<Ingredient> {
    let (workspace, files) = (&plan.job.workspace, &plan.inputs);
    let mut list = List { workspace, files, inputs: Vec::new() };
    list.add_fields(kind, draft);
    let value = |input| match input {
        Input::Parameter { name, value } => Some((name, value)),
        Input::File { name, path } | Input::Named { name, path } => {
            Some((name, path.into_string()))
        }
        Input::Output { name, step } | Input::Ended { name, step } => Some((name, step)),
        Input::Release { name, format } => Some((name, format.to_string())),
        Input::After(_) => None,
    };
    list.inputs.into_iter().filter_map(value).collect()
}

/// `value` with one of its fields changed, for each field that is no label; arrays also turned
/// round, and shorter by one.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(fields) => {
            if ["$label", "$out"].iter().any(|key| fields.contains_key(*key)) {
                return Vec::new();
            }
            // A file that is made has no path yet.
            let made = fields.contains_key("$made_by");
            let counts = |key: &str| !["kind", "bytes"].contains(&key) && (!made || key != "$file");
            let fields_of = |key: &String, change: Value| {
                let mut fields = fields.clone();
                fields.insert(key.clone(), change);
                Value::Object(fields)
            };
            let each = fields.iter().filter(|(key, _)| counts(key));
            each.flat_map(|(k, v)| changes(v).into_iter().map(move |c| fields_of(k, c))).collect()
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (i, item) in items.iter().enumerate() {
                all.extend(changes(item).into_iter().map(|change| {
                    let mut items = items.clone();
                    items[i] = change;
                    Value::Array(items)
                }));
            }
            if let Some((_, rest)) = items.split_last() {
                all.push(Value::Array(rest.to_vec()));
            }
            if items.len() > 1 {
                all.push(Value::Array(items.iter().rev().cloned().collect()));
            }
            all
        }
        Value::String(text) => vec![json!(format!("{text}, changed"))],
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1)],
        Value::Bool(is) => vec![json!(!is)],
        Value::Null => vec![json!("something")],
    }
}

/// Descriptions of every kind, with all that they may hold.
fn every_draft(workspace: &Workspace) -> (Plan, Vec<StepSpec>) {
    let mut job = workspace.job();
    let matrix = workspace.path.join("imatrix.gguf");
    std::fs::write(&matrix, "importance").unwrap();
    let spec = &mut job.formats[1].spec;
    spec.imatrix = Some(ImatrixFile { path: matrix.into(), name: "importance".into() });
    spec.tensors = vec![rule("^output", GgmlType::Q8_0), rule("attn", GgmlType::Q4_0)];
    spec.output_tensor_type = Some(GgmlType::Q6_K);
    spec.token_embedding_type = Some(GgmlType::Q6_K);
    job.quantize.split = Some(1 << 20);
    job.quantize.provenance = true;
    let plan = workspace.plan(job);
    let mut drafts: Vec<StepSpec> = plan.graph().nodes().map(|n| n.draft.clone()).collect();
    let bench = drafts.iter_mut().find_map(|draft| match draft {
        StepSpec::Bench(spec) => Some(spec),
        _ => None,
    });
    let bench = bench.unwrap();
    bench.kv_cache = Some(KvCacheType::Q8_0);
    let pair = BenchPairSpec { first: bench.clone(), second: "b.gguf".into(), seed: 1 };
    drafts.push(pair.into());
    (plan, drafts)
}

#[test]
fn every_field_of_every_step_is_in_its_key_and_a_change_of_it_is_told() {
    let workspace = Workspace::new();
    let (plan, drafts) = every_draft(&workspace);
    let kinds: std::collections::BTreeSet<_> =
        drafts.iter().map(|draft| draft.kind().name).collect();
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    let mut changed = 0;
    for draft in &drafts {
        let (kind, json) = (draft.kind().name, serde_json::to_value(draft).unwrap());
        let old = ingredients(&plan, kind, &json);
        let names: std::collections::BTreeSet<_> = old.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), old.len(), "a name twice: {old:?}");
        for change in changes(&json) {
            let new = ingredients(&plan, kind, &change);
            assert_ne!(key::key(&old), key::key(&new), "{kind}: {change}");
            let known: Vec<_> = new.into_iter().map(|(n, v)| (n, Some(v))).collect();
            let reasons = key::differences(&old, &known);
            assert!(!reasons.is_empty(), "{kind}: {change}");
            changed += 1;
        }
    }
    assert!(changed > 200, "{changed}");
}

#[test]
fn labels_and_outputs_are_in_no_key() {
    let workspace = Workspace::new();
    let (plan, drafts) = every_draft(&workspace);
    let quantize = drafts.iter().find(|draft| draft.kind().name == "quantize").unwrap();
    let json = serde_json::to_value(quantize).unwrap();
    let mut other = json.clone();
    other["format"]["name"]["$label"] = json!("another name");
    other["out"]["$out"] = json!("/another/place");
    other["out"]["replace"] = json!(true);
    let [a, b] = [&json, &other].map(|json| ingredients(&plan, "quantize", json));
    assert!(json != other && a == b);
}

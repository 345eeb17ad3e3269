//! What a step warns of, kept in its result: who reads the report a week later has not seen the
//! console. Knows nothing of what the warnings say.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::{Event, EventSink, Level};

/// The result's field that holds them; absent where there are none.
const FIELD: &str = "warnings";

/// Hands events on and keeps the warnings among them.
pub(super) struct Collector<'a> {
    events: &'a dyn EventSink,
    kept: Mutex<Vec<String>>,
}

impl<'a> Collector<'a> {
    pub fn new(events: &'a dyn EventSink) -> Self {
        Self { events, kept: Mutex::new(Vec::new()) }
    }

    /// Puts what was warned of into the step's result, in the order in which it was said.
    pub fn add_to(self, mut result: Value) -> Value {
        let kept = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Value::Object(fields) = &mut result
            && !kept.is_empty()
        {
            fields.insert(FIELD.to_owned(), kept.into());
        }
        result
    }
}

impl EventSink for Collector<'_> {
    fn emit(&self, event: Event) {
        if let Event::Log { level: Level::Warn, message } = &event {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if !kept.contains(message) {
                kept.push(message.clone());
            }
        }
        self.events.emit(event);
    }
}

/// What the step with this result warned of.
pub fn warnings(result: &Value) -> Vec<String> {
    let list = result.get(FIELD).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|w| Some(w.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::steps::testing::Recorder;

    #[test]
    fn warnings_are_handed_on_and_kept_once_each() {
        let recorder = Recorder::new();
        let collector = Collector::new(&recorder);
        for (level, message) in
            [(Level::Info, "begun"), (Level::Warn, "short"), (Level::Warn, "short")]
        {
            collector.emit(Event::Log { level, message: message.to_owned() });
        }
        let result = collector.add_to(json!({ "bytes": 1 }));
        assert_eq!(result, json!({ "bytes": 1, "warnings": ["short"] }));
        assert_eq!(warnings(&result), ["short"]);
        assert_eq!(recorder.log_lines(), ["begun", "short", "short"]);
    }

    #[test]
    fn a_result_without_warnings_is_as_the_step_gave_it() {
        let recorder = Recorder::new();
        let result = Collector::new(&recorder).add_to(json!({ "bytes": 1 }));
        assert_eq!(result, json!({ "bytes": 1 }));
        assert!(warnings(&result).is_empty());
    }
}

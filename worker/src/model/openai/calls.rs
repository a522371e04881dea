//! Puts the fragments of parallel tool calls together, however a server numbers them.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::http::Text;
use crate::model::{ModelError, ModelEvent, failure};

/// A piece of a tool call.
#[derive(Debug, Deserialize)]
pub(super) struct Fragment<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Debug, Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    /// A string of JSON; some servers send the object itself.
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// The calls of one answer, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    named: bool,
    /// Arguments that came before the name.
    early: String,
    has_arguments: bool,
}

impl Calls {
    /// No tool was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a fragment and adds what it says to `said`.
    pub(super) fn take(&mut self, fragment: &Fragment<'_>, said: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        let id = Text::filled(fragment.id.as_ref());
        let function = fragment.function.as_ref();
        let name = function.and_then(|function| Text::filled(function.name.as_ref()));
        let index = self.place(fragment.index, id, name);
        if self.0.len() <= index {
            self.0.push(Call { index: fragment.index, ..Call::default() });
        }
        let Some(call) = self.0.get_mut(index) else { return Err(failure::nonsense()) };
        if call.id.is_none() {
            call.id = id.map(str::to_owned);
        }
        if let Some(name) = name
            && !call.named
        {
            call.named = true;
            said.push(ModelEvent::ToolCallStart { index, name: name.to_owned() });
            let early = std::mem::take(&mut call.early);
            call.say(index, early, said);
        }
        if let Some(raw) = function.and_then(|function| function.arguments) {
            call.say(index, text_in(raw)?, said);
        }
        Ok(())
    }

    /// Which call a fragment belongs to; one past the end for a new one.
    fn place(&self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> usize {
        let next = self.0.len();
        match (index, id) {
            (Some(_), _) => match self.0.iter().rposition(|call| call.index == index) {
                // Some servers number every call 0 and tell them apart by id.
                Some(found) if name.is_some() && self.is_other(found, id) => next,
                Some(found) => found,
                None => next,
            },
            (None, Some(_)) => self.0.iter().position(|call| call.id.as_deref() == id).unwrap_or(next),
            // Without number and id, a name begins a call, unless the last one still has none.
            (None, None) => match self.0.last() {
                Some(last) if name.is_none() || !last.named => next - 1,
                Some(_) | None => next,
            },
        }
    }

    fn is_other(&self, found: usize, id: Option<&str>) -> bool {
        let known = self.0.get(found).and_then(|call| call.id.as_deref());
        id.is_some() && known.is_some() && known != id
    }

    /// Closes the calls: one without arguments has empty ones, one without a name is nonsense.
    pub(super) fn finish(&mut self, said: &mut Vec<ModelEvent>) -> Result<(), ModelError> {
        for (index, call) in self.0.iter_mut().enumerate() {
            if !call.named {
                return Err(failure::nonsense());
            }
            if !call.has_arguments {
                call.say(index, "{}".into(), said);
            }
        }
        Ok(())
    }
}

impl Call {
    fn say(&mut self, index: usize, arguments: String, said: &mut Vec<ModelEvent>) {
        if arguments.is_empty() {
            return;
        }
        if self.named {
            self.has_arguments = true;
            said.push(ModelEvent::ToolCallDelta { index, arguments });
        } else {
            self.early.push_str(&arguments);
        }
    }
}

fn text_in(raw: &RawValue) -> Result<String, ModelError> {
    if raw.get().starts_with('"') {
        serde_json::from_str(raw.get()).map_err(|_| failure::nonsense())
    } else {
        Ok(raw.get().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Feeds fragments and gives back each call's name and whole arguments.
    fn calls(fragments: &[Value]) -> Vec<(String, String)> {
        let mut calls = Calls::default();
        let mut said = Vec::new();
        for fragment in fragments {
            let fragment = fragment.to_string();
            calls.take(&serde_json::from_str(&fragment).unwrap(), &mut said).unwrap();
        }
        calls.finish(&mut said).unwrap();
        let mut whole = Vec::new();
        for event in said {
            match event {
                ModelEvent::ToolCallStart { index, name } => {
                    assert_eq!(index, whole.len(), "calls begin in order");
                    whole.push((name, String::new()));
                }
                ModelEvent::ToolCallDelta { index, arguments } => whole[index].1.push_str(&arguments),
                other => panic!("unexpected {other:?}"),
            }
        }
        whole
    }

    fn pair(name: &str, arguments: &str) -> (String, String) {
        (name.into(), arguments.into())
    }

    #[test]
    fn interleaved_fragments_find_their_call() {
        let fragments = [
            json!({"index": 0, "id": "a", "type": "function", "function": {"name": "one", "arguments": ""}}),
            json!({"index": 1, "id": "b", "function": {"name": "two", "arguments": "{\"y\""}}),
            json!({"index": 0, "function": {"arguments": "{\"x\":"}}),
            json!({"index": 1, "function": {"arguments": ":2}"}}),
            json!({"index": 0, "id": "", "function": {"name": null, "arguments": "1}"}}),
        ];
        assert_eq!(calls(&fragments), [pair("one", "{\"x\":1}"), pair("two", "{\"y\":2}")]);
    }

    #[test]
    fn a_repeated_id_and_name_begins_no_new_call() {
        let fragments = [
            json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "{"}}),
            json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "}"}}),
        ];
        assert_eq!(calls(&fragments), [pair("one", "{}")]);
    }

    #[test]
    fn whole_calls_without_number_are_told_apart() {
        let by_id = [
            json!({"id": "a", "function": {"name": "one", "arguments": "{\"x\":1}"}}),
            json!({"id": "b", "function": {"name": "one", "arguments": "{\"x\":"}}),
            json!({"function": {"arguments": "2}"}}),
        ];
        assert_eq!(calls(&by_id), [pair("one", "{\"x\":1}"), pair("one", "{\"x\":2}")]);
        let by_name = [
            json!({"function": {"name": "one", "arguments": "{}"}}),
            json!({"function": {"name": "one", "arguments": "{}"}}),
        ];
        assert_eq!(calls(&by_name), [pair("one", "{}"), pair("one", "{}")]);
    }

    #[test]
    fn calls_that_share_a_number_are_told_apart_by_id() {
        let fragments = [
            json!({"index": 0, "id": "a", "function": {"name": "one", "arguments": "{}"}}),
            json!({"index": 0, "id": "b", "function": {"name": "two", "arguments": "{\"x\""}}),
            json!({"index": 0, "function": {"arguments": ":1}"}}),
        ];
        assert_eq!(calls(&fragments), [pair("one", "{}"), pair("two", "{\"x\":1}")]);
    }

    #[test]
    fn arguments_may_come_early_or_as_an_object_or_not_at_all() {
        let fragments = [
            json!({"index": 0, "id": "a", "function": {"arguments": "{\"x\""}}),
            json!({"index": 0, "function": {"name": "one", "arguments": ":1}"}}),
            json!({"index": 1, "id": "b", "function": {"name": "two", "arguments": {"y": 2}}}),
            json!({"index": 2, "id": "c", "function": {"name": "three"}}),
        ];
        assert_eq!(calls(&fragments), [pair("one", "{\"x\":1}"), pair("two", "{\"y\":2}"), pair("three", "{}")]);
    }

    #[test]
    fn a_call_without_a_name_is_nonsense() {
        let mut calls = Calls::default();
        let mut said = Vec::new();
        let fragment = json!({"index": 0, "id": "a", "function": {"arguments": "{}"}}).to_string();
        calls.take(&serde_json::from_str(&fragment).unwrap(), &mut said).unwrap();
        assert!(matches!(calls.finish(&mut said), Err(ModelError::Fatal(_))));
    }
}

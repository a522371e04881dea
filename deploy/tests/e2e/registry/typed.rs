//! Holds what tools answer to the OpenAPI document of the running API: the chunk, the JSON in it, and
//! what the history tells afterwards.

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::client::{Client, Rest};
use crate::system::System;

/// The schemas of the document.
pub struct Typed {
    components: Value,
    chunk: Validator,
    answer: Validator,
}

/// The outcome of a call as a client gets it.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub call: String,
    pub failed: bool,
    /// The text as it was sent.
    pub text: String,
}

impl Outcome {
    /// The answer, which has a type.
    pub fn answer(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
}

impl Typed {
    pub async fn of(system: &System) -> Self {
        let mut document = system.client(0, "reader").get("/../../openapi-3.2.json").await;
        let components = document["components"].take();
        let (chunk, answer) = (validator(&components, "Chunk"), validator(&components, "ToolResponse"));
        Self { components, chunk, answer }
    }

    /// An answer is what the document says of its type, and has no field that the document does not know.
    pub fn demand_answer(&self, answer: &Value) {
        let kind = answer["type"].as_str().unwrap_or_else(|| panic!("no type: {answer}"));
        let union = &self.components["schemas"]["ToolResponse"];
        let name = union["discriminator"]["mapping"][kind].as_str().unwrap_or_else(|| panic!("no such type: {kind}"));
        let name = name.rsplit('/').next().unwrap();
        // The member first: of a union one only learns that nothing fits.
        demand(&validator(&self.components, name), answer);
        demand(&self.answer, answer);
        let known = self.components["schemas"][name]["properties"].as_object().unwrap();
        let unknown: Vec<&String> =
            answer.as_object().unwrap().keys().filter(|key| !known.contains_key(*key)).collect();
        assert!(unknown.is_empty(), "{kind} has {unknown:?}, of which the document does not tell");
    }

    /// The outcomes of the calls of a turn, in the order in which they came. Each is the same, and
    /// typed, in the stream, in the history and among the messages of the AI SDK.
    pub async fn outcomes(&self, client: &Client, session: &str, rest: &Rest) -> Vec<Outcome> {
        assert!(rest.done, "{:?}", rest.comments);
        let outcomes: Vec<Outcome> = rest.events.iter().filter_map(|event| self.outcome(&event.data)).collect();
        let detail = client.get(&format!("/sessions/{session}?limit=200")).await;
        let messages = client.get(&format!("/sessions/{session}?format=ui&limit=200")).await;
        let kept = |call: &str| {
            let messages = detail["messages"].as_array().unwrap().iter();
            messages.filter(|message| message["tool_call_id"] == call).cloned().collect::<Vec<_>>()
        };
        let parts: Vec<&Value> =
            messages.as_array().unwrap().iter().flat_map(|message| message["parts"].as_array().unwrap()).collect();
        for outcome in &outcomes {
            let kept = kept(&outcome.call);
            let [kept] = kept.as_slice() else { panic!("{} of {outcome:?} in the history", kept.len()) };
            assert_eq!(kept["content"], outcome.text.as_str(), "the history tells what clients saw");
            let part = parts.iter().find(|part| part["toolCallId"] == outcome.call.as_str()).unwrap();
            let field = if outcome.failed { "errorText" } else { "output" };
            assert_eq!(part[field], outcome.text.as_str(), "{part}");
        }
        outcomes
    }

    fn outcome(&self, data: &str) -> Option<Outcome> {
        let chunk: Value = serde_json::from_str(data).unwrap();
        demand(&self.chunk, &chunk);
        let (failed, text) = match chunk["type"].as_str()? {
            "tool-output-available" if chunk["preliminary"] != true => (false, &chunk["output"]),
            "tool-output-error" => (true, &chunk["errorText"]),
            _ => return None,
        };
        let text = text.as_str().unwrap_or_else(|| panic!("no text: {chunk}")).to_owned();
        Some(Outcome { call: chunk["toolCallId"].as_str().unwrap().to_owned(), failed, text })
    }
}

fn validator(components: &Value, schema: &str) -> Validator {
    let root = json!({"$ref": format!("#/components/schemas/{schema}"), "components": components});
    jsonschema::validator_for(&root).unwrap()
}

fn demand(validator: &Validator, value: &Value) {
    let faults = validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path()));
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{faults:?}\n{value:#}");
}

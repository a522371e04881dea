//! The document that clients are generated from.

use super::*;
use serde_json::json;

fn parsed() -> Value {
    serde_json::from_str(&document().unwrap()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, methods): (&String, &'_ Value)| {
        let path = path.clone();
        methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone())).collect::<Vec<_>>()
    };
    let names: Vec<_> = paths.iter().flat_map(of_path).collect();
    names.into_iter().map(|(path, method)| (path.clone(), method.clone(), &document["paths"][&path][&method])).collect()
}

#[test]
fn the_checked_in_document_is_the_one_that_is_served() {
    let checked_in = include_str!("../../openapi.json");
    assert!(
        checked_in.trim_end() == document().unwrap(),
        "api/openapi.json is out of date; run: cargo run -p copilot-api -- openapi > api/openapi.json"
    );
}

#[test]
fn every_operation_has_an_id_a_tag_a_summary_and_an_answer_for_every_status() {
    let document = parsed();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["operationId"].is_string(), "{name}");
        assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{name}");
        assert!(operation["summary"].is_string(), "{name}");
        assert!(operation["description"].is_string(), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let has_body = response["content"].is_object();
            assert_eq!(has_body, status != "204", "{name} {status}");
        }
    }
}

#[test]
fn media_types_have_no_charset_and_the_version_is_one_that_generators_know() {
    let text = document().unwrap();
    assert!(!text.contains("charset"));
    assert!(!text.lines().any(|line| line.trim() == "null"), "null is said by nullable, not as a word of a list");
    assert_eq!(parsed()["openapi"], "3.0.3");
}

#[test]
fn an_event_streams_schema_is_the_union_of_chunks_and_each_type_is_one_constant() {
    let document = parsed();
    let stream = &document["paths"]["/api/chat/sessions/{id}/stream"]["get"]["responses"]["200"];
    assert_eq!(stream["content"]["text/event-stream"]["schema"]["$ref"], "#/components/schemas/Chunk");
    let mapping = document["components"]["schemas"]["Chunk"]["discriminator"]["mapping"].as_object().unwrap();
    assert_eq!(mapping.len(), 20);
    for (kind, reference) in mapping {
        let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
        let constant = &document["components"]["schemas"][name]["properties"]["type"]["enum"];
        assert_eq!(constant, &json!([kind]), "{name}");
    }
}

#[test]
fn every_parameter_response_and_header_is_described_and_every_operation_says_who_may_call() {
    let document = parsed();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["security"].is_array(), "{name}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let referenced = parameter["$ref"].is_string();
            assert!(referenced || parameter["description"].is_string(), "{name} {}", parameter["name"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|words| !words.is_empty()), "{name} {status}");
            for (header, of) in response["headers"].as_object().unwrap() {
                assert!(of["description"].is_string() || of["$ref"].is_string(), "{name} {status} {header}");
                assert_ne!(header, &header.to_uppercase(), "{name} {status}");
            }
        }
    }
}

#[test]
fn what_tools_answer_is_one_union_and_every_reference_leads_somewhere() {
    let document = parsed();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mapping = schemas["ToolResponse"]["discriminator"]["mapping"].as_object().unwrap();
    let kinds: Vec<&str> = mapping.keys().map(String::as_str).collect();
    let mut known = copilot_shared::tool::ToolResponse::KINDS.to_vec();
    known.sort_unstable();
    assert_eq!(kinds, known);
    for (kind, reference) in mapping {
        let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
        assert_eq!(schemas[name]["properties"]["type"]["enum"], json!([kind]), "{name}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(reference.strip_prefix('#').expect(reference)).is_some(), "{reference}");
    }
}

#[test]
fn the_newest_version_has_items_in_its_streams_and_null_as_a_type() {
    let text = newest_document().unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["openapi"], "3.2.0");
    assert!(!text.contains("nullable"));
    let stream = &document["paths"]["/api/chat/sessions/{id}/stream"]["get"]["responses"]["200"]["content"];
    let item = &stream["text/event-stream"]["itemSchema"];
    assert_eq!(item["properties"]["data"]["contentSchema"]["$ref"], "#/components/schemas/Chunk");
    let detail = &document["components"]["schemas"]["SessionDetailResponse"]["properties"];
    assert_eq!(detail["title"]["type"], json!(["string", "null"]));
    assert_eq!(
        detail["active_stream"]["anyOf"],
        json!([{"$ref": "#/components/schemas/ActiveStreamInfo"}, {"type": "null"}])
    );
}

#[test]
fn a_union_leaves_its_type_to_its_choices() {
    let document = parsed();
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["SessionView"].get("type"), None, "a session, or a list of messages");
    assert_eq!(schemas["Loc"]["anyOf"].as_array().unwrap().len(), 2);
    assert_eq!(schemas["Loc"].get("type"), None, "a name, or a number");
}

#[test]
fn an_answer_has_exactly_the_fields_of_its_schema() {
    use copilot_shared::tool::ToolAnswer;
    let document = parsed();
    let answer = serde_json::to_value(ToolAnswer::error("not_found", "There is none.")).unwrap();
    let schema = &document["components"]["schemas"]["ErrorResponse"];
    let sent: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), sent);
    assert_eq!(schema["required"].as_array().unwrap().len(), sent.len(), "nulls are kept");
    assert_eq!(schema["properties"]["error"]["nullable"], true);
}

#[test]
fn wherever_a_user_is_taken_by_a_token_an_admin_may_act_as_them() {
    let document = parsed();
    assert_eq!(document["components"]["parameters"]["ActAsUserId"]["name"], "X-Act-As-User-Id");
    for (path, method, operation) in operations(&document) {
        let of_user =
            operation["security"].as_array().is_some_and(|ways| !ways.is_empty()) && !path.starts_with(ADMIN_PREFIX);
        let offered = operation["parameters"].as_array().is_some_and(|parameters| {
            parameters.iter().any(|parameter| parameter["$ref"] == "#/components/parameters/ActAsUserId")
        });
        assert_eq!(offered, of_user, "{method} {path}");
        for status in ["403", "422"] {
            assert!(!of_user || operation["responses"][status].is_object(), "{method} {path} {status}");
        }
    }
}

//! The API: makes, wakes, lists and kills sandboxes.

use poem::{Request, Response};
use serde_json::{Value, json};

use super::{KEY, State, json_answer, refusal};

pub(super) async fn answer(state: &State, what: &str, id: Option<&str>, mut request: Request) -> Response {
    if request.header("X-API-KEY") != Some(KEY) {
        return refusal(401, "unauthorized");
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let key = request.header("Idempotency-Key").map(str::to_owned);
    let text = request.take_body().into_string().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let mut machines = state.machines();
    let missing = || refusal(404, "sandbox_not_found");
    let nothing = || Response::builder().status(poem::http::StatusCode::NO_CONTENT).finish();
    match (what, id) {
        ("POST /v2/sandboxes" | "POST /sandboxes", _) => match machines.create(&state.root, key.as_deref(), &body) {
            Ok(made) => json_answer(201, &made),
            Err((status, word)) => refusal(status, word),
        },
        ("GET /v2/sandboxes", _) => {
            let fits = |listed: &Value| fits(listed, &query);
            let listed: Vec<Value> = machines.all().map(|machine| machine.listed()).filter(fits).collect();
            json_answer(200, &Value::Array(listed))
        }
        ("GET /sandboxes/*", Some(id)) => {
            machines.find(id).map_or_else(missing, |machine| json_answer(200, &machine.listed()))
        }
        ("POST /v2/sandboxes/*/connect" | "POST /sandboxes/*/connect", Some(id)) => {
            machines.connect(id, &body).map_or_else(missing, |machine| json_answer(200, &machine))
        }
        ("POST /sandboxes/*/timeout", Some(id)) => machines.set_timeout(id, &body).map_or_else(missing, |()| nothing()),
        ("POST /sandboxes/*/pause", Some(id)) => match machines.running(id) {
            Some(machine) => {
                machine.is_paused = true;
                nothing()
            }
            None => missing(),
        },
        ("DELETE /sandboxes/*", Some(id)) => {
            if machines.kill(id) {
                nothing()
            } else {
                missing()
            }
        }
        _ => json_answer(404, &json!({"code": 404, "message": "no such route"})),
    }
}

/// Does a sandbox fit what is asked for? The wanted metadata is a query in a query.
fn fits(listed: &Value, query: &str) -> bool {
    let pairs = |text: &str| -> Vec<(String, String)> { pairs_of(text) };
    pairs(query).iter().all(|(name, value)| match name.as_str() {
        "metadata" => pairs(value)
            .iter()
            .all(|(name, value)| listed.pointer(&format!("/metadata/{name}")).and_then(Value::as_str) == Some(value)),
        "state" => value.split(',').any(|state| listed.get("state").and_then(Value::as_str) == Some(state)),
        _ => true,
    })
}

fn pairs_of(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// What `%XX` stands for.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digits = if byte == b'%' { rest.clone().next().zip(rest.clone().nth(1)) } else { None };
        let hex = |digit: u8| char::from(digit).to_digit(16);
        match digits.and_then(|(high, low)| u8::try_from(hex(high)? * 16 + hex(low)?).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! The program itself: how it starts, and how it stops.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use copilot_shared::testing::{Services, eventually};
use futures_util::StreamExt;
use serde_json::Value;

use crate::harness::PATIENCE;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            // It has exited already: nothing is left to be cleaned up.
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_copilot-api"))
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn sigterm_cuts_the_streams_and_ends_the_process_cleanly() {
    let services = Services::isolated().await;
    let (listen, ops) = (free_address(), free_address());
    let mut process = Process(
        program()
            .envs(services.environment())
            .env("API_LISTEN", &listen)
            .env("API_OPS_LISTEN", &ops)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    // Without TLS there is nothing that a provider would be needed for, but the client wants one.
    let _already_installed = rustls_provider();
    let http = reqwest::Client::new();
    eventually("readiness", PATIENCE, || async {
        let ready = http.get(format!("http://{ops}/health/ready")).send().await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;

    let token = String::from_utf8(program().args(["token", "--user", "u1"]).output().unwrap().stdout).unwrap();
    let url = format!("http://{listen}/api/chat/sessions");
    let made: Value =
        serde_json::from_str(&http.post(&url).bearer_auth(token.trim()).send().await.unwrap().text().await.unwrap())
            .unwrap();
    let stream = http
        .post(format!("{url}/{}/stream", made["id"].as_str().unwrap()))
        .bearer_auth(token.trim())
        .header("content-type", "application/json")
        .body("{\"message\":\"hi\"}")
        .send()
        .await
        .unwrap();
    let mut bytes = stream.bytes_stream();
    assert!(bytes.next().await.unwrap().unwrap().starts_with(b"retry: "));

    let asked = Command::new("kill").args(["-TERM", &process.0.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let mut last = bytes.next().await;
    while let Some(Ok(more)) = &last {
        assert!(!more.windows(6).any(|window| window == b"[DONE]"));
        last = bytes.next().await;
    }
    assert!(last.is_some_and(|end| end.is_err()), "a cut stream is no complete one");
    let status = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn readiness_names_the_part_that_is_away() {
    let services = Services::isolated().await;
    let ops = free_address();
    let _process = Process(
        program()
            .envs(services.environment())
            .env("REDIS_URL", "redis://127.0.0.1:1/0")
            .env("API_LISTEN", free_address())
            .env("API_OPS_LISTEN", &ops)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let _already_installed = rustls_provider();
    let http = reqwest::Client::new();
    eventually("everything but Redis is there", PATIENCE, || async {
        let answer = http.get(format!("http://{ops}/health/ready")).send().await.ok()?;
        let is_red = answer.status() == 503;
        let answer: Value = serde_json::from_str(&answer.text().await.ok()?).ok()?;
        let down: Vec<&str> = answer["down"].as_array()?.iter().filter_map(Value::as_str).collect();
        (is_red && down.contains(&"redis") && !down.contains(&"postgres")).then_some(())
    })
    .await;
}

fn rustls_provider() -> Result<(), impl std::fmt::Debug> {
    rustls::crypto::ring::default_provider().install_default()
}

#[test]
fn the_document_needs_no_server() {
    let printed = program().arg("openapi").env("DATABASE_URL", "postgres://127.0.0.1:1/none").output().unwrap();
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(document["openapi"], "3.0.3");
}

#[test]
fn a_bad_value_ends_the_program_with_the_variables_name() {
    for (name, value) in [
        ("API_LISTEN", "nowhere"),
        ("JWT_VERIFY_KEY", ""),
        ("API_CORS_ORIGINS", "nonsense"),
        ("DATABASE_URL", "nonsense"),
    ] {
        let ended = program().env("API_OPS_LISTEN", free_address()).env(name, value).output().unwrap();
        assert_ne!(ended.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&ended.stderr).contains(name), "{name}: {ended:?}");
    }
}

#[test]
fn tokens_are_made_with_a_shared_secret_only() {
    let made = program().args(["token", "--user", "u1", "--role", "admin", "--ttl", "60"]).output().unwrap();
    assert!(made.status.success() && made.stdout.split(|byte| *byte == b'.').count() == 3);
    for (name, value) in [("JWT_SIGN_ALGORITHM", "ES256"), ("JWT_JWKS_URL", "https://id.example/jwks")] {
        let refused = program().args(["token", "--user", "u1"]).env(name, value).output().unwrap();
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{name}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("HS256 only"), "{refused:?}");
    }
}

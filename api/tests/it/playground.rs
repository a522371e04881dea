//! The page at `/`: built or not, and what browsers are told of it.

use copilot_api::web::Web;
use serde_json::Value;

use crate::harness::{Api, Settings};

const PAGE: &str = "<meta name=\"development-token\" content=\"{{TOKEN}}\"><script src=\"/assets/a-1.js\"></script>";

async fn built() -> Api {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("index.html"), PAGE).unwrap();
    std::fs::create_dir(directory.path().join("assets")).unwrap();
    std::fs::write(directory.path().join("assets/a-1.js"), "1;").unwrap();
    Api::start_with(Settings { web: Web::load(directory.path()).unwrap(), ..Settings::default() }).await
}

#[tokio::test]
async fn the_pages_token_opens_the_api_and_the_page_is_asked_for_each_time() {
    let api = built().await;
    let answer = api.get("/").send().await;
    assert_eq!(answer.headers["cache-control"], "no-cache");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let Value::String(html) = answer.body else { panic!("no page") };
    let (_, rest) = html.split_once("name=\"development-token\" content=\"").unwrap();
    let token = rest.split_once('"').unwrap().0;
    let list = api.get("/api/chat/sessions").header("authorization", &format!("Bearer {token}")).send().await;
    assert_eq!(list.status, 200);
}

#[tokio::test]
async fn an_asset_is_kept_for_ever_and_a_stranger_is_none() {
    let api = built().await;
    let asset = api.get("/assets/a-1.js").send().await;
    assert_eq!(asset.status, 200);
    assert_eq!(asset.headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(asset.headers["content-type"], "text/javascript; charset=utf-8");
    for stranger in ["a-2.js", "..%2findex.html", "..%2f..%2fCargo.toml"] {
        api.get(format!("/assets/{stranger}")).send().await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn an_api_without_the_playground_says_how_to_get_it() {
    let api = Api::start().await;
    let answer = api.get("/").send().await;
    assert_eq!(answer.status, 200);
    let Value::String(html) = answer.body else { panic!("no page") };
    assert!(html.contains("npm run build") && html.contains("API_WEB_DIR"));
    api.get("/assets/a-1.js").send().await.refused(404, "not_found");
}

//! What the edge does to every answer.

use super::*;

#[test]
fn gzip_is_only_used_where_it_is_wanted() {
    for (wanted, yes) in
        [("gzip", true), ("br, gzip;q=0.5", true), ("gzip;q=0", false), ("identity", false), ("", false)]
    {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(wanted));
        assert_eq!(accepts_gzip(&headers), yes, "{wanted}");
    }
}

#[test]
fn a_request_id_that_cannot_stand_in_a_log_is_replaced() {
    let id = |text: &str| request_id(&Request::builder().header("x-request-id", text).finish());
    assert_eq!(id("abc-1"), "abc-1");
    assert_ne!(id("a b"), "a b");
    assert_ne!(id(&"x".repeat(129)), "x".repeat(129));
}

#[tokio::test]
async fn what_is_long_is_compressed_unless_it_is_a_stream() {
    let coding = async |kind: &str, bytes: usize| {
        let response = compress(Response::builder().content_type(kind).body("1".repeat(bytes))).await;
        response.headers().get(header::CONTENT_ENCODING).cloned()
    };
    for kind in ["application/json; charset=utf-8", "text/javascript; charset=utf-8", "text/css"] {
        assert_eq!(coding(kind, WORTH_COMPRESSING + 1).await.unwrap(), "gzip", "{kind}");
        assert_eq!(coding(kind, WORTH_COMPRESSING).await, None, "{kind}");
    }
    assert_eq!(coding("text/event-stream", WORTH_COMPRESSING + 1).await, None);
}

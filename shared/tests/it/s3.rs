//! An object store on a local socket that speaks as much of S3's protocol as blobs need: objects
//! whole and in parts, ranges, deletions one by one and in bulk. Requests must be signed.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use poem::http::{Method, StatusCode, header};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Body, Request, Response, Server, endpoint};

#[derive(Default)]
struct State {
    objects: HashMap<String, Vec<u8>>,
    uploads: HashMap<String, BTreeMap<u32, Vec<u8>>>,
    begun: usize,
}

/// The store. It ends with the test's runtime.
pub(crate) struct S3 {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl S3 {
    pub(crate) async fn start() -> Self {
        let _set_before = rustls::crypto::ring::default_provider().install_default();
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let app = endpoint::make(move |request: Request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, poem::Error>(answer(&shared, request).await) }
        });
        tokio::spawn(Server::new_with_acceptor(acceptor).run(app));
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn objects(&self) -> usize {
        self.state.lock().unwrap().objects.len()
    }

    pub(crate) fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }
}

async fn answer(state: &Mutex<State>, mut request: Request) -> Response {
    let signed = request.header("authorization").unwrap_or_default().to_owned();
    if !signed.starts_with("AWS4-HMAC-SHA256 Credential=key/") {
        return StatusCode::FORBIDDEN.into();
    }
    let key = request.uri().path().to_owned();
    let query: HashMap<String, String> = request.params().unwrap_or_default();
    let range = request.header(header::RANGE).map(str::to_owned);
    let body = request.take_body().into_vec().await.unwrap();
    let mut state = state.lock().unwrap();
    let upload = query.get("uploadId").cloned();
    match (request.method().clone(), upload) {
        (Method::PUT, Some(upload)) => {
            let number = query["partNumber"].parse().unwrap();
            state.uploads.get_mut(&upload).unwrap().insert(number, body);
            Response::builder().header(header::ETAG, format!("\"{number}\"")).finish()
        }
        (Method::PUT, None) => {
            state.objects.insert(key, body);
            Response::builder().header(header::ETAG, "\"1\"").finish()
        }
        (Method::POST, Some(upload)) => {
            let parts = state.uploads.remove(&upload).unwrap();
            state.objects.insert(key, parts.into_values().flatten().collect());
            xml("<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")
        }
        (Method::POST, None) if query.contains_key("uploads") => {
            state.begun += 1;
            let id = format!("upload-{}", state.begun);
            state.uploads.insert(id.clone(), BTreeMap::new());
            xml(&format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
        }
        (Method::POST, None) if query.contains_key("delete") => {
            let text = String::from_utf8(body).unwrap();
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            let mut deleted = Vec::new();
            for name in keys {
                state.objects.remove(&format!("{}/{name}", key.trim_end_matches('/')));
                deleted.push(format!("<Deleted><Key>{name}</Key></Deleted>"));
            }
            xml(&format!("<DeleteResult>{}</DeleteResult>", deleted.concat()))
        }
        (Method::DELETE, Some(upload)) => {
            state.uploads.remove(&upload);
            StatusCode::NO_CONTENT.into()
        }
        (Method::DELETE, None) => {
            state.objects.remove(&key);
            StatusCode::NO_CONTENT.into()
        }
        (Method::GET, _) => match state.objects.get(&key) {
            Some(object) => part(object, range.as_deref()),
            None => StatusCode::NOT_FOUND.into(),
        },
        (method, _) => panic!("{method} {key} {query:?}"),
    }
}

fn part(object: &[u8], range: Option<&str>) -> Response {
    let response = Response::builder()
        .header(header::ETAG, "\"1\"")
        .header(header::LAST_MODIFIED, "Mon, 01 Jan 2024 00:00:00 GMT");
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return response.body(object.to_vec());
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    response
        .status(StatusCode::PARTIAL_CONTENT)
        .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", object.len()))
        .body(object[first..=last].to_vec())
}

fn xml(text: &str) -> Response {
    Response::builder().content_type("application/xml").body(Body::from_string(text.to_owned()))
}

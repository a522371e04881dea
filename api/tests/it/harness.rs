//! An API of its own for each test, and a hand that plays the worker.

use std::sync::Arc;
use std::time::Duration;

pub(crate) use copilot_api::app::read_usage::ResetTerms;
use copilot_api::app::read_usage::Usage;
use copilot_api::app::{App, Foundations};
use copilot_api::auth::{DEVELOPMENT_KEY, Gate, SignAlgorithm, UserRole, sign};
use copilot_api::relay::Relay;
use copilot_api::routes::{Site, endpoint};
use copilot_api::web::Web;
use copilot_shared::analytics::Analytics;
use copilot_shared::chunk::{Chunk, Frame};
use copilot_shared::clock::Clock;
use copilot_shared::flags::Flags;
use copilot_shared::id::{PartId, TurnId, UserId, WorkerId};
use copilot_shared::ledger::{Ledger, Mode};
use copilot_shared::limits::LimitBook;
use copilot_shared::message::Part;
use copilot_shared::meter::{FailPolicy, Meter, MeterSettings};
use copilot_shared::payment::Payments;
use copilot_shared::queue::Publisher;
use copilot_shared::store::{Claim, StepCommit, Store, StoreSettings};
use copilot_shared::stream::{Append, Appended, Streams};
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, Turn, TurnEnd};
use copilot_shared::usage::TokenUsage;
use copilot_shared::usage::limits::TokenLimits;
use copilot_shared::windows::Windows;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode};
use poem::test::TestClient;
use poem::{Body, EndpointExt, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) streams: Streams,
    pub(crate) windows: Windows,
    pub(crate) stop: CancellationToken,
    client: TestClient<BoxEndpoint<'static, Response>>,
    pub(crate) services: Services,
}

#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) anonymous: bool,
    pub(crate) origins: Vec<String>,
    pub(crate) max_in_flight: i64,
    /// Instead of the development key's.
    pub(crate) gate: Option<Gate>,
    pub(crate) credits: Mode,
    /// Bytes of a user's files.
    pub(crate) quota_bytes: Option<i64>,
    /// Instead of the log.
    pub(crate) analytics: Option<Analytics>,
    pub(crate) limits: Limits,
    /// The playground.
    pub(crate) web: Option<Web>,
}

/// How much users may use, and on what terms more.
#[expect(clippy::struct_field_names, reason = "limits are what it is about")]
pub(crate) struct Limits {
    pub(crate) limits: TokenLimits,
    pub(crate) flags: Flags,
    pub(crate) fail: FailPolicy,
    pub(crate) estimate: i64,
    pub(crate) clock: Clock,
    pub(crate) reset: ResetTerms,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            limits: TokenLimits { daily: 0, weekly: 0 },
            flags: Flags::default(),
            fail: FailPolicy::Closed,
            estimate: 100,
            clock: Clock::system(),
            reset: ResetTerms { cost: 500, most: 5 },
        }
    }
}

impl Limits {
    fn usage(&self, store: &Store, streams: &Streams) -> Usage {
        let book = LimitBook::new(store.clone(), self.flags.clone(), self.limits);
        let settings = MeterSettings { fail: self.fail, estimate: self.estimate };
        Usage { meter: Meter::new(Windows::over(streams), book, self.clock.clone(), settings), reset: self.reset }
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_else(|| panic!("no code in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{self:?}");
        self.body
    }

    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{self:?}");
        assert!(!self.body["detail"].is_null(), "{self:?}");
    }
}

/// A request in the making.
pub(crate) struct Ask<'a> {
    api: &'a Api,
    method: Method,
    path: String,
    headers: Vec<(String, HeaderValue)>,
    body: Option<Body>,
}

impl<'a> Ask<'a> {
    pub(crate) fn by(self, user: &str) -> Self {
        self.with_role(user, UserRole::User)
    }

    pub(crate) fn by_admin(self, user: &str) -> Self {
        self.with_role(user, UserRole::Admin)
    }

    fn with_role(self, user: &str, role: UserRole) -> Self {
        let user = UserId::parse(user).unwrap();
        let token = sign(SignAlgorithm::Hs256, DEVELOPMENT_KEY, &user, role, 600).unwrap();
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    pub(crate) fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.into(), HeaderValue::from_bytes(value).unwrap()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw(body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn raw(self, body: impl Into<Vec<u8>>) -> Self {
        self.streamed(Body::from_vec(body.into()))
    }

    pub(crate) fn streamed(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) async fn response(self) -> Response {
        let mut request = self.api.client.request(self.method, &self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = self.body {
            request = request.body(body);
        }
        tokio::time::timeout(PATIENCE, request.send()).await.expect("no answer").0
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.response().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.into_body().into_string().await.unwrap();
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        Answer { status, headers, body }
    }

    pub(crate) async fn events(self) -> Events<'a> {
        let response = self.response().await;
        if response.content_type() != Some("text/event-stream") {
            let status = response.status();
            panic!("no event stream but {status}: {:?}", response.into_body().into_string().await);
        }
        let bytes = response.into_body().into_bytes_stream();
        Events { bytes: Box::pin(bytes), rest: String::new(), _api: std::marker::PhantomData }
    }
}

/// The events of an open stream.
pub(crate) struct Events<'a> {
    bytes: BoxStream<'static, std::io::Result<bytes::Bytes>>,
    rest: String,
    _api: std::marker::PhantomData<&'a Api>,
}

/// One event: its id, and its data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

impl Events<'_> {
    /// The next event; `None` at the end; an error if the stream was cut.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Event>> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let frame = frame.to_owned();
                self.rest = rest.to_owned();
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let Some(data) = field("data: ") {
                    return Ok(Some(Event { id: field("id: "), data }));
                }
                continue;
            }
            let next = tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("the stream is silent");
            match next {
                Some(bytes) => self.rest.push_str(std::str::from_utf8(&bytes?).unwrap()),
                None => return Ok(None),
            }
        }
    }

    /// Everything up to the end, which must be a good one.
    pub(crate) async fn all(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await.expect("the stream was cut") {
            events.push(event);
        }
        assert_eq!(events.pop().map(|event| event.data).as_deref(), Some("[DONE]"));
        events
    }

    /// The first bytes, before any event.
    pub(crate) async fn opening(&mut self) -> String {
        while self.rest.is_empty() {
            let bytes = tokio::time::timeout(PATIENCE, self.bytes.next()).await.expect("silent").unwrap().unwrap();
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        self.rest.clone()
    }
}

/// The text that events amount to.
pub(crate) fn text_of(events: &[Event]) -> String {
    events.iter().filter_map(|event| event.json()["delta"].as_str().map(str::to_owned)).collect()
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let services = Services::isolated().await;
        let store = services.store_with(StoreSettings {
            lease: Duration::from_secs(10),
            max_running: 0,
            max_in_flight: settings.max_in_flight,
            connections: 8,
        });
        let (streams, publisher) = (services.streams(), services.publisher());
        Self::over(services, store, streams, publisher, settings)
    }

    /// An API over these servers, some of which may be away.
    pub(crate) fn over(
        services: Services,
        store: Store,
        streams: Streams,
        publisher: Publisher,
        settings: Settings,
    ) -> Self {
        let of_development = || Gate::new(SignAlgorithm::Hs256, DEVELOPMENT_KEY, settings.anonymous).unwrap();
        let gate = settings.gate.unwrap_or_else(of_development);
        let stop = CancellationToken::new();
        let relay = Relay::new(streams.clone(), store.clone(), stop.clone()).unwrap();
        let usage = settings.limits.usage(&store, &streams);
        let windows = usage.meter.windows().clone();
        let ledger = Ledger::new(store.clone(), settings.credits);
        let analytics = settings.analytics.unwrap_or_else(Analytics::logged);
        let workspaces = services.workspaces(settings.quota_bytes.unwrap_or(1 << 30));
        let foundations = Foundations {
            store: store.clone(),
            streams: streams.clone(),
            publisher,
            relay,
            ledger,
            payments: Payments::default(),
            workspaces,
            analytics,
            usage,
        };
        let app = App::new(foundations, stop.clone(), TaskTracker::new());
        let site = Site {
            app: Arc::new(app),
            gate: Arc::new(gate),
            origins: settings.origins,
            development_key: true,
            web: settings.web,
        };
        let client = TestClient::new(endpoint(site).unwrap().map_to_response().boxed());
        Self { store, streams, windows, stop, client, services }
    }

    pub(crate) fn ask(&self, method: &str, path: impl Into<String>) -> Ask<'_> {
        Ask { api: self, method: method.parse().unwrap(), path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask("GET", path)
    }

    pub(crate) fn post(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask("POST", path)
    }

    /// A fresh session of a user: the path of its routes.
    pub(crate) async fn session(&self, user: &str) -> String {
        let made = self.post("/api/chat/sessions").by(user).send().await.ok();
        format!("/api/chat/sessions/{}", made["id"].as_str().unwrap())
    }

    /// Submits a message without a stream.
    pub(crate) async fn submit(&self, session: &str, user: &str, message: &str) -> TurnId {
        let body = serde_json::json!({ "message": message });
        let made = self.post(format!("{session}/messages")).by(user).json(&body).send().await.ok();
        made["turn_id"].as_str().unwrap().parse().unwrap()
    }

    /// Claims a turn as a worker does.
    pub(crate) async fn claim(&self, turn: TurnId) -> Turn {
        match self.store.claim(turn, WorkerId::generate(), false).await.unwrap() {
            Claim::Claimed(claimed) => claimed.turn,
            other => panic!("not claimed: {other:?}"),
        }
    }

    /// Appends chunks behind `last`.
    pub(crate) async fn append(&self, turn: &Turn, last: u64, chunks: Vec<Chunk>) -> u64 {
        let frames: Vec<Frame> = chunks.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
        let append = Append::of(turn.id, turn.attempt, last, &frames);
        assert_eq!(self.streams.append(&append).await.unwrap(), Appended::Stored);
        append.last
    }

    /// Begins to answer: five chunks, the last one `text`.
    pub(crate) async fn begin(&self, turn: TurnId, text: &str) -> Turn {
        let turn = self.claim(turn).await;
        self.append(&turn, 0, opening(turn.id, text)).await;
        turn
    }

    /// Ends what [`Self::begin`] began.
    pub(crate) async fn complete(&self, turn: &Turn, text: &str) {
        let id = PartId::nth(1);
        let ending = vec![
            Chunk::TextEnd { id: id.clone() },
            Chunk::FinishStep,
            Chunk::Finish { finish_reason: Some(FinishReason::Stop) },
        ];
        let usage = TokenUsage { prompt: 3, completion: 2, ..TokenUsage::default() };
        let parts = vec![Part::Text { id: Some(id), text: text.into() }];
        let step = StepCommit { step: 1, parts, usage, used_at: chrono::Utc::now(), chunk_sequence: 4 };
        let end = TurnEnd::Completed(FinishReason::Stop);
        self.append(turn, 4, ending).await;
        self.store.finish(turn, &end, Some(&step)).await.unwrap();
        self.store.note_sealed(&[turn.id]).await.unwrap();
    }

    /// Answers a turn from its start to its end.
    pub(crate) async fn answer(&self, turn: TurnId, text: &str) {
        let turn = self.begin(turn, text).await;
        self.complete(&turn, text).await;
    }
}

fn opening(turn: TurnId, text: &str) -> Vec<Chunk> {
    let id = PartId::nth(1);
    vec![
        Chunk::Start { message_id: turn },
        Chunk::StartStep,
        Chunk::TextStart { id: id.clone() },
        Chunk::TextDelta { id, delta: text.into() },
    ]
}

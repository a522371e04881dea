//! A key server on this machine, whose answers and clock a test decides.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use copilot_api::auth::Gate;
use copilot_api::auth::jwks::{JwksAddress, KeyRing, Transport};
use copilot_api::server;
use poem::http::StatusCode;
use poem::{EndpointExt, Response, Route};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const OLDEST: Duration = Duration::from_mins(10);

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) after: Duration,
}

pub(crate) struct Provider {
    pub(crate) ring: KeyRing,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    late: Arc<Mutex<Duration>>,
    stop: CancellationToken,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Provider {
    pub(crate) fn start(keys: &[Value]) -> Self {
        let answer = Arc::new(Mutex::new(set(keys)));
        let (asked, late) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Duration::ZERO)));
        let stop = CancellationToken::new();
        let listener = server::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let (told, counted) = (Arc::clone(&answer), Arc::clone(&asked));
        let jwks = poem::endpoint::make(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = told.lock().unwrap().clone();
            async move {
                tokio::time::sleep(answer.after).await;
                Response::builder().status(answer.status).header("location", "/elsewhere").body(answer.body)
            }
        });
        // Whoever goes there loses every key.
        let elsewhere = set(&[]).body;
        let detour = poem::endpoint::make_sync(move |_| Response::builder().body(elsewhere.clone()));
        let routes = Route::new().at("/jwks", jwks).at("/elsewhere", detour).map_to_response();
        let patience = server::Patience { last_requests: Duration::ZERO, unread: Duration::from_mins(1) };
        tokio::spawn(server::serve(listener, routes, stop.clone(), patience));
        let start = Instant::now();
        let ahead = Arc::clone(&late);
        let clock = Arc::new(move || start + *ahead.lock().unwrap());
        let address = JwksAddress::parse(&url, Transport::Secure).unwrap();
        Self { ring: KeyRing::with_clock(address, OLDEST, clock).unwrap(), answer, asked, late, stop }
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate::of_ring(self.ring.clone(), false)
    }

    pub(crate) fn publish(&self, keys: &[Value]) {
        self.say(set(keys));
    }

    pub(crate) fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn fail(&self) {
        self.say(Answer { status: StatusCode::INTERNAL_SERVER_ERROR, ..set(&[]) });
    }

    /// How often the keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets so much time pass for the ring.
    pub(crate) fn pass(&self, time: Duration) {
        *self.late.lock().unwrap() += time;
    }
}

pub(crate) fn set(keys: &[Value]) -> Answer {
    Answer { status: StatusCode::OK, body: json!({ "keys": keys }).to_string(), after: Duration::ZERO }
}

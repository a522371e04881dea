//! The W3C trace context: what ties a request, a message and a turn together over processes.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The headers of the W3C recommendation "Trace Context", as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceContext(HashMap<String, String>);

impl TraceContext {
    /// The names of its headers.
    pub const HEADERS: [&'static str; 2] = ["traceparent", "tracestate"];

    /// The context of the current span; empty outside of one.
    pub fn current() -> Self {
        let mut headers = HashMap::new();
        let context = Span::current().context();
        if context.span().span_context().is_valid() {
            TraceContextPropagator::new().inject_context(&context, &mut headers);
        }
        headers.retain(|_, value| !value.is_empty());
        Self(headers)
    }

    /// What came with a request or a message: each header's value, if it is there.
    pub fn received<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let found = Self::HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), header(name)?.to_owned())));
        Self(found.collect())
    }

    /// Name and value of each header.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Makes a span that has not been entered yet part of the trace. What is no context changes nothing.
    pub fn adopt(&self, span: &Span) {
        let parent = TraceContextPropagator::new().extract(&self.0);
        if parent.span().span_context().is_valid()
            && let Err(error) = span.set_parent(parent)
        {
            tracing::debug!(%error, "a span was left outside of its trace");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Traces;
    use tracing_subscriber::layer::SubscriberExt;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn traceparent_within(received: Option<&str>) -> Option<String> {
        let traces = Traces::new("test", None).unwrap();
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("turn");
            TraceContext::received(|name| received.filter(|_| name == "traceparent")).adopt(&span);
            let context = span.in_scope(TraceContext::current);
            context.headers().find(|(name, _)| *name == "traceparent").map(|(_, value)| value.to_owned())
        })
    }

    #[test]
    fn a_span_goes_on_with_the_trace_that_it_was_sent() {
        let sent = traceparent_within(Some(PARENT)).unwrap();
        assert_eq!(sent.split('-').nth(1), PARENT.split('-').nth(1), "the same trace");
        assert_ne!(sent.split('-').nth(2), PARENT.split('-').nth(2), "another span");
    }

    #[test]
    fn without_a_trace_or_with_a_broken_one_a_span_begins_its_own() {
        for received in [None, Some("garbage"), Some("00-0-0-00"), Some("")] {
            let own = traceparent_within(received).unwrap();
            assert_eq!(own.split('-').count(), 4, "{received:?}");
        }
    }

    #[test]
    fn outside_of_spans_there_is_no_context() {
        assert_eq!(TraceContext::current(), TraceContext::default());
    }
}

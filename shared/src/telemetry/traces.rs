//! Spans on their way to a collector.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// How long the last spans may take to leave when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// The collector's address is no address.
#[derive(Debug, thiserror::Error)]
#[error("traces cannot be sent there")]
pub struct TraceError(#[from] opentelemetry_otlp::ExporterBuildError);

/// The spans of this process. Without a collector they still have ids, so that requests, messages
/// and turns can be told to belong together.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    pub(super) fn new(service: &'static str, endpoint: Option<&str>) -> Result<Self, TraceError> {
        let resource = Resource::builder().with_service_name(service).build();
        let builder = SdkTracerProvider::builder().with_resource(resource);
        let Some(endpoint) = endpoint else { return Ok(Self { provider: builder.build() }) };
        // The exporter's client looks for a TLS provider when it is made; a second one changes nothing.
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was installed before");
        }
        // OTLP/HTTP: the signal's path is appended to the base address (OTLP exporter specification).
        let url = format!("{}/v1/traces", endpoint.trim().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(url).build()?;
        Ok(Self { provider: builder.with_batch_exporter(exporter).build() })
    }

    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("copilot"))
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_location(false)
    }

    /// Sends what is left. Bounded in time: a collector that is away holds nobody up.
    pub async fn close(self) {
        let closing = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(LAST_SPANS));
        match closing.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans could not be sent"),
            Err(error) => tracing::warn!(%error, "the last spans were not sent"),
        }
    }
}
